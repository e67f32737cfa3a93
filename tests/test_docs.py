"""The examples of the documentation are run: every >>> of every page, and the README's."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_print_what_the_page_says(page: Path) -> None:
    examples = doctest.DocTestParser().get_examples(
        page.read_text(encoding="utf-8").replace("```", "\n")
    )
    if any("torch" in example.source for example in examples):
        _ = pytest.importorskip("torch", reason="the page's examples use PyTorch")
    test = doctest.DocTest(examples, {}, page.name, str(page), 0, None)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert runner.run(test).failed == 0


def test_a_wrong_page_would_fail() -> None:
    test = doctest.DocTest(
        doctest.DocTestParser().get_examples(">>> 1 + 1\n3\n"), {}, "wrong", None, 0, None
    )
    assert doctest.DocTestRunner().run(test, out=lambda _: None).failed == 1
