"""Sizes, crops and phases: worked examples, and laws on drawn geometries."""

from __future__ import annotations

import dataclasses
import math
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backstride as bs
from backstride import reference
from backstride.geometry import convolution
from backstride.integers import PaddingRule, Pair, as_integer
from strategies import geometries


@pytest.mark.parametrize(
    ("call", "crop", "output"),
    [
        ({"input": 2, "kernel": 3, "strides": 2, "padding": "same"}, (0, 1), 4),
        ({"input": 3, "kernel": 3, "strides": 2, "padding": "same"}, (0, 1), 6),
        ({"input": 4, "kernel": 3, "strides": 2, "padding": "valid"}, (0, 0), 9),
        ({"input": 4, "kernel": 3, "strides": 2, "padding": "same"}, (0, 1), 8),
        ({"input": 7, "kernel": 4, "strides": 2, "padding": "same"}, (1, 1), 14),
        ({"input": 7, "kernel": 3, "strides": 2, "padding": "same_lower"}, (1, 0), 14),
        ({"input": 7, "kernel": 3, "strides": 2, "padding": 1, "output_padding": 1}, (1, 0), 14),
        ({"input": 7, "kernel": 3, "strides": 2, "padding": 1}, (1, 1), 13),
        (
            {"input": 7, "kernel": 3, "strides": 2, "padding": "same", "output_shape": 13},
            (1, 1),
            13,
        ),
        (
            {"input": 7, "kernel": 3, "strides": 2, "padding": [(0, 1)], "output_shape": 15},
            (0, 0),
            15,
        ),
        ({"input": 3, "kernel": 2, "strides": 5, "padding": "valid"}, (0, -3), 15),
        ({"input": 3, "kernel": 2, "strides": 5, "padding": "same"}, (0, -3), 15),
        ({"input": 3, "kernel": 2, "strides": 5, "padding": 0}, (0, 0), 12),
        ({"input": 3, "kernel": 3, "dilation": 4, "padding": "same"}, (4, 4), 3),
        ({"input": 3, "kernel": 2, "dilation": 3, "padding": 0, "output_padding": 2}, (0, -2), 8),
        ({"input": 1, "kernel": 1}, (0, 0), 1),
        ({"input": 4, "kernel": 3, "strides": 2, "padding": [(-2, 3)]}, (-2, 3), 8),
        ({"input": np.int32(4), "kernel": np.uint8(3), "strides": np.int64(2)}, (0, 0), 9),
    ],
)
def test_worked_examples(call: dict[str, Any], crop: Pair, output: int) -> None:
    where = bs.geometry(**call)
    assert (where.crop, where.output) == ((crop,), (output,))


def test_an_integer_serves_every_axis() -> None:
    spelled = bs.geometry(
        (5, 6, 7),
        (3, 3, 3),
        strides=(2, 2, 2),
        padding=[(1, 1), (1, 1), (1, 1)],
        output_padding=(1, 1, 1),
        dilation=(2, 2, 2),
    )
    assert bs.geometry((5, 6, 7), 3, strides=2, padding=1, output_padding=1, dilation=2) == spelled
    assert bs.geometry(5, 3, strides=(2, 2)).input == (5, 5)


def test_every_field_holds_plain_integers() -> None:
    sizes: Any = [np.int64(5)], [np.int64(3)], [np.int32(2)], [(np.int8(1), np.int8(0))]
    where = bs.geometry(sizes[0], sizes[1], strides=sizes[2], padding=sizes[3])
    for field in dataclasses.fields(where):
        for entry in getattr(where, field.name):
            numbers = entry if field.name == "crop" else (entry,)
            assert all(type(number) is int for number in numbers)
    assert hash(where) == hash(bs.geometry(5, 3, strides=2, padding=[(1, 0)]))


@given(geometries())
def test_the_adjoint_of_the_adjoint_is_the_geometry(where: bs.Geometry) -> None:
    assert where.adjoint.output == where.input
    assert where.adjoint.input == where.output
    assert where.adjoint.adjoint == where


@given(geometries())
def test_its_fields_describe_it_completely(where: bs.Geometry) -> None:
    again = bs.geometry(
        where.input,
        where.kernel,
        strides=where.strides,
        padding=list(where.crop),
        dilation=where.dilation,
    )
    assert again == where
    assert where.full == tuple(
        (i - 1) * s + d * (k - 1) + 1
        for i, k, s, d in zip(where.input, where.kernel, where.strides, where.dilation, strict=True)
    )


@given(geometries())
def test_the_phases_partition_the_outputs_and_the_taps(where: bs.Geometry) -> None:
    for axis, phases in enumerate(where.phases):
        cells = [
            cell for p in phases for cell in range(p.start, where.output[axis], where.strides[axis])
        ]
        assert sorted(cells) == list(range(where.output[axis]))
        assert [p.count for p in phases] == [
            len(range(p.start, where.output[axis], where.strides[axis])) for p in phases
        ]
        taps = [tap for p in phases for tap in p.taps]
        assert len(set(taps)) == len(taps)
        if where.output[axis] >= where.strides[axis]:
            assert sorted(taps) == list(range(where.kernel[axis]))


@given(geometries())
def test_the_phases_name_every_meeting_of_the_definition(where: bs.Geometry) -> None:
    found: set[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = set()
    per_axis: list[list[tuple[int, int, int]]] = []
    for axis, phases in enumerate(where.phases):
        rows = [
            (phase.first + n - shift, tap, phase.start + n * where.strides[axis])
            for phase in phases
            for n in range(phase.count)
            for tap, shift in zip(phase.taps, phase.shifts, strict=True)
        ]
        per_axis.append([row for row in rows if 0 <= row[0] < where.input[axis]])
    for rows in product(*per_axis):
        cell, tap, target = zip(*rows, strict=True)
        found.add((cell, tap, target))
    assert found == set(reference.meetings(where))


@given(geometries(ranks=(1,)))
def test_tap_ranges_name_every_meeting_of_the_definition(where: bs.Geometry) -> None:
    found: set[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = set()
    for tap in range(where.kernel[0]):
        first, stop, start = where.tap_range(0, tap)
        found |= {
            ((m,), (tap,), (start + (m - first) * where.strides[0],)) for m in range(first, stop)
        }
    assert found == set(reference.meetings(where))


@given(geometries())
def test_coverage_is_the_transpose_of_ones(where: bs.Geometry) -> None:
    counts = np.ones((1, 1), np.int64)
    for row in where.coverage():
        counts = np.multiply.outer(counts, np.array(row))
    x, kernel = np.ones((1, *where.input, 1), np.int64), np.ones((*where.kernel, 1, 1), np.int64)
    stamped = bs.conv_transpose(
        x, kernel, strides=where.strides, padding=list(where.crop), dilation=where.dilation
    )
    assert np.array_equal(counts.reshape(stamped.shape), stamped)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))
def test_even_means_that_all_interior_cells_are_covered_alike(
    kernel: int, stride: int, dilation: int
) -> None:
    span = dilation * (kernel - 1) + 1
    inputs = 2 * math.ceil(span / stride) + 2
    where = bs.geometry(inputs, kernel, strides=stride, dilation=dilation)
    interior = where.coverage()[0][span - 1 : (inputs - 1) * stride + 1]
    assert len(interior) >= 2 * stride
    assert where.is_even == (len(set(interior)) == 1)


def test_a_layer_is_even_when_every_axis_is() -> None:
    assert bs.geometry((8, 8), (4, 4), strides=2).is_even
    assert not bs.geometry((8, 8), (4, 3), strides=2).is_even
    assert not bs.geometry((8, 8), 4, strides=2, dilation=(1, 2)).is_even


RULES = st.sampled_from(get_args(PaddingRule)) | st.tuples(st.integers(-4, 4), st.integers(-4, 4))


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), RULES)
def test_output_shape_is_legal_exactly_where_the_convolution_maps_it_back(
    size: int, kernel: int, stride: int, dilation: int, rule: PaddingRule | Pair
) -> None:
    padding = rule if isinstance(rule, str) else [rule]
    for wanted in range(1, size * stride + dilation * kernel + 12):
        options: dict[str, Any] = {"strides": stride, "padding": padding, "dilation": dilation}
        assert _legal(size, kernel, wanted, options) == _maps_back(size, kernel, wanted, options)


def _legal(size: int, kernel: int, wanted: int, options: dict[str, Any]) -> bool:
    try:
        where = bs.geometry(size, kernel, output_shape=wanted, **options)
    except ValueError:
        return False
    assert where.output == (wanted,)
    assert where.adjoint == convolution(wanted, kernel, **options)
    return True


def _maps_back(size: int, kernel: int, wanted: int, options: dict[str, Any]) -> bool:
    try:
        return convolution(wanted, kernel, **options).output == (size,)
    except ValueError:
        return False


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_convolution_sizes_are_tensorflows_formulas(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    # tensorflow/core/framework/common_shape_fns.cc, GetWindowedOutputSizeVerbose
    span = dilation * (kernel - 1) + 1
    same = convolution(size, kernel, strides=stride, padding="same", dilation=dilation)
    total = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
    assert same.output == (math.ceil(size / stride),)
    assert same.padding[0][0] == total // 2
    if size >= span:
        assert convolution(size, kernel, strides=stride, dilation=dilation).output == (
            (size - span) // stride + 1,
        )


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_default_outputs_are_tensorflows(
    size: int, kernel: int, stride: int, dilation: int
) -> None:
    # i*s, and i*s + max(K - s, 0), as in _get_output_shape_given_tf_padding of
    # keras/src/backend/common/backend_utils.py
    span = dilation * (kernel - 1) + 1
    options: dict[str, Any] = {"strides": stride, "dilation": dilation}
    assert bs.geometry(size, kernel, padding="same", **options).output == (size * stride,)
    assert bs.geometry(size, kernel, padding="valid", **options).output == (
        size * stride + max(span - stride, 0),
    )


@given(
    st.integers(1, 9),
    st.integers(1, 7),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 3),
    st.data(),
)
def test_explicit_padding_is_pytorchs_formula(
    size: int, kernel: int, stride: int, dilation: int, padding: int, data: st.DataObject
) -> None:
    # https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose1d.html, the formula of
    # L_out
    extra = data.draw(st.integers(0, max(stride, dilation) - 1))
    expected = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
    if expected < 1:
        return
    where = bs.geometry(
        size, kernel, strides=stride, padding=padding, output_padding=extra, dilation=dilation
    )
    assert where.output == (expected,)
    assert where.crop == ((padding, padding - extra),)


@pytest.mark.parametrize("value", [3, np.int8(3), np.array(3)])
def test_integers_of_any_library_become_integers(value: object) -> None:
    result = as_integer("kernel", value)
    assert (type(result), result) == (int, 3)
