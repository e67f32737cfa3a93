"""The benchmark's models: each is the same after accelerate, and every runner computes the same."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")

import backstride as bs  # noqa: E402

bt: Any = importlib.import_module("backstride.torch")

FOLDER = Path(__file__).parents[2] / "benchmarks"
NAMES = ("DCGAN", "pix2pix", "CycleGAN", "U-Net", "FCN-8s", "HiFi-GAN", "3-D", "FSRCNN")
LAYERS = (5, 5, 2, 4, 3, 4, 3, 1)


@pytest.fixture(name="benchmark")
def benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    yield importlib.import_module("torch_run")
    for name in (
        "torch_run",
        "torch_rows",
        "torch_models",
        "torch_published",
        "torch_table",
        "machine",
        "timing",
        "run",
        "layers",
        "peers",
    ):
        _ = sys.modules.pop(name, None)


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_every_model_is_the_same_after_accelerate(benchmark: Any, number: int) -> None:
    entry = benchmark.MODELS[number]
    assert entry.name.startswith(NAMES[number])
    model, inputs = benchmark.build(entry, small=True)
    expected = benchmark.eager(model, inputs)()
    assert len(benchmark.layers(model, inputs)) == LAYERS[number]
    report = bt.accelerate(model, verify=inputs).report
    assert not report.refused
    assert sum("ConvTranspose" in row.kind for row in report.rows) == LAYERS[number]
    found = benchmark.inference(model, inputs)()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["channels last", "accelerate"])
def test_runners_compute_the_same(benchmark: Any, name: str) -> None:
    for entry in benchmark.MODELS:
        model, inputs = benchmark.build(entry, small=True)
        run = benchmark.RUNNERS[name](*benchmark.build(entry, small=True))
        if run is not None:
            expected = benchmark.eager(model, inputs)()
            # In half precision each of the layers rounds once.
            near = 1e-4 if expected.dtype == torch.float32 else 8 * torch.finfo(expected.dtype).eps
            torch.testing.assert_close(run(), expected, rtol=near, atol=near)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["ONNX Runtime", "OpenVINO"])
def test_other_runtimes_compute_the_same(benchmark: Any, name: str) -> None:
    for entry in (benchmark.MODELS[0], benchmark.MODELS[4]):
        model, inputs = benchmark.build(entry, small=True)
        expected = benchmark.eager(model, inputs)()
        run = benchmark.RUNNERS[name](model, inputs)
        assert run is not None
        result = run()
        torch.testing.assert_close(torch.tensor(result[0]), expected, rtol=1e-3, atol=1e-3)


def test_a_training_step_trains(benchmark: Any) -> None:
    model, inputs = benchmark.build(benchmark.MODELS[7], small=True)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    benchmark.training("accelerate", model.train(), inputs)()
    moved = [not torch.equal(one, two) for one, two in zip(before, model.parameters(), strict=True)]
    assert sum(moved) > len(moved) // 2


def table(benchmark: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["torch_run.py", *words])
    threads = torch.get_num_threads()
    try:
        benchmark.main()
    finally:
        torch.set_num_threads(threads)
        bs.set_num_threads(0)


def test_the_table_is_printed_and_resumed(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    without = "compile,accelerate + compile,ONNX Runtime,OpenVINO"
    words = ("--small", "--models", "7", "--seconds", "0.001", "--threads", "1", "--without", without)
    raw = tmp_path / "raw.jsonl"
    table(benchmark, monkeypatch, *words, "--raw", str(raw))
    output = capsys.readouterr().out
    rows = raw.read_text()
    table(benchmark, monkeypatch, *words, "--raw", str(raw), "--resume")
    assert capsys.readouterr().out == output
    assert raw.read_text() == rows
    assert rows.count("\n") == 3
    assert output.count("FSRCNN x3") == 3
    assert output.count("geomean") == 4


def test_a_runner_that_fails_is_left_out_with_the_reason(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = importlib.import_module("torch_rows")
    job = rows.Job("inference", 7, 1, ("eager", "no such runner", "accelerate"), 0.001, small=True)
    row = rows.measured(job)
    assert list(row["times"]) == ["eager", "accelerate"]
    assert row["dropped"]["no such runner"].startswith("ended the process with code 1")
    monkeypatch.setattr(rows, "PREPARING", 0.0)
    monkeypatch.setattr(rows, "MEASURING", 0.0)
    with pytest.raises(RuntimeError, match="inference of model 7: the measurement took more than 0 s"):
        _ = rows.measured(job)
    assert benchmark.MODELS[job.model].name == "FSRCNN x3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--without", "tensorrt"),
            "`--without` (=tensorrt) names no runner 'tensorrt'; legal are eager, channels last",
        ),
        (("--models", "99"), "`--models` (=99) must name some of 0 to 19"),
    ],
)
def test_what_does_not_exist_is_refused(
    benchmark: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        table(benchmark, monkeypatch, *words)
    assert message in capsys.readouterr().err
