"""Maps of the image, such as probabilities, seen from above: what KITTI Road measures.

Fritsch, Kuehnl & Geiger (ITSC 2013), section IV: cells of 0.05 m, from 10 m left to 10 m right of
the camera and from 6 to 46 m ahead of it; the first row is the farthest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backstride.roads.camera import Ground
from backstride.roads.sample import IGNORE


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of the ground, in metres, cut into cells.

    >>> View().shape
    (800, 400)
    """

    cell: float = 0.05
    x: tuple[float, float] = (-10.0, 10.0)
    z: tuple[float, float] = (6.0, 46.0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return round((self.z[1] - self.z[0]) / self.cell), round(
            (self.x[1] - self.x[0]) / self.cell
        )

    def cells(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x, z) of the middle of each cell."""
        rows, columns = self.shape
        x = self.x[0] + (np.arange(columns, dtype=np.float64) + 0.5) * self.cell
        z = self.z[1] - (np.arange(rows, dtype=np.float64) + 0.5) * self.cell
        shape = self.shape
        return np.broadcast_to(x, shape), np.broadcast_to(z[:, None], shape)


KITTI = View()


def probability_from_above(
    probability: NDArray[np.floating], ground: Ground, view: View = KITTI
) -> NDArray[np.float32]:
    """Each cell's probability, between the four pixels around it.

    0 where the image does not show the cell.
    """
    u, v, seen = _pixels(ground, view, probability.shape)
    rows, columns = probability.shape
    left, top = np.clip(np.floor(u), 0, columns - 2), np.clip(np.floor(v), 0, rows - 2)
    across, down = (np.clip(u - left, 0, 1), np.clip(v - top, 0, 1))
    i, j = top.astype(np.intp), left.astype(np.intp)
    upper = probability[i, j] * (1 - across) + probability[i, j + 1] * across
    lower = probability[i + 1, j] * (1 - across) + probability[i + 1, j + 1] * across
    return np.where(seen, upper * (1 - down) + lower * down, 0).astype(np.float32)


def labels_from_above(
    labels: NDArray[np.uint8], ground: Ground, view: View = KITTI
) -> NDArray[np.uint8]:
    """Each cell's label, that of the nearest pixel.

    IGNORE where the image does not show the cell.
    """
    u, v, seen = _pixels(ground, view, labels.shape)
    found = labels[np.rint(v).astype(np.intp), np.rint(u).astype(np.intp)]
    return np.where(seen, found, IGNORE).astype(np.uint8)


def _pixels(
    ground: Ground, view: View, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Where each cell is in an image of this shape, held inside it, and whether it is there."""
    rows, columns = shape
    u, v = ground.image_from_ground(*view.cells())
    with np.errstate(invalid="ignore"):
        seen = (u >= -0.5) & (u <= columns - 0.5) & (v >= -0.5) & (v <= rows - 0.5)
    inside = np.where(seen, u, 0).clip(0, columns - 1), np.where(seen, v, 0).clip(0, rows - 1)
    return *inside, seen
