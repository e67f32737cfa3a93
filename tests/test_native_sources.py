"""The sources of the compiled kernels: records are filled by name, and quotients are rounded up in
one place.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[1] / "native"
SOURCES = sorted(path for path in NATIVE.iterdir() if path.suffix in {".cpp", ".h", ".inl"})
# A record where it is used, given to a kernel or to a container. Arrays have a second brace.
BY_POSITION = re.compile(r"(?:\bkernels_?\.\w+|\bpush_back)\(\{\s*[^.{\s]")
ROUNDED_UP = re.compile(r"\+ ([\w.\[\]]+) - 1\) / \1\b")
OF_BYTES = {"pages.cpp", "results.cpp"}  # addresses and sizes in memory, which have no sign


def lines_of(path: Path, pattern: re.Pattern[str]) -> list[int]:
    text = path.read_text(encoding="utf-8")
    return [text.count("\n", 0, found.start()) + 1 for found in pattern.finditer(text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_records_are_filled_by_name(path: Path) -> None:
    assert lines_of(path, BY_POSITION) == []


@pytest.mark.parametrize(
    "line", ["kernels.gather({nullptr, 0})", "runs.push_back({\n    large, small, count})"]
)
def test_records_filled_by_position_are_found(line: str) -> None:
    assert BY_POSITION.search(line)


def test_quotients_are_rounded_up_in_one_place() -> None:
    assert {path.name for path in SOURCES if lines_of(path, ROUNDED_UP)} == {
        "integers.h",
        *OF_BYTES,
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("// ")
