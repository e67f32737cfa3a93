from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backstride.roads.evaluation.metrics import (
    LEVELS,
    Counts,
    as_levels,
    average_precision,
    confusion,
    total,
)


def counted(levels: list[int], labels: list[int]) -> Counts:
    counts = Counts()
    counts.add(np.array([levels], np.uint8), np.array([labels], np.uint8))
    return counts


def test_a_case_by_hand() -> None:
    # thresholds: 201..220 find 1 of 4 (precision 1); 151..200 two true, none false; 101..150 two
    # and one; 51..100 three and one; 11..50 four and one; 0..10 all
    counts = counted([220, 200, 150, 100, 50, 10], [1, 1, 0, 1, 1, 0])
    found = counts.measures()
    # F: 2*1*.25/1.25=.4, 2*1*.5/1.5=.667, .571, .75, 2*.8*1/1.8=.889, 2*(4/6)/(1+4/6)=.8
    assert found.maxf == pytest.approx(8 / 9)
    assert found.threshold == 11
    assert (found.pre, found.rec) == (pytest.approx(4 / 5), 1)
    assert (found.fpr, found.fnr) == (1 / 2, 0)
    assert found.iou == pytest.approx(4 / 5)
    assert found.pixels == 6
    # recall 0 to .2: precision 1 (6 levels up to .5: 0 .1 .2 .3 .4 .5), .6 .7 .8 .9 1: 4/5
    assert found.ap == pytest.approx((6 * 1 + 5 * 0.8) / 11)


def test_ignored_pixels_count_nowhere() -> None:
    assert counted([9, 250, 7], [0, 255, 1]).measures() == counted([9, 7], [0, 1]).measures()


def test_perfect_and_inverted() -> None:
    perfect = counted([255, 255, 0, 0], [1, 1, 0, 0]).measures()
    assert (perfect.maxf, perfect.ap, perfect.iou, perfect.fpr, perfect.fnr) == (1, 1, 1, 0, 0)
    inverted = counted([0, 0, 255, 255], [1, 1, 0, 0]).measures()
    assert inverted.maxf == pytest.approx(2 / 3)  # everything is road
    assert (inverted.threshold, inverted.fpr) == (0, 1)


def test_nothing_to_find_has_no_measures() -> None:
    found = counted([3, 4], [0, 0]).measures()
    assert np.isnan(
        [found.maxf, found.ap, found.pre, found.rec, found.fpr, found.fnr, found.iou]
    ).all()
    assert np.isnan(counted([3, 4], [1, 1]).measures().fpr)


def test_rounds_to_the_nearest_level() -> None:
    assert as_levels(np.array([-1, 0.4 / 255, 0.6 / 255, 0.999, 2])).tolist() == [0, 0, 1, 255, 255]
    assert as_levels(np.array([7], np.uint8)).tolist() == [7]


def test_refuses_another_shape() -> None:
    with pytest.raises(
        ValueError, match=r"^`probability` has shape \(1, 2\); it must be the mask's, \(2, 1\)$"
    ):
        Counts().add(np.zeros((1, 2)), np.zeros((2, 1), np.uint8))


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.sampled_from([0, 1, 255])), min_size=1, max_size=40)
)
def test_equals_the_definition(pixels: list[tuple[int, int]]) -> None:
    levels, labels = (np.array(side, np.uint8) for side in zip(*pixels, strict=True))
    counts = counted(levels.tolist(), labels.tolist())
    precision, recall = counts.curve()
    values: list[float] = []
    for threshold in range(LEVELS):
        found = levels >= threshold
        true, false = int((found & (labels == 1)).sum()), int((found & (labels == 0)).sum())
        missed = int((~found & (labels == 1)).sum())
        assert precision[threshold] == (true / (true + false) if true + false else 0)
        assert recall[threshold] == (true / (true + missed) if true + missed else 0)
        values.append(2 * true / (2 * true + false + missed) if true else 0)
    if (labels == 1).any():
        found = counts.measures()
        assert found.maxf == pytest.approx(max(values))
        assert found.iou == pytest.approx(found.maxf / (2 - found.maxf))
        assert found.ap == pytest.approx(_ap(precision, recall))


def _ap(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> float:
    best = [
        max(p for p, r in zip(precision, recall, strict=True) if r >= level / 10 - 1e-12)
        for level in range(11)
    ]
    return sum(best) / 11


@given(st.lists(st.integers(0, 255), min_size=2, max_size=30), st.integers(1, 29))
def test_counts_add_up(levels: list[int], cut: int) -> None:
    labels = [level % 2 for level in levels]
    parts = [counted(levels[:cut], labels[:cut]), counted(levels[cut:], labels[cut:])]
    assert np.array_equal(total(parts).table, counted(levels, labels).table)


def test_a_recall_of_six_tenths_is_reached_by_three_of_five() -> None:
    recall = np.array([3, 5]) / 5
    assert average_precision(np.array([1.0, 0.5]), recall) == pytest.approx((7 + 4 * 0.5) / 11)


def test_confusion_counts_valid_pixels() -> None:
    truth, found = np.array([[0, 2, 255, 1]], np.uint8), np.array([[0, 1, 1, 1]])
    assert confusion(truth, found, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
