"""The benchmark runs, and everybody in it computes a layer of the same size; what it measures is no test."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backstride as bs

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = (1, 15, 28, 65, 80, 100)
_ = pytest.importorskip("torch", reason="the benchmark needs a peer")


@pytest.fixture(name="modules")
def benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    torch: Any = importlib.import_module("torch")
    threads = torch.get_num_threads()
    yield importlib.import_module("layers"), importlib.import_module("peers")
    torch.set_num_threads(threads)
    bs.set_num_threads(0)


def test_the_layers_are_what_their_file_says(modules: tuple[Any, Any]) -> None:
    rows = (FOLDER / "layers.csv").read_text(encoding="utf-8").splitlines()[1:]
    layers: Any = modules[0].layers()
    assert len(layers) == len(rows) > 60
    for layer, row in zip(layers, rows, strict=True):
        words = row.replace('"', "").split(",")
        assert any(float(word) == pytest.approx(layer.gflop, rel=0.01) for word in words if is_number(word))
        output = bs.geometry(layer.input, layer.kernel, strides=layer.strides, padding=layer.crop).output
        assert "x".join(map(str, output)) in words


def is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


@pytest.mark.parametrize("number", SMALL)
def test_everybody_computes_as_many_numbers(number: int, modules: tuple[Any, Any]) -> None:
    (layer,) = (layer for layer in modules[0].layers() if layer.number == number)
    output = bs.geometry(layer.input, layer.kernel, strides=layer.strides, padding=layer.crop).output
    ran: list[str] = []
    for name, make in {**modules[1].OURS, **modules[1].PEERS}.items():
        run = make(layer, np.random.default_rng(0), 1)
        if run is None:
            continue
        result = run()
        array = np.asarray(result[0] if name in {"ONNX Runtime", "OpenVINO"} else result)
        assert array.size == layer.batch * layer.big * math.prod(output), name
        ran.append(name)
    assert {"ours, channels last", "torch"} <= set(ran)


def test_it_prints_a_row_for_each_layer_and_a_summary() -> None:
    words = ["--layers", "15,28,65", "--threads", "1", "--seconds", "0.01"]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), *words], capture_output=True, text=True, check=True, timeout=120
    )
    head, *rows, summary = done.stdout.splitlines()
    assert head == "threads 1: GFLOP/s, median ± spread"
    assert [row.split()[0] for row in rows] == ["15", "28", "65"]
    assert summary.startswith("geomean ")
    assert "layers below 1.0:" in summary


def test_an_unknown_layer_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "--layers", "2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "`--layers` (=2) names no layer" in done.stderr
