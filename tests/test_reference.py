"""The oracle itself: checked by hand-worked numbers and by a second, independent formulation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given

import backstride as bs
from backstride import reference
from backstride.layout import data_view, kernel_view
from strategies import Array, Drawn, calls


def test_a_stamp_by_hand_in_two_dimensions() -> None:
    x = np.array([[1, 10], [100, 1000]]).reshape(1, 2, 2, 1)
    kernel = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]).reshape(3, 3, 1, 1)
    y = reference.conv_transpose(x, kernel, bs.geometry((2, 2), 3, strides=2))
    assert y[0, :, :, 0].tolist() == [
        [1, 2, 13, 20, 30],
        [4, 5, 46, 50, 60],
        [107, 208, 1379, 2080, 3090],
        [400, 500, 4600, 5000, 6000],
        [700, 800, 7900, 8000, 9000],
    ]


def test_a_gather_by_hand() -> None:
    y = np.array([1, 10, 100, 1000, 10000]).reshape(1, 5, 1)
    kernel = np.array([1, 2, 3]).reshape(3, 1, 1)
    x = reference.conv(y, kernel, bs.geometry(2, 3, strides=2))
    assert x[0, :, 0].tolist() == [321, 32100]


def test_a_kernel_gradient_by_hand() -> None:
    x, y = np.array([1, 10]).reshape(1, 2, 1), np.array([1, 2, 3, 4, 5]).reshape(1, 5, 1)
    gradient = reference.conv_kernel_gradient(x, y, bs.geometry(2, 3, strides=2))
    assert gradient[:, 0, 0].tolist() == [31, 42, 53]


def test_fractions_stay_fractions() -> None:
    x = np.array([Fraction(1, 3), Fraction(1, 7)], dtype=object).reshape(1, 2, 1)
    kernel = np.array([Fraction(3), Fraction(7, 2)], dtype=object).reshape(2, 1, 1)
    y = reference.conv_transpose(x, kernel, bs.geometry(2, 2))
    assert y.ravel().tolist() == [Fraction(1), Fraction(7, 6) + Fraction(3, 7), Fraction(1, 2)]


def test_integers_do_not_overflow() -> None:
    largest = np.full((1, 3, 1), np.iinfo(np.int64).max)
    y = reference.conv_transpose(
        largest, np.full((3, 1, 1), np.iinfo(np.int64).max), bs.geometry(3, 3)
    )
    assert y.ravel().tolist() == [n * (2**63 - 1) ** 2 for n in (1, 2, 3, 2, 1)]


def einsum(call: Drawn, x: Array, kernel: Array) -> Array:
    """The same sum from the dense matrix of each axis: matrix[o, i, j] = 1 where o == i*s + j*d -
    before.
    """
    where = call.geometry
    letters = "abc"[: len(where.input)]
    operands: list[Array] = []
    for axis in range(len(where.input)):
        o, i, j = np.ogrid[: where.output[axis], : where.input[axis], : where.kernel[axis]]
        meets = o == i * where.strides[axis] + j * where.dilation[axis] - where.crop[axis][0]
        operands.append(meets.astype(np.int64))
    data = data_view(x, call.data_format).reshape(call.batch, *where.input, call.groups, call.small)
    weights = kernel_view(kernel, call.data_format).reshape(
        *where.kernel, call.big, call.groups, call.small
    )
    matrices = ",".join(
        f"{a.upper()}{a}{a.translate(str.maketrans('abc', 'ijk'))}" for a in letters
    )
    taps = letters.translate(str.maketrans("abc", "ijk"))
    y: Array = np.einsum(
        f"n{letters}gs,{taps}tgs,{matrices}->n{letters.upper()}gt", data, weights, *operands
    )
    return y.reshape(call.batch, *where.output, call.groups * call.big)


@given(calls())
def test_the_definition_equals_a_product_with_the_matrices_of_the_axes(call: Drawn) -> None:
    x, kernel, _ = call.arrays()
    y = reference.conv_transpose(
        x, kernel, call.geometry, groups=call.groups, data_format=call.data_format
    )
    assert np.array_equal(data_view(y, call.data_format), einsum(call, x, kernel))


@given(calls())
def test_the_three_definitions_are_one_trilinear_form(call: Drawn) -> None:
    x, kernel, y = call.arrays()
    where = call.geometry
    up = reference.conv_transpose(
        x, kernel, where, groups=call.groups, data_format=call.data_format
    )
    down = reference.conv(y, kernel, where, groups=call.groups, data_format=call.data_format)
    gradient = reference.conv_kernel_gradient(
        x, y, where, groups=call.groups, data_format=call.data_format
    )
    form = (up * y).sum()
    assert form == (down * x).sum()
    assert form == (gradient * kernel).sum()
