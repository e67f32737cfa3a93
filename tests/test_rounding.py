"""What rounding may do: bounds that hold for any numbers, outliers among them, and cells that
nothing reaches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import backstride as bs
from backstride import reference
from backstride.layout import AnyArray
from implementations import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="this installation is pure Python")
# Sizes of conv_transpose's input, kernel, strides, channels in and out, groups.
CASES: dict[str, tuple[Any, ...]] = {
    "3x3 s1": ((11, 9), (3, 3), (1, 1), 24, 25, 1),
    "4x4 s2": ((9, 10), (4, 4), (2, 2), 40, 33, 1),
    "4x4 s2 to few": ((9, 10), (4, 4), (2, 2), 32, 6, 1),
    "5x5 s2": ((8, 7), (5, 5), (2, 2), 32, 40, 1),
    "7x7 s2": ((9, 8), (7, 7), (2, 2), 24, 24, 1),
    "2x2 s3": ((6, 6), (2, 2), (3, 3), 24, 24, 1),
    "groups": ((8, 8), (4, 4), (2, 2), 66, 70, 2),
    "1-D k=8 s=4": ((70,), (8,), (4,), 64, 48, 1),
    "1-D k=11 s=1": ((80,), (11,), (1,), 40, 48, 1),
    "3-D 3x3x3 s1": ((4, 6, 7), (3, 3, 3), (1, 1, 1), 24, 25, 1),
}
ROUNDING = 2.0**-24
FAR = 3  # cells: as long as a tile, less one


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> AnyArray:
    return random.standard_normal(shape)


def outliers(random: np.random.Generator, shape: tuple[int, ...]) -> AnyArray:
    return normal(random, shape) * np.where(random.random((*shape[:-1], 1)) < 0.02, 1e5, 1)


def heavy_tails(random: np.random.Generator, shape: tuple[int, ...]) -> AnyArray:
    return random.standard_cauchy(shape)


def one_sign(random: np.random.Generator, shape: tuple[int, ...]) -> AnyArray:
    """Equal numbers, whose rounding errors go one way."""
    return np.full(shape, random.choice([0.1, 0.3, 0.7]))


def scales(random: np.random.Generator, shape: tuple[int, ...]) -> AnyArray:
    """From next to nothing to numbers that tiles do not take."""
    return normal(random, shape) * 10.0 ** random.integers(-20, 29, (*shape[:-1], 1))


NUMBERS = (outliers, heavy_tails, one_sign, scales)


def nearby(array: AnyArray, steps: tuple[int, ...]) -> AnyArray:
    """The largest magnitude within `FAR` steps along the inner two axes of (N, *size, C)."""
    result: AnyArray = np.abs(array)
    for axis, step in list(enumerate(steps, start=1))[-2:]:
        wide: AnyArray = np.pad(
            result, [(FAR * step, FAR * step) if n == axis else (0, 0) for n in range(result.ndim)]
        )
        places = range(0, 2 * FAR * step + 1, step)
        parts = [np.take(wide, list(range(n, n + result.shape[axis])), axis) for n in places]
        result = np.max(np.stack(parts), axis=0)
    return result


def check(
    found: AnyArray,
    exact: AnyArray,
    terms: AnyArray,
    sums: AnyArray,
    tiled: AnyArray | None,
    rank: int,
) -> None:
    """`sums`: of |x||w|. `tiled`: of |w| and the largest |x| nearby, where tiles may have run."""
    count = float(terms.max())
    bound = sums * (math.expm1(count * ROUNDING * 1.01) + count * 2.0**-53)
    if tiled is not None:
        bound = np.maximum(
            bound, 4.0 ** min(rank, 2) * math.expm1((count + 10) * ROUNDING * 1.01) * tiled
        )
    assert (np.abs(found.astype(np.float64) - exact) <= bound).all()
    assert not found[terms == 0].any()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("kind", CASES)
def test_errors_are_within_the_bounds_that_are_promised(kind: str, numbers: Any) -> None:
    size, taps, strides, small, big, groups = CASES[kind]
    rank, random = len(size), np.random.default_rng(len(kind))
    padding = [(-5, 1)] * rank if strides[0] > 1 else [(1, -4)] * rank
    where = bs.geometry(size, taps, strides=strides, padding=padding)
    x = numbers(random, (2, *size, small)).astype(np.float32)
    y = numbers(random, (2, *where.output, big)).astype(np.float32)
    w = normal(random, (*taps, big // groups, small)).astype(np.float32)
    other = normal(random, y.shape).astype(np.float32)
    options: dict[str, Any] = {"strides": strides, "groups": groups}
    one, two, three = (np.ones(array.shape) for array in (x, y, w))
    wide, image, kernel, even = (array.astype(np.float64) for array in (x, y, w, other))

    def up(a: AnyArray, b: AnyArray) -> AnyArray:
        return reference.conv_transpose(a, b, where, groups=groups)

    def down(a: AnyArray, b: AnyArray) -> AnyArray:
        return reference.conv(a, b, where, groups=groups)

    def gradient(a: AnyArray, b: AnyArray) -> AnyArray:
        return reference.conv_kernel_gradient(a, b, where, groups=groups)

    all_faces: Any = (
        (bs.conv_transpose, up, (x, w), wide, kernel, (one, three), (1,) * rank),
        (bs.conv, down, (y, w), image, kernel, (two, three), strides),
        (
            bs.conv_kernel_gradient,
            gradient,
            (other, x, w.shape),
            wide,
            even,
            (one, two),
            (1,) * rank,
        ),
    )
    for run, faces, arrays, a, b, units, steps in all_faces:
        exact, sums, terms = faces(a, b), faces(np.abs(a), np.abs(b)), faces(*units)
        for winograd in (True, False):
            found = run(*arrays, padding=padding, winograd=winograd, **options)
            tiled = faces(nearby(a, steps), np.abs(b)) if winograd else None
            check(found, exact, terms, sums, tiled, rank)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("winograd", [True, False])
def test_an_outlier_changes_nothing_beyond_its_tile(kind: str, winograd: bool) -> None:
    """To the bit: a tile reaches three cells beyond what reads the outlier; sums of products,
    none.
    """
    size, taps, strides, small, big, groups = CASES[kind]
    where, random = bs.geometry(size, taps, strides=strides), np.random.default_rng(len(kind))
    x = normal(random, (1, *size, small)).astype(np.float32)
    w = normal(random, (*taps, big // groups, small)).astype(np.float32)
    cell, mark = (0, *(cells // 2 for cells in size)), np.zeros((1, *size, small))
    spoiled = x.copy()
    spoiled[cell] = mark[cell] = 1e6
    reach = nearby(mark, (1,) * len(size)) if winograd else mark
    others = reference.conv_transpose(reach, np.ones(w.shape), where, groups=groups) == 0
    plan = bs.plan(w, strides=strides, groups=groups, winograd=winograd)
    assert others.any() or winograd
    assert np.array_equal(plan(x)[others], plan(spoiled)[others])


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid"])
@pytest.mark.parametrize("kind", CASES)
def test_cells_that_no_tap_reaches_hold_the_bias_alone(kind: str, activation: Any) -> None:
    size, taps, strides, small, big, groups = CASES[kind]
    padding, random = [(-3, -4)] * len(size), np.random.default_rng(len(kind))
    where = bs.geometry(size, taps, strides=strides, padding=padding)
    x = 1e15 * normal(random, (1, *size, small)).astype(np.float32)
    w, bias = (
        normal(random, shape).astype(np.float32)
        for shape in ((*taps, big // groups, small), (big,))
    )
    reached = reference.conv_transpose(np.ones(x.shape), np.ones(w.shape), where, groups=groups) > 0
    options: dict[str, Any] = {"strides": strides, "groups": groups, "activation": activation}
    found = bs.conv_transpose(x, w, bias, padding=padding, **options)
    alone = bs.conv_transpose(np.zeros_like(x), w, bias, padding=padding, **options)
    assert not reached.all()
    assert np.array_equal(found[~reached], alone[~reached])
    first = bs.conv_transpose(
        np.moveaxis(x, -1, 1),
        np.moveaxis(w, (-1, -2), (0, 1)),
        bias,
        padding=padding,
        data_format="channels_first",
        **options,
    )
    assert np.array_equal(np.moveaxis(first, 1, -1)[~reached], alone[~reached])
