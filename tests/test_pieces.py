"""Products over many taps or channels, cut into pieces, and kernel gradients of gathered cells:
exact, and orderly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backstride as bs
from backstride import reference
from backstride.layout import AnyArray
from implementations import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="this installation is pure Python")
# Sizes of conv_transpose's input, kernel, strides, dilation, crop, channels in and out, groups.
CASES: dict[str, tuple[Any, ...]] = {
    "k == s": ((7, 6), (2, 2), (2, 2), 1, 0, 200, 50, 1),
    "k == s, deep": ((6, 5), (2, 2), (2, 2), 1, 0, 150, 400, 1),
    "many taps": ((30,), (150,), (16,), 1, 0, 140, 5, 1),
    "many taps, cropped": ((30,), (150,), (16,), 1, 9, 140, 40, 1),
    "many taps, dilated": ((30,), (70,), (5,), 2, 0, 135, 7, 1),
    "many taps on two axes": ((5, 6), (20, 9), (10, 4), 1, 0, 131, 11, 1),
    "one output": ((40,), (64,), (16,), 1, 8, 257, 1, 1),
    "cropped": ((9, 8), (4, 3), (2, 1), 1, 1, 160, 13, 1),
    "negative crop": ((9, 8), (2, 2), (2, 2), 1, -1, 160, 13, 1),
    "groups": ((9, 8), (2, 3), (2, 2), 1, 0, 280, 30, 2),
    "3-D": ((3, 4, 4), (2, 2, 2), (2, 2, 2), 1, 0, 130, 20, 1),
}


def layer(kind: str, most: int) -> tuple[AnyArray, AnyArray, AnyArray, bs.Geometry, dict[str, Any]]:
    """x, y and the kernel as integers up to `most` in float32, the geometry, and the options of a
    call.
    """
    size, taps, strides, dilation, crop, small, big, groups = CASES[kind]
    where = bs.geometry(size, taps, strides=strides, dilation=dilation, padding=crop)
    random = np.random.default_rng(len(kind))
    shapes = (2, *size, small), (2, *where.output, big), (*taps, big // groups, small)
    x, y, kernel = (random.integers(-most, most + 1, shape).astype(np.float32) for shape in shapes)
    return (
        x,
        y,
        kernel,
        where,
        {"strides": strides, "dilation": dilation, "padding": crop, "groups": groups},
    )


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", CASES)
def test_small_integers_are_exact(kind: str) -> None:
    x, y, kernel, where, options = layer(kind, 3)
    groups = options["groups"]
    assert np.array_equal(
        bs.conv(y, kernel, **options), reference.conv(y, kernel, where, groups=groups)
    )
    gradient = bs.conv_kernel_gradient(y, x, kernel.shape, **options)
    assert np.array_equal(gradient, reference.conv_kernel_gradient(x, y, where, groups=groups))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", CASES)
def test_the_same_bits_for_any_number_of_threads(kind: str) -> None:
    x, y, kernel, _, options = layer(kind, 2**20)
    results: list[tuple[AnyArray, AnyArray]] = []
    try:
        for count in (1, 2, 5):
            bs.set_num_threads(count)
            results.append(
                (
                    bs.conv(y, kernel, **options),
                    bs.conv_kernel_gradient(y, x, kernel.shape, **options),
                )
            )
    finally:
        bs.set_num_threads(0)
    for down, gradient in results[1:]:
        assert np.array_equal(down, results[0][0])
        assert np.array_equal(gradient, results[0][1])


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["one output", "cropped", "negative crop", "groups"])
def test_nan_and_infinity_go_where_the_definition_sends_them(kind: str, value: float) -> None:
    x, y, kernel, where, options = layer(kind, 3)
    x[1, ..., 0][(0,) * len(CASES[kind][0])] = value
    gradient = bs.conv_kernel_gradient(y, x, kernel.shape, **options)
    with np.errstate(invalid="ignore"):
        expected = reference.conv_kernel_gradient(x, y, where, groups=options["groups"])
    assert np.array_equal(gradient, expected, equal_nan=True)
