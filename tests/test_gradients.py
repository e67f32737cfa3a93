"""The kernel gradient: where Winograd tiles run, how close they come, and where NaN goes; half
precision; boxes.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

import backstride as bs
from backstride import reference
from backstride.layout import AnyArray
from strategies import Drawn, calls


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, channels last."""

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: int
    small: int
    big: int
    groups: int = 1
    batch: int = 2

    @property
    def options(self) -> dict[str, Any]:
        return {"strides": self.strides, "padding": self.padding, "groups": self.groups}

    @property
    def geometry(self) -> bs.Geometry:
        return bs.geometry(self.input, self.kernel, strides=self.strides, padding=self.padding)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        return (*self.kernel, self.big // self.groups, self.small)

    def arrays(self, form: str) -> tuple[AnyArray, AnyArray]:
        """Both sides, float32: integers, numbers of both signs, or positive ones."""
        random = np.random.default_rng(11)
        shapes = (
            (self.batch, *self.geometry.output, self.big),
            (self.batch, *self.input, self.small),
        )
        if form == "integers":
            y, x = (random.integers(-3, 4, shape) for shape in shapes)
        elif form == "normal":
            y, x = (random.standard_normal(shape) for shape in shapes)
        else:
            y, x = (random.random(shape) for shape in shapes)
        return y.astype(np.float32), x.astype(np.float32)

    def gradient(self, y: AnyArray, x: AnyArray, **options: Any) -> AnyArray:
        return bs.conv_kernel_gradient(y, x, self.kernel_shape, **self.options, **options)

    def oracle(self, y: AnyArray, x: AnyArray) -> AnyArray:
        wide = x.astype(np.float64), y.astype(np.float64)
        return reference.conv_kernel_gradient(*wide, self.geometry, groups=self.groups)


TILED = {
    "4x4 s2": Case((13, 12), (4, 4), (2, 2), 1, 64, 40),
    "3x3 s1": Case((12, 13), (3, 3), (1, 1), 1, 40, 64),
    "3x3 s2": Case((14, 15), (3, 3), (2, 2), 1, 72, 65),
    "5x5 s2": Case((12, 12), (5, 5), (2, 2), 2, 64, 50),
    "5x5 s1": Case((10, 10), (5, 5), (1, 1), 2, 33, 48),
    "4x2 s2": Case((12, 14), (4, 2), (2, 2), 1, 128, 96),
    "1-D": Case((150,), (4,), (2,), 1, 128, 64),
    "fewer channels than rows of a part": Case((13, 12), (4, 4), (2, 2), 1, 64, 24),
    "1-D of many taps": Case((300,), (7,), (1,), 3, 96, 96),
    "3-D": Case((2, 9, 10), (3, 4, 4), (2, 2, 2), 1, 48, 30),
    "grouped": Case((12, 12), (4, 4), (2, 2), 1, 96, 80, 2),
    "many channels": Case((9, 9), (4, 4), (2, 2), 1, 140, 300),
    "many tiles": Case((130, 140), (2, 4), (1, 2), 0, 48, 32),
}
PLAIN = {
    "few channels": Case((12, 12), (4, 4), (2, 2), 1, 64, 8),
    "k=s": Case((12, 12), (2, 2), (2, 2), 0, 64, 64),
    "a small map": Case((1, 1), (4, 4), (2, 2), 1, 64, 64),
}
BY_KIND = pytest.mark.parametrize("kind", TILED)


@functools.cache
def truth(kind: str, form: str) -> tuple[AnyArray, AnyArray]:
    """(gradient, sum |x||y|) in double precision."""
    y, x = TILED[kind].arrays(form)
    return TILED[kind].oracle(y, x), TILED[kind].oracle(np.abs(y), np.abs(x))


@BY_KIND
def test_tiles_run_in_single_precision_unless_refused(kind: str, target: str) -> None:
    case = TILED[kind]
    y, x = case.arrays("normal")
    assert not np.array_equal(case.gradient(y, x), case.gradient(y, x, winograd=False)), target
    y, x = y.astype(np.float64), x.astype(np.float64)
    assert np.array_equal(case.gradient(y, x), case.gradient(y, x, winograd=False))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", PLAIN)
def test_tiles_do_not_run_where_they_do_not_pay(kind: str) -> None:
    case = PLAIN[kind]
    y, x = case.arrays("normal")
    assert np.array_equal(case.gradient(y, x), case.gradient(y, x, winograd=False))


@BY_KIND
@pytest.mark.usefixtures("target")
def test_integers_are_exact(kind: str) -> None:
    y, x = TILED[kind].arrays("integers")
    assert np.array_equal(TILED[kind].gradient(y, x), truth(kind, "integers")[0])


@BY_KIND
@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("form", ["normal", "positive"])
def test_tiles_stay_within_a_millionth(kind: str, form: str) -> None:
    exact, magnitude = truth(kind, form)
    y, x = TILED[kind].arrays(form)
    assert (np.abs(TILED[kind].gradient(y, x) - exact) <= 1e-6 * magnitude).all()


@BY_KIND
@pytest.mark.usefixtures("target")
def test_the_bits_do_not_depend_on_the_number_of_threads(kind: str) -> None:
    y, x = TILED[kind].arrays("normal")
    results: list[bytes] = []
    for threads in (1, 2, 3, 8):
        bs.set_num_threads(threads)
        results.append(TILED[kind].gradient(y, x).tobytes())
    assert all(result == results[0] for result in results)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", ["4x4 s2", "3x3 s2", "1-D"])
def test_channels_first_has_the_bits_of_channels_last(kind: str) -> None:
    case = TILED[kind]
    y, x = case.arrays("normal")
    result = bs.conv_kernel_gradient(
        np.moveaxis(y, -1, 1),
        np.moveaxis(x, -1, 1),
        (case.small, case.big, *case.kernel),
        data_format="channels_first",
        **case.options,
    )
    assert np.array_equal(np.moveaxis(result, (0, 1), (-1, -2)), case.gradient(y, x))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_not_finite_goes_where_the_definition_sends_it(side: str, value: float) -> None:
    case = TILED["4x4 s2"]
    y, x = case.arrays("positive")
    (x if side == "x" else y)[1, 0, 3, 2] = value
    with np.errstate(invalid="ignore"):
        exact = case.oracle(y, x)
    result = case.gradient(y, x)
    assert np.array_equal(np.isnan(result), np.isnan(exact))
    assert np.array_equal(np.isinf(result), np.isinf(exact.astype(np.float32)))
    assert np.allclose(result, exact.astype(np.float32), rtol=1e-5, equal_nan=True)


# Several boxes of 3 MiB: along one axis, two, three, and the batch.
BOXED = {
    "line": Case((9000,), (4,), (2,), 1, 40, 60, batch=1),
    "plane": Case((130, 140), (2, 4), (1, 2), 0, 48, 32, batch=1),
    "volume": Case((9, 30, 31), (3, 4, 4), (1, 2, 2), 1, 24, 26, batch=1),
    "batch": Case((32, 33), (4, 4), (2, 2), 1, 64, 40, batch=5),
    "groups": Case((70, 73), (3, 3), (1, 1), 1, 96, 90, groups=3, batch=2),
    "depthwise": Case((90, 91), (4, 4), (2, 2), 1, 40, 40, groups=40, batch=2),
    "few channels": Case((260, 270), (4, 4), (2, 2), 1, 7, 3, batch=2),
}
HALF = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
LEAST = {"float16": 2.0**-25, "bfloat16": 2.0**-134}
"""Half of the distance of the smallest numbers."""


def first(data: AnyArray) -> AnyArray:
    """(N, C, *size) from (N, *size, C), contiguous."""
    return np.ascontiguousarray(np.moveaxis(data, -1, 1))


def in_format(case: Case, y: AnyArray, x: AnyArray, data_format: str, **options: Any) -> AnyArray:
    """The gradient of a layer whose arrays are in a format, with its taps in front."""
    if data_format == "channels_last":
        return case.gradient(y, x, **options)
    shape = (case.small, case.big // case.groups, *case.kernel)
    options |= {"data_format": data_format, **case.options}
    return np.moveaxis(
        bs.conv_kernel_gradient(first(y), first(x), shape, **options), (0, 1), (-1, -2)
    )


def is_rounded_once(found: AnyArray, exact: AnyArray, error: AnyArray, kind: str) -> bool:
    """Whether numbers are within half a unit of sums whose error is bounded."""
    bound = UNIT[kind] * (np.abs(exact) + error) + error + LEAST[kind]
    return bool((np.abs(found.astype(np.float64) - exact) <= bound).all())


@pytest.mark.parametrize("kind", HALF)
@settings(deadline=None)
@given(call=calls())
def test_half_precision_is_an_exact_sum_rounded_once(kind: str, call: Drawn) -> None:
    x, _, y = (array.astype(HALF[kind]) for array in call.floats())
    found = bs.conv_kernel_gradient(y, x, call.kernel_shape, **call.options)
    assert found.dtype == HALF[kind]
    wide_x, wide_y = (array.astype(np.float64) for array in (x, y))
    options: dict[str, Any] = {"groups": call.groups, "data_format": call.data_format}
    exact = reference.conv_kernel_gradient(wide_x, wide_y, call.geometry, **options)
    sums = reference.conv_kernel_gradient(np.abs(wide_x), np.abs(wide_y), call.geometry, **options)
    terms = max(1, call.batch * int(np.prod(call.geometry.input)))
    assert is_rounded_once(found, exact, 4 * 2.0**-24 * terms**0.5 * sums, kind)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", BOXED)
@pytest.mark.parametrize("kind", HALF)
def test_half_precision_in_boxes_has_the_same_bits_for_any_number_of_threads(
    kind: str, name: str, data_format: str
) -> None:
    case = BOXED[name]
    y, x = (array.astype(HALF[kind]) for array in case.arrays("normal"))
    results: list[AnyArray] = []
    for threads in (1, 2, 3):
        bs.set_num_threads(threads)
        results.append(in_format(case, y, x, data_format))
    assert all(np.array_equal(result, results[0]) for result in results)
    wide_y, wide_x = (array.astype(np.float64) for array in (y, x))
    exact, sums = case.gradient(wide_y, wide_x), case.gradient(np.abs(wide_y), np.abs(wide_x))
    assert is_rounded_once(results[0], exact, 1e-6 * sums, kind)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("name", BOXED)
def test_integers_are_exact_in_boxes(name: str) -> None:
    case = BOXED[name]
    y, x = case.arrays("integers")
    exact = case.gradient(y.astype(np.float64), x.astype(np.float64))
    assert np.array_equal(in_format(case, y, x, "channels_first"), exact)
    turned = y[..., ::-1].copy()[..., ::-1]
    assert np.array_equal(case.gradient(turned, x), exact)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_in_a_later_box_goes_where_the_definition_sends_it(
    value: float, data_format: str
) -> None:
    case = BOXED["plane"]
    y, x = (array.astype(ml_dtypes.bfloat16) for array in case.arrays("positive"))
    x[0, 120, 3, 2] = value
    found = in_format(case, y, x, data_format).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        exact = (
            case.gradient(y.astype(np.float64), x.astype(np.float64))
            .astype(ml_dtypes.bfloat16)
            .astype(np.float32)
        )
    assert np.array_equal(np.isnan(found), np.isnan(exact))
    assert np.array_equal(np.isinf(found), np.isinf(exact))
    assert np.allclose(found, exact, rtol=2.0**-7, equal_nan=True)
