"""What is kept of the worst pictures is bounded, and what was not kept is made again."""

from __future__ import annotations

import numpy as np
import pytest

from backstride.roads.metrics import Counts, as_levels
from backstride.roads.worst import Worst


def added(worst: Worst, rights: list[float]) -> None:
    """Pictures of which these shares of the road are found."""
    for index, right in enumerate(rights):
        mask = np.ones((10, 10), np.uint8)
        mask[5:] = 0
        levels = as_levels(np.where((np.arange(100) < 50 * right).reshape(10, 10), 0.9, 0.1))
        counts = Counts()
        counts.add(levels, mask)
        worst.add(index, counts, levels)


@pytest.mark.parametrize(("most", "kept"), [(10_000, {1, 4}), (150, {1})])
def test_keeps_the_worst_within_bounds(most: int, kept: set[int]) -> None:
    worst = Worst(2, 128, most)
    added(worst, [0.9, 0.2, 0.8, 0.5, 0.4, 1, 0.7])
    again = np.zeros((1, 1), np.uint8)
    found = {index for index in range(7) if worst.levels(index, lambda: again) is not again}
    assert found == kept
    assert int((worst.levels(1, lambda: again) > 128).sum()) == 10
