"""What is kept of the worst pictures is bounded, and what was not kept is made again."""

from __future__ import annotations

import numpy as np
import pytest

from backstride.roads.evaluation.worst import Worst


@pytest.mark.parametrize(("most", "kept"), [(10_000, {1, 4}), (150, {1})])
def test_keeps_the_worst_within_bounds(most: int, kept: set[int]) -> None:
    worst = Worst(2, most)
    for index, right in enumerate([0.9, 0.2, 0.8, 0.5, 0.4, 1, 0.7]):
        worst.add(index, right, np.full((10, 10), index, np.uint8))
    again = np.zeros((1, 1), np.uint8)
    found = {index: worst.found(index, lambda: again) for index in range(7)}
    assert {index for index, labels in found.items() if labels is not again} == kept
    assert all((found[index] == index).all() for index in kept)
