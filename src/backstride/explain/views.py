"""The views by name, for one axis and for two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from backstride.explain import rows
from backstride.explain.channels import channels
from backstride.explain.coverage import coverage
from backstride.explain.drawing import Drawing
from backstride.explain.plane_convolution import convolution
from backstride.explain.plane_gather import gather
from backstride.explain.plane_scatter import scatter
from backstride.explain.plane_strides import subsampling
from backstride.explain.stage import check_sides
from backstride.explain.trace import Trace, trace
from backstride.explain.values import Values
from backstride.geometry import Geometry

View: TypeAlias = Literal["scatter", "gather", "convolution", "coverage", "subsampling", "channels"]
VIEWS: tuple[View, ...] = get_args(View)
# Those of the page, which point at cells.
CELL_VIEWS: tuple[View, ...] = VIEWS[:4]

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
    ("subsampling", 1): subsampling,
    ("subsampling", 2): subsampling,
}


def draw(
    geometry: Geometry,
    view: View = "scatter",
    values: Values | None = None,
    *,
    known: Trace | None = None,
    maps: tuple[int | None, int | None] = (None, None),
    forward: bool = False,
) -> Drawing:
    """Draw a call, frame by frame.

    >>> from backstride.geometry import geometry
    >>> drawing = draw(geometry((3, 3), 3, strides=2, padding="same"), "gather")
    >>> drawing.frames, drawing.title
    (36, 'Gather: 3 x 3 to 6 x 6')

    `view`: "scatter", "gather", "convolution" (the layer that is transposed), "coverage", "subsampling" (that layer's
    stride as stride 1 and leaving out) or "channels". `values`: numbers for the cells. `maps`: C_small and C_big, and
    `forward` for the convolution's kernels, for "channels". Raises `ValueError` for more than two axes and sides above
    32 cells.
    """
    if view not in VIEWS:
        message = f"`view` (={view!r}) must be one of {', '.join(VIEWS)}"
        raise ValueError(message)
    check_sides("input", geometry.input)
    check_sides("output", geometry.output)
    if view == "channels":
        return channels(geometry, *maps, forward=forward)
    return _DRAW[view, len(geometry.input)](known or trace(geometry), values)


def frame_seconds(drawing: Drawing, wanted: float | None = None) -> float:
    """How long a frame lasts: 0.7 seconds, less where the film would pass 48."""
    return wanted or min(0.7, LONGEST_FILM / drawing.frames)
