"""Depthwise layers with channels first: against channels last, and for any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backstride as bs

Call = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], dict[str, Any]]


@st.composite
def depthwise_calls(draw: st.DrawFn) -> Call:
    """Integers, whose sums are exact: lines of less and more than a vector, in one to three
    axes.
    """
    axes = draw(st.integers(1, 3))
    channels, batch = draw(st.integers(2, 5)), draw(st.integers(1, 2))
    size = (*(draw(st.integers(1, 5)) for _ in range(axes - 1)), draw(st.integers(2, 140)))
    taps = tuple(draw(st.integers(1, 5)) for _ in range(axes))
    strides = (
        *(draw(st.sampled_from((1, 2, 3, 4))) for _ in range(axes - 1)),
        draw(st.sampled_from((1, 2, 4, 8, 3))),
    )
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    full = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(size, strides, dilation, taps, strict=True)
    ]
    padding = tuple(
        (draw(st.integers(0, (n - 1) // 2)), draw(st.integers(0, (n - 1) // 2))) for n in full
    )
    random = np.random.default_rng(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from((np.float32, np.float64)))
    x = random.integers(-4, 5, (batch, *size, channels)).astype(dtype)
    kernel = random.integers(-4, 5, (*taps, 1, channels)).astype(dtype)
    return (
        x,
        kernel,
        {"strides": strides, "padding": padding, "dilation": dilation, "groups": channels},
    )


@settings(deadline=None)
@given(call=depthwise_calls(), activation=st.sampled_from((None, "relu")))
def test_channels_first_is_channels_last(call: Call, activation: str | None) -> None:
    x, kernel, options = call
    bias = np.arange(x.shape[-1], dtype=x.dtype) - 1
    first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    turned = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))
    last = bs.conv_transpose(x, kernel, bias, activation=activation, **options)
    y = bs.conv_transpose(
        first, turned, bias, activation=activation, data_format="channels_first", **options
    )
    np.testing.assert_array_equal(y, np.moveaxis(last, -1, 1))
    back = bs.conv(y, turned, data_format="channels_first", **options)
    np.testing.assert_array_equal(np.moveaxis(back, 1, -1), bs.conv(last, kernel, **options))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("shape", [(16, 40, 200), (300, 3000)])
def test_threads_do_not_change_a_bit(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((2, *shape), np.float32)
    kernel = random.standard_normal((shape[0], 1, *(5 for _ in shape[1:])), np.float32)
    found: list[bytes] = []
    for threads in (1, 2, 3):
        bs.set_num_threads(threads)
        found.append(
            bs.conv_transpose(
                x, kernel, strides=2, groups=shape[0], data_format="channels_first"
            ).tobytes()
        )
    bs.set_num_threads(0)
    assert len(set(found)) == 1
