"""Strides seen another way: a convolution of stride 1 of which every s-th cell is kept (the guide's figure 1.4)."""

from __future__ import annotations

from backstride.explain.drawing import Drawing, Rect
from backstride.explain.plane import each
from backstride.explain.plane_convolution import convolution
from backstride.explain.stage import CELL, caption, draw_cell, heading, outline, panel, plane, times
from backstride.explain.trace import Trace, cells, flat, trace
from backstride.explain.values import Values
from backstride.geometry import Convolution, Geometry


def subsampling(known: Trace, values: Values | None = None) -> Drawing:
    """The convolution with stride 1, and the cells that the stride keeps framed; these alone stand to the right."""
    geometry = known.geometry
    slow = trace(_unit(geometry))
    drawing = convolution(slow, values)
    drawing.title = f"Strides as subsampling: {times(geometry.output)} to {times(geometry.input)}"
    drawing.items = [item for item in drawing.items if item.shape.style != "title"]
    heading(drawing, f"a convolution of stride 1, of which the stride {each(geometry.strides)} keeps the framed cells")
    size = slow.geometry.input
    target = panel("output", (0, 0), plane(size)).moved(
        *_corner(
            drawing,
        )
    )
    kept = panel("kept", (0, 0), plane(geometry.input)).moved(target.x + target.width + 2 * CELL, target.y)
    caption(drawing, kept, f"kept {times(geometry.input)}")
    for cell in cells(geometry.input):
        whole = tuple(m * s for m, s in zip(cell, geometry.strides, strict=True))
        shown = flat(whole, size)
        outline(drawing, target, (plane(whole), (1, 1)), "frame")
        draw_cell(drawing, kept, plane(cell), "blank")
        draw_cell(drawing, kept, plane(cell), "output", frames=(shown + 1, None))
        draw_cell(drawing, kept, plane(cell), "output-on", frames=(shown, shown + 1))
    drawing.fit(20)
    return drawing


def _unit(geometry: Geometry) -> Geometry:
    """The same convolution with stride 1."""
    ones = (1,) * len(geometry.input)
    pads = [(before, max(after, 0)) for before, after in geometry.crop]
    return Convolution(geometry.output, geometry.kernel, ones, geometry.dilation, tuple(pads)).adjoint


def _corner(drawing: Drawing) -> tuple[float, float]:
    """Where the output's first cell is drawn."""
    shapes = (item.shape for item in drawing.items)
    first = next(shape for shape in shapes if isinstance(shape, Rect) and shape.cell == ("output", 0))
    return first.x, first.y
