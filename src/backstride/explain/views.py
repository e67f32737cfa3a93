"""The views by name, for one axis and for two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from backstride.explain import rows
from backstride.explain.coverage import coverage
from backstride.explain.drawing import Drawing
from backstride.explain.plane_convolution import convolution
from backstride.explain.plane_gather import gather
from backstride.explain.plane_scatter import scatter
from backstride.explain.stage import check_sides
from backstride.explain.trace import Trace, trace
from backstride.explain.values import Values
from backstride.geometry import Geometry

View: TypeAlias = Literal["scatter", "gather", "convolution", "coverage"]
VIEWS: tuple[View, ...] = get_args(View)

LONGEST_FILM = 48.0  # seconds; long calls play faster

_DRAW: dict[tuple[View, int], Callable[[Trace, Values | None], Drawing]] = {
    ("scatter", 1): rows.scatter,
    ("gather", 1): rows.gather,
    ("convolution", 1): rows.convolution,
    ("scatter", 2): scatter,
    ("gather", 2): gather,
    ("convolution", 2): convolution,
    ("coverage", 1): coverage,
    ("coverage", 2): coverage,
}


def draw(
    geometry: Geometry, view: View = "scatter", values: Values | None = None, *, known: Trace | None = None
) -> Drawing:
    """Draw a call, frame by frame.

    >>> from backstride.geometry import geometry
    >>> drawing = draw(geometry((3, 3), 3, strides=2, padding="same"), "gather")
    >>> drawing.frames, drawing.title
    (36, 'Gather: 3 x 3 to 6 x 6')

    `view`: "scatter", "gather", "convolution" (the layer that is transposed) or "coverage". `values`: numbers for the
    cells. Raises `ValueError` for more than two axes, sides above 32 cells.
    """
    if view not in VIEWS:
        message = f"`view` (={view!r}) must be one of {', '.join(VIEWS)}"
        raise ValueError(message)
    check_sides("input", geometry.input)
    check_sides("output", geometry.output)
    return _DRAW[view, len(geometry.input)](known or trace(geometry), values)


def frame_seconds(drawing: Drawing, wanted: float | None = None) -> float:
    """How long a frame lasts: 0.7 seconds, less where the film would pass 48."""
    return wanted or min(0.7, LONGEST_FILM / drawing.frames)
