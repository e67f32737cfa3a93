"""Channels: one kernel for each pair of an input map and an output map.

They are laid out as a matrix (the guide's figure 1.3). The input maps stand above the columns, the
output maps to the right of the rows: each is the sum along its row.
"""

from __future__ import annotations

from dataclasses import dataclass

from backstride.explain.drawing import Drawing, Line, Rect, Text
from backstride.explain.painters.plane import extent
from backstride.explain.painters.stage import CAPTION, MARGIN, heading, note, say, times
from backstride.explain.window import Positions, both_ends, show
from backstride.geometry import Geometry

SMALL = 16
ROOM = 44
HEAD = 84
MOST_CHANNELS = 6
LONGEST = 12
BREAK = 8


@dataclass(frozen=True, slots=True)
class Maps:
    """One side of the layer: how many maps, and their size."""

    count: int
    size: tuple[int, int]

    @property
    def drawn(self) -> Positions:
        """The maps that are drawn: all, or the first and the last."""
        return both_ends(self.count, MOST_CHANNELS)


def channels(
    geometry: Geometry, small: int | None, big: int | None, *, forward: bool = False
) -> Drawing:
    """Draw the kernels between `small` and `big` maps, of the convolution where `forward`.

    Of more than 6 maps the first and the last are drawn, of more than 12 cells a side the front and
    the back. Raises `ValueError` where the channels are not known.
    """
    if small is None or big is None:
        message = "`view` (='channels') needs the channels, for example 'k=3 cin=2 cout=3'"
        raise ValueError(message)
    low, high = Maps(small, extent(geometry.input)), Maps(big, extent(geometry.output))
    left, right = (high, low) if forward else (low, high)
    drawing = Drawing(
        f"{left.count} maps to {right.count}",
        "One kernel for each pair of an input map and an output map; each output map sums along "
        "its row.",
        frames=len(right.drawn),
        still=len(right.drawn) - 1,
    )
    heading(drawing, f"channels: {right.count} x {left.count} kernels, one for each pair of maps")
    kernel = extent(geometry.kernel)
    wide = max(_length(left.size[1]), _length(kernel[1]))
    tall, head = max(_length(right.size[0]), _length(kernel[0])), _length(left.size[0])
    top = HEAD + head + ROOM
    for place, column in enumerate(left.drawn):
        x = MARGIN + place * (wide + ROOM)
        _grid(drawing, (x, HEAD), left.size, "input")
        drawing.add(Text(x, HEAD - 12, f"input map {column}", "soft", CAPTION, "start"))
        _arrow(drawing, (x + _length(kernel[1]) / 2, HEAD + head + 6), (0, ROOM - 24))
    end = MARGIN + len(left.drawn) * (wide + ROOM)
    for frame, row in enumerate(right.drawn):
        y = top + frame * (tall + ROOM)
        seen, middle = (frame, frame + 1), y + _length(kernel[0]) / 2
        for place, column in enumerate(left.drawn):
            x = MARGIN + place * (wide + ROOM)
            _grid(drawing, (x, y), kernel, "kernel")
            _grid(drawing, (x, y), kernel, "kernel-on", seen)
            drawing.add(Text(x, y - 11, f"w[{row},{column}]", "soft", CAPTION - 1, "start"))
            if place:
                sign = "+" if column == left.drawn[place - 1] + 1 else "+ ... +"
                drawing.add(
                    Text(
                        x - ROOM / 2,
                        middle,
                        sign,
                        "ink",
                        CAPTION + 4 if sign == "+" else CAPTION - 1,
                    )
                )
        _arrow(drawing, (end - ROOM + 8, middle), (ROOM - 20, 0))
        _grid(drawing, (end, y), right.size, "blank")
        _grid(drawing, (end, y), right.size, "output", (frame + 1, len(right.drawn)))
        _grid(drawing, (end, y), right.size, "output-on", seen)
        drawing.add(Text(end, y - 11, f"output map {row}", "soft", CAPTION - 1, "start"))
        say(drawing, f"output map {row} = {_sum(left, row)}", *seen)
    _left_out(drawing, left, right, len(geometry.input))
    drawing.fit(MARGIN)
    return drawing


def _sum(left: Maps, row: int) -> str:
    terms = [f"x[{column}] * w[{row},{column}]" for column in left.drawn]
    gap = next(
        (at for at in range(1, len(terms)) if left.drawn[at] != left.drawn[at - 1] + 1), None
    )
    return " + ".join(terms if gap is None else [*terms[:gap], "...", *terms[gap:]])


def _left_out(drawing: Drawing, left: Maps, right: Maps, rank: int) -> None:
    """Say what is not drawn of a larger layer."""
    words = [
        f"{name} maps {show(maps.drawn)} of {maps.count}"
        for name, maps in (("input", left), ("output", right))
        if maps.count > len(maps.drawn)
    ]
    if max(*left.size, *right.size) > LONGEST:
        words.append(f"the ends of maps of {times(left.size)} and {times(right.size)} cells")
    if rank == 3:
        words.append("one plane of each map")
    if words:
        note(drawing, f"drawn: {', '.join(words)}")


def _length(cells: int) -> float:
    """How long a side of a grid is."""
    return min(cells, LONGEST) * SMALL + (BREAK if cells > LONGEST else 0)


def _grid(
    drawing: Drawing,
    corner: tuple[float, float],
    size: tuple[int, int],
    style: str,
    frames: tuple[int, int | None] = (0, None),
) -> None:
    """Cells side by side; those of a long side with a gap where others are left out."""
    rows, columns = (
        [
            at * SMALL + (BREAK if cells > LONGEST and at >= LONGEST // 2 else 0)
            for at in range(min(cells, LONGEST))
        ]
        for cells in size
    )
    for down in rows:
        for across in columns:
            drawing.add(Rect(corner[0] + across, corner[1] + down, SMALL, SMALL, style), *frames)


def _arrow(drawing: Drawing, start: tuple[float, float], step: tuple[float, float]) -> None:
    (x, y), (dx, dy) = start, step
    tip_x, tip_y = x + dx, y + dy
    drawing.add(Line(x, y, tip_x, tip_y, "ink-line"))
    side = (-5, 5) if dx else (5, -5)
    for bx, by in ((-5, -5), side):
        drawing.add(Line(tip_x + bx, tip_y + by, tip_x, tip_y, "ink-line"))
