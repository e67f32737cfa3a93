"""The choice of a head: its name or position finds it, and every other value is answered with those
that there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backstride.surgery.model.heads import Choice, Head

TWO = (Head(0, "classes", "fc1 (Linear)"), Head(1, "boxes", "fc2 (Linear)"))
GAPS = (Head(1, "1", "a"), Head(5, "aux.0", "b"), Head(6, "6", "c"))
NUMBERED = (Head(0, "2", "Gemm_1"), Head(1, "0", "Gemm_2"), Head(2, "495", "Gemm_3"))
LISTED = '"classes" from fc1 (Linear) or "boxes" from fc2 (Linear)'


@pytest.mark.parametrize("heads", [TWO, GAPS, NUMBERED])
def test_names_places_and_counts_from_the_end_find_a_head(heads: tuple[Head, ...]) -> None:
    for position, head in enumerate(heads):
        for given in (head.name, head.place, np.int64(head.place), head.key, position - len(heads)):
            assert Choice(given).among("M", heads) is head, given
        assert Choice(str(position - len(heads))).among("M", heads) is head


def test_a_name_goes_before_a_position_with_the_same_digits() -> None:
    assert Choice("2").among("M", NUMBERED) is NUMBERED[0]
    assert Choice(2).among("M", NUMBERED) is NUMBERED[2]
    assert Choice("1").among("M", NUMBERED) is NUMBERED[1]


def test_nothing_is_chosen_where_nothing_is_asked() -> None:
    assert Choice().among("M", TWO) is None
    assert Choice(needed=True).among("M", TWO[:1]) is TWO[0]
    assert Choice(needed=True).among("M", ()) is None


@pytest.mark.parametrize(
    ("given", "shown", "nearest", "error"),
    [
        (None, "None", '"classes"', ValueError),
        ("boxs", "'boxs'", '"boxes"', ValueError),
        ("CLASSES", "'CLASSES'", '"classes"', ValueError),
        ("", "''", '"classes"', ValueError),
        ("7", "'7'", "1", ValueError),
        ("-3", "'-3'", "-2", ValueError),
        (2, "2", "1", ValueError),
        (-3, "-3", "-2", ValueError),
        (10**30, "1" + 30 * "0", "1", ValueError),
        (True, "True", "1", TypeError),
        (0.0, "0.0", "0", TypeError),
        (float("nan"), "nan", "0", TypeError),
        (["boxes"], "['boxes']", "0", TypeError),
        (b"boxes" * 20, repr(b"boxes" * 20)[:37] + "...", "0", TypeError),
    ],
)
def test_other_values_are_answered_with_the_heads(
    given: Any, shown: str, nearest: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        _ = Choice(given, needed=True).among("Net", TWO)
    assert str(caught.value) == (
        f"`head` (={shown}) must be one of the 2 heads of Net, by name or position: {LISTED}; "
        f"the nearest legal value is {nearest}"
    )


def test_many_heads_are_counted() -> None:
    heads = tuple(Head(place, f"p{place}", "x") for place in range(20))
    with pytest.raises(
        ValueError, match=r'"p7" from x or 12 more; the nearest legal value is "p12"$'
    ):
        _ = Choice("p 12").among("Net", heads)
    with pytest.raises(
        ValueError, match=r"^`head` \(=3\) must be Net's only head: 0 from fc; the nearest legal"
    ):
        _ = Choice(3).among("Net", (Head(0, "0", "fc"),))
