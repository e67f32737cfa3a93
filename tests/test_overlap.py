"""Few output channels: overlapped products equal the definition, on lines of any length, and keep
their bits.
"""

from typing import Any

import numpy as np
import pytest

import backstride as bs


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "big"),
    [((80, 300), 4, 2, 3), ((3, 90, 280), 3, 2, 1), ((40, 50), 12, 3, 1), ((500,), 16, 4, 5)],
    ids=["bands", "planes", "more than 128 products", "pieces of a line"],
)
def test_few_output_channels_equal_the_definition_across_boxes(
    size: tuple[int, ...], kernel_size: int, stride: int, big: int, data_format: Any
) -> None:
    rng, rank = np.random.default_rng(big), len(size)
    x = rng.integers(-4, 5, (2, *size, 5)).astype(np.float32)
    kernel = rng.integers(-4, 5, (*(kernel_size,) * rank, big, 5)).astype(np.float32)
    if data_format == "channels_first":
        x, kernel = (
            np.moveaxis(x, -1, 1).copy(),
            kernel.transpose(rank + 1, rank, *range(rank)).copy(),
        )
    overlap, definition = (
        bs.plan(kernel, strides=stride, padding=1, data_format=data_format, algorithm=name)(x)
        for name in ("overlap", "definition")
    )
    np.testing.assert_array_equal(overlap, definition)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    ("size", "kernel_size", "options", "big"),
    [
        ((14, 14), 5, {"strides": 2, "padding": [(2, 1), (1, 2)]}, 1),
        ((7, 9), 4, {"strides": 2, "padding": 1}, 3),
        ((4, 4), 3, {"strides": 1}, 2),
        ((6, 5, 7), 4, {"strides": 2, "padding": 1}, 1),
        ((11,), 4, {"strides": 3, "padding": 2}, 5),
        ((5, 3), 3, {"strides": (3, 4), "dilation": (2, 3)}, 2),
        ((3, 2), 2, {"strides": 2, "padding": [(2, 3), (1, 2)]}, 1),
        ((700, 12), 5, {"strides": 2, "padding": 2}, 2),
        ((16, 16), 3, {"strides": 2, "padding": 1, "output_padding": 1}, 3),
    ],
)
@pytest.mark.parametrize("channels", [3, 40])
def test_short_lines_and_images_beside_each_other_equal_the_definition(
    size: tuple[int, ...],
    kernel_size: int,
    options: dict[str, Any],
    big: int,
    channels: int,
    data_format: Any,
) -> None:
    rng, rank = np.random.default_rng(big), len(size)
    x = rng.integers(-4, 5, (7, *size, channels)).astype(np.float32)
    kernel = rng.integers(-4, 5, (*(kernel_size,) * rank, big, channels)).astype(np.float32)
    bias = rng.integers(-4, 5, big).astype(np.float32)
    if data_format == "channels_first":
        x, kernel = (
            np.moveaxis(x, -1, 1).copy(),
            kernel.transpose(rank + 1, rank, *range(rank)).copy(),
        )
    overlap, definition = (
        bs.plan(kernel, bias, **options, data_format=data_format, algorithm=name)(x)
        for name in ("overlap", "definition")
    )
    np.testing.assert_array_equal(overlap, definition)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_short_lines_have_the_same_bits_alone_and_beside_each_other(data_format: Any) -> None:
    """Whatever images and lines they share vectors with, and however a plane is cut for threads."""
    rng = np.random.default_rng(0)
    x, kernel = (
        rng.standard_normal((5, 40, 30, 64), np.float32),
        rng.standard_normal((5, 5, 1, 64), np.float32),
    )
    if data_format == "channels_first":
        x, kernel = np.moveaxis(x, -1, 1).copy(), kernel.transpose(3, 2, 0, 1).copy()
    up, before = (
        bs.plan(kernel, strides=2, padding=2, data_format=data_format),
        bs.get_num_threads(),
    )
    assert up.algorithm == "overlap"
    try:
        bs.set_num_threads(1)
        together = up(x)
        bs.set_num_threads(3)
        alone = np.concatenate([up(image[None]) for image in x])
        shared = up(x)
    finally:
        bs.set_num_threads(before)
    assert together.tobytes() == alone.tobytes() == shared.tobytes()


def test_an_infinity_between_short_lines_stays_where_the_definition_sends_it() -> None:
    x, kernel = np.ones((3, 6, 6, 4), np.float32), np.ones((4, 4, 1, 4), np.float32)
    x[1, 5, 5, 2], x[2, 0, 0, 0] = np.inf, np.nan
    overlap, definition = (
        bs.plan(kernel, strides=2, algorithm=name)(x) for name in ("overlap", "definition")
    )
    np.testing.assert_array_equal(overlap, definition)
