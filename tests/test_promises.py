"""The engine's promises on numbers, for each implementation usable here: exact on integers, close
to the truth.

What concerns threads, forks and NaN stands in test_native.py, memory and interruption in
test_resources.py."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import backstride as bs
from backstride import reference
from backstride.activations import ACTIVATIONS, activate
from backstride.engine import IMPLEMENTATIONS, VARIABLE
from backstride.geometry import Geometry
from backstride.layout import AnyArray
from strategies import Drawn

NAMES = [
    entry.name
    for entry in IMPLEMENTATIONS
    if entry.obstacle() is None and entry.name != "reference"
]
DIRECT: dict[str, Any] = {"winograd": False}
CHANNELS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 31, 33, 48, 66)
DTYPES: tuple[Any, ...] = ("float32", "float32", "float64", "float16", ml_dtypes.bfloat16)
EXACT = (None, None, "relu", "relu6")


@pytest.fixture(params=NAMES)
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


def algorithms(kernel: AnyArray, **options: Any) -> list[str]:
    """Those that the implementation has for a kernel: the refusal of an unknown one lists them."""
    with pytest.raises(ValueError, match="must be None or one that") as caught:
        _ = bs.plan(kernel, algorithm="?", **options)
    names = re.search("has for this kernel: (.+?);", str(caught.value))
    assert names is not None
    return names.group(1).split(", ")


def drawn(random: np.random.Generator) -> Drawn:
    """Any legal call, with sizes about those of the kernels' tiles and its work bounded."""
    rank = int(random.integers(1, 4))
    axes: list[tuple[int, int, int, int, tuple[int, int]]] = []
    for _ in range(rank):
        size, taps = (
            int(random.integers(1, most)) for most in ((30, 10), (9, 6), (5, 4))[rank - 1]
        )
        stride, dilation = (
            int(random.choice([1, 2, 2, 3, 4, 7])),
            int(random.choice([1, 1, 1, 2, 3])),
        )
        if random.random() < 0.2:
            taps, dilation = stride, 1
        full = (size - 1) * stride + dilation * (taps - 1) + 1
        before = min(int(random.integers(-3, 4)), full - 1)
        after = min(int(random.integers(-3, 4)), full - 1 - before)
        axes.append((size, taps, stride, dilation, (before, after)))
    sizes, kernel, strides, dilations, crop = zip(*axes, strict=True)
    groups = int(random.choice([1, 1, 1, 2, 5]))
    most = max(1.0, 2e6 / math.prod((*sizes, *kernel, groups)))
    small, big = (min(int(random.choice(CHANNELS)), int(most**0.5) + 1) for _ in range(2))
    if random.random() < 0.1:  # depthwise
        groups, small, big = int(random.choice(CHANNELS)), 1, 1
    return Drawn(
        geometry=Geometry(sizes, kernel, strides, dilations, crop),
        batch=int(random.choice([0, 1, 1, 1, 2, 3], p=[0.04, 0.24, 0.24, 0.24, 0.12, 0.12])),
        groups=groups,
        big=big,
        small=small,
        data_format="channels_last" if random.random() < 0.5 else "channels_first",
        seed=int(random.integers(2**32)),
    )


def disguised(array: AnyArray, random: np.random.Generator) -> AnyArray:
    """The same numbers in memory as users have it: strided, reversed, transposed, read-only."""
    match int(random.integers(5)):
        case 0:
            array = np.asfortranarray(array)
        case 1:
            spread = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            spread[..., ::2] = array
            array = spread[..., ::2]
        case 2:
            array = np.ascontiguousarray(array[:, ::-1])[:, ::-1]
        case _:
            pass
    array.flags.writeable = bool(random.random() < 0.5)
    return array


def check(number: int) -> None:
    """One random call: integers in floating point, so that each correct result has exactly the
    oracle's bits.
    """
    random = np.random.default_rng(number)
    call = drawn(random)
    dtype = np.dtype(DTYPES[int(random.integers(len(DTYPES)))])
    operation = ("conv_transpose", "plan", "plan", "conv", "conv_kernel_gradient")[
        int(random.integers(5))
    ]
    shapes = {
        "x": call.data_shape("small"),
        "kernel": call.kernel_shape,
        "y": call.data_shape("big"),
    }
    exact = {
        name: random.integers(-3, 4, shape).astype(np.float64) for name, shape in shapes.items()
    }
    given = {name: disguised(array.astype(dtype), random) for name, array in exact.items()}
    keywords: dict[str, Any] = {"groups": call.groups, "data_format": call.data_format}
    if operation == "conv_kernel_gradient":
        result = bs.conv_kernel_gradient(given["y"], given["x"], call.kernel_shape, **call.options)
        expected = reference.conv_kernel_gradient(exact["x"], exact["y"], call.geometry, **keywords)
        return same(result, expected, dtype, None, call, operation)
    channels = call.groups * (call.small if operation == "conv" else call.big)
    bias = random.integers(-9, 10, channels).astype(np.float64) if random.random() < 0.5 else None
    activation = (
        EXACT[int(random.integers(4))]
        if random.random() < 0.8
        else str(random.choice(list(ACTIVATIONS)))
    )
    narrow = None if bias is None else bias.astype(dtype)
    options = call.options_with(activation=activation)
    if operation == "conv":
        result = bs.conv(given["y"], given["kernel"], narrow, **options)
        expected = reference.conv(exact["y"], exact["kernel"], call.geometry, **keywords)
    else:
        if operation == "plan":
            options["algorithm"] = str(random.choice(algorithms(given["kernel"], **call.options)))
            operation += f" with {options['algorithm']}"
            result = bs.plan(given["kernel"], narrow, **options)(given["x"])
        else:
            result = bs.conv_transpose(given["x"], given["kernel"], narrow, **options)
        expected = reference.conv_transpose(exact["x"], exact["kernel"], call.geometry, **keywords)
    if bias is not None:
        expected = expected + bias.reshape(
            (-1,) if call.data_format == "channels_last" else (-1, *(1,) * (expected.ndim - 2))
        )
    return same(result, expected, dtype, activation, call, operation)


def same(
    result: AnyArray, expected: AnyArray, dtype: Any, activation: str | None, call: Drawn, name: str
) -> None:
    about = f"{name} {call} {dtype} {activation}"
    assert result.dtype == dtype, about
    assert result.shape == expected.shape, about
    if activation in EXACT:
        np.testing.assert_array_equal(
            result, activate(expected, activation).astype(dtype), err_msg=about
        )
        return
    wide = np.float64 if dtype == np.float64 else np.float32
    limits: Any = ml_dtypes.finfo
    precision = float(limits(dtype).eps) + 8 * float(np.finfo(wide).eps)
    np.testing.assert_allclose(
        result.astype(np.float64),
        activate(expected, activation),
        rtol=precision,
        atol=precision,
        err_msg=about,
    )


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("block", range(3))
def test_random_calls_equal_the_oracle(block: int) -> None:
    for number in range(100 * block, 100 * (block + 1)):
        check(number)


@pytest.mark.slow
@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("block", range(20))
def test_ten_thousand_random_calls_equal_the_oracle(block: int) -> None:
    for number in range(500 * block, 500 * (block + 1)):
        check(number)


@dataclasses.dataclass(frozen=True)
class Case:
    """A small layer of one kind, channels last."""

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    small: int
    big: int
    groups: int = 1

    def arrays(self, dtype: str) -> tuple[AnyArray, AnyArray]:
        """Integers of as many bits as the dtype holds: sums round, and the oracle's do not."""
        random, most = np.random.default_rng(5), 2 ** (20 if dtype == "float32" else 40)
        shapes = (2, *self.input, self.small), (*self.kernel, self.big // self.groups, self.small)
        x, kernel = (random.integers(-most, most, shape) for shape in shapes)
        return x, kernel

    def oracle(self, x: AnyArray, kernel: AnyArray) -> AnyArray:
        where = bs.geometry(self.input, self.kernel, strides=self.strides)
        return reference.conv_transpose(x, kernel, where, groups=self.groups)


CASES = {
    "k=s": Case((4, 3), (2, 2), (2, 2), 70, 9),
    "4x4 s2": Case((5, 4), (4, 4), (2, 2), 64, 65),
    "5x5 s2": Case((4, 4), (5, 5), (2, 2), 33, 16),
    "6x6 s2": Case((4, 4), (6, 6), (2, 2), 64, 64),
    "3x3 s1": Case((5, 5), (3, 3), (1, 1), 48, 32),
    "few out": Case((6, 5), (4, 4), (2, 2), 64, 3),
    "depthwise": Case((5, 4), (4, 4), (2, 2), 32, 32, 32),
    "grouped": Case((4, 4), (3, 3), (2, 2), 32, 16, 4),
    "long 1-D": Case((9,), (64,), (16,), 40, 1),
    "long 1-D, stacked": Case((21,), (128,), (32,), 40, 1),
    "1-D": Case((20,), (8,), (4,), 64, 32),
    "1-D k=7 s1": Case((20,), (7,), (1,), 40, 33),
    "7x7 s2": Case((5, 4), (7, 7), (2, 2), 24, 24),
    "small map": Case((1, 1), (4, 4), (2, 2), 256, 70),
    "3-D": Case((3, 2, 3), (2, 2, 2), (2, 2, 2), 24, 16),
    "3-D 3x3x3 s1": Case((3, 4, 5), (3, 3, 3), (1, 1, 1), 24, 25),
    "3-D 4x4x4 s2": Case((2, 4, 5), (4, 4, 4), (2, 2, 2), 24, 24),
}


def planned(kernel: AnyArray, case: Case, **options: Any) -> Any:
    """The case's plan."""
    return bs.plan(kernel, strides=case.strides, groups=case.groups, **options)


@functools.cache
def truth(case: Case, dtype: str) -> tuple[AnyArray, AnyArray, AnyArray]:
    """(result, sum |x||w|, number of terms) of each output cell, exact integers."""
    x, kernel = case.arrays(dtype)
    pairs = (x, kernel), (np.abs(x), np.abs(kernel)), (np.ones_like(x), np.ones_like(kernel))
    exact, magnitude, terms = (case.oracle(*pair) for pair in pairs)
    return exact, magnitude, terms


def error(case: Case, dtype: str, **options: Any) -> tuple[AnyArray, AnyArray, AnyArray]:
    """(|error|, sum |x||w|, number of terms) of each output cell."""
    x, kernel = case.arrays(dtype)
    exact, magnitude, terms = truth(case, dtype)
    result = planned(kernel.astype(dtype), case, **options)(x.astype(dtype))
    rounded = np.array([int(value) for value in result.ravel()], dtype=object).reshape(exact.shape)
    return np.abs(rounded - exact), magnitude, terms


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", CASES)
def test_direct_paths_round_no_more_than_direct_summation(kind: str, dtype: str) -> None:
    """|error| <= 4 units in the last place * sqrt(terms) of sum |x||w|."""
    wrong, magnitude, terms = error(CASES[kind], dtype, **DIRECT)
    bound = 4 * float(np.finfo(dtype).eps) * np.sqrt(terms.astype(float)) * magnitude.astype(float)
    assert (wrong.astype(float) <= bound).all()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", CASES)
def test_winograd_stays_within_a_millionth(kind: str) -> None:
    wrong, magnitude, _ = error(CASES[kind], "float32", winograd=True)
    assert (wrong.astype(float) <= 1e-6 * magnitude.astype(float)).all()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", CASES)
def test_each_algorithm_runs_where_it_is_forced_and_keeps_its_bound(kind: str) -> None:
    case = CASES[kind]
    kernel = case.arrays("float32")[1].astype(np.float32)
    names = algorithms(kernel, strides=case.strides, groups=case.groups)
    assert planned(kernel, case).algorithm in names
    for name in names:
        assert planned(kernel, case, algorithm=name).algorithm == name
        wrong, magnitude, terms = error(case, "float32", algorithm=name)
        sums = 4 * float(np.finfo(np.float32).eps) * np.sqrt(terms.astype(float))
        bound = np.full_like(sums, 1e-6) if name == "winograd" else sums
        assert (wrong.astype(float) <= bound * magnitude.astype(float)).all(), name


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_every_kind_of_layer_has_the_same_bits_for_any_number_of_threads(
    kind: str, data_format: Any
) -> None:
    case = CASES[kind]
    random = np.random.default_rng(3)
    x = random.standard_normal((3, *case.input, case.small), np.float32)
    kernel = random.standard_normal((*case.kernel, case.big // case.groups, case.small), np.float32)
    if data_format == "channels_first":
        rank = len(case.kernel)
        x, kernel = np.moveaxis(x, -1, 1), kernel.transpose(rank + 1, rank, *range(rank))
    options: dict[str, Any] = {
        "strides": case.strides,
        "groups": case.groups,
        "data_format": data_format,
    }
    results: list[list[bytes]] = []
    for threads in (1, 2, 3, 8):
        bs.set_num_threads(threads)
        y = bs.conv_transpose(x, kernel, **options)
        others = (
            bs.conv(y, kernel, **options),
            bs.conv_kernel_gradient(y, x, kernel.shape, **options),
        )
        results.append([array.tobytes() for array in (y, *others)])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize(("size", "padding"), [(2, 0), (4, 1)], ids=["phases", "tiles"])
@pytest.mark.parametrize("channels", [64, 40])
def test_results_too_large_for_the_caches_have_the_same_bits(
    size: int, padding: int, channels: int, target: str
) -> None:
    rng = np.random.default_rng(size)
    x = rng.standard_normal((5, 64, 64, 24), np.float32)
    plan = bs.plan(
        rng.standard_normal((size, size, channels, 24), np.float32), strides=2, padding=padding
    )
    whole = plan(x)
    assert whole.nbytes > 12 << 20, target  # beyond the limit with 64 channels, below it with 40
    assert all(np.array_equal(whole[n : n + 1], plan(x[n : n + 1])) for n in range(len(x)))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_half_precision_number_is_read_and_rounded_as_numpy_does(
    dtype: Any, target: str
) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(dtype)
    for factor in (
        1.0,
        1.5,
        0.375,
    ):  # the last two round, and reach infinity and the subnormal numbers
        got = bs.conv_transpose(every.reshape(1, -1, 1), np.full((1, 1, 1), factor, dtype))[0, :, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            expected = (np.float32(0) + every.astype(np.float32) * np.float32(factor)).astype(dtype)
        nan = np.isnan(expected)
        assert np.array_equal(got[~nan].view(np.uint16), expected[~nan].view(np.uint16)), target
        assert np.isnan(got[nan]).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("channels", [1, 5, 40])
def test_half_precision_is_single_precision_rounded_once(
    dtype: Any, data_format: Any, channels: int, target: str
) -> None:
    rng = np.random.default_rng(channels)
    first = data_format == "channels_first"
    # Eighths, whose sums are exact in any order.
    shapes = (
        (2, 12, 70, 66) if first else (2, 70, 66, 12),
        (12, channels, 4, 3) if first else (4, 3, channels, 12),
    )
    x, kernel, bias = (
        (rng.integers(-99, 99, shape) / 8).astype(dtype) for shape in (*shapes, channels)
    )
    options: dict[str, Any] = {
        "strides": (2, 1),
        "padding": 1,
        "data_format": data_format,
        "activation": "silu",
    }
    single = bs.plan(kernel.astype(np.float32), bias.astype(np.float32), winograd=False, **options)
    half = bs.plan(kernel, bias, winograd=False, **options)
    for view in (x, x[:, ::-1, ::2], x.swapaxes(1, 3).copy().swapaxes(1, 3)):
        if view.shape[1 if first else -1] != 12:
            continue
        expected = single(view.astype(np.float32)).astype(dtype)
        assert np.array_equal(half(view).view(np.uint16), expected.view(np.uint16)), target
    y = (
        rng.integers(-99, 99, (2, channels, 70, 66) if first else (2, 70, 66, channels)) / 8
    ).astype(dtype)
    down = bs.conv(y, kernel, x[0].ravel()[:12], **options)
    given = (array.astype(np.float32) for array in (y, kernel, x[0].ravel()[:12]))
    expected = bs.conv(*given, winograd=False, **options).astype(dtype)
    assert np.array_equal(down.view(np.uint16), expected.view(np.uint16)), target


@pytest.mark.parametrize("case", ["taps", "stacked", "groups", "channels", "line", "volume"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_sums_of_bfloat16_are_those_of_float32_before_they_are_rounded(
    case: str, data_format: Any, target: str
) -> None:
    sizes: dict[str, tuple[tuple[int, ...], tuple[int, ...], int, int, int]] = {
        "taps": ((9, 11), (4, 4), 64, 48, 1),
        "stacked": ((9, 17), (2, 2), 64, 24, 1),
        "groups": ((6, 7), (4, 3), 48, 66, 3),
        "channels": ((3, 2), (2, 2), 1026, 40, 1),
        "line": ((45,), (16,), 256, 70, 1),
        "volume": ((3, 4, 5), (3, 3, 3), 10, 20, 1),
    }
    size, taps, small, big, groups = sizes[case]
    rng = np.random.default_rng(len(case))
    x, kernel = (
        rng.standard_normal(shape).astype(ml_dtypes.bfloat16)
        for shape in ((2, *size, small), (*taps, big // groups, small))
    )
    options: dict[str, Any] = {"strides": 2, "padding": "same", "groups": groups}
    wide = [array.astype(np.float64) for array in (x, kernel)]
    exact = bs.conv_transpose(*wide, **options)
    bound = bs.conv_transpose(*(np.abs(array) for array in wide), **options)
    if data_format == "channels_first":
        x, kernel = (
            np.ascontiguousarray(np.moveaxis(array, -1, axis))
            for array, axis in ((x, 1), (kernel, 0))
        )
        kernel = np.ascontiguousarray(np.moveaxis(kernel, -1, 1))
    found = bs.conv_transpose(x, kernel, data_format=data_format, **options).astype(np.float64)
    found = found if data_format == "channels_last" else np.moveaxis(found, 1, -1)
    terms = small // groups * math.prod(taps)
    rounding = 2.0**-8 * (np.abs(exact) + np.finfo(np.float32).tiny)
    assert (
        np.abs(found - exact)
        <= rounding + 1.01 * 4 * np.finfo(np.float32).eps * math.sqrt(terms) * bound
    ).all(), target
