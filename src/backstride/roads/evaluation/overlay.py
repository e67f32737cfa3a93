"""A picture with what was found right and wrong drawn over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backstride.roads.sample import BACKGROUND, IGNORE, ROAD

GREEN, RED, BLUE = (40, 190, 80), (230, 50, 40), (50, 90, 240)
SHARE = 0.5


def errors_over(
    image: NDArray[np.uint8], found: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int = 2
) -> NDArray[np.uint8]:
    """Green: road that was found; red: road that was missed; blue: what is none.

    Ignored pixels are darker. `found`: labels. With more than two `classes`, green is what is right
    but label 0, and red what is wrong.

    >>> grey = np.full((1, 3, 3), 100, np.uint8)
    >>> errors_over(grey, np.array([[1, 0, 1]], np.uint8),
    ...     np.array([[1, 1, 0]], np.uint8))[0].tolist()
    [[70, 145, 90], [165, 75, 70], [75, 95, 170]]
    """
    valid, right = mask != IGNORE, found == mask
    road = mask == ROAD if classes == 2 else np.ones_like(right)
    green = right & (mask != BACKGROUND)
    blue = (mask == BACKGROUND) & ~right if classes == 2 else np.zeros_like(right)
    made = image.astype(np.float32)
    made[~valid] *= 1 - SHARE
    for where, colour in (
        (valid & green, GREEN),
        (valid & road & ~right, RED),
        (valid & blue, BLUE),
    ):
        made[where] += SHARE * (np.asarray(colour, np.float32) - made[where])
    return made.round().astype(np.uint8)
