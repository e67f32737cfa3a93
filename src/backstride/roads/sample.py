"""One photograph with its mask.

What every data set gives, and training, evaluation and prediction take.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BACKGROUND, ROAD, IGNORE = 0, 1, 255


@dataclass(frozen=True, slots=True)
class Sample:
    """A photograph and the places of what belongs to it.

    `name`: unique in its data set, without suffix. `category`: what is also measured by itself,
    "um", "umm" or "uu" on KITTI Road, the drive where polygons name it, else "". `group`: what must
    not be on both sides of a split (a drive, a clip); the name where pictures are independent.
    `mask`, `calibration`: None where there is none.
    """

    name: str
    image: Path
    mask: Path | None = None
    calibration: Path | None = None
    category: str = ""
    group: str = ""


class Dataset(Protocol):
    """Photographs with masks, read one at a time."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """In a fixed order."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label; ("background", "road") for roads."""
        ...

    def image(self, index: int) -> NDArray[np.uint8]:
        """The photograph, (rows, columns, 3), RGB, 0 to 255."""
        ...

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The labels, (rows, columns); IGNORE where a pixel is neither trained nor measured."""
        ...
