"""What the views share.

Panels of cells, their captions, arrows, axes that break, the line that says what happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise, product

from backstride.explain.drawing import Drawing, Line, Rect, Text, text_width
from backstride.explain.trace import Index
from backstride.explain.window import Positions

CELL = 38
GAP = 56
MARGIN = 20
TITLE, CAPTION, LABEL = 16, 13, 13
TOP = 96  # where panels begin: below the title, the line of the step and the panel's caption

BREAK = 22  # where cells of a larger layer are left out
NUMBER = 10  # the size of the indices beside a panel
ROOM_FOR_ROWS = 34
FLOOR = 2**40  # rows of a plane, where planes of three axes stand below each other


@dataclass(frozen=True, slots=True)
class Panel:
    """A grid of cells: how far down each row stands, and how far across each column.

    Both may be negative numbers.
    """

    name: str
    x: float
    y: float
    down: Mapping[int, float]
    across: Mapping[int, float]

    @property
    def width(self) -> float:
        """In pixels."""
        return max(self.across.values()) + CELL

    @property
    def height(self) -> float:
        """In pixels."""
        return max(self.down.values()) + CELL

    def place(self, cell: tuple[int, int]) -> tuple[float, float]:
        """The upper left corner of a cell."""
        return self.x + self.across[cell[1]], self.y + self.down[cell[0]]

    def has(self, cell: tuple[int, int]) -> bool:
        """Whether the cell is drawn."""
        return cell[0] in self.down and cell[1] in self.across

    def cells(self) -> Iterator[tuple[int, int]]:
        """All cells, row by row."""
        for row in self.down:
            for column in self.across:
                yield row, column

    def moved(self, x: float, y: float) -> Panel:
        """The same panel elsewhere."""
        return replace(self, x=x, y=y)


def panel(name: str, axes: tuple[Positions, ...]) -> Panel:
    """A panel over these cells of one to three axes, not yet placed."""
    *outer, columns = axes
    return Panel(
        name, 0, 0, _laid(plane((*index, 0))[0] for index in product(*outer)), _laid(columns)
    )


def _laid(positions: Iterable[int]) -> dict[int, float]:
    """How far each cell stands from the first: a gap is where others are left out."""
    offsets: dict[int, float] = {}
    last = None
    for position in positions:
        step = 0 if last is None else CELL if position == last + 1 else CELL + BREAK
        offsets[position] = (offsets[last] if last is not None else 0) + step
        last = position
    return offsets


def in_a_row(panels: Iterable[Panel], *, numbered: bool = False) -> list[Panel]:
    """Place panels beside each other, their middles on one line.

    `numbered`: with room for the indices of rows.
    """
    placed: list[Panel] = []
    wanted = list(panels)
    tallest, x = max(entry.height for entry in wanted), float(MARGIN)
    for entry in wanted:
        x += ROOM_FOR_ROWS if numbered and len(entry.down) > 1 else 0
        placed.append(
            entry.moved(x, TOP + (tallest - entry.height) / 2 + (NUMBER if numbered else 0))
        )
        x += max(entry.width, 8 * LABEL) + GAP
    return placed


def number(
    drawing: Drawing, at: Panel, cells: Iterable[tuple[Index, Index]], *, below: bool = False
) -> None:
    """Write the indices beside a panel, and break marks where it leaves cells out.

    (index, where it stands).
    """
    known = [
        (index, place)
        for index, place in ((index, plane(place)) for index, place in cells)
        if at.has(place)
    ]
    y = at.y + at.height + 10 if below else at.y - 8
    for column, text in {place[1]: str(index[-1]) for index, place in known}.items():
        size = min(NUMBER, (CELL - 4) / text_width(text, 1))
        drawing.add(Text(at.x + at.across[column] + CELL / 2, y, text, "soft", size))
    for row, text in {
        place[0]: show_index(index[:-1]) for index, place in known if len(index) > 1
    }.items():
        size = min(NUMBER, (ROOM_FOR_ROWS - 8) / text_width(text, 1))
        drawing.add(Text(at.x - 6, at.y + at.down[row] + CELL / 2, text, "soft", size, "end"))
    torn(drawing, at)


def torn(drawing: Drawing, at: Panel) -> None:
    """Mark where cells are left out."""
    for line, length, upright in ((at.across, at.height, True), (at.down, at.width, False)):
        for before, after in pairwise(line):
            if after != before + 1 and _depth(after) != _depth(before) + 1:
                _zigzag(
                    drawing, at, (line[before] + line[after] + CELL) / 2, length, upright=upright
                )


def _zigzag(drawing: Drawing, at: Panel, middle: float, length: float, *, upright: bool) -> None:
    count = max(4, round(length / CELL) * 2)
    points = [
        (middle + (4 if step % 2 else -4), length * step / count) for step in range(count + 1)
    ]
    for (a, b), (c, d) in pairwise(points):
        x1, y1, x2, y2 = (a, b, c, d) if upright else (b, a, d, c)
        drawing.add(Line(at.x + x1, at.y + y1, at.x + x2, at.y + y2, "torn"))


def note(drawing: Drawing, text: str) -> None:
    """A last line below everything."""
    drawing.fit(0)
    drawing.add(Text(MARGIN, drawing.height + 18, text, "soft", CAPTION, "start"))


def draw_cell(
    drawing: Drawing,
    at: Panel,
    cell: tuple[int, int],
    style: str,
    *,
    name: int | None = None,
    kind: str | None = None,
    frames: tuple[int, int | None] = (0, None),
) -> None:
    """Paint one cell.

    `name` is its flat index for the page, in the panel or in the one that `kind` names.
    """
    if not at.has(cell):
        return
    x, y = at.place(cell)
    own = None if name is None else (kind or at.name, name)
    drawing.add(Rect(x, y, CELL, CELL, style, own), *frames)


def draw_label(
    drawing: Drawing,
    at: Panel,
    cell: tuple[int, int],
    text: str,
    style: str,
    *,
    frames: tuple[int, int | None] = (0, None),
) -> None:
    """Write into one cell."""
    if not at.has(cell):
        return
    x, y = at.place(cell)
    size = LABEL if len(text) <= 4 else min(LABEL - 2, (CELL - 2) / text_width(text, 1))
    drawing.add(Text(x + CELL / 2, y + CELL / 2, text, style, size), *frames)


def outline(
    drawing: Drawing,
    at: Panel,
    corner: Index,
    size: tuple[int, ...],
    style: str,
    *,
    frames: tuple[int, int | None] = (0, None),
) -> None:
    """Draw a frame around a block of cells, on each of its planes.

    Where it goes on undrawn, it sticks out.
    """
    row, column = plane(corner)
    rows, columns = (1, *size)[-2:]
    across = _spanned(at.across, column, columns)
    depths = {_depth(position) for position in at.down} if len(size) == 3 else {0}
    for depth in sorted(depths):
        if len(size) == 3 and not corner[0] <= depth < corner[0] + size[0]:
            continue
        start = row if len(size) < 3 else plane((depth, *corner[1:]))[0]
        down = _spanned(at.down, start, rows)
        if down and across:
            (top, height), (left, width) = down, across
            drawing.add(Rect(at.x + left, at.y + top, width, height, style), *frames)


def _depth(row: int) -> int:
    """The plane of a row."""
    return (row + FLOOR // 2) // FLOOR


def _spanned(line: Mapping[int, float], first: int, count: int) -> tuple[float, float] | None:
    """Where some cells of an axis begin, and how long they are."""
    seen = [
        position
        for position in (line if count > len(line) else range(first, first + count))
        if position in line
    ]
    seen = [position for position in seen if first <= position < first + count]
    if not seen:
        return None
    start = line[seen[0]] - (0 if seen[0] == first else BREAK / 3)
    return start, line[seen[-1]] + CELL + (
        0 if seen[-1] == first + count - 1 else BREAK / 3
    ) - start


def caption(
    drawing: Drawing,
    at: Panel,
    text: str,
    *,
    frames: tuple[int, int | None] = (0, None),
    above: float = 14,
) -> None:
    """Name a panel, above it."""
    drawing.add(Text(at.x, at.y - above, text, "soft", CAPTION, "start"), *frames)


def arrow(drawing: Drawing, left: Panel, right: Panel) -> None:
    """Point from one panel to the next."""
    middle = left.y + left.height / 2
    start, stop = left.x + max(left.width, 8 * LABEL) + 14, right.x - 14
    for line in (
        (start, middle, stop, middle),
        (stop - 6, middle - 5, stop, middle),
        (stop - 6, middle + 5, stop, middle),
    ):
        drawing.add(Line(*line, "ink-line"))


def heading(drawing: Drawing, text: str) -> None:
    """The drawing's title."""
    drawing.add(Text(MARGIN, 26, text, "title", TITLE, "start"))


def say(drawing: Drawing, text: str, first: int = 0, last: int | None = None) -> None:
    """What happens in these frames, in words."""
    drawing.add(Text(MARGIN, 52, text, "ink", CAPTION, "start"), first, last)


def plane(index: Index) -> tuple[int, int]:
    """A cell of one to three axes as (row, column)."""
    if len(index) == 3:
        return index[0] * FLOOR + index[1], index[2]
    return (0, index[0]) if len(index) == 1 else (index[0], index[1])


def times(size: Iterable[int]) -> str:
    """A size in words: 3 x 4."""
    return " x ".join(map(str, size))


def show_index(index: Index) -> str:
    """A cell's index without spaces: 1,2."""
    return ",".join(map(str, index))
