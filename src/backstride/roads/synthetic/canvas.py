"""The picture being painted, and how a thing covers part of it.

Colour, road and fog follow from one share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backstride.roads.synthetic.noise import Floats
from backstride.roads.synthetic.world import Colour, Light

PLACES = np.arange(4100, dtype=np.float32)

Points = list[tuple[float, float]]


def rgb(colour: Colour) -> Floats:
    """A colour as (3, 1, 1)."""
    return np.asarray(colour, np.float32).reshape(3, 1, 1)


@dataclass(frozen=True, slots=True)
class Canvas:
    """`image` (3, rows, columns), and `road` (rows, columns), the share of road in each pixel."""

    image: Floats
    road: Floats
    light: Light

    @property
    def haze(self) -> Colour:
        """The colour that distance fades to."""
        red, green, blue = self.light.horizon
        share = 1 - 0.92 * self.light.night
        return red * share, green * share, blue * share

    def through_fog(self, colour: Floats, depth: Floats) -> Floats:
        """Colours (3, ...) at their distances."""
        clear = np.exp(depth * np.float32(-1 / self.light.fog))
        haze = rgb(self.haze)
        return haze + clear * (colour - haze)

    def put(
        self, top: int, left: int, share: Floats, colour: Floats, *, shadow: bool = False
    ) -> None:
        """Cover a piece, from (top, left), by `share` (rows, columns) of `colour` (3, ...).

        A shadow leaves road.
        """
        rows, columns = share.shape
        piece = self.image[:, top : top + rows, left : left + columns]
        change = colour - piece
        change *= share
        piece += change
        if not shadow:
            self.road[top : top + rows, left : left + columns] *= 1 - share

    def polygon(
        self,
        points: Points,
        colour: Colour,
        depth: float,
        *,
        opacity: float = 1.0,
        shadow: bool = False,
    ) -> None:
        """Cover a convex polygon of (u, v), its border smooth over one pixel."""
        rows, columns = self.road.shape
        us, vs = [point[0] for point in points], [point[1] for point in points]
        left, right = max(int(min(us)) - 1, 0), min(int(max(us)) + 2, columns)
        top, bottom = max(int(min(vs)) - 1, 0), min(int(max(vs)) + 2, rows)
        if left >= right or top >= bottom or max(us) - min(us) + max(vs) - min(vs) < 1e-3:
            return
        turn = 1.0 if area(points) > 0 else -1.0
        lines: list[
            tuple[float, float, float]
        ] = []  # distance from each side, times v and u, and the rest
        for (u1, v1), (u2, v2) in zip(points, [*points[1:], points[0]], strict=True):
            length = math.hypot(u2 - u1, v2 - v1)
            if length > 1e-6:
                first, second = turn * (u2 - u1) / length, turn * (v2 - v1) / length
                # half a pixel inside the border counts as covered
                lines.append((first, -second, second * (u1 - left) - first * (v1 - top) + 0.5))
        sides = np.array(lines, np.float32)
        down = sides[:, 0, None] * PLACES[: bottom - top]
        along = sides[:, 1, None] * PLACES[: right - left] + sides[:, 2, None]
        inside = np.minimum.reduce(down[:, :, None] + along[:, None])
        _ = np.minimum(inside, 1, out=inside)
        _ = np.maximum(inside, 0, out=inside)
        if opacity < 1:
            inside *= np.float32(opacity)
        clear = math.exp(-depth / self.light.fog)
        seen = [haze + clear * (own - haze) for own, haze in zip(colour, self.haze, strict=True)]
        self.put(top, left, inside, rgb((seen[0], seen[1], seen[2])), shadow=shadow)

    def window(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[int, int, Floats, Floats] | None:
        """The pixels of a box, as (top, left, u, v), both from -1 to 1 across it.

        None outside the picture.
        """
        rows, columns = self.road.shape
        first, last = max(int(left), 0), min(int(right) + 2, columns)
        above, below = max(int(top), 0), min(int(bottom) + 2, rows)
        if first >= last or above >= below or right - left < 0.3 or bottom - top < 0.3:
            return None
        u = (np.arange(first, last, dtype=np.float32) - (left + right) / 2) / ((right - left) / 2)
        v = (np.arange(above, below, dtype=np.float32) - (top + bottom) / 2) / ((bottom - top) / 2)
        return above, first, u[None], v[:, None]


def area(points: Points) -> float:
    """Twice the area of a polygon, positive where it turns from u towards v."""
    return sum(
        u1 * v2 - u2 * v1
        for (u1, v1), (u2, v2) in zip(points, [*points[1:], points[0]], strict=True)
    )
