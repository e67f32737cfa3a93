"""Gather on a plane: the flipped kernel over the input with zeros between its cells."""

from __future__ import annotations

from backstride.explain.drawing import Drawing
from backstride.explain.plane import after, blink, busiest, result, window
from backstride.explain.stage import (
    arrow,
    caption,
    check_sides,
    draw_cell,
    heading,
    in_a_row,
    panel,
    plane,
    say,
    show_index,
    times,
)
from backstride.explain.trace import Index, Meeting, Trace, cells, flat
from backstride.explain.values import Values, show


def gather(trace: Trace, values: Values | None = None) -> Drawing:
    """The flipped kernel slides over the input with zeros between its cells."""
    geometry = trace.geometry
    sums = trace.by_output()
    axes = list(
        zip(geometry.input, geometry.effective_kernel, geometry.strides, geometry.crop, geometry.output, strict=True)
    )
    first = plane(tuple(min(0, before - span + 1) for _, span, _, (before, _), _ in axes))
    last = after(tuple(max((i - 1) * s, before + out - 1) for i, _, s, (before, _), out in axes))
    check_sides("output", tuple(b - a for a, b in zip(first, last, strict=True)))
    drawing = Drawing(
        f"Gather: {times(geometry.input)} to {times(geometry.output)}",
        "The flipped kernel slides over the input with zeros between its cells; each position gives one output cell.",
        frames=len(sums),
        still=busiest(sums),
    )
    source, kernel, target = in_a_row(
        [
            panel("stretched", first, last),
            panel("kernel", (0, 0), plane(geometry.kernel)),
            panel("output", (0, 0), plane(geometry.output)),
        ]
    )
    heading(drawing, "gather: the flipped kernel slides over the input with zeros between its cells")
    caption(drawing, source, f"input {times(geometry.input)}, zeros between and around")
    caption(drawing, kernel, f"kernel {times(geometry.kernel)}, flipped")
    caption(drawing, target, f"output {times(geometry.output)}")
    arrow(drawing, source, kernel)
    arrow(drawing, kernel, target)
    places = {
        cell: plane(tuple(m * s for m, s in zip(cell, geometry.strides, strict=True))) for cell in cells(geometry.input)
    }
    real = set(places.values())
    for cell in source.cells():
        if cell not in real:
            draw_cell(drawing, source, cell, "zero")
    for cell, place in places.items():
        draw_cell(drawing, source, place, "input", name=flat(cell, geometry.input), kind="input")
    for tap in cells(geometry.kernel):
        draw_cell(drawing, kernel, _flipped(tap, trace), "kernel", name=flat(tap, geometry.kernel))
    for cell in cells(geometry.output):
        draw_cell(drawing, target, plane(cell), "blank", name=flat(cell, geometry.output))
    for frame, (cell, meetings) in enumerate(sums.items()):
        for meeting in meetings:
            draw_cell(drawing, source, places[meeting.input], "input-on", frames=(frame, frame + 1))
            draw_cell(drawing, kernel, _flipped(meeting.tap, trace), "kernel-on", frames=(frame, frame + 1))
        window(drawing, trace, source, _corner(trace, cell), (frame, frame + 1))
        result(drawing, target, cell, (frame, meetings), values)
        say(drawing, _sentence(cell, meetings, values), frame, frame + 1)
    for cell, place in places.items():
        blink(
            drawing,
            source,
            place,
            show(values.at_x(cell)) if values else show_index(cell),
            frames=[
                frame
                for frame, meetings in enumerate(sums.values())
                if any(meeting.input == cell for meeting in meetings)
            ],
        )
    for tap in cells(geometry.kernel):
        text = show(values.at_w(tap)) if values else show_index(tap)
        met = [frame for frame, found in enumerate(sums.values()) if any(meeting.tap == tap for meeting in found)]
        blink(drawing, kernel, _flipped(tap, trace), text, frames=met, lit="on-bright")
    drawing.fit(20)
    return drawing


def _corner(trace: Trace, cell: Index) -> Index:
    """Where the flipped kernel begins when it gives an output cell."""
    geometry = trace.geometry
    axes = zip(cell, geometry.crop, geometry.effective_kernel, strict=True)
    return tuple(o + before - span + 1 for o, (before, _), span in axes)


def _flipped(tap: Index, trace: Trace) -> tuple[int, int]:
    return plane(tuple(k - 1 - j for j, k in zip(tap, trace.geometry.kernel, strict=True)))


def _sentence(cell: Index, meetings: tuple[Meeting, ...], values: Values | None) -> str:
    left = f"output [{show_index(cell)}] = "
    if not meetings:
        return left + "0: no input reaches it"
    if len(meetings) > 4:
        return left + f"the sum of {len(meetings)} products"
    if values:
        return left + " + ".join(f"{show(values.at_x(m.input))}·{show(values.at_w(m.tap))}" for m in meetings)
    return left + " + ".join(f"x[{show_index(m.input)}]·w[{show_index(m.tap)}]" for m in meetings)
