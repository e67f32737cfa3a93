"""The article that this project starts from: its listings, its printed numbers, its sentences, its
mistakes.

Manuel Cuevas, "Transpose a CNN (TensorFlow)". Each correction in docs/article.md is a test here.
"""

from __future__ import annotations

import doctest
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import backstride as bs
from backstride.initializers import random_normal

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "article.md").read_text(encoding="utf-8")

# SHA-256 of the listings with the article's own import line
DIGESTS = {
    1: "39ae43d2583807c74111bc84475c0f4df22f4140ea8ec1d260fc0b36474180f9",
    2: "61e6eb8ceda80cfccf990015f4cccdf3eae0f158a6832377c980d638239320cb",
}

# The article's table: the input, and the transpose of a dense as of a convolutional layer
TABLE = """
4.17022005e-01 1.9132932e+00    7.20324493e-01 3.3048427e+00    1.14374817e-04 5.2475062e-04
3.02332573e-01 1.3870993e+00    1.46755891e-01 6.7331469e-01    9.23385948e-02 4.2364866e-01
1.86260211e-01 8.5456026e-01    3.45560727e-01 1.5854297e+00    3.96767474e-01 1.8203658e+00
5.38816734e-01 2.4720864e+00    4.19194514e-01 1.9232609e+00    6.85219500e-01 3.1437812e+00
2.04452250e-01 9.3802512e-01    8.78117436e-01 4.0287952e+00    2.73875932e-02 1.2565404e-01
6.70467510e-01 3.0760992e+00
"""
INPUTS, TRANSPOSES = TABLE.split()[::2], TABLE.split()[1::2]

SHAPES = [
    "(64, 14, 14, 128)",
    "(64, 14, 14, 128)",
    "(64, 7, 7, 256)",
    "upsample example",
    "(64, 4, 4, 256)",
    "(64, 12, 12, 128)",
    "(64, 14, 14, 128)",
]


def listing(number: int) -> Path:
    return ROOT / "examples" / f"article_listing_{number}.py"


@cache
def printed(number: int, implementation: str = "") -> str:
    environment = {**os.environ, "BACKSTRIDE_IMPLEMENTATION": implementation}
    command = [sys.executable, "-W", "error", str(listing(number))]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def floats(text: str) -> list[str]:
    return re.findall(r"-?\d\.\d+e[+-]\d\d", text)


# The listings


@pytest.mark.parametrize("number", DIGESTS)
def test_the_import_is_the_only_changed_line(number: int) -> None:
    source = listing(number).read_text(encoding="utf-8")
    original = source.replace("import backstride.tf1 as tf\n", "import tensorflow as tf\n")
    assert original != source
    assert hashlib.sha256(original.encode()).hexdigest() == DIGESTS[number]


@pytest.mark.parametrize("implementation", [row.name for row in bs.implementations() if row.usable])
def test_listing_1_prints_the_articles_table(implementation: str) -> None:
    head, by_conv, by_dense = re.split(
        r"transpose of a (?:conv|dense) layer: ", printed(1, implementation)
    )
    assert floats(head)[:16] == INPUTS
    for part in (by_conv, by_dense):
        assert part.startswith("(1, 4, 4, 1) \n")
        assert floats(part) == TRANSPOSES


def test_listing_1_finds_dense_and_1x1_convolution_equal() -> None:
    text = printed(1)
    dense, conv = (
        np.array(floats(part.split("Same")[0]), float) for part in text.split("Output = ")[1:]
    )
    assert dense.shape == conv.shape == (32,)
    np.testing.assert_allclose(dense, conv, atol=1e-5)
    assert re.findall(r"Same output\? = (\w+)", text) == ["True", "True"]


def test_listing_2_prints_the_articles_shapes() -> None:
    first, *lines = printed(2).splitlines()
    assert (
        first == "downsampleg example"
    )  # as in the listing; the article's results say "downsample example"
    assert lines == SHAPES


@pytest.mark.parametrize("number", DIGESTS)
def test_the_page_shows_what_is_printed(number: int) -> None:
    blocks = re.findall(
        rf"```console\n\$ python examples/article_listing_{number}\.py\n(.*?)```", PAGE, re.DOTALL
    )
    assert len(blocks) == 1
    checker, loosely = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert checker.check_output(blocks[0], printed(number), loosely)
    wrong = (
        printed(number)
        .replace("(64, 12, 12, 128)", "(64, 13, 13, 128)")
        .replace("1.9132932", "1.9132934")
    )
    assert not checker.check_output(blocks[0], wrong, loosely)


# The sentences


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "output"),
    [
        (
            (2, 2),
            3,
            "same",
            (4, 4),
        ),  # "a 2x2 input and a 3x3 kernel; with SAME padding, and a stride of 2 [...] 4x4"
        (
            (3, 3),
            5,
            "same",
            (6, 6),
        ),  # "a 3x3 input [...] 6x6 [...] filter was of size 5x5 [...] stride of 2, SAME"
        (
            (4, 4),
            3,
            "valid",
            (9, 9),
        ),  # "if it were changed to (3, 3) [...] (9, 9), at least with VALID padding"
        ((4, 4), 3, "same", (8, 8)),  # "how we get from a height and width from (4, 4) to (8, 8)"
        (
            (4, 4),
            1,
            "same",
            (8, 8),
        ),  # "the kernel size could also be (1, 1) and the output shape would be the same"
        ((4, 4), 1, "valid", (8, 8)),
        ((4, 4), 2, "valid", (8, 8)),
    ],
)
def test_sizes_at_stride_2(
    size: tuple[int, int], kernel: int, padding: str, output: tuple[int, int]
) -> None:
    rule = "same" if padding == "same" else "valid"
    assert bs.geometry(size, kernel, strides=2, padding=rule).output == output
    y = bs.conv_transpose(
        np.ones((1, *size, 1)), np.ones((kernel, kernel, 1, 1)), strides=2, padding=rule
    )
    assert y.shape == (1, *output, 1)


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_a_regular_convolution_gives_2_by_2(kernel: int) -> None:
    """ "If this were a regular convolution the output height and width would be (2, 2)"."""
    x, weights = np.ones((1, 4, 4, 1)), np.ones((kernel, kernel, 1, 1))
    assert bs.conv(x, weights, strides=2, padding="same").shape == (1, 2, 2, 1)


def test_each_pixel_gives_a_weighted_kernel() -> None:
    """ "multiplying each pixel of your input with a kernel [...] a weighted kernel of size 5x5"."""
    kernel = np.arange(25.0).reshape(5, 5, 1, 1)
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 2, 0] = 7.0
    y = bs.conv_transpose(x, kernel, strides=2)
    assert y.shape == (1, 9, 9, 1)
    np.testing.assert_array_equal(y[0, 2:7, 4:9, 0], 7 * kernel[:, :, 0, 0])
    assert np.count_nonzero(y) == 24


# The corrections


def test_the_listing_has_stride_1_so_its_size_stays() -> None:
    assert "conv2d_transpose(conv_out, 1, (1, 1), (1, 1), kernel_initializer" in listing(
        1
    ).read_text(encoding="utf-8")
    assert bs.geometry((4, 4), 1, strides=1).output == (4, 4)
    assert bs.geometry((4, 4), 1, strides=2).output == (8, 8)


def test_the_listings_transpose_is_one_number_times_the_input() -> None:
    weights = random_normal((2,), 0).astype(np.float64)
    factor = float(weights @ weights)
    assert factor == pytest.approx(4.58799, abs=5e-6)
    np.testing.assert_allclose(
        np.array(TRANSPOSES, float), factor * np.array(INPUTS, float), rtol=3e-7
    )


def test_1_by_1_at_stride_2_leaves_three_quarters_empty() -> None:
    y = bs.conv_transpose(np.ones((1, 4, 4, 1)), np.ones((1, 1, 1, 1)), strides=2)
    assert (y.size, np.count_nonzero(y)) == (64, 16)
    np.testing.assert_array_equal(y[0, ::2, ::2, 0], 1.0)


def matrix(sizes: Sequence[int], kernel: np.ndarray, *, transposed: bool) -> np.ndarray:
    """The matrix of a stride 2 layer, "same", between flattened maps: its columns are the images of
    single cells.
    """
    cells = np.eye(int(np.prod(sizes))).reshape(-1, *sizes, 1)
    operation = bs.conv_transpose if transposed else bs.conv
    return operation(cells, kernel, strides=2, padding="same").reshape(len(cells), -1).T


def test_the_transpose_is_of_a_matrix() -> None:
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 1))
    down = matrix((4, 4), kernel, transposed=False)
    up = matrix((2, 2), kernel, transposed=True)
    assert (down.shape, up.shape) == ((4, 16), (16, 4))
    np.testing.assert_array_equal(up, down.T)


def test_transposing_does_not_undo_the_convolution() -> None:
    kernel = np.ones((3, 3, 1, 1))
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 1))
    there = bs.conv(x, kernel, strides=2, padding="same")
    back = bs.conv_transpose(there, kernel, strides=2, padding="same")
    assert back.shape == x.shape
    assert not np.allclose(back, x)


def test_12_13_and_14_all_come_down_to_4() -> None:
    sizes = [size for size in range(3, 30) if down(size) == 4]
    assert sizes == [12, 13, 14]
    assert bs.geometry(4, 3, strides=3).output == (12,)
    for size in sizes:
        assert bs.geometry(4, 3, strides=3, output_shape=size).output == (size,)


def test_rows_beyond_12_are_zero() -> None:
    x, kernel = np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1))
    y = bs.conv_transpose(x, kernel, strides=3, output_shape=(14, 14))[0, :, :, 0]
    assert y[:12, :12].all()
    assert not y[12:].any()
    assert not y[:, 12:].any()


def down(size: int) -> int:
    return bs.conv(np.ones((1, size, 1)), np.ones((3, 1, 1)), strides=3).shape[1]
