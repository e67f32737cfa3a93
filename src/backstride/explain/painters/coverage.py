"""The coverage of the output: how many products each cell sums."""

from __future__ import annotations

import math

from backstride.explain.drawing import Drawing
from backstride.explain.painters.plane import left_out, name, numbered, themselves
from backstride.explain.painters.stage import (
    draw_cell,
    draw_label,
    heading,
    in_a_row,
    panel,
    plane,
    say,
    times,
)
from backstride.explain.palette import heat
from backstride.explain.trace import Trace, flat
from backstride.explain.values import Values


def coverage(trace: Trace, values: Values | None = None) -> Drawing:  # noqa: ARG001  one signature for all views
    """How many (input, tap) pairs each output cell is the sum of.

    Where the counts differ, a checkerboard shows.
    """
    geometry = trace.geometry
    sums = trace.by_output()
    counts = geometry.coverage_counts()
    least, most = math.prod(map(min, counts)), math.prod(map(max, counts))
    drawing = Drawing(
        f"Coverage of {times(geometry.output)}",
        "The number of products that each output cell sums.",
        frames=1,
        still=0,
    )
    (target,) = in_a_row([panel("output", trace.window.output)], numbered=numbered(trace))
    heading(drawing, "coverage: how many products each output cell sums")
    say(
        drawing,
        f"{least} to {most}" + ("" if geometry.is_even else ": uneven inside, a checkerboard"),
    )
    name(
        drawing, trace, target, f"output {times(geometry.output)}", themselves(trace.window.output)
    )
    for cell, meetings in sums.items():
        step = heat(len(meetings), most)
        style = f"sum{step}" if meetings else "zero"
        draw_cell(drawing, target, plane(cell), style, name=flat(cell, geometry.output))
        draw_label(drawing, target, plane(cell), str(len(meetings)), f"on-sum{step}")
    left_out(drawing, trace)
    drawing.fit(20)
    return drawing
