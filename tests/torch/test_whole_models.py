"""The benchmark's models: each is the same after accelerate, and every runner computes the same."""

from __future__ import annotations

import importlib
import json
import math
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
    for path in FOLDER.glob("*.py"):
        _ = sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_every_model_is_the_same_after_accelerate(benchmark: Any, number: int) -> None:
    entry = benchmark.MODELS[number]
    assert entry.name.startswith(NAMES[number])
    model, inputs = benchmark.build(entry, small=True)
    expected = benchmark.RUNNERS["eager"](model, inputs)()
    assert len(benchmark.layers(model, inputs)) == LAYERS[number]
    report = bt.accelerate(model, verify=inputs).report
    assert not report.refused
    assert sum("ConvTranspose" in row.kind for row in report.rows) == LAYERS[number]
    found = benchmark.RUNNERS["eager"](model, inputs)()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["channels last", "accelerate"])
def test_runners_compute_the_same(benchmark: Any, name: str) -> None:
    for entry in benchmark.MODELS:
        model, inputs = benchmark.build(entry, small=True)
        run = benchmark.RUNNERS[name](*benchmark.build(entry, small=True))
        if run is not None:
            expected = benchmark.RUNNERS["eager"](model, inputs)()
            # In half precision each of the layers rounds once.
            near = 1e-4 if expected.dtype == torch.float32 else 8 * torch.finfo(expected.dtype).eps
            torch.testing.assert_close(run(), expected, rtol=near, atol=near)


def test_autocast_computes_in_bfloat16_and_keeps_the_weights(benchmark: Any) -> None:
    (entry,) = benchmark.named("DCGAN generator, batch 16, autocast")
    model, inputs = benchmark.build(entry, small=True)
    assert benchmark.layers(model, inputs, autocast=True)[1][1][0].dtype == torch.bfloat16
    run = benchmark.prepared("eager", model, inputs, autocast=entry.autocast)
    assert not torch.equal(run(), benchmark.RUNNERS["eager"](model, inputs)())
    assert benchmark.prepared("ONNX Runtime", model, inputs, autocast=True) is None
    benchmark.training("accelerate", model.train(), inputs, autocast=True)()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_filters_of_bigvgan_keep_a_constant(benchmark: Any) -> None:
    assert benchmark.named("BigVGAN")
    layer = importlib.import_module("torch_others").Filtered(3)
    one = torch.full((1, 3, 20), 0.5)
    expected = 0.5 + math.sin(0.5) ** 2
    torch.testing.assert_close(layer(one), torch.full_like(one, expected), rtol=0, atol=0.02)


@pytest.mark.frameworks
@pytest.mark.parametrize("name", ["ONNX Runtime", "OpenVINO"])
def test_other_runtimes_compute_the_same(benchmark: Any, name: str) -> None:
    for entry in (benchmark.MODELS[0], benchmark.MODELS[4]):
        model, inputs = benchmark.build(entry, small=True)
        expected = benchmark.RUNNERS["eager"](model, inputs)()
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


def table(benchmark: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["torch_run.py", *words])
    threads = torch.get_num_threads()
    try:
        return benchmark.main()
    finally:
        torch.set_num_threads(threads)
        bs.set_num_threads(0)


def test_the_table_is_printed_and_resumed(
    benchmark: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    without = "compile,accelerate + compile,ONNX Runtime,OpenVINO"
    words = (
        "--small",
        "--models",
        "fsrcnn",
        "--seconds",
        "0.001",
        "--threads",
        "1",
        "--without",
        without,
    )
    raw = tmp_path / "raw.jsonl"
    assert table(benchmark, monkeypatch, *words, "--raw", str(raw)) == 0
    output = capsys.readouterr().out
    rows = raw.read_text()
    assert table(benchmark, monkeypatch, *words, "--raw", str(raw), "--resume") == 0
    assert capsys.readouterr().out == output
    assert raw.read_text() == rows
    assert rows.count("\n") == 3
    assert output.count("FSRCNN x3") == 3
    assert output.count("geomean") == 8


def test_a_run_in_pieces_goes_on_on_its_own_processor_alone(
    benchmark: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    raw = tmp_path / "raw.jsonl"
    words = (
        "--small",
        "--models",
        "7",
        "--parts",
        "inference",
        "--threads",
        "1",
        "--raw",
        str(raw),
        "--resume",
    )
    assert table(benchmark, monkeypatch, *words, "--at-most", "0") == 3
    assert capsys.readouterr().out.endswith(
        "stopped after 0 s; the same words with --resume go on\n"
    )
    other: dict[str, Any] = {
        "key": "inference FSRCNN x3 1 True",
        "times": {},
        "dropped": {},
        "processor": "another",
    }
    _ = raw.write_text(json.dumps(other) + "\n")
    with pytest.raises(SystemExit, match="2"):
        _ = table(benchmark, monkeypatch, *words)
    assert "it was measured on another; run without --resume" in capsys.readouterr().err
    _ = raw.write_text("half a li")
    assert table(benchmark, monkeypatch, *words, "--at-most", "0") == 3
    assert raw.read_text() == ""


def times(overview: Any, accelerate: float) -> Any:
    found = [("eager", 10.0), ("channels last", 8.0), ("OpenVINO", 5.0), ("accelerate", accelerate)]
    names = [("inference", "FSRCNN x3"), ("training", "DCGAN generator, batch 16, bfloat16")]
    return [
        overview.Time(1, part, model, *one, 1)
        for part, model in names
        for one in (*found, ("accelerate + trust", 4))
    ]


def test_a_processor_adds_its_page_of_models_and_its_rows(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    overview, pages = (
        importlib.import_module("torch_overview"),
        importlib.import_module("torch_table"),
    )
    for name, accelerate in (("AMD One", 4.0), ("Intel(R) Two", 16.0)):
        monkeypatch.setattr(
            pages, "describe", lambda name=name: {"processor": name, "cores used": "2"}
        )
        _ = pages.keep(times(overview, accelerate), tmp_path)
    text = (tmp_path / "torch_results.md").read_text(encoding="utf-8")
    one, two = (
        "[AMD One, 2 cores](results/amd-one-2-cores-torch.md)",
        "[Intel(R) Two, 2 cores](results/intel-two-2-cores-torch.md)",
    )
    for link in (one, two):
        assert (
            f"| {link} | 1 | Inference, whole models | float32 | 1 | 1.25 of 1.7: **not reached** "
            "| 1.25 | 0 |" in text
        )
    assert (
        f"| {one} | 1 | Inference, whole models | float32 | 1 | 2.00 | 2.00 of 0.97: reached | "
        "FSRCNN x3 |" in text
    )
    worst = "0.50 of 0.97: **not reached** | DCGAN generator, batch 16, bfloat16"
    assert f"| {two} | 1 | One training step | bfloat16 | 1 | 0.50 | {worst} |" in text
    path = tmp_path / "results" / "intel-two-2-cores-torch.csv"
    assert path.with_suffix(".md").read_text(encoding="utf-8") == pages.page(path)
    assert overview.read(path).machine == {"processor": "Intel(R) Two", "cores used": "2"}
    assert benchmark.keep is pages.keep


def test_the_pages_of_models_say_what_is_kept(benchmark: Any) -> None:
    pages = importlib.import_module("torch_table")
    assert benchmark.keep is pages.keep
    found = sorted((FOLDER / "results").glob("*-torch.csv"))
    assert found
    for path in found:
        assert (FOLDER.parent / "docs" / "results" / path.with_suffix(".md").name).exists()
        assert path.with_suffix(".md").read_text(encoding="utf-8") == pages.page(path)
    assert (FOLDER / "torch_results.md").read_text(encoding="utf-8") == pages.table(FOLDER)


def test_models_have_names_of_their_own(benchmark: Any) -> None:
    assert len({entry.name for entry in benchmark.MODELS}) == len(benchmark.MODELS)


def test_a_runner_that_fails_is_left_out_with_the_reason(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = importlib.import_module("torch_rows")
    job = rows.Job(
        "inference", "FSRCNN x3", 1, ("eager", "no such runner", "accelerate"), 0.001, small=True
    )
    row = rows.measured(job)
    assert list(row["times"]) == ["eager", "accelerate"]
    assert row["dropped"]["no such runner"].startswith("ended the process with code 1")
    monkeypatch.setattr(rows, "PREPARING", 0.0)
    monkeypatch.setattr(rows, "MEASURING", 0.0)
    with pytest.raises(
        RuntimeError, match="inference of model FSRCNN x3: the measurement took more than 0 s"
    ):
        _ = rows.measured(job)
    assert benchmark.named("7") == benchmark.named("fsrcnn")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--without", "tensorrt"),
            "`--without` (=tensorrt) names no runner 'tensorrt'; legal are eager, channels last",
        ),
        (("--models", "0,99"), "`--models` (=0,99) names no model '99'; legal are 0 to "),
        (("--models", "vgg"), "`--models` (=vgg) names no model 'vgg'; legal are 0 to "),
        (
            ("--threads", "1,0"),
            "`--threads` (=1,0) must be numbers from 1 to 999, joined by commas",
        ),
        (
            ("--without", "eager,channels last,compile,ONNX Runtime,OpenVINO"),
            "must leave one of ours and one other",
        ),
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
        _ = table(benchmark, monkeypatch, *words)
    assert message in capsys.readouterr().err
