"""The examples of the page print what the page says."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

_ = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "torch.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["torch_accelerate", "torch_layers"])
def test_the_page_shows_what_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"literalinclude}} ../examples/{name}.py" in PAGE
    (expected,) = re.findall(
        rf"```console\n\$ python examples/{name}\.py\n(.*?)```", PAGE, re.DOTALL
    )
    _ = runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out == expected
