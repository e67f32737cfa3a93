"""backstride port, as a user types it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backstride.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["port", *words])
    out, err = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, out, err


def test_the_printed_program_runs_as_it_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    call = 'Conv2DTranspose(4, 3, strides=2, padding="same")'
    code, out, err = run(capsys, call, "--input", "5x6x3", "--to", "torch", "--no-check")
    assert (code, err) == (0, "")
    program = tmp_path / "program.py"
    _ = program.write_text(out)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1, 4, 10, 12)\n"


def test_the_check_says_what_ran_and_how_far_it_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    code, out, _ = run(capsys, "nn.ConvTranspose1d(2, 3, 4, 2, 1)", "--to", "torch", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["check"]["largest"] == 0.0
    assert found["check"]["source"].startswith("torch 2.")
    assert (found["verdict"], found["output"], found["crop"]) == ("exact", [14], [[1, 1]])
    assert found["code"].startswith("# nn.ConvTranspose1d(2, 3, 4, 2, 1) in PyTorch: exact\n")


def test_what_cannot_run_here_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    code, out, _ = run(capsys, "k=3 s=2", "--to", "coreml")
    if sys.platform == "darwin":
        pytest.skip("Core ML runs here")
    assert code == 0
    assert out.splitlines()[-1] in {
        "# not run: Core ML runs on macOS only",
        "# not run: coremltools is not installed here",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("k=3", "--to", "trch"),
            "backstride: `to` (='trch') is not known; the nearest are torch\n",
        ),
        (
            ("k=3", "--to", "torch", "--input", "7xx7"),
            (
                "backstride: `input` (='7xx7') must be a size, or sizes joined by x; for example "
                "12 or 46x62\n"
            ),
        ),
        (
            ("tf.nn.conv2d_transpose(x, w, [1, 14, 14, 8], 2)", "--to", "torch"),
            (
                "backstride: `kernel` is not said by tf.nn.conv2d_transpose; give its size, for "
                "example kernel=3 or kernel=(3, 3)\n"
            ),
        ),
        (
            ("nn.ConvTranspose2d(2, 3, 2)", "--to", "keras", "--out", "x.npz"),
            (
                "backstride: `--out` (=x.npz) is for converted weights; give --weights, or drop "
                "--out\n"
            ),
        ),
    ],
    ids=["target", "input", "kernel", "out"],
)
def test_bad_input_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert run(capsys, *words) == (2, "", message)


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "Example: backstride port 'Conv2DTranspose(128, 3, strides=2" in " ".join(out.split())


PAGE = Path(__file__).parents[2] / "docs" / "port.md"
COMMANDS = [
    line
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("backstride port ")
]


def write_model(path: Path) -> None:
    """A file with one node, `up`."""
    onnx: Any = pytest.importorskip("onnx", reason="ONNX is not installed")
    kernel = onnx.numpy_helper.from_array(np.ones((3, 2, 3, 3), np.float32), "kernel")
    node = onnx.helper.make_node("ConvTranspose", ["x", "kernel"], ["y"], "up", strides=[2, 2])
    sizes = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy"
    ]
    onnx.save(
        onnx.helper.make_model(
            onnx.helper.make_graph([node], "layer", sizes[:1], sizes[1:], [kernel])
        ),
        path,
    )


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_page_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "model.onnx" in line:
        write_model(tmp_path / "model.onnx")
    code, out, err = run(capsys, *shlex.split(line)[2:], "--no-check")
    assert (code, err) == (0, "")
    assert "def up(x):" in out


@pytest.mark.parametrize(
    "out", ["up.safetensors", "link.safetensors", "other.onnx", "no/up.safetensors"]
)
def test_the_weights_that_are_read_are_not_written_over(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    path, link = tmp_path / "up.safetensors", tmp_path / "link.safetensors"
    library.save_file(
        {"up.weight": np.ones((4, 3, 3, 3), np.float32), "head": np.ones(2, np.float32)}, str(path)
    )
    link.symlink_to(path)
    before = path.read_bytes()
    words = ("--to", "keras", "--weights", str(path), "--out", str(tmp_path / out), "--no-check")
    code, _, err = run(capsys, "nn.ConvTranspose2d(4, 3, 3, 2, 1)", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"backstride: `out` (={str(tmp_path / out)!r}) ")
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [link, path]
