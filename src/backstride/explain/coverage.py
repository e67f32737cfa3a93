"""The coverage of the output: how many products each cell sums."""

from __future__ import annotations

import math

from backstride.explain.drawing import Drawing
from backstride.explain.palette import heat
from backstride.explain.plane import left_out, name, numbered, themselves
from backstride.explain.stage import draw_cell, draw_label, heading, in_a_row, panel, plane, say, times
from backstride.explain.trace import Trace, flat
from backstride.explain.values import Values
from backstride.geometry import Geometry


def coverage(trace: Trace, values: Values | None = None) -> Drawing:  # noqa: ARG001  one signature for all views
    """How many (input, tap) pairs each output cell is the sum of: where the counts differ, a checkerboard shows."""
    geometry = trace.geometry
    sums = trace.by_output()
    least, most = extremes(geometry)
    drawing = Drawing(
        f"Coverage of {times(geometry.output)}", "The number of products that each output cell sums.", frames=1, still=0
    )
    (target,) = in_a_row([panel("output", trace.window.output)], numbered=numbered(trace))
    heading(drawing, "coverage: how many products each output cell sums")
    say(drawing, f"{least} to {most}" + ("" if geometry.is_even else ": uneven inside, a checkerboard"))
    name(drawing, trace, target, f"output {times(geometry.output)}", themselves(trace.window.output))
    for cell, meetings in sums.items():
        step = heat(len(meetings), most)
        style = f"sum{step}" if meetings else "zero"
        draw_cell(drawing, target, plane(cell), style, name=flat(cell, geometry.output))
        draw_label(drawing, target, plane(cell), str(len(meetings)), f"on-sum{step}")
    left_out(drawing, trace)
    drawing.fit(20)
    return drawing


def extremes(geometry: Geometry) -> tuple[int, int]:
    """The fewest and the most products that an output cell sums, of all cells.

    An axis is cut short first: between the ends of a long one the counts repeat.

    >>> from backstride.geometry import geometry
    >>> extremes(geometry((10**9, 4), 3, strides=2))
    (1, 4)
    """
    axes = zip(geometry.input, geometry.kernel, geometry.strides, geometry.dilation, geometry.crop, strict=True)
    short: list[Geometry] = []
    for i, k, s, d, (before, after) in axes:
        span = d * (k - 1) + 1
        if max(before, after) >= (i - 1) * s + span:  # appended zeros alone
            return 0, 0
        # Input cells whose stamps are cropped away, as long as whole strides of the crop go with them.
        gone = [max(crop - span, 0) // s for crop in (before, after)]
        crops = [max(crop - cells * s, -1) for crop, cells in zip((before, after), gone, strict=True)]
        cells = i - sum(gone)
        enough = 2 * (-(-span // s)) + -(-(sum(map(abs, crops)) + s) // s) + 2
        short.append(Geometry((min(cells, enough),), (k,), (s,), (d,), ((crops[0], crops[1]),)))
    counts = [found.coverage()[0] for found in short]
    return math.prod(map(min, counts)), math.prod(map(max, counts))
