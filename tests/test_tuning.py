"""native/tuning.h has the numbers that decide how kernels run; docs/engine.md has them from
there.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LITERAL = re.compile(r"\b(\w+) = (?:std::size_t\(\d+\)|[\d.]+(?:e\d+)?)(?: (?:<<|\*) \d+)?(?=[,;])")
CONSTANT = re.compile(
    r"^ *(?:static )?constexpr (?:Index|double|int|std::size_t) (.*)$", re.MULTILINE
)
ELSEWHERE = {  # of instructions, operating systems and mathematics, and what a measurement takes
    "activations.inl": "coefficients of the approximations",
    "dispatch.cpp": "bits of CPUID and numbers of Linux",
    "probe.cpp": "what bs.machine() measures with: nothing that computes depends on it",
}
STRUCTURE = {
    "axis_outputs": "the matrices of such tiles have four rows",
    "header": "a page in front of a result, which keeps its alignment",
    "large_page": "of the processor",
    "matrix_rows": "of a matrix register",
    "most_excess": "what a last store writes beyond its numbers",
    "most_lane_rows": "the loops that are compiled",
    "most_tile_taps": "the forms of tiles that there are",
    "most_tiles": "of sums, of eight matrix registers",
    "numbers_of_piece": "of a row of a matrix register",
    "rows_beyond": "no tile has more rows",
}


@pytest.fixture(name="tuning")
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    return importlib.import_module("tuning")


def literals(text: str) -> list[str]:
    """The names of the constants of a source file whose values stand there as numbers."""
    return [name for line in CONSTANT.findall(text) for name in LITERAL.findall(line)]


def test_the_page_has_the_numbers_of_the_header(tuning: Any) -> None:
    text, header = (path.read_text(encoding="utf-8") for path in (tuning.PAGE, tuning.HEADER))
    assert tuning.page(text, header) == text, "run: python docs/tuning.py"
    assert len(re.findall(r"<!-- \w+\.\w+ -->", text)) >= 15
    changed = header.replace("most_sharing_channels = 512;", "most_sharing_channels = 640;")
    assert "output channels are 640<!-- choice.most_sharing_channels --> at most" in tuning.page(
        text, changed
    )
    assert "| `choice::most_sharing_channels` | 640 |" in tuning.page(text, changed)


def test_numbers_are_read_with_their_units_and_reasons(tuning: Any) -> None:
    groups = tuning.constants(tuning.HEADER.read_text(encoding="utf-8"))
    assert groups["tiles"]["most_rows_of_piece"].value == 4 * groups["tiles"]["most_rows"].value
    assert groups["choice"]["typical_cells"].shown == "4096, 64, 16"
    assert groups["memory"]["least_kept"].shown == "1 MiB"
    assert groups["overlap"]["lines_in_cache"].shown == "700 KiB"
    assert groups["model"]["share_of_peak"].shown == "0.71"


@pytest.mark.parametrize(
    "line",
    ["constexpr Index rows = 6;", "constexpr Index rows = 6;  // that are multiplied at once"],
)
def test_a_number_needs_a_unit_and_a_reason(tuning: Any, line: str) -> None:
    with pytest.raises(
        ValueError, match=f"no `constexpr type name = value;  // unit: reason`: {line}"
    ):
        tuning.constants(f"namespace rows {{\n{line}\n}}")


def test_no_other_file_has_such_a_number() -> None:
    files = [path for path in (ROOT / "native").iterdir() if path.suffix in {".cpp", ".h", ".inl"}]
    found = {
        path.name: literals(path.read_text(encoding="utf-8"))
        for path in files
        if path.name != "tuning.h"
    }
    assert found.keys() >= ELSEWHERE.keys()
    names = [name for file, own in found.items() if file not in ELSEWHERE for name in own]
    assert sorted(names) == sorted(STRUCTURE), (
        "a number that decides something stands in native/tuning.h"
    )


def test_such_a_number_would_be_found() -> None:
    assert literals("constexpr Index box_bytes = 3 << 20;  // of a box") == ["box_bytes"]
    assert literals("    static constexpr double least = 2e7, most = 0.8;") == ["least", "most"]
    assert literals(
        "constexpr std::size_t kept = std::size_t(1) << 20;\nconstexpr int on = 3;"
    ) == ["kept", "on"]
    assert literals("constexpr Index padded = rows + beyond;\nconst Index each = 4;") == []
