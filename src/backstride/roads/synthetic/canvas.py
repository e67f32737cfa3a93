"""The picture being painted, and how a thing covers part of it: colour, road and fog follow from one share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backstride.roads.synthetic.noise import Floats
from backstride.roads.synthetic.world import Light

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Canvas:
    """`image` (3, rows, columns), and `road` (rows, columns), the share of road in each pixel."""

    image: Floats
    road: Floats
    light: Light

    def put(
        self, top: int, left: int, share: Floats, colour: Floats, depth: Floats | float, *, shadow: bool = False
    ) -> None:
        """Cover a piece, from (top, left), by `share` (rows, columns) of `colour` (3, ...), seen through fog.

        Under a `shadow` the road stays road.
        """
        rows, columns = share.shape
        piece = self.image[:, top : top + rows, left : left + columns]
        piece += share * (self.through_fog(colour, depth) - piece)
        if not shadow:
            self.road[top : top + rows, left : left + columns] *= 1 - share

    def through_fog(self, colour: Floats, depth: Floats | float) -> Floats:
        """A colour at a distance."""
        clear = np.exp(np.asarray(depth, np.float32) * np.float32(-1 / self.light.fog))
        haze = np.asarray(self.light.horizon, np.float32).reshape(3, 1, 1) * np.float32(1 - 0.92 * self.light.night)
        return haze + clear * (colour - haze)

    def polygon(
        self, points: Points, colour: Floats, depth: float, *, opacity: float = 1.0, shadow: bool = False
    ) -> None:
        """Cover a convex polygon of (u, v), its border smooth over one pixel."""
        rows, columns = self.road.shape
        us, vs = [point[0] for point in points], [point[1] for point in points]
        left, right = max(int(min(us)) - 1, 0), min(int(max(us)) + 2, columns)
        top, bottom = max(int(min(vs)) - 1, 0), min(int(max(vs)) + 2, rows)
        if left >= right or top >= bottom:
            return
        u = np.arange(left, right, dtype=np.float32)
        v = np.arange(top, bottom, dtype=np.float32)[:, None]
        inside = np.full((bottom - top, right - left), 2, np.float32)
        turn = np.sign(area(points))
        for (u1, v1), (u2, v2) in zip(points, [*points[1:], points[0]], strict=True):
            du, dv = u2 - u1, v2 - v1
            length = float(np.hypot(du, dv))
            if length > 1e-6:
                first, second = np.float32(turn * du / length), np.float32(turn * dv / length)
                inside = np.minimum(inside, first * (v - np.float32(v1)) - second * (u - np.float32(u1)))
        share = np.clip(inside + np.float32(0.5), 0, 1)
        self.put(top, left, share * np.float32(opacity), colour, depth, shadow=shadow)

    def window(self, left: float, top: float, right: float, bottom: float) -> tuple[int, int, Floats, Floats] | None:
        """The pixels of a box, as (top, left, u, v), both from -1 to 1 across it; None outside the picture."""
        rows, columns = self.road.shape
        first, last = max(int(left), 0), min(int(right) + 2, columns)
        above, below = max(int(top), 0), min(int(bottom) + 2, rows)
        if first >= last or above >= below or right - left < 0.3 or bottom - top < 0.3:
            return None
        u = (np.arange(first, last, dtype=np.float32) - np.float32((left + right) / 2)) / np.float32((right - left) / 2)
        v = (np.arange(above, below, dtype=np.float32) - np.float32((top + bottom) / 2)) / np.float32(
            (bottom - top) / 2
        )
        return above, first, u[None], v[:, None]


def area(points: Points) -> float:
    """Twice the area of a polygon, positive where it turns from u towards v."""
    return sum(u1 * v2 - u2 * v1 for (u1, v1), (u2, v2) in zip(points, [*points[1:], points[0]], strict=True))
