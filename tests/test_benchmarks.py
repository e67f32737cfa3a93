"""The benchmark runs, and everybody in it computes a layer of the same size; what it measures is no test."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backstride as bs

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = (1, 15, 28, 65, 80, 100)
_ = pytest.importorskip("torch", reason="the benchmark needs a peer")


@pytest.fixture(name="modules")
def benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    torch: Any = importlib.import_module("torch")
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)
    bs.set_num_threads(0)


def test_the_layers_are_what_their_file_says(modules: Any) -> None:
    rows = (FOLDER / "layers.csv").read_text(encoding="utf-8").splitlines()[1:]
    layers: Any = modules("layers").layers()
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
def test_torch_computes_as_many_numbers(number: int, modules: Any) -> None:
    (layer,) = (layer for layer in modules("layers").layers() if layer.number == number)
    problem = modules("problem").Problem(layer, modules("problem").VARIANTS["packed"])
    peers: Any = modules("peers")
    output = bs.geometry(layer.input, layer.kernel, strides=layer.strides, padding=layer.crop).output
    assert layer.output == output
    for make in (peers.OURS["ours, channels last"], peers.PEERS["torch"]):
        runner = make(problem)
        assert runner.result(runner.call()).shape == (layer.batch, *output, layer.big)


def test_heavy_layers_get_lighter(modules: Any) -> None:
    for layer in modules("layers").layers():
        lighter = layer.lighter(5)
        assert lighter.gflop <= 10 or lighter.batch == 1
        assert lighter.gflop <= 35
        assert lighter.batch >= 1
        assert lighter.big >= 1
        assert layer.lighter(1e9) is layer


def test_a_turn_begins_when_other_threads_sleep(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    timing: Any = modules("timing")
    monkeypatch.setattr(timing, "SETTLED", 60.0)
    busy = threading.Thread(target=hashlib.sha256, args=(bytes(64 << 20),))
    busy.start()
    waited, before = timing.settle(), time.perf_counter()
    busy.join()
    assert time.perf_counter() - before < waited


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), *words], capture_output=True, text=True, check=False, timeout=200
    )


SUMMARY = re.compile(r"geomean \d+\.\d\d, min \d+\.\d\d, layers below 1\.0: \d+")


def test_it_times_three_layers_and_writes_the_results(tmp_path: Path) -> None:
    raw = tmp_path / "measurements.jsonl"
    words = ["--layers", "15,28,65", "--peers", "torch; torch, channels last", "--seconds", "0.01", "--raw", str(raw)]
    done = run(*words, "--quick", "--threads", "1", "--variants", "packed,call-relu,kernel-gradient")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["threads", "15", "28", "65", "geomean"] * 3
    assert lines[0] == "threads 1, weights packed beforehand: GFLOP/s, median ± spread"
    assert all(SUMMARY.fullmatch(line) for line in lines[4::5])
    results = run("--from", str(raw), "--results", "--folder", str(tmp_path))
    assert results.returncode == 0, results.stderr
    assert results.stdout.splitlines()[:15] == lines
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| 65 | PP-OCRv6-tiny det 1 |" in text
    for section in (
        "Machine",
        "Summary",
        "Each peer by itself",
        "Layers, 1 thread",
        "Gradients",
        "Goals",
        "What falls short",
    ):
        assert f"\n## {section}" in text
    assert str(Path.home()) not in text


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    raw = tmp_path / "measurements.jsonl"
    words = [
        "--layers",
        "15",
        "--peers",
        "torch",
        "--seconds",
        "0.01",
        "--quick",
        "--variants",
        "packed",
        "--raw",
        str(raw),
    ]
    first, second = run(*words, "--threads", "1"), run(*words, "--threads", "1,2", "--resume")
    assert second.stdout.startswith(first.stdout)
    kinds = [json.loads(line)["kind"] for line in raw.read_text(encoding="utf-8").splitlines()]
    assert kinds == ["machine", "cell", "machine", "cell"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--layers", "2"), "`--layers` (=2) holds '2'; legal are 1, 3, 4,"),
        (("--threads", "0"), "`--threads` (=0) holds '0'; legal are 1 to 1024"),
        (("--peers", "torsh"), "`--peers` (=torsh) holds 'torsh'; legal are torch, torch, channels last,"),
        (("--variants", "fast"), "`--variants` (=fast) holds 'fast'; legal are packed, packed-relu,"),
        (("--from", "nothing.jsonl"), "`--from` (=nothing.jsonl) must be a file that a run has written"),
    ],
)
def test_wrong_words_are_refused(words: tuple[str, ...], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
