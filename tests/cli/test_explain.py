"""backstride explain as a user meets it: a subprocess, its output, its files, its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backstride.explain.values import read, show

CALL = 'Conv2DTranspose(128, 3, strides=2, padding="same")'


def explain(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    program = "from backstride.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "explain", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )


def test_the_article_s_layer() -> None:
    done = explain(CALL, "--input", "7x7x256")
    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    assert words.startswith("7 x 7, 256 channels -> 14 x 14, 128 channels")
    for part in (
        "(7 - 1) * 2 + 3 - 0 - 1 = 14",
        "the odd one off the back",
        "x[n]*w[0] + x[n-1]*w[2]",
        "Checkerboard score 0.75",
        'keras.layers.Conv2DTranspose(128, 4, strides=2, padding="same")',
        "13,107,200 multiply-adds",
        "295,040 parameters",
        "PyTorch exact with a crop",
        "TensorFlow Lite exact",
    ):
        assert part in words


@pytest.mark.parametrize(
    ("call", "size", "output"),
    [
        ("torch.nn.ConvTranspose2d(256, 128, 4, 2, 1)", "7x7", [14, 14]),
        (
            (
                "tf.nn.conv2d_transpose(x, w, output_shape=[64,14,14,128], strides=[1,2,2,1], "
                'padding="SAME")'
            ),
            "7x7",
            [14, 14],
        ),
        ("jax.lax.conv_transpose(x, w, (2, 2), 'SAME')", "7x7", [14, 14]),
        ("k=4 s=2 p=1", "7", [14]),
    ],
)
def test_calls_of_every_kind_as_data(call: str, size: str, output: list[int]) -> None:
    done = explain(call, "--input", size, "--json", *(["--kernel", "3x3"] if "w," in call else []))
    data: dict[str, Any] = json.loads(done.stdout)
    assert data["geometry"]["output"] == output
    assert len(data["trace"]["meetings"]) > 0
    assert {entry["framework"] for entry in data["elsewhere"]} >= {
        "PyTorch",
        "Keras",
        "JAX",
        "ONNX",
        "MLX",
    }


def test_sizes_too_large_to_draw_are_explained_as_data(tmp_path: Path) -> None:
    done = explain("k=4 s=2 p=1", "--input", "512x512", "--json")
    data: dict[str, Any] = json.loads(done.stdout)
    assert data["geometry"]["output"] == [1024, 1024]
    assert data["trace"] is None  # a picture shows the ends alone, the data would be all of it
    done = explain(
        "k=200 s=2", "--input", "512x512", "--svg", "out.svg", "--html", "out.html", folder=tmp_path
    )
    assert done.returncode == 2
    assert "--json" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_written(tmp_path: Path) -> None:
    _ = pytest.importorskip("av", reason="MP4 needs PyAV")
    kinds = {"svg": b"<svg", "gif": b"GIF89a", "png": b"\x89PNG", "html": b"<!doctype html>"}
    (tmp_path / "out").mkdir()
    words = [word for kind in (*kinds, "mp4") for word in (f"--{kind}", f"out/call.{kind}")]
    done = explain("k=3 s=2 p=same", "--input", "3", "--numbers", *words, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for kind, start in kinds.items():
        assert (tmp_path / "out" / f"call.{kind}").read_bytes().startswith(start)
    assert b"ftyp" in (tmp_path / "out" / "call.mp4").read_bytes()[:16]
    assert "http" not in (tmp_path / "out" / "call.html").read_text().replace(
        "http://www.w3.org/2000/svg", ""
    )


def test_numbers_fit_their_cells() -> None:
    for number in (1e300, -1e300, 1e-300, -1.5e-300, 123456789, -0.00012345, 10**30):
        text = show(number)
        assert len(text) <= 7
        assert float(text) == pytest.approx(number, rel=0.5)


def test_numbers_from_words_and_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.array([1, 2, 3]))
    words = ("--input", "2", "--x", "5 7", "--w", "w.npy", "--svg", "out.svg")
    done = explain("k=3 s=2", *words, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    text = (tmp_path / "out.svg").read_text()
    for number in (5, 10, 22, 14, 21):
        assert f">{number}</text>" in text


def test_the_matrix_comes_with_its_proof() -> None:
    _ = pytest.importorskip("scipy.sparse", reason="matrices need SciPy")
    done = explain("k=3 s=2", "--input", "2", "--matrix")
    assert "the convolution C, 2 x 5" in done.stdout
    assert "C.T - T has 0 entries that are not 0" in done.stdout
    matrix = json.loads(explain("k=3 s=2", "--input", "2", "--matrix", "--json").stdout)["matrix"]
    assert (matrix["shape"], matrix["differing"]) == ([5, 2], 0)
    assert matrix["transposed"] == [
        [0, 0, 0],
        [1, 0, 1],
        [2, 0, 2],
        [2, 1, 0],
        [3, 1, 1],
        [4, 1, 2],
    ]


def test_a_convolution_by_its_own_options() -> None:
    done = explain("k=3 s=2 p=1", "--input", "5x5", "--convolution", "--json")
    data: dict[str, Any] = json.loads(done.stdout)
    assert (data["geometry"]["output"], data["geometry"]["input"]) == ([5, 5], [3, 3])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Conv2DTranspose(128, 3"], "`call` cannot be read at column"),
        (["Conv2DTrnspose(128, 3)", "--input", "7"], "`call` names Conv2DTrnspose at column 1"),
        (["Conv2DTranspose(128, 3, stride=2)", "--input", "7"], "`stride` at column"),
        ([CALL], "`input` is not said by keras.layers.Conv2DTranspose"),
        ([CALL, "--input", "7x7x7x7x7"], "`input` (=(7, 7, 7, 7, 7)) must have 2 spatial sizes"),
        (
            ["k=3", "--input", "3", "--view", "side", "--svg", "x.svg"],
            "`view` (='side') must be one of scatter",
        ),
        (
            ["k=3", "--input", "3", "--theme", "red", "--svg", "x.svg"],
            "`theme` (='red') must be light, dark or auto",
        ),
        (["k=3", "--input", "3", "--x", "1 2", "--svg", "x.svg"], "`x` has shape 2; it must be 3"),
        (
            ["k=3", "--input", "3", "--x", "1 nan 2", "--svg", "x.svg"],
            "`x` must hold finite real numbers",
        ),
        (
            ["k=3", "--input", "3", "--x", "none.npy", "--svg", "x.svg"],
            "`x` (='none.npy') must be a .npy file",
        ),
        (["k=3", "--input", "3", "--svg", "/"], "`svg` (='/') is a folder; name a file in it"),
        (
            ["k=3", "--input", "3x3x3x3", "--gif", "x.gif"],
            "`input` (=(3, 3, 3, 3)) has 4 axes; 1 to 3 are supported",
        ),
        (
            ["k=200 s=2", "--input", "9x9", "--gif", "x.gif"],
            "`kernel` (=(200, 200)) has 40000 taps, too many to draw",
        ),
        ([CALL, "--input", "7", "--convolution"], "`convolution` goes with options"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = explain(*words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"backstride: {message}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_in_an_array_file_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    done = explain("k=3", "--input", "1", "--x", "x.npy", "--svg", "out.svg", folder=tmp_path)
    assert done.returncode == 2
    assert "must be a .npy file of numbers" in done.stderr


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


HOSTILE = {
    "huge": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
        "has 0 bytes",
    ),
    "negative": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}\n") + b"0" * 64,
        "says shape -1",
    ),
    "brackets": (header("(" * 2000), "its header is damaged"),
    "dashes": (header("-" * 3000), "its header is damaged"),
    "zip": (b"PK\x03\x04" + b"\0" * 60, "or it is another kind of file"),
    "empty": (b"", "its header is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_are_no_arrays(name: str, tmp_path: Path) -> None:
    content, words = HOSTILE[name]
    path = tmp_path / "x.npy"
    _ = path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^`x` \(='.*x.npy'\) must be a .npy file of numbers: "
    ) as caught:
        _ = read("x", str(path), (3, 3))
    assert words in str(caught.value)


def test_arrays_of_either_order_of_axes_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for array in (
        np.asfortranarray(np.arange(9.0).reshape(3, 3)),
        np.arange(9, dtype=">i4").reshape(3, 3),
    ):
        np.save(path, array)
        assert read("x", str(path), (3, 3)) == tuple(range(9))


def test_an_explanation_loads_neither_framework_nor_drawing_library() -> None:
    program = (
        f"import sys; from backstride.cli import main\ntry: main(['explain', {CALL!r}, '--input', "
        "'7x7x256'])\nexcept SystemExit: pass\nheavy = ('torch', 'tensorflow', 'jax', 'onnx', "
        "'scipy', 'PIL', 'av', 'starlette', 'uvicorn', 'matplotlib')\nprint([name for name in "
        "heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
