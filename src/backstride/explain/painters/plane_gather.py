"""Gather on a plane: the flipped kernel over the input with zeros between its cells."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from backstride.explain.drawing import Drawing
from backstride.explain.painters.plane import (
    busiest,
    labels,
    left_out,
    lying,
    name,
    numbered,
    result,
    themselves,
)
from backstride.explain.painters.stage import (
    Panel,
    arrow,
    draw_cell,
    heading,
    in_a_row,
    panel,
    plane,
    say,
    show_index,
    times,
)
from backstride.explain.trace import Index, Meeting, Trace, flat
from backstride.explain.values import Values, show
from backstride.geometry import Geometry


def gather(trace: Trace, values: Values | None = None) -> Drawing:
    """The flipped kernel slides over the input with zeros between its cells."""
    geometry = trace.geometry
    sums = trace.by_output()
    drawn = trace.window
    drawing = Drawing(
        f"Gather: {times(geometry.input)} to {times(geometry.output)}",
        "The flipped kernel slides over the input with zeros between its cells; each position "
        "gives one output cell.",
        frames=len(sums),
        still=busiest(sums),
    )
    flipped = {tap: _flipped(tap, trace) for tap in product(*drawn.kernel)}
    turned = tuple(
        tuple(k - 1 - tap for tap in taps[::-1])
        for taps, k in zip(drawn.kernel, geometry.kernel, strict=True)
    )
    source, kernel, target = in_a_row(
        [
            panel("stretched", drawn.stretched),
            panel("kernel", turned),
            panel("output", drawn.output),
        ],
        numbered=numbered(trace),
    )
    places = {
        cell: tuple(m * s for m, s in zip(cell, geometry.strides, strict=True))
        for cell in product(*drawn.input)
    }
    heading(
        drawing, "gather: the flipped kernel slides over the input with zeros between its cells"
    )
    name(
        drawing,
        trace,
        source,
        f"input {times(geometry.input)}, zeros between and around",
        places.items(),
    )
    name(drawing, trace, kernel, f"kernel {times(geometry.kernel)}, flipped", flipped.items())
    name(drawing, trace, target, f"output {times(geometry.output)}", themselves(drawn.output))
    arrow(drawing, source, kernel)
    arrow(drawing, kernel, target)
    _ground(drawing, source, geometry, places)
    for tap, place in flipped.items():
        draw_cell(drawing, kernel, plane(place), "kernel", name=flat(tap, geometry.kernel))
    for cell in sums:
        draw_cell(drawing, target, plane(cell), "blank", name=flat(cell, geometry.output))
    for frame, (cell, meetings) in enumerate(sums.items()):
        for meeting in meetings:
            if meeting.input in places:
                draw_cell(
                    drawing,
                    source,
                    plane(places[meeting.input]),
                    "input-on",
                    frames=(frame, frame + 1),
                )
            if meeting.tap in flipped:
                draw_cell(
                    drawing,
                    kernel,
                    plane(flipped[meeting.tap]),
                    "kernel-on",
                    frames=(frame, frame + 1),
                )
        lying(drawing, trace, source, _corner(trace, cell), (frame, frame + 1))
        result(drawing, target, cell, (frame, meetings), values)
        say(drawing, _sentence(cell, meetings, values), frame, frame + 1)
    inputs = {
        cell: (place, show(values.at_x(cell)) if values else show_index(cell))
        for cell, place in places.items()
    }
    taps = {
        tap: (place, show(values.at_w(tap)) if values else show_index(tap))
        for tap, place in flipped.items()
    }
    labels(drawing, source, inputs, ({meeting.input for meeting in met} for met in sums.values()))
    labels(
        drawing,
        kernel,
        taps,
        ({meeting.tap for meeting in met} for met in sums.values()),
        "on-bright",
    )
    left_out(drawing, trace)
    drawing.fit(20)
    return drawing


def _ground(
    drawing: Drawing, source: Panel, geometry: Geometry, places: Mapping[Index, Index]
) -> None:
    """The input cells, and zeros between and around them."""
    real = set(map(plane, places.values()))
    for cell in source.cells():
        if cell not in real:
            draw_cell(drawing, source, cell, "zero")
    for cell, place in places.items():
        draw_cell(
            drawing, source, plane(place), "input", name=flat(cell, geometry.input), kind="input"
        )


def _corner(trace: Trace, cell: Index) -> Index:
    """Where the flipped kernel begins when it gives an output cell."""
    geometry = trace.geometry
    axes = zip(cell, geometry.crop, geometry.effective_kernel, strict=True)
    return tuple(o + before - span + 1 for o, (before, _), span in axes)


def _flipped(tap: Index, trace: Trace) -> Index:
    return tuple(k - 1 - j for j, k in zip(tap, trace.geometry.kernel, strict=True))


def _sentence(cell: Index, meetings: tuple[Meeting, ...], values: Values | None) -> str:
    left = f"output [{show_index(cell)}] = "
    if not meetings:
        return left + "0: no input reaches it"
    if len(meetings) > 4:
        return left + f"the sum of {len(meetings)} products"
    if values:
        return left + " + ".join(
            f"{show(values.at_x(m.input))}·{show(values.at_w(m.tap))}" for m in meetings
        )
    return left + " + ".join(f"x[{show_index(m.input)}]·w[{show_index(m.tap)}]" for m in meetings)
