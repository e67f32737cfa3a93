"""backstride transpose and backstride segment: files in, files out, exit codes; in this process, to
save time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the commands are shown on ONNX files")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")
pytest.importorskip("PIL", reason="pictures need Pillow")

import onnx
from PIL import Image

from backstride.cli import main
from surgery.onnx_models import HEADS, HWC, LENET

pytestmark = pytest.mark.frameworks


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Shell:
    """Runs commands in its folder."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(list(words))
        printed = self.capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, printed.out, printed.err)


@pytest.fixture
def backstride(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    _ = (tmp_path / "classifier.onnx").write_bytes(HWC.build(17).SerializeToString())
    _ = (tmp_path / "grey.onnx").write_bytes(LENET.build(17).SerializeToString())
    _ = (tmp_path / "heads.onnx").write_bytes(HEADS.build(17).SerializeToString())
    rows, columns = np.mgrid[:90, :120]
    waves = 127 + 120 * np.stack(
        [np.sin(rows / 9), np.cos(columns / 7), np.sin((rows + columns) / 11)], -1
    )
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "photo.jpg")
    return Shell(tmp_path, capsys)


def test_a_classifier_becomes_an_overlay(backstride: Shell) -> None:
    done = backstride(
        *(
            "transpose",
            "classifier.onnx",
            "--input",
            "3x18x14",
            "--output",
            "fcn.onnx",
            "--report",
            "report.html",
        ),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "n6 (MatMul)" in done.stdout
    assert "At native size the network equals the classifier" in done.stdout
    page = (backstride.folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count("backstride-report") == page.count("backstride-proof") == 1
    done = backstride("segment", "fcn.onnx", "photo.jpg", "--output", "overlay.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert "90 x 120 pixels; written to overlay.png" in done.stdout
    with Image.open(backstride.folder / "overlay.png") as found:
        assert found.size[0] >= 120
        assert found.size[1] > 90


def test_tiles_give_the_same_overlay(backstride: Shell) -> None:
    _ = backstride("transpose", "classifier.onnx", "--input", "3x18x14", "--output", "fcn.onnx")
    whole = backstride("segment", "fcn.onnx", "photo.jpg", "--output", "a.png", "--json")
    tiled = backstride(
        "segment", "fcn.onnx", "photo.jpg", "--output", "b.png", "--tile", "64", "--json"
    )
    first, second = json.loads(whole.stdout), json.loads(tiled.stdout)
    assert len(first["found"]) > 1
    assert (first["tile"], second["tile"]) == (None, 64)
    assert first["found"] == second["found"]
    assert (backstride.folder / "a.png").read_bytes() == (backstride.folder / "b.png").read_bytes()


def test_a_folder_of_results_goes_with_its_network(backstride: Shell) -> None:
    _ = backstride("transpose", "classifier.onnx", "--input", "3x18x14", "--output", "fcn.onnx")
    _ = backstride("segment", "fcn.onnx", "photo.jpg", "--output", "alone.png")
    done = backstride("segment", "fcn.onnx", "photo.jpg", "--out", "labelled", "--json")
    assert (json.loads(done.stdout)["outcomes"][0]["frames"], done.stderr) == (1, "")
    alone = (backstride.folder / "alone.png").read_bytes()
    assert (backstride.folder / "labelled" / "overlays" / "photo.png").read_bytes() == alone

    loose: Any = onnx  # some of it is untyped
    model = loose.load("fcn.onnx")
    loose.save_model(
        model, "apart.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    words = ("segment", "apart.onnx", "photo.jpg", "--out", "apart", "--json")
    assert [json.loads(backstride(*words).stdout)["resumed"] for _ in range(2)] == [0, 1]
    data = bytearray((backstride.folder / "weights.bin").read_bytes())
    first = next(
        entry for entry in model.graph.initializer if entry.data_type == onnx.TensorProto.FLOAT
    )
    data[data.index(onnx.numpy_helper.to_array(first).tobytes()) + 3] ^= 128  # the sign of a weight
    _ = (backstride.folder / "weights.bin").write_bytes(data)
    assert [json.loads(backstride(*words).stdout)["resumed"] for _ in range(2)] == [0, 1]


def test_names_numbers_and_grey(backstride: Shell) -> None:
    _ = (backstride.folder / "names.txt").write_text("sky\nsea\nsand\nstone\nsnow")
    done = backstride(
        *(
            "transpose",
            "grey.onnx",
            "--input",
            "1x20x24",
            "--output",
            "fcn.onnx",
            "--skips",
            "none",
            "--json",
        ),
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert len(report["decoder"]) == 2  # one step, and the softmax
    words = (
        "segment",
        "fcn.onnx",
        "photo.jpg",
        "--names",
        "names.txt",
        "--mean",
        "0.5",
        "--std",
        "0.2",
        "--json",
    )
    found: list[dict[str, Any]] = json.loads(backstride(*words).stdout)["found"]
    assert {entry["name"] for entry in found} <= {"sky", "sea", "sand", "stone", "snow"}
    assert sum(entry["share"] for entry in found) == pytest.approx(1)


def test_a_head_is_chosen_by_name_or_position(backstride: Shell) -> None:
    words = (
        "transpose",
        "heads.onnx",
        "--input",
        "1x12x11",
        "--output",
        "fcn.onnx",
        "--report",
        "report.html",
    )
    for head, name in (("colour", "colour"), ("0", "log"), ("-1", "colour")):
        done = backstride(*words, "--head", head)
        assert (done.returncode, done.stderr) == (0, "")
        assert f'head "{name}"' in done.stdout.partition("\n")[0]
        assert f'At native size the network equals the classifier\'s head "{name}"' in done.stdout
        page = (backstride.folder / "report.html").read_text()
        assert f"the classifier&#x27;s head &quot;{name}&quot;" in page
    found = json.loads(backstride(*words, "--head", "log", "--classes", "3", "--json").stdout)
    assert (found["heads"], found["head"], found["proof"]["holds"]) == (
        ["log", "colour"],
        "log",
        True,
    )
    assert found["outputs"][0][0] == "n6 (LogSoftmax)"
    found = json.loads(
        backstride("segment", "fcn.onnx", "photo.jpg", "--head", "scores", "--json").stdout
    )
    assert {entry["label"] for entry in found["found"]} <= {0, 1, 2}


def test_without_a_decoder_all_heads_are_kept_and_proved(backstride: Shell) -> None:
    words = (
        "transpose",
        "heads.onnx",
        "--input",
        "1x12x11",
        "--output",
        "fcn.onnx",
        "--coarse",
        "--report",
        "r.html",
    )
    done = backstride(*words)
    assert done.returncode == 0
    page = (backstride.folder / "r.html").read_text()
    for name in ("log", "colour"):
        assert f'equals the classifier\'s head "{name}"' in done.stdout
        assert f"equals the classifier&#x27;s head &quot;{name}&quot;" in page
    assert json.loads(backstride(*words, "--json").stdout)["head"] is None
    done = backstride("segment", "fcn.onnx", "photo.jpg")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "backstride: `head` (=None) must be one of the 2 heads of fcn.onnx, by name or position"
    )


FACTORY = (
    "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), "
    "nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))\n"
)
OTHERS = (
    ("none:net", "cannot be imported"),
    ("mine:failing", "fails with AttributeError: 'function' object has no attribute 'nothing'"),
)


def test_decoders_and_cells_are_chosen(backstride: Shell) -> None:
    pytest.importorskip("torch", reason="a factory gives a PyTorch module")
    safetensors = pytest.importorskip("safetensors.numpy", reason="its weights are saved so")
    _ = (backstride.folder / "chosen.py").write_text(FACTORY)
    words = ("transpose", "chosen:net", "--input", "1x8x8", "--output", "u.safetensors")
    assert backstride(*words, "--decoder", "unet", "--init", "icnr").returncode == 0
    assert "fusion.head.weight" in safetensors.load_file(backstride.folder / "u.safetensors")
    done = backstride(*words, "--dense", "valid")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = backstride(*words, "--coarse", "--dense", "shift_and_stitch", "--json")
    assert json.loads(done.stdout)["outputs"][0][1:3] == ["1", "1"]


def test_the_weights_of_a_factory_s_network_are_safetensors(backstride: Shell) -> None:
    pytest.importorskip("torch", reason="a factory gives a PyTorch module")
    safetensors = pytest.importorskip("safetensors.numpy", reason="its weights are saved so")
    _ = (backstride.folder / "mine.py").write_text(
        FACTORY + "def number():\n    return 3\ndef failing():\n    return number.nothing\n"
    )
    words = (
        "transpose",
        "mine:net",
        "--input",
        "1x8x8",
        "--output",
        "fcn.safetensors",
        "--report",
        "r.html",
    )
    done = backstride(*words)
    assert (done.returncode, done.stderr) == (0, "")
    state = safetensors.load_file(backstride.folder / "fcn.safetensors")
    assert state["backbone.4.weight"].shape == (3, 4, 3, 3)
    for model, said in (("mine:number", "gave int"), ("mine:none", "mine has no none"), *OTHERS):
        done = backstride("transpose", model, "--input", "1x8x8", "--output", "x.safetensors")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "transpose none.onnx --input 3x18x14 --output x.onnx",
            "`model` (='none.onnx') does not exist",
        ),
        (
            "transpose photo.jpg --input 3x18x14 --output x.onnx",
            "`model` (='photo.jpg') must be the path of an .onnx",
        ),
        (
            "transpose broken.onnx --input 3x18x14 --output x.onnx",
            "`model` (='broken.onnx') is no ONNX model",
        ),
        (
            "transpose classifier.onnx --input 3x18 --output x.onnx",
            "`input` (='3x18') must be channels x rows x col",
        ),
        (
            "transpose classifier.onnx --input 3x19x14 --output x.onnx",
            "`input_shape` (=(3, 19, 14)) does not fit",
        ),
        (
            "transpose classifier.onnx --input 3x18x14 --output x.keras",
            "`output` (='x.keras') must end in .onnx",
        ),
        (
            "transpose classifier.onnx --input 3x99999x99999 --output x.onnx",
            "`input_shape` (=(3, 99999, 99999)) has",
        ),
        (
            "transpose classifier.onnx --input 3x18x14 --output x.onnx --skips 3",
            "`skips` (=(3,)) must be",
        ),
        (
            "transpose classifier.onnx --input 3x18x14 --output x.onnx --report .",
            "`report` (='.') is a folder",
        ),
        (
            "segment classifier.onnx photo.jpg --output x.png",
            "`network` (='classifier.onnx') takes images of one si",
        ),
        (
            "segment broken.onnx photo.jpg --output x.png",
            "`model` (='broken.onnx') is no ONNX model",
        ),
        (
            "segment photo.jpg photo.jpg --output x.png",
            "`network` (='photo.jpg') must be the path of an .onnx or",
        ),
        (
            "segment classifier.onnx broken.onnx --output x.png",
            "`photo` (='broken.onnx') is no picture",
        ),
        ("segment classifier.onnx none.jpg --output x.png", "none.jpg: no such file or directory"),
        (
            "segment classifier.onnx photo.jpg --output x.jpg",
            "`output` (='x.jpg') must end in .png",
        ),
        (
            "segment classifier.onnx photo.png --output link.png",
            "`output` (='link.png') is the file that `photo` (='p",
        ),
        (
            "transpose classifier.onnx --input 3x18x14 --output link.onnx",
            "`output` (='link.onnx') is the file that `m",
        ),
        (
            "transpose classifier.onnx --input 3x18x14 --output no/x.onnx",
            "`output` (='no/x.onnx') lies in a folder that",
        ),
        (
            "transpose classifier.onnx --input 3x18x14 --output x.onnx --report x.txt",
            "`report` (='x.txt') must end in .h",
        ),
        (
            "transpose heads.onnx --input 1x12x11 --output x.onnx",
            (
                "`head` (=None) must be one of the 2 heads of heads.onnx, by name or position: "
                '"log" '
                "from n6 (LogSoftmax) "
            ),
        ),
        (
            "transpose heads.onnx --input 1x12x11 --output x.onnx --head 2",
            "`head` (='2') must be one of the 2 heads of",
        ),
        (
            "segment classifier.onnx photo.jpg --mean a --output x.png",
            "`mean` (='a') must be a number",
        ),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_no_file(
    words: str, said: str, backstride: Shell
) -> None:
    _ = (backstride.folder / "broken.onnx").write_bytes(
        (backstride.folder / "classifier.onnx").read_bytes()[:200]
    )
    Image.open(backstride.folder / "photo.jpg").save(backstride.folder / "photo.png")
    for ending, name in ((".png", "photo.png"), (".onnx", "classifier.onnx")):
        (backstride.folder / f"link{ending}").symlink_to(name)
    before = {path: path.read_bytes() for path in backstride.folder.iterdir()}
    done = backstride(*words.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"backstride: {said}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in backstride.folder.iterdir()} == before


def test_a_report_that_cannot_be_written_leaves_no_network(
    backstride: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise OSError(28, "No space left on device", "report.html")

    monkeypatch.setattr("backstride.surgery.file.page", refuse)
    before = set(backstride.folder.iterdir())
    words = (
        "transpose",
        "classifier.onnx",
        "--input",
        "3x18x14",
        "--output",
        "fcn.onnx",
        "--report",
        "report.html",
    )
    done = backstride(*words)
    assert (done.returncode, done.stderr) == (
        2,
        "backstride: report.html: no space left on device\n",
    )
    assert set(backstride.folder.iterdir()) == before


def test_there_is_a_name_for_each_class(backstride: Shell) -> None:
    assert (
        backstride(
            "transpose", "grey.onnx", "--input", "1x20x24", "--output", "fcn.onnx"
        ).returncode
        == 0
    )
    _ = (backstride.folder / "names.txt").write_text("sky\nsea\n\n")
    done = backstride("segment", "fcn.onnx", "photo.jpg", "--names", "names.txt")
    said = "`names` (='names.txt') has 2 names; give one for each of the 5 classes"
    assert (done.returncode, done.stderr) == (2, f"backstride: {said}\n")
