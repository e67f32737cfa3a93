"""A picture with what was found right and wrong drawn over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backstride.roads.sample import IGNORE, ROAD

GREEN, RED, BLUE = (40, 190, 80), (230, 50, 40), (50, 90, 240)
SHARE = 0.5


def errors_over(image: NDArray[np.uint8], found: NDArray[np.bool_], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Green: road that was found; red: road that was missed; blue: what is none. Ignored pixels are darker.

    >>> grey = np.full((1, 3, 3), 100, np.uint8)
    >>> errors_over(grey, np.array([[True, False, True]]), np.array([[1, 1, 0]], np.uint8))[0].tolist()
    [[70, 145, 90], [165, 75, 70], [75, 95, 170]]
    """
    road, valid = mask == ROAD, mask != IGNORE
    made = image.astype(np.float32)
    made[~valid] *= 1 - SHARE
    for where, colour in (
        (road & found, GREEN),
        (road & ~found, RED),
        (valid & ~road & found, BLUE),
    ):
        made[where] += SHARE * (np.asarray(colour, np.float32) - made[where])
    return made.round().astype(np.uint8)
