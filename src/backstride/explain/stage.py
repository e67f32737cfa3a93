"""What the views share: panels of cells, their captions, arrows, the line that says what happens, and the limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from backstride.explain.drawing import Drawing, Line, Rect, Text, text_width
from backstride.explain.trace import Index

CELL = 38
GAP = 56
MARGIN = 20
TITLE, CAPTION, LABEL = 16, 13, 13
TOP = 96  # where panels begin: below the title, the line of the step and the panel's caption

LARGEST_SIDE = 32


@dataclass(frozen=True, slots=True)
class Panel:
    """A grid of cells; `first` is the index of its upper left cell, which may be negative."""

    name: str
    x: float
    y: float
    first: tuple[int, int]
    size: tuple[int, int]

    @property
    def width(self) -> float:
        """In pixels."""
        return self.size[1] * CELL

    @property
    def height(self) -> float:
        """In pixels."""
        return self.size[0] * CELL

    def place(self, cell: tuple[int, int]) -> tuple[float, float]:
        """The upper left corner of a cell."""
        return self.x + (cell[1] - self.first[1]) * CELL, self.y + (cell[0] - self.first[0]) * CELL

    def cells(self) -> Iterator[tuple[int, int]]:
        """All cells, row by row."""
        for row in range(self.first[0], self.first[0] + self.size[0]):
            for column in range(self.first[1], self.first[1] + self.size[1]):
                yield row, column

    def moved(self, x: float, y: float) -> Panel:
        """The same panel elsewhere."""
        return Panel(self.name, x, y, self.first, self.size)


def panel(name: str, first: tuple[int, int], last: tuple[int, int]) -> Panel:
    """A panel over the cells `first` to `last - 1`, not yet placed."""
    return Panel(name, 0, 0, first, (last[0] - first[0], last[1] - first[1]))


def in_a_row(panels: Iterable[Panel]) -> list[Panel]:
    """Place panels beside each other, their middles on one line."""
    placed: list[Panel] = []
    wanted = list(panels)
    tallest, x = max(entry.height for entry in wanted), float(MARGIN)
    for entry in wanted:
        placed.append(entry.moved(x, TOP + (tallest - entry.height) / 2))
        x += max(entry.width, 8 * LABEL) + GAP
    return placed


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
    """Paint one cell; `name` is its flat index for the page, in the panel or in the one that `kind` names."""
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
    x, y = at.place(cell)
    size = LABEL if len(text) <= 4 else min(LABEL - 2, (CELL - 2) / text_width(text, 1))
    drawing.add(Text(x + CELL / 2, y + CELL / 2, text, style, size), *frames)


def outline(
    drawing: Drawing,
    at: Panel,
    block: tuple[tuple[int, int], tuple[int, int]],
    style: str,
    *,
    frames: tuple[int, int | None] = (0, None),
) -> None:
    """Draw a frame around a block of cells: the first one, and the size."""
    first, size = block
    x, y = at.place(first)
    drawing.add(Rect(x, y, size[1] * CELL, size[0] * CELL, style), *frames)


def caption(drawing: Drawing, at: Panel, text: str, *, frames: tuple[int, int | None] = (0, None)) -> None:
    """Name a panel, above it."""
    drawing.add(Text(at.x, at.y - 14, text, "soft", CAPTION, "start"), *frames)


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
    """A cell of one or two axes as (row, column)."""
    return (0, index[0]) if len(index) == 1 else (index[0], index[1])


def times(size: Iterable[int]) -> str:
    """A size in words: 3 x 4."""
    return " x ".join(map(str, size))


def show_index(index: Index) -> str:
    """A cell's index without spaces: 1,2."""
    return ",".join(map(str, index))


def check_sides(name: str, size: tuple[int, ...]) -> None:
    """Refuse what would be too large, or has too many axes, to draw."""
    if len(size) > 2:
        message = f"`{name}` (={size}) has {len(size)} axes; 1 and 2 can be drawn; --json explains any"
        raise ValueError(message)
    if max(size) > LARGEST_SIDE:
        message = (
            f"`{name}` (={size}) is too large to draw, at most {LARGEST_SIDE} cells a side; give a smaller --input, or "
            "--json for the explanation as data"
        )
        raise ValueError(message)
