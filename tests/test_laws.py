"""The laws of the three operations, on calls that hypothesis draws: exact, because the numbers are
integers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import starmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backstride as bs
from backstride import reference
from backstride.engine import IMPLEMENTATIONS, VARIABLE
from backstride.layout import data_view, kernel_view
from strategies import Array, Drawn, calls


def inner(a: Array, b: Array) -> int:
    return int(np.sum(a * b))


def channels_last(call: Drawn, kernel: Array) -> Array:
    return kernel_view(kernel, call.data_format)


def choices() -> list[object]:
    """Each implementation with each dtype of the comparison that it computes in; those not usable
    here say why.
    """
    params: list[object] = []
    for entry in IMPLEMENTATIONS:
        obstacle = entry.obstacle()
        marks = () if obstacle is None else (pytest.mark.skip(reason=f"{entry.name}: {obstacle}"),)
        dtypes = [name for name in ("float32", "float64", "int64") if entry.takes(np.dtype(name))]
        params += [
            pytest.param(entry.name, dtype, marks=marks, id=f"{entry.name}-{dtype}")
            for dtype in dtypes
        ]
    return params


@given(calls())
def test_conv_and_conv_transpose_are_adjoint(call: Drawn) -> None:
    x, kernel, y = call.arrays()
    down, up = bs.conv(y, kernel, **call.options), bs.conv_transpose(x, kernel, **call.options)
    assert down.shape == x.shape
    assert up.shape == y.shape
    assert inner(down, x) == inner(y, up)


@given(calls())
def test_the_kernel_gradient_is_the_derivative_by_the_kernel(call: Drawn) -> None:
    x, kernel, y = call.arrays()
    gradient = bs.conv_kernel_gradient(y, x, kernel.shape, **call.options)
    assert gradient.shape == kernel.shape
    assert inner(gradient, kernel) == inner(y, bs.conv_transpose(x, kernel, **call.options))


@given(calls(least_batch=1), st.data())
def test_each_entry_of_the_kernel_gradient_is_the_change_by_one_step_of_that_weight(
    call: Drawn, data: st.DataObject
) -> None:
    x, kernel, y = call.arrays()
    place = tuple(data.draw(st.integers(0, size - 1)) for size in kernel.shape)
    stepped = kernel.copy()
    stepped[place] += 1
    before, after = (inner(bs.conv(y, weights, **call.options), x) for weights in (kernel, stepped))
    assert bs.conv_kernel_gradient(y, x, kernel.shape, **call.options)[place] == after - before


@pytest.mark.parametrize(("name", "dtype"), choices())
def test_every_implementation_equals_the_definition(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, name)
    assert [row.name for row in bs.implementations() if row.runs] == [name]

    @given(calls())
    def compare(call: Drawn) -> None:
        x, kernel, y = call.arrays(dtype)
        small, big = call.biases(dtype)
        where = call.geometry
        keywords: dict[str, Any] = {"groups": call.groups, "data_format": call.data_format}
        column = (-1,) if call.data_format == "channels_last" else (-1, *(1,) * len(where.input))
        exact_x, exact_kernel, exact_y = (array.astype(object) for array in (x, kernel, y))
        up = reference.conv_transpose(exact_x, exact_kernel, where, **keywords)
        down = reference.conv(exact_y, exact_kernel, where, **keywords)
        gradient = reference.conv_kernel_gradient(exact_x, exact_y, where, **keywords)
        pairs = [
            (bs.conv_transpose(x, kernel, **call.options), up),
            (
                bs.conv_transpose(x, kernel, big, activation="relu", **call.options),
                (up + big.reshape(column)).clip(0),
            ),
            (bs.conv(y, kernel, **call.options), down),
            (
                bs.conv(y, kernel, small, activation="relu6", **call.options),
                (down + small.reshape(column)).clip(0, 6),
            ),
            (bs.conv_kernel_gradient(y, x, kernel.shape, **call.options), gradient),
        ]
        for result, expected in pairs:
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, expected.astype(dtype), strict=True)

    compare()


@given(calls(), st.integers(-9, 9), st.integers(-9, 9))
def test_conv_transpose_is_linear_in_the_data_and_in_the_kernel(
    call: Drawn, a: int, b: int
) -> None:
    x, kernel, _ = call.arrays()
    other_x, other_kernel = x[..., ::-1] + 1, kernel[::-1] - 2

    def run(data: Array, weights: Array) -> Array:
        return bs.conv_transpose(data, weights, **call.options)

    assert np.array_equal(
        run(a * x + b * other_x, kernel), a * run(x, kernel) + b * run(other_x, kernel)
    )
    assert np.array_equal(
        run(x, a * kernel + b * other_kernel), a * run(x, kernel) + b * run(x, other_kernel)
    )


@given(calls())
def test_strides_are_zeros_put_between_the_inputs(call: Drawn) -> None:
    x, kernel, _ = call.arrays()
    where = call.geometry
    view = data_view(x, call.data_format)
    sizes = tuple((i - 1) * s + 1 for i, s in zip(where.input, where.strides, strict=True))
    spread = np.zeros((call.batch, *sizes, view.shape[-1]), x.dtype)
    spread[:, *(slice(None, None, s) for s in where.strides)] = view
    dense = bs.conv_transpose(
        spread,
        channels_last(call, kernel),
        padding=list(where.crop),
        dilation=where.dilation,
        groups=call.groups,
    )
    strided = bs.conv_transpose(x, kernel, **call.options)
    assert np.array_equal(data_view(strided, call.data_format), dense)


@given(calls())
def test_without_strides_it_is_a_convolution_with_the_kernel_turned_round(call: Drawn) -> None:
    x, kernel, _ = call.arrays()
    where, rank = call.geometry, len(call.geometry.input)
    spans = [span - 1 for span in where.effective_kernel]
    crop = [
        (span - before, span - after)
        for span, (before, after) in zip(spans, where.crop, strict=True)
    ]
    if any(i + sum(pair) <= span for i, pair, span in zip(where.input, crop, spans, strict=True)):
        return  # with stride 1 this crop leaves nothing
    weights = np.flip(channels_last(call, kernel), tuple(range(rank)))
    grouped = weights.reshape(*where.kernel, call.big, call.groups, call.small)
    turned = np.swapaxes(grouped, -1, -3).reshape(*where.kernel, call.small, call.groups * call.big)
    data = data_view(x, call.data_format)
    expected = bs.conv(data, turned, padding=crop, dilation=where.dilation, groups=call.groups)
    result = bs.conv_transpose(
        data,
        channels_last(call, kernel),
        padding=list(where.crop),
        dilation=where.dilation,
        groups=call.groups,
    )
    assert np.array_equal(result, expected)


@given(calls(negative=False))
def test_a_crop_cuts_the_full_result(call: Drawn) -> None:
    x, kernel, _ = call.arrays()
    full = bs.conv_transpose(x, kernel, **call.options_with(padding=0))
    view = data_view(full, call.data_format)
    slices = tuple(
        starmap(slice, zip((before for before, _ in call.geometry.crop), stops(call), strict=True))
    )
    result = bs.conv_transpose(x, kernel, **call.options)
    assert np.array_equal(data_view(result, call.data_format), view[:, *slices])


def stops(call: Drawn) -> list[int]:
    return [
        length - after
        for length, (_, after) in zip(call.geometry.full, call.geometry.crop, strict=True)
    ]


@given(calls())
def test_both_layouts_give_the_same(call: Drawn) -> None:
    x, kernel, y = call.arrays()
    if call.data_format == "channels_last":
        call = dataclasses.replace(call, data_format="channels_first")
        x, y, kernel = (
            np.moveaxis(x, -1, 1),
            np.moveaxis(y, -1, 1),
            np.moveaxis(kernel, (-1, -2), (0, 1)),
        )
    first, last = call.options, call.options_with(data_format="channels_last")
    x_last, y_last, kernel_last = (
        np.moveaxis(x, 1, -1),
        np.moveaxis(y, 1, -1),
        np.moveaxis(kernel, (0, 1), (-1, -2)),
    )
    assert np.array_equal(
        np.moveaxis(bs.conv_transpose(x, kernel, **first), 1, -1),
        bs.conv_transpose(x_last, kernel_last, **last),
    )
    assert np.array_equal(
        np.moveaxis(bs.conv(y, kernel, **first), 1, -1), bs.conv(y_last, kernel_last, **last)
    )
    assert np.array_equal(
        np.moveaxis(bs.conv_kernel_gradient(y, x, kernel.shape, **first), (0, 1), (-1, -2)),
        bs.conv_kernel_gradient(y_last, x_last, kernel_last.shape, **last),
    )


@given(calls())
def test_groups_are_separate_calls_side_by_side(call: Drawn) -> None:
    x, kernel, y = call.arrays()
    axis, kernel_axis = (-1, -1) if call.data_format == "channels_last" else (1, 0)
    single = call.options_with(groups=1)
    xs, kernels, ys = (
        np.split(array, call.groups, n)
        for array, n in ((x, axis), (kernel, kernel_axis), (y, axis))
    )
    ups = [bs.conv_transpose(part, own, **single) for part, own in zip(xs, kernels, strict=True)]
    downs = [bs.conv(part, own, **single) for part, own in zip(ys, kernels, strict=True)]
    assert np.array_equal(bs.conv_transpose(x, kernel, **call.options), np.concatenate(ups, axis))
    assert np.array_equal(bs.conv(y, kernel, **call.options), np.concatenate(downs, axis))


@given(calls())
def test_the_images_of_a_batch_do_not_meet(call: Drawn) -> None:
    x, kernel, y = call.arrays()
    for operation, data in ((bs.conv_transpose, x), (bs.conv, y)):
        result = operation(data, kernel, **call.options)
        for n in range(call.batch):
            assert np.array_equal(
                result[n : n + 1], operation(data[n : n + 1], kernel, **call.options)
            )


@given(calls())
def test_a_plan_is_the_same_call_and_keeps_its_kernel(call: Drawn) -> None:
    x, kernel, _ = call.arrays()
    _, bias = call.biases()
    expected = bs.conv_transpose(x, kernel, bias, **call.options)
    run = bs.plan(kernel, bias, **call.options)
    assert run.geometry(call.geometry.input) == call.geometry
    kernel += 1
    bias -= 1
    assert np.array_equal(run(x), expected)
    assert np.array_equal(run(x), expected)


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
@given(call=calls())
def test_inputs_are_never_written_to(dtype: str, call: Drawn) -> None:
    x, kernel, y = call.arrays(dtype)
    small, big = call.biases(dtype)
    copies = [array.copy() for array in (x, kernel, y, small, big)]
    results = [
        bs.conv_transpose(x, kernel, big, activation="relu", **call.options),
        bs.conv(y, kernel, small, activation="relu", **call.options),
        bs.conv_kernel_gradient(y, x, kernel.shape, **call.options),
    ]
    for result in results:
        result.fill(77)
    for array, copy in zip((x, kernel, y, small, big), copies, strict=True):
        assert np.array_equal(array, copy)


def test_a_wrong_definition_is_noticed() -> None:
    """The law of adjointness fails for an operation that is off by one cell."""

    def shifted(x: Array, kernel: Array, **options: Any) -> Array:
        return np.roll(bs.conv_transpose(x, kernel, **options), 1, 1)

    def law(up: Callable[..., Array]) -> bool:
        x, y = np.arange(1, 4).reshape(1, 3, 1), np.arange(1, 8).reshape(1, 7, 1)
        kernel = np.arange(1, 4).reshape(3, 1, 1)
        return inner(bs.conv(y, kernel, strides=2), x) == inner(y, up(x, kernel, strides=2))

    assert law(bs.conv_transpose)
    assert not law(shifted)
