"""The public functions: the article's shapes, every dtype, exact integers, memory orders, and
PyTorch's numbers.

Longer than other files: each function is held to the same few laws, whose tables and helpers stand
here once."""

from __future__ import annotations

import importlib
import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backstride as bs
from backstride import reference
from backstride.arrays import DTYPES
from backstride.engine import VARIABLE
from implementations import COMPILED
from strategies import Array, Drawn, calls

INTEGERS = [name for name in DTYPES if "int" in name]


def ones(*shape: int, dtype: str = "float32") -> Array:
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("x", "kernel", "options", "expected"),
    [
        ((64, 7, 7, 256), (3, 3, 128, 256), {"strides": 2, "padding": "same"}, (64, 14, 14, 128)),
        (
            (64, 7, 7, 256),
            (3, 3, 128, 256),
            {"strides": 2, "output_shape": (16, 16)},
            (64, 16, 16, 128),
        ),
        ((1, 2, 2, 1), (3, 3, 1, 1), {"strides": 2, "padding": "same"}, (1, 4, 4, 1)),
        ((1, 3, 3, 1), (3, 3, 1, 1), {"strides": 2, "padding": "same"}, (1, 6, 6, 1)),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"strides": 2, "padding": "valid"}, (1, 9, 9, 1)),
        ((1, 4, 4, 1), (3, 3, 1, 1), {"strides": 2, "padding": "same"}, (1, 8, 8, 1)),
        ((64, 14, 14, 256), (3, 3, 128, 256), {"strides": 1, "padding": "same"}, (64, 14, 14, 128)),
        (
            (64, 12, 12, 256),
            (3, 3, 128, 256),
            {"strides": 1, "padding": "valid"},
            (64, 14, 14, 128),
        ),
    ],
)
def test_the_shapes_of_the_article_transposed(
    x: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any], expected: tuple[int, ...]
) -> None:
    batch, channels = (
        (2, 8) if x[0] == 64 else (1, 1)
    )  # the article's sizes with fewer channels and images
    small = ones(batch, *x[1:3], channels), ones(*kernel[:2], channels, channels)
    assert bs.conv_transpose(*small, **options).shape == (batch, *expected[1:3], channels)
    assert bs.geometry(x[1:3], kernel[:2], **options).output == expected[1:3]


def test_the_article_at_its_full_size() -> None:
    x, kernel = ones(64, 7, 7, 256), ones(3, 3, 128, 256)
    y = bs.conv_transpose(x, kernel, strides=2, padding="same")
    assert y.shape == (64, 14, 14, 128)
    coverage = np.array(bs.geometry(7, 3, strides=2, padding="same").coverage()[0])
    assert np.array_equal(y[63, :, :, 127], 256 * np.outer(coverage, coverage))


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        (14, {"strides": 2, "padding": "same"}, 7),
        (4, {"strides": 2, "padding": "same"}, 2),
        (9, {"strides": 2, "padding": "valid"}, 4),
        (14, {"padding": "valid"}, 12),
        (14, {"padding": "same"}, 14),
        (8, {"strides": 3, "padding": 1}, 3),
    ],
)
def test_the_shapes_of_convolutions(size: int, options: dict[str, Any], expected: int) -> None:
    assert bs.conv(ones(2, size, size, 3), ones(3, 3, 3, 4), **options).shape == (
        2,
        expected,
        expected,
        4,
    )


def test_a_dense_layer_is_a_convolution() -> None:
    random = np.random.default_rng(0)
    x, kernel, bias = random.random((3, 4, 5, 6)), random.random((6, 7)), random.random(7)
    per_pixel = bs.conv(x, bs.dense_to_conv(kernel), bias, activation="tanh")
    np.testing.assert_allclose(per_pixel, bs.dense(x, kernel, bias, activation="tanh"), rtol=1e-14)


@pytest.mark.parametrize("spatial", [(4,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_dense_layer_on_a_flat_map_is_a_convolution_over_the_map(
    spatial: tuple[int, ...], data_format: Any
) -> None:
    random = np.random.default_rng(1)
    kernel = random.integers(-9, 9, (3 * math.prod(spatial), 7))
    x = random.integers(
        -9, 9, (2, *spatial, 3) if data_format == "channels_last" else (2, 3, *spatial)
    )
    weights = bs.dense_to_conv(kernel, spatial, data_format=data_format)
    over_map = bs.conv(x, weights, data_format=data_format)
    assert np.array_equal(over_map.reshape(2, 7), bs.dense(bs.flatten(x), kernel))
    assert weights.flags.c_contiguous
    assert not np.shares_memory(weights, kernel)


def test_flatten_and_relu() -> None:
    x = np.arange(-12, 12).reshape(2, 3, 4)
    assert np.array_equal(bs.flatten(x), x.reshape(2, 12))
    assert np.array_equal(bs.flatten(x.transpose(0, 2, 1)), x.transpose(0, 2, 1).reshape(2, 12))
    assert bs.flatten(np.ones((0, 3, 4))).shape == (0, 12)
    assert bs.flatten(np.ones(3)).shape == (3, 1)
    assert np.array_equal(bs.relu(x), x.clip(0))
    assert bs.relu(np.array([1, 2], np.uint8)).tolist() == [1, 2]
    assert bs.relu(np.array(-2.0)).shape == ()
    assert np.isnan(bs.relu(np.array([np.nan])))


@given(calls(), st.data())
def test_bias_and_activation_come_after_the_sum(call: Drawn, data: st.DataObject) -> None:
    names = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu")
    activation = data.draw(st.sampled_from(names))
    x, kernel, y = call.floats()
    small, big = (bias / 8 for bias in call.biases("float64"))
    column = (
        (-1,) if call.data_format == "channels_last" else (-1, *(1,) * len(call.geometry.input))
    )
    up = bs.conv_transpose(x, kernel, **call.options) + big.reshape(column)
    down = bs.conv(y, kernel, **call.options) + small.reshape(column)
    result = bs.conv_transpose(x, kernel, big, activation=activation, **call.options)
    np.testing.assert_allclose(result, formula(activation, up), rtol=1e-12, atol=1e-12)
    result = bs.conv(y, kernel, small, activation=activation, **call.options)
    np.testing.assert_allclose(result, formula(activation, down), rtol=1e-12, atol=1e-12)


def formula(activation: str, x: Array) -> Array:
    erf = np.vectorize(math.erf, otypes=[float])
    formulas = {
        "relu": lambda: np.where(x > 0, x, 0),
        "relu6": lambda: np.minimum(np.where(x > 0, x, 0), 6),
        "leaky_relu": lambda: np.where(x > 0, x, 0.01 * x),
        "sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "tanh": lambda: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
        "gelu": lambda: x * (1 + erf(x / math.sqrt(2))) / 2,
        "silu": lambda: x / (1 + np.exp(-x)),
    }
    return formulas[activation]()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_out_as_it_went_in(dtype: str) -> None:
    kind = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x, kernel = (
        np.arange(8).reshape(1, 2, 2, 2).astype(kind),
        np.arange(12).reshape(2, 2, 3, 1).astype(kind),
    )
    bias, weights = np.arange(3).astype(kind), np.arange(12).reshape(2, 2, 3, 1)
    y = bs.conv_transpose(x[..., :1], kernel, bias, strides=2)
    assert y.dtype == kind
    exact = reference.conv_transpose(
        np.arange(8).reshape(1, 2, 2, 2)[..., :1], weights, bs.geometry((2, 2), 2, strides=2)
    )
    assert np.array_equal(y.astype(complex), (exact + np.arange(3)).astype(complex))
    assert bs.conv(np.ones((1, 2, 2, 3), kind), kernel).dtype == kind
    assert bs.conv_kernel_gradient(x, x, (1, 1, 2, 2)).dtype == kind
    assert bs.dense(x, np.ones((2, 2), kind)).dtype == kind
    assert bs.flatten(x).dtype == kind
    assert bs.dense_to_conv(np.ones((2, 2), kind)).dtype == kind
    if kind.kind != "c":
        assert bs.relu(x).dtype == kind


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@given(call=calls(least_batch=1))
def test_half_precision_accumulates_in_float32_and_rounds_once(dtype: Any, call: Drawn) -> None:
    # Eighths, whose sums are exact in any order.
    x, kernel, y = ((np.round(8 * array) / 8).astype(dtype) for array in call.floats())
    bias = call.biases()[1].astype(dtype)
    wide_x, wide_kernel, wide_y, wide_bias = (
        array.astype(np.float32) for array in (x, kernel, y, bias)
    )
    pairs = [
        (
            bs.conv_transpose(x, kernel, bias, activation="sigmoid", **call.options),
            bs.conv_transpose(wide_x, wide_kernel, wide_bias, activation="sigmoid", **call.options),
        ),
        (bs.conv(y, kernel, **call.options), bs.conv(wide_y, wide_kernel, **call.options)),
        (
            bs.conv_kernel_gradient(y, x, kernel.shape, **call.options),
            bs.conv_kernel_gradient(wide_y, wide_x, kernel.shape, **call.options),
        ),
    ]
    for narrow, wide in pairs:
        assert narrow.dtype == np.dtype(dtype)
        assert np.array_equal(narrow, wide.astype(dtype))


def test_half_precision_sums_do_not_stall() -> None:
    x, kernel = ones(1, 1, 4096, dtype="float16"), ones(1, 1, 4096, dtype="float16")
    assert bs.conv_transpose(x, kernel).item() == 4096  # a float16 sum of ones stops at 2048
    assert bs.dense(x, kernel[0].T).item() == 4096


def test_complex_numbers() -> None:
    x, kernel = np.array([[[1 + 2j], [3j]]], np.complex64), np.array([[[1j]], [[2]]], np.complex64)
    assert bs.conv_transpose(x, kernel).ravel().tolist() == [1j - 2, 2 + 4j - 3, 6j]
    assert bs.conv(x, kernel).ravel().tolist() == [1j - 2 + 6j]
    assert bs.conv_kernel_gradient(x, x[:, :1], (2, 1, 1)).ravel().tolist() == [
        (1 + 2j) ** 2,
        3j * (1 + 2j),
    ]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_reach_their_limits_exactly(dtype: str) -> None:
    limits = np.iinfo(dtype)
    x, one = np.array([[[limits.max], [limits.min]]], dtype), np.ones((1, 1, 1), dtype)
    assert bs.conv_transpose(x, one).ravel().tolist() == [limits.max, limits.min]
    assert bs.conv(x, one).ravel().tolist() == [limits.max, limits.min]
    assert bs.conv_kernel_gradient(x[:, :1], one, (1, 1, 1)).item() == limits.max
    assert bs.dense(x, one[0]).ravel().tolist() == [limits.max, limits.min]
    for refused in (
        lambda: bs.conv_transpose(x, one, one[0, 0]),
        lambda: bs.conv(x, one, one[0, 0]),
    ):
        with pytest.raises(ValueError, match=f"in which the result {limits.max + 1} does not fit"):
            _ = refused()
    with pytest.raises(ValueError, match=f"in which the result {2 * limits.max} does not fit"):
        _ = bs.dense(x[:, :1], 2 * one[0])


def test_sums_may_pass_64_bits_and_come_back() -> None:
    half = 2**62
    x = np.array([[[half, half, half, -half, -half]]])  # partial sums up to 3 * 2**62 > 2**63
    kernel = np.ones((1, 1, 5), np.int64)
    assert bs.conv_transpose(x, kernel).item() == half
    assert bs.conv(x, np.ones((1, 5, 1), np.int64)).item() == half
    assert bs.dense(x, np.ones((5, 1), np.int64)).item() == half
    assert (
        bs.conv_kernel_gradient(x.reshape(5, 1, 1), np.ones((5, 1, 1), np.int64), (1, 1, 1)).item()
        == half
    )
    three, ones_in = x[..., :3], np.ones((1, 3, 1), np.int64)
    column = three.reshape(3, 1, 1)
    for refused in (
        lambda: bs.conv_transpose(three, kernel[..., :3]),
        lambda: bs.conv(three, ones_in),
        lambda: bs.dense(three, ones_in[0]),
        lambda: bs.conv_kernel_gradient(column, np.ones_like(column), (1, 1, 1)),
        lambda: bs.plan(kernel[..., :3])(three),
    ):
        with pytest.raises(ValueError, match=f"result {3 * half} does not fit"):
            _ = refused()


def test_large_uint64_values_are_exact() -> None:
    x = np.array([[[2**63 + 1], [2**62]]], np.uint64)
    kernel = np.array([[[1]], [[0]], [[3]]], np.uint64)
    with pytest.raises(ValueError, match=f"result {3 * (2**63 + 1)} does not fit"):
        _ = bs.conv_transpose(x, kernel)
    assert bs.conv_transpose(x, kernel[:2]).ravel().tolist() == [2**63 + 1, 2**62, 0]
    assert bs.conv(x, kernel[:2]).ravel().tolist() == [2**63 + 1]
    assert bs.conv_transpose(x, kernel[:1], np.array([2**62], np.uint64)).ravel().tolist() == [
        3 * 2**62 + 1,
        2**63,
    ]
    odd, one = (
        np.array([[[2**60 + 1]]], np.uint64),
        np.ones(1, np.uint64),
    )  # float64 would round this
    assert bs.conv_transpose(odd, one.reshape(1, 1, 1), one).item() == 2**60 + 2
    assert bs.conv(odd, one.reshape(1, 1, 1), one).item() == 2**60 + 2
    assert bs.dense(odd, one.reshape(1, 1), one).item() == 2**60 + 2
    assert (
        bs.plan(np.array([[[2**64 - 1]]], np.uint64))(np.array([[[1]]], np.uint64)).item()
        == 2**64 - 1
    )


def test_unsigned_results_below_zero_cannot_be() -> None:
    assert (
        bs.conv_transpose(np.zeros((1, 1, 1), np.uint8), np.ones((1, 1, 1), np.uint8)).item() == 0
    )
    with pytest.raises(ValueError, match="result -129 does not fit"):
        _ = bs.conv(
            np.full((1, 1, 1), -128, np.int8), np.ones((1, 1, 1), np.int8), np.array([-1], np.int8)
        )


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_integer_activations_are_applied_before_the_range_is_checked(activation: str) -> None:
    x, kernel = np.full((1, 1, 1), -128, np.int8), np.full((1, 1, 1), 2, np.int8)
    assert bs.conv_transpose(x, kernel, activation=activation).item() == 0


def readonly(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def spread(array: Array) -> Array:
    """The same values with gaps between them in every axis."""
    wide = np.full(tuple(3 * size + 1 for size in array.shape), 99, array.dtype)
    window = wide[tuple(slice(1, None, 3) for _ in array.shape)]
    window[...] = array
    return window


def backwards(array: Array) -> Array:
    return np.flip(np.flip(array).copy())


def unaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    result = raw.view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def swapped(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder())


def field(array: Array) -> Array:
    """Of packed records, a byte apart from each other."""
    records = np.zeros(array.shape, np.dtype([("kind", np.int8), ("value", array.dtype)]))
    records["value"] = array
    return records["value"]


class Subclass(np.ndarray[Any, Any]):
    """A plain subclass of NumPy's array."""


def subclass(array: Array) -> Array:
    return array.view(Subclass)


FORMS = (readonly, np.asfortranarray, spread, backwards, unaligned, swapped, field, subclass)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@settings(max_examples=25)
@given(call=calls())
def test_the_memory_order_of_the_arrays_does_not_matter(form: Any, dtype: str, call: Drawn) -> None:
    x, kernel, y = call.arrays(dtype)
    small, big = call.biases(dtype)
    up = bs.conv_transpose(form(x), form(kernel), form(big), **call.options)
    assert up.dtype == form(x).dtype
    assert np.array_equal(up, bs.conv_transpose(x, kernel, big, **call.options))
    down = bs.conv(form(y), form(kernel), form(small), **call.options)
    assert np.array_equal(down, bs.conv(y, kernel, small, **call.options))
    gradient = bs.conv_kernel_gradient(form(y), form(x), kernel.shape, **call.options)
    assert np.array_equal(gradient, bs.conv_kernel_gradient(y, x, kernel.shape, **call.options))
    assert np.array_equal(bs.relu(form(x)), x.clip(0))
    assert np.array_equal(bs.flatten(form(x)), bs.flatten(x))


@pytest.mark.parametrize("name", ["numpy", *COMPILED])
def test_what_a_call_remembers_does_not_reach_one_with_the_same_bytes_in_another_form(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, name)
    random = np.random.default_rng(len(name))
    shapes = (1, 5, 5, 4), (3, 3, 2, 4), (2,), (1, 11, 11, 2)
    x, kernel, bias, y = (random.integers(-9, 10, shape).astype(np.float32) for shape in shapes)
    up = reference.conv_transpose(x, kernel, bs.geometry((5, 5), 3, strides=2)) + bias
    down, gradient = (
        bs.conv(y, kernel, strides=2),
        bs.conv_kernel_gradient(y, x, kernel.shape, strides=2),
    )
    forms: list[Any] = [np.copy, swapped, field, unaligned]
    for one, other, third in [*itertools.product(forms, repeat=3)] * 2:
        assert np.array_equal(bs.conv_transpose(one(x), other(kernel), third(bias), strides=2), up)
        assert np.array_equal(bs.conv(one(y), other(kernel), strides=2), down)
        assert np.array_equal(
            bs.conv_kernel_gradient(one(y), other(x), kernel.shape, strides=2), gradient
        )
    other_numbers = kernel.view(kernel.dtype.newbyteorder())  # of the same bytes, next to zero
    assert (
        abs(bs.conv_transpose(x.astype(other_numbers.dtype), other_numbers, strides=2)).max()
        < 1e-30
    )
    assert np.array_equal(bs.conv_transpose(x, kernel, strides=2) + bias, up)


def test_arrays_that_repeat_one_value_without_memory() -> None:
    x, kernel = (
        np.broadcast_to(np.float32(2), (2, 5, 5, 3)),
        np.broadcast_to(np.float32(3), (3, 3, 4, 3)),
    )
    bias = np.broadcast_to(np.float32(1), (4,))
    result = bs.conv_transpose(x, kernel, bias, strides=2)
    assert np.array_equal(
        result, bs.conv_transpose(x.copy(), kernel.copy(), bias.copy(), strides=2)
    )
    assert result.flags.writeable


def test_an_empty_batch_gives_an_empty_batch() -> None:
    x, kernel = np.ones((0, 4, 4, 3)), np.ones((3, 3, 2, 3))
    assert bs.conv_transpose(x, kernel, strides=2, padding="same").shape == (0, 8, 8, 2)
    assert bs.conv(np.ones((0, 8, 8, 2)), kernel, strides=2, padding="same").shape == (0, 4, 4, 3)
    gradient = bs.conv_kernel_gradient(
        np.ones((0, 8, 8, 2)), x, kernel.shape, strides=2, padding="same"
    )
    assert np.array_equal(gradient, np.zeros(kernel.shape))
    assert bs.dense(x, np.ones((3, 7))).shape == (0, 4, 4, 7)


def test_results_never_share_memory_with_arguments() -> None:
    x, kernel = np.ones((1, 3, 1)), np.ones((1, 1, 1))
    for result in (
        bs.conv_transpose(x, kernel),
        bs.conv(x, kernel),
        bs.relu(x),
        bs.dense(x, kernel[0]),
    ):
        assert not np.shares_memory(result, x)


def test_the_geometry_of_a_plan() -> None:
    run = bs.plan(ones(3, 3, 2, 4), strides=2, padding="same", groups=2)
    assert run.geometry((5, 6)) == bs.geometry((5, 6), 3, strides=2, padding="same")
    assert (
        repr(run) == "<plan 4 -> 4 channels, kernel (3, 3), strides=2, padding='same', dilation=1>"
    )
    assert run(ones(2, 5, 6, 4)).shape == (2, 10, 12, 4)
    assert run(ones(1, 1, 1, 4)).shape == (1, 2, 2, 4)


@settings(max_examples=300)
@given(call=calls(negative=False, least_batch=1), data=st.data())
def test_three_hundred_calls_equal_pytorchs(call: Drawn, data: st.DataObject) -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    rank, where = len(call.geometry.input), call.geometry
    padding = tuple(data.draw(st.integers(0, (length - 1) // 2)) for length in where.full)
    extra = tuple(
        data.draw(st.integers(0, max(s, d) - 1))
        for s, d in zip(where.strides, where.dilation, strict=True)
    )
    call = Drawn(
        bs.geometry(
            where.input,
            where.kernel,
            strides=where.strides,
            padding=[(p, p) for p in padding],
            output_padding=extra,
            dilation=where.dilation,
        ),
        call.batch,
        call.groups,
        call.big,
        call.small,
        "channels_first",
        call.seed,
    )
    x, kernel, y = call.floats()
    options = {
        "stride": where.strides,
        "padding": padding,
        "dilation": where.dilation,
        "groups": call.groups,
    }
    ours = call.options_with(padding=[(p, p) for p in padding])
    functional: Any = importlib.import_module("torch.nn.functional")
    data_in, weights = (
        torch.from_numpy(x).requires_grad_(),
        torch.from_numpy(kernel).requires_grad_(),
    )
    theirs = getattr(functional, f"conv_transpose{rank}d")(
        data_in, weights, output_padding=extra, **options
    )
    close(bs.conv_transpose(x, kernel, output_padding=extra, **ours), theirs)
    theirs.backward(torch.from_numpy(y))
    close(bs.conv(y, kernel, **call.options), data_in.grad)
    close(bs.conv_kernel_gradient(y, x, kernel.shape, **call.options), weights.grad)
    if all(cells < s for cells, s in zip(extra, where.strides, strict=True)):
        close(
            bs.conv(y, kernel, **ours),
            getattr(functional, f"conv{rank}d")(torch.from_numpy(y), weights, **options),
        )


def close(ours: Array, theirs: Any) -> None:
    expected = theirs.detach().numpy()
    scale = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12 * scale, strict=True)
