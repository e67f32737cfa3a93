from __future__ import annotations

import numpy as np

from backstride.demo.metrics import confusion, intersection_over_union


def test_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, 2, 2]], np.uint8)
    found = np.array([[0, 0, 1, 1], [1, 2, 2, 0]], np.uint8)
    matrix = confusion(truth, found, 3)
    assert matrix.tolist() == [[2, 1, 0], [0, 2, 1], [1, 0, 1]]
    assert intersection_over_union(matrix).tolist() == [2 / 4, 2 / 4, 1 / 3]


def test_pooled_over_scenes() -> None:
    random = np.random.default_rng(0)
    truth, found = random.integers(0, 11, (2, 5, 9, 9))
    apart = sum(confusion(one, other, 11) for one, other in zip(truth, found, strict=True))
    assert np.array_equal(confusion(truth, found, 11), apart)


def test_a_class_that_is_nowhere_has_none() -> None:
    unions = intersection_over_union(confusion(np.array([0, 0]), np.array([0, 2]), 4))
    assert np.array_equal(unions, [0.5, np.nan, 0, np.nan], equal_nan=True)


def test_large_counts_do_not_wrap() -> None:
    labels = np.full(300, 10, np.uint8)
    assert confusion(labels, labels, 11)[10, 10] == 300
