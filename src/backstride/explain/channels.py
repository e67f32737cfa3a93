"""Channels: one kernel for each pair of an input map and an output map, laid out as a matrix (the guide's figure 1.3).

The input maps stand above the columns, the output maps to the right of the rows: each is the sum along its row.
"""

from __future__ import annotations

from dataclasses import dataclass

from backstride.explain.drawing import Drawing, Line, Rect, Text
from backstride.explain.plane import extent
from backstride.explain.stage import CAPTION, MARGIN, heading, say, times
from backstride.geometry import Geometry

SMALL = 16
ROOM = 44
HEAD = 84
MOST_CHANNELS = 6
LONGEST = 12


@dataclass(frozen=True, slots=True)
class Maps:
    """One side of the layer: how many maps, and their size."""

    count: int
    size: tuple[int, int]


def channels(geometry: Geometry, small: int | None, big: int | None, *, forward: bool = False) -> Drawing:
    """Draw the kernels between `small` and `big` maps, of the convolution where `forward`.

    Raises `ValueError` where the channels are not known, or more than 6, or the maps above 12 cells a side.
    """
    if small is None or big is None:
        message = "`view` (='channels') needs the channels, for example 'k=3 cin=2 cout=3'"
        raise ValueError(message)
    low, high = Maps(small, extent(geometry.input)), Maps(big, extent(geometry.output))
    left, right = (high, low) if forward else (low, high)
    for maps in (left, right):
        if maps.count > MOST_CHANNELS or max(maps.size) > LONGEST:
            message = (
                f"`view` (='channels') draws at most {MOST_CHANNELS} channels of {LONGEST} cells a side, not "
                f"{maps.count} of {times(maps.size)}"
            )
            raise ValueError(message)
    drawing = Drawing(
        f"{left.count} maps to {right.count}",
        "One kernel for each pair of an input map and an output map; each output map sums along its row.",
        frames=right.count,
        still=right.count - 1,
    )
    heading(drawing, f"channels: {right.count} x {left.count} kernels, one for each pair of maps")
    kernel = extent(geometry.kernel)
    wide, tall = max(left.size[1], kernel[1]) * SMALL, max(right.size[0], kernel[0]) * SMALL
    top = HEAD + left.size[0] * SMALL + ROOM
    for column in range(left.count):
        x = MARGIN + column * (wide + ROOM)
        _grid(drawing, (x, HEAD), left.size, "input")
        drawing.add(Text(x, HEAD - 12, f"input map {column}", "soft", CAPTION, "start"))
        _arrow(drawing, (x + kernel[1] * SMALL / 2, HEAD + left.size[0] * SMALL + 6), (0, ROOM - 24))
    end = MARGIN + left.count * (wide + ROOM)
    for row in range(right.count):
        y = top + row * (tall + ROOM)
        seen = (row, row + 1)
        for column in range(left.count):
            x = MARGIN + column * (wide + ROOM)
            _grid(drawing, (x, y), kernel, "kernel")
            _grid(drawing, (x, y), kernel, "kernel-on", seen)
            drawing.add(Text(x, y - 11, f"w[{row},{column}]", "soft", CAPTION - 1, "start"))
            if column:
                drawing.add(Text(x - ROOM / 2, y + kernel[0] * SMALL / 2, "+", "ink", CAPTION + 4))
        _arrow(drawing, (end - ROOM + 8, y + kernel[0] * SMALL / 2), (ROOM - 20, 0))
        _grid(drawing, (end, y), right.size, "blank")
        _grid(drawing, (end, y), right.size, "output", (row + 1, right.count))
        _grid(drawing, (end, y), right.size, "output-on", seen)
        drawing.add(Text(end, y - 11, f"output map {row}", "soft", CAPTION - 1, "start"))
        say(drawing, f"output map {row} = " + " + ".join(f"x[{i}] * w[{row},{i}]" for i in range(left.count)), *seen)
    drawing.fit(MARGIN)
    return drawing


def _grid(
    drawing: Drawing,
    corner: tuple[float, float],
    size: tuple[int, int],
    style: str,
    frames: tuple[int, int | None] = (0, None),
) -> None:
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = corner[0] + column * SMALL, corner[1] + row * SMALL
            drawing.add(Rect(x, y, SMALL, SMALL, style), *frames)


def _arrow(drawing: Drawing, start: tuple[float, float], step: tuple[float, float]) -> None:
    (x, y), (dx, dy) = start, step
    tip_x, tip_y = x + dx, y + dy
    drawing.add(Line(x, y, tip_x, tip_y, "ink-line"))
    side = (-5, 5) if dx else (5, -5)
    for bx, by in ((-5, -5), side):
        drawing.add(Line(tip_x + bx, tip_y + by, tip_x, tip_y, "ink-line"))
