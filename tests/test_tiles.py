"""Winograd tiles that sum over phases and parts of them: close to the truth, exact on integers, and
refusable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backstride as bs
from backstride import recent, reference
from backstride.layout import AnyArray
from implementations import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="this installation is pure Python")
# Sizes of conv_transpose's input, kernel, strides, crop, channels in and out, groups.
CASES: dict[str, tuple[Any, ...]] = {
    "4x4 s2": ((9, 8), (4, 4), (2, 2), 1, 40, 33, 1),
    "3x3 s2": ((12, 11), (3, 3), (2, 2), 1, 48, 64, 1),
    "5x5 s2": ((9, 10), (5, 5), (2, 2), 0, 32, 40, 1),
    "6x4 s(3, 2)": ((8, 9), (6, 4), (3, 2), 1, 24, 48, 1),
    "3x3 s1": ((11, 12), (3, 3), (1, 1), 1, 70, 48, 1),
    "3x1 s(1, 2)": ((15, 14), (3, 1), (1, 2), 0, 64, 64, 1),
    "2x2 s2": ((12, 12), (2, 2), (2, 2), 0, 64, 64, 1),
    "groups": ((10, 10), (4, 4), (2, 2), 1, 66, 35, 2),
    "1-D k=2s": ((101,), (16,), (8,), 4, 64, 48, 1),
    "1-D k=5 s=2": ((80,), (5,), (2,), 2, 65, 64, 1),
    "1-D k=4s": ((150,), (16,), (4,), 4, 64, 48, 1),
    "1-D k=11 s=1": ((90,), (11,), (1,), 5, 40, 48, 1),
    "1-D k=7 s=2": ((90,), (7,), (2,), 2, 40, 48, 1),
    "7x7 s2": ((11, 12), (7, 7), (2, 2), 2, 32, 40, 1),
    "3-D 3x3x3 s1": ((4, 6, 7), (3, 3, 3), (1, 1, 1), 1, 32, 40, 1),
    "3-D 4x4x4 s2": ((3, 6, 5), (4, 4, 4), (2, 2, 2), 1, 32, 33, 1),
}
TILED = [kind for kind in CASES if kind != "2x2 s2"]


def layer(kind: str, most: int) -> tuple[AnyArray, AnyArray, bs.Geometry, dict[str, Any]]:
    """y and the kernel as integers up to `most`, the geometry, and the options of a call."""
    size, taps, strides, crop, small, big, groups = CASES[kind]
    where = bs.geometry(size, taps, strides=strides, padding=crop)
    random = np.random.default_rng(len(kind))
    y = random.integers(-most, most + 1, (3, *where.output, big * groups)).astype(np.float64)
    kernel = random.integers(-most, most + 1, (*taps, big, small * groups)).astype(np.float64)
    return y, kernel, where, {"strides": strides, "padding": crop, "groups": groups}


def single(*arrays: AnyArray) -> list[AnyArray]:
    return [array.astype(np.float32) for array in arrays]


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", CASES)
def test_small_integers_are_exact_in_every_layout(kind: str, data_format: Any) -> None:
    y, kernel, where, options = layer(kind, 3)
    expected = reference.conv(y, kernel, where, groups=options["groups"])
    given = single(y, kernel)
    if data_format == "channels_first":
        expected = np.moveaxis(expected, -1, 1)
        given = [
            np.moveaxis(given[0], -1, 1).copy(),
            np.moveaxis(given[1], (-1, -2), (0, 1)).copy(),
        ]
    for winograd in (True, False):
        result = bs.conv(given[0], given[1], data_format=data_format, winograd=winograd, **options)
        assert np.array_equal(result, expected)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", CASES)
def test_errors_stay_within_a_millionth_and_without_tiles_within_the_bound_of_sums(
    kind: str,
) -> None:
    y, kernel, where, options = layer(kind, 2**20)
    count = options["groups"]
    exact = reference.conv(y, kernel, where, groups=count)
    magnitude = reference.conv(np.abs(y), np.abs(kernel), where, groups=count)
    terms = reference.conv(np.ones_like(y), np.ones_like(kernel), where, groups=count)
    tiles, sums = (
        bs.conv(*single(y, kernel), winograd=winograd, **options) for winograd in (True, False)
    )
    assert np.array_equal(tiles, sums) == (kind not in TILED)
    assert (np.abs(tiles - exact) <= 1e-6 * magnitude).all()
    assert (np.abs(sums - exact) <= 4 * np.finfo(np.float32).eps * np.sqrt(terms) * magnitude).all()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", TILED)
def test_the_same_bits_for_any_number_of_threads(kind: str) -> None:
    y, kernel = single(*layer(kind, 2**20)[:2])
    options = layer(kind, 1)[3]
    results: list[bytes] = []
    for threads in (1, 2, 5):
        bs.set_num_threads(threads)
        results.append(
            bs.conv(
                y,
                kernel,
                np.float32(kernel[(0,) * (kernel.ndim - 1)]),
                activation="relu",
                **options,
            ).tobytes()
        )
    assert len(set(results)) == 1


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["image", "kernel"])
def test_nan_and_infinity_reach_no_other_cells_of_a_tile(where: str, value: float) -> None:
    y, kernel, sizes, options = layer("4x4 s2", 3)
    y, kernel = y + 4, kernel + 4  # no zeros, whose products with infinity would be NaN
    (y if where == "image" else kernel)[1, 2, 3, 4] = value
    with np.errstate(invalid="ignore"):
        expected = reference.conv(y, kernel, sizes)
    assert np.array_equal(bs.conv(*single(y, kernel), **options), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("size", "strides", "expected"),
    [
        ((3, 3, 3), (1, 1, 1), "winograd"),
        ((4, 4, 4), (2, 2, 2), "winograd"),
        ((3, 4, 4), (1, 4, 4), "phases"),
        ((3, 8, 8), (1, 2, 2), "winograd"),
        ((3, 8, 26), (1, 2, 2), "phases"),
    ],
)
def test_taps_of_the_outermost_axis_are_terms(
    size: tuple[int, ...], strides: tuple[int, ...], expected: str, target: str
) -> None:
    assert target
    assert bs.plan(np.ones((*size, 64, 64), np.float32), strides=strides).algorithm == expected


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("images", [1, 5, 40])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", CASES)
def test_a_kernel_that_is_not_kept_gives_the_bits_of_a_plan(
    kind: str, data_format: Any, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kernel, where, options = layer(kind, 2**20)
    random = np.random.default_rng(images)
    (w,), shape = single(kernel), (images, *where.input, kernel.shape[-1])
    x = random.standard_normal(shape, dtype=np.float32)
    if data_format == "channels_first":
        x, w = np.moveaxis(x, -1, 1).copy(), np.moveaxis(w, (-1, -2), (0, 1)).copy()
    packed = bs.plan(w, data_format=data_format, **options)(x)
    monkeypatch.setattr(recent, "MOST_BYTES", 0)
    for _ in range(2):
        assert np.array_equal(bs.conv_transpose(x, w, data_format=data_format, **options), packed)
    w[...] = -w
    assert np.array_equal(bs.conv_transpose(x, w, data_format=data_format, **options), -packed)
