"""The comparison of predictions with measurements runs, goes on where it stopped, and counts what
its page says.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from implementations import COMPILED

FOLDER = Path(__file__).parents[1] / "benchmarks"
pytestmark = pytest.mark.skipif(not COMPILED, reason="this installation is pure Python")
_ = pytest.importorskip("torch", reason="the benchmark needs a peer")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(FOLDER / "predicted.py"),
        "--layers",
        "28,100",
        "--threads",
        "1",
        *words,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_measures_goes_on_and_sums_up(tmp_path: Path) -> None:
    raw = ("--raw", str(tmp_path / "raw.jsonl"))
    stopped = run(*raw, "--at-most", "0")
    assert (stopped.returncode, stopped.stdout.count("stopped after 0 s")) == (3, 1)
    first = run(*raw, "--resume", "--layers", "28")
    assert first.returncode == 0, first.stderr
    both = run(*raw, "--resume")
    assert both.stdout.startswith("100 Kokoro depthwise pool | depthwise | ")
    assert "of 2 layers" in both.stdout
    assert len((tmp_path / "raw.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_the_page_counts_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    predicted: Any = importlib.import_module("predicted")

    def row(layer: int, chosen: float, other: float, told: float) -> Any:
        times = {"phases": chosen, "winograd": other}
        return predicted.Row(
            layer, "a layer", 1, "phases", "products", times, {"phases": told, "winograd": other}
        )

    rows = [
        row(1, 2.0, 3.0, 2.3),
        row(2, 2.0, 3.0, 2.5),
        row(3, 3.0, 2.0, 3.0),
        row(4, 2.09, 2.0, 2.0),
    ]
    assert [round(each.loss, 3) for each in rows] == [1.0, 1.0, 1.5, 1.045]
    said = " ".join(predicted.summary(rows))
    for words in (
        "75% of the predictions of the chosen algorithm",
        "88% of all",
        "on   3 of 4 layers",
        "takes 1.50 times",
    ):
        assert words in said
    assert (
        "| 3 a layer | phases | 3 | 3 | 1.00 | products | 1.50 | winograd 2 (1.00) |"
        in predicted.page(rows)
    )
