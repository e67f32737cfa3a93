"""Strides seen another way.

A convolution of stride 1 of which every s-th cell is kept (the guide's figure 1.4).
"""

from __future__ import annotations

from itertools import product

from backstride.explain.drawing import Drawing, Rect
from backstride.explain.painters.plane import each
from backstride.explain.painters.plane_convolution import convolution
from backstride.explain.painters.stage import (
    CELL,
    caption,
    draw_cell,
    heading,
    number,
    outline,
    panel,
    plane,
    times,
)
from backstride.explain.trace import Trace, trace
from backstride.explain.values import Values
from backstride.explain.window import window
from backstride.geometry import Convolution, Geometry


def subsampling(known: Trace, values: Values | None = None) -> Drawing:
    """The convolution with stride 1, and the cells that the stride keeps framed.

    These alone stand to the right.
    """
    geometry = known.geometry
    slow = _unit(geometry)
    shown = window(slow)
    drawing = convolution(trace(slow, shown), values)
    drawing.title = f"Strides as subsampling: {times(geometry.output)} to {times(geometry.input)}"
    drawing.items = [item for item in drawing.items if item.shape.style != "title"]
    heading(
        drawing,
        f"a convolution of stride 1, of which the stride {each(geometry.strides)} keeps the framed "
        "cells",
    )
    target = panel("output", shown.input).moved(*_corner(drawing))
    axes = tuple(
        tuple(cell // step for cell in cells if cell % step == 0 and cell // step < size)
        for cells, step, size in zip(shown.input, geometry.strides, geometry.input, strict=True)
    )
    kept = panel("kept", axes).moved(target.x + target.width + 2 * CELL, target.y)
    numbers = len(axes) == 3 or not shown.whole
    if numbers:
        number(drawing, kept, ((cell, cell) for cell in product(*axes)))
    caption(drawing, kept, f"kept {times(geometry.input)}", above=28 if numbers else 14)
    order = {cell: frame for frame, cell in enumerate(product(*shown.input))}
    for cell in product(*axes):
        whole = tuple(m * s for m, s in zip(cell, geometry.strides, strict=True))
        frame = order[whole]
        outline(drawing, target, whole, (1,) * len(whole), "frame")
        draw_cell(drawing, kept, plane(cell), "blank")
        draw_cell(drawing, kept, plane(cell), "output", frames=(frame + 1, None))
        draw_cell(drawing, kept, plane(cell), "output-on", frames=(frame, frame + 1))
    drawing.fit(20)
    return drawing


def _unit(geometry: Geometry) -> Geometry:
    """The same convolution with stride 1."""
    ones = (1,) * len(geometry.input)
    pads = [(before, max(after, 0)) for before, after in geometry.crop]
    return Convolution(
        geometry.output, geometry.kernel, ones, geometry.dilation, tuple(pads)
    ).adjoint


def _corner(drawing: Drawing) -> tuple[float, float]:
    """Where the output's first cell is drawn."""
    shapes = (item.shape for item in drawing.items)
    first = next(
        shape for shape in shapes if isinstance(shape, Rect) and shape.cell == ("output", 0)
    )
    return first.x, first.y
