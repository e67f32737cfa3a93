"""The views by name, for one to three axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from backstride.geometry import Geometry

if TYPE_CHECKING:
    from backstride.explain.drawing import Drawing
    from backstride.explain.trace import Trace
    from backstride.explain.values import Values

View: TypeAlias = Literal["scatter", "gather", "convolution", "coverage", "subsampling", "channels"]
VIEWS: tuple[View, ...] = get_args(View)
# Those of the page, which point at cells.
CELL_VIEWS: tuple[View, ...] = VIEWS[:4]

LONGEST_FILM = 48.0  # seconds; long calls play faster


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

    Of a layer of more than 32 cells a side the front and the back are drawn, of three axes the
    planes below each other.

    Args:
        geometry: The call's integers.
        view: "scatter", "gather", "convolution" (the layer that is transposed), "coverage",
            "subsampling" (that layer's stride as stride 1 and leaving out) or "channels".
        values: Numbers for the cells.
        known: The call's trace, where it was made before.
        maps: C_small and C_big, for "channels".
        forward: Whether "channels" shows the convolution's kernels.

    Returns:
        The frames, as plain shapes.

    Raises:
        ValueError: For kernels too large to draw.
    """
    if view not in VIEWS:
        message = f"`view` (={view!r}) must be one of {', '.join(VIEWS)}"
        raise ValueError(message)
    from backstride.explain.trace import trace  # noqa: PLC0415  an explanation in words draws nothing
    from backstride.explain.window import window  # noqa: PLC0415

    if view == "channels":
        from backstride.explain.painters.channels import channels  # noqa: PLC0415

        return channels(geometry, *maps, forward=forward)
    return _painter(view, len(geometry.input))(known or trace(geometry, window(geometry)), values)


def _painter(view: View, rank: int) -> Callable[[Trace, Values | None], Drawing]:
    """The function that draws a view for one axis, or for more."""
    from backstride.explain.painters import (  # noqa: PLC0415
        coverage,
        plane_convolution,
        plane_gather,
        plane_scatter,
        rows,
    )
    from backstride.explain.painters.plane_strides import subsampling  # noqa: PLC0415

    if view == "coverage":
        return coverage.coverage
    if view == "subsampling":
        return subsampling
    if rank == 1:
        return {"scatter": rows.scatter, "gather": rows.gather}.get(view, rows.convolution)
    planes = {"scatter": plane_scatter.scatter, "gather": plane_gather.gather}
    return planes.get(view, plane_convolution.convolution)


def frame_seconds(drawing: Drawing, wanted: float | None = None) -> float:
    """How long a frame lasts: 0.7 seconds, less where the film would pass 48."""
    return wanted or min(0.7, LONGEST_FILM / drawing.frames)
