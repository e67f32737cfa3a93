"""The pictures that a network does worst on: kept while all are measured, and drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backstride.files import instead_of, write_beside
from backstride.roads.evaluation.overlay import errors_over
from backstride.roads.sample import Dataset
from backstride.roads.synthetic.dataset import png

FOLDER = "worst"
WRITTEN = re.compile(r"\d{2,}_.*\.png")
MOST = 2**28  # bytes


@dataclass
class Worst:
    """Labels that were found in the pictures that are the worst so far.

    `wanted`: how many are to be drawn. `most`: bytes that are kept.
    """

    wanted: int
    most: int = MOST
    _kept: dict[int, tuple[float, NDArray[np.uint8]]] = field(
        default_factory=dict[int, "tuple[float, NDArray[np.uint8]]"]
    )

    def add(self, index: int, right: float, found: NDArray[np.uint8]) -> None:
        """Take a picture that is right to some degree, and drop the best of too many."""
        if not self.wanted:
            return
        self._kept[index] = right, found
        order = sorted(self._kept, key=lambda at: (self._kept[at][0], at))
        while len(order) > self.wanted or sum(self._kept[at][1].nbytes for at in order) > self.most:
            del self._kept[order.pop()]

    def found(self, index: int, otherwise: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Those of a picture; where they were not kept, what `otherwise` gives."""
        return self._kept[index][1] if index in self._kept else otherwise()


def check_worst(out: Path) -> None:
    """Refuse to replace a folder of pictures that has files of others in it."""
    folder = out / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not WRITTEN.fullmatch(path.name):
            message = (
                f"`out` (={str(out)!r}) has {FOLDER}/{path.name}, which was not written here; name "
                "another folder"
            )
            raise ValueError(message)


def draw(
    out: Path, pictures: Dataset, order: Sequence[int], found: Callable[[int], NDArray[np.uint8]]
) -> None:
    """Write the pictures of `order`, the first as 01, into `out`/worst, which is replaced."""
    with instead_of(out / FOLDER) as folder:
        for place, index in enumerate(order, start=1):
            name = pictures.samples[index].name.replace("/", "_")
            drawn = errors_over(
                pictures.image(index), found(index), pictures.mask(index), len(pictures.classes)
            )
            write_beside(folder / f"{place:02d}_{name}.png", png(drawn), one_of_many=True)
