"""The sources of the compiled kernels: records are filled by name, so that no two numbers change places unseen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[1] / "native"
SOURCES = sorted(path for path in NATIVE.iterdir() if path.suffix in {".cpp", ".h", ".inl"})
# A record where it is used, given to a kernel or to a container. Arrays have a second brace.
GIVEN = re.compile(r"(?:\bkernels_?\.\w+|\bpush_back)\(\{\s*[^.{\s]")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_records_are_filled_by_name(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [text.count("\n", 0, found.start()) + 1 for found in GIVEN.finditer(text)] == []


@pytest.mark.parametrize("line", ["kernels.gather({nullptr, 0})", "runs.push_back({\n    large, small, count})"])
def test_records_filled_by_position_are_found(line: str) -> None:
    assert GIVEN.search(line)
