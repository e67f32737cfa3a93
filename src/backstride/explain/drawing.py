"""A drawing is a list of shapes, each with the frames in which it is seen.

SVG, GIF and MP4 are written from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Anchor: TypeAlias = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Rect:
    """A cell or an outline. `cell` names it for the page: (panel, flat index)."""

    x: float
    y: float
    width: float
    height: float
    style: str
    cell: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; `y` is its middle."""

    x: float
    y: float
    text: str
    style: str
    size: float
    anchor: Anchor = "middle"


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    style: str


Shape: TypeAlias = Rect | Text | Line


@dataclass(frozen=True, slots=True)
class Item:
    """A shape seen in the frames `first` to `last - 1`."""

    shape: Shape
    first: int
    last: int


@dataclass(slots=True)
class Drawing:
    """Shapes in painting order.

    `still` is the frame that a renderer without animation, and paper, shows.
    """

    title: str
    description: str
    frames: int
    still: int
    width: float = 0
    height: float = 0
    items: list[Item] = field(default_factory=list[Item])

    def add(self, shape: Shape, first: int = 0, last: int | None = None) -> None:
        """Paint a shape above the earlier ones, in the frames `first` to `last - 1`.

        The rest by default.
        """
        stop = self.frames if last is None else last
        if first < stop:
            self.items.append(Item(shape, first, stop))

    def fit(self, margin: float) -> None:
        """Make the drawing as large as what is on it, with a margin on the right and below."""
        right, bottom = 0.0, 0.0
        for item in self.items:
            match item.shape:
                case Rect(x, y, width, height):
                    right, bottom = max(right, x + width), max(bottom, y + height)
                case Text(x, y, text, _, size, anchor):
                    reach = {"start": 1.0, "middle": 0.5, "end": 0.0}[anchor] * text_width(
                        text, size
                    )
                    right, bottom = max(right, x + reach), max(bottom, y + size / 2)
                case Line(x1, y1, x2, y2):
                    right, bottom = max(right, x1, x2), max(bottom, y1, y2)
        self.width, self.height = round(right + margin), round(bottom + margin)


def text_width(text: str, size: float) -> float:
    """About how wide a line is in a sans-serif font.

    Wide enough for the widest of the usual ones.
    """
    return 0.58 * size * len(text)
