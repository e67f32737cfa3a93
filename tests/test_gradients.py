"""The kernel gradient by Winograd tiles: where they run, how close they come, and where NaN goes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

import backstride as bs
from backstride import reference
from backstride.layout import AnyArray


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
        shapes = (self.batch, *self.geometry.output, self.big), (self.batch, *self.input, self.small)
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
