"""The inverse question: every call that is listed is legal and right, and none within bounds is
missing.
"""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride import LegalCall, geometry, sizes
from backstride.integers import Padding

SMALL = st.integers(1, 12)


@given(SMALL, st.integers(1, 40))
def test_every_listed_call_goes_from_input_to_output(size: int, wanted: int) -> None:
    for call in sizes(size, wanted):
        assert call.geometry.input == (size,)
        assert call.geometry.output == (wanted,) == call.output


@given(
    SMALL, st.integers(1, 30), st.integers(1, 3), st.sampled_from(["same", "same_lower", "valid"])
)
def test_no_rule_within_the_searched_bounds_is_missing(
    size: int, wanted: int, dilation: int, rule: Padding
) -> None:
    expected: set[tuple[int, int]] = set()
    for stride in range(1, max(1, wanted // max(size - 1, 1)) + 1):
        for kernel in range(1, max(2 * stride, 7) + 1):
            try:
                _ = geometry(
                    size,
                    kernel,
                    strides=stride,
                    padding=rule,
                    output_shape=wanted,
                    dilation=dilation,
                )
            except ValueError:
                continue
            expected.add((stride, kernel))
    found = {
        (call.strides, call.kernel)
        for call in sizes(size, wanted, dilation=dilation)
        if call.padding == rule
    }
    assert found == expected


@given(SMALL, st.integers(1, 30), st.integers(1, 3))
def test_no_integer_padding_within_the_searched_bounds_is_missing(
    size: int, wanted: int, dilation: int
) -> None:
    expected: set[tuple[int, int, int, int]] = set()
    for stride in range(1, max(1, wanted // max(size - 1, 1)) + 1):
        for kernel in range(1, max(2 * stride, 7) + 1):
            span = dilation * (kernel - 1) + 1
            for pad, extra in product(range(span), range(max(stride, dilation))):
                within = stride == 1 or pad <= span // 2
                if within and (size - 1) * stride + span - 2 * pad + extra == wanted:
                    expected.add((stride, kernel, pad, extra))
    found = {
        (call.strides, call.kernel, call.padding, (call.output_padding or (0,))[0])
        for call in sizes(size, wanted, dilation=dilation)
        if isinstance(call.padding, int)
    }
    assert found == expected


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 4))
def test_an_open_input_is_the_one_that_the_convolution_maps_to(
    wanted: int, kernel: int, stride: int
) -> None:
    for call in sizes(None, wanted, kernel=kernel, strides=stride):
        assert call.geometry.output == (wanted,)
        assert call.geometry.adjoint.output == call.input


def test_an_open_output_lists_one_size_per_stride_step() -> None:
    assert [call.output for call in sizes(7, kernel=3, strides=3, padding="same")] == [
        (21,),
        (19,),
        (20,),
    ]


def test_several_axes_share_the_options() -> None:
    call = LegalCall((46, 62), (368, 489), 16, 8, "same", output_shape=(368, 489))
    assert call in sizes((46, 62), (368, 489))
    assert str(call) == 'kernel=16, strides=8, padding="same", output_shape=(368, 489)'


def test_the_size_that_keras_refuses_for_its_output_padding() -> None:
    """keras#13231: FCN-8s from 46x62 to 368x489 needs 8 more cells on one axis, as many as the
    stride.
    """
    wanted = sizes((46, 62), (368, 489), kernel=16, strides=8)
    assert {call.padding for call in wanted} == {"same", "same_lower"}


def test_plain_calls_come_first() -> None:
    calls = sizes(7, 14)
    plain = [call.output_padding is None and call.output_shape is None for call in calls]
    assert plain == sorted(plain, reverse=True)
    assert str(calls[0]) == 'kernel=2, strides=2, padding="same"'


def test_nothing_is_found_where_nothing_is_legal() -> None:
    assert sizes(5, 6, kernel=1, strides=1) == ()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None, None), {}, "`input` and `output` are both None; give at least one of them"),
        (
            (7, 2000),
            {},
            (
                "`input` (=(7,)) and `output` (=(2000,)) leave about 12493494 calls to try, more "
                "than 200000; "
                'narrow it, for example strides=286, kernel=572, padding="same"'
            ),
        ),
        (
            (0, 4),
            {},
            "`input` (=0) must be at least 1 and below 2**63; the nearest legal value is 1",
        ),
        (
            ((7, 7), (14, 14, 14)),
            {},
            (
                "`output` (=(14, 14, 14)) has 3 entries and `input` (=(7, 7)) has 2; "
                "give one per axis, or a single integer"
            ),
        ),
        (
            (7, 14),
            {"padding": [(0, 1)]},
            (
                "`padding` (=[(0, 1)]) must be a rule or one integer here; the nearest legal value "
                "is 0"
            ),
        ),
    ],
)
def test_wrong_calls_say_why(
    arguments: tuple[int | None, int | None], options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _ = sizes(*arguments, **options)


def test_the_suggested_narrowing_is_legal() -> None:
    assert sizes(7, 2000, strides=286, kernel=572, padding="same") != ()
