"""The other direction on a plane: the strided convolution that is transposed."""

from __future__ import annotations

from itertools import product

from backstride.explain.drawing import Drawing
from backstride.explain.painters.plane import (
    counted,
    each,
    labels,
    left_out,
    lying,
    name,
    numbered,
    themselves,
)
from backstride.explain.painters.stage import (
    arrow,
    draw_cell,
    draw_label,
    heading,
    in_a_row,
    panel,
    plane,
    say,
    show_index,
    times,
)
from backstride.explain.trace import Trace, flat
from backstride.explain.values import Values, show


def convolution(trace: Trace, values: Values | None = None) -> Drawing:
    """The other direction.

    The strided convolution of which the trace is the transpose, from `output` to `input`.
    """
    geometry = trace.geometry
    windows = trace.by_input()
    drawn = trace.window
    drawing = Drawing(
        f"Convolution: {times(geometry.output)} to {times(geometry.input)}",
        "The kernel slides over the padded input; each position gives one output cell.",
        frames=len(windows),
        still=len(windows) // 2,
    )
    source, kernel, target = in_a_row(
        [panel("input", drawn.padded), panel("kernel", drawn.kernel), panel("output", drawn.input)],
        numbered=numbered(trace),
    )
    heading(
        drawing, f"convolution: the kernel slides over the input; stride {each(geometry.strides)}"
    )
    pads = ", ".join(dict.fromkeys(f"{before}+{after}" for before, after in geometry.crop))
    own = dict.fromkeys(
        cell
        for cell in product(*drawn.padded)
        if all(0 <= position < size for position, size in zip(cell, geometry.output, strict=True))
    )
    name(
        drawing,
        trace,
        source,
        f"input {times(geometry.output)}, padding {pads}",
        ((cell, cell) for cell in own),
    )
    name(drawing, trace, kernel, f"kernel {times(geometry.kernel)}", themselves(drawn.kernel))
    name(drawing, trace, target, f"output {times(geometry.input)}", themselves(drawn.input))
    arrow(drawing, source, kernel)
    arrow(drawing, kernel, target)
    for cell in product(*drawn.padded):
        if cell in own:
            draw_cell(drawing, source, plane(cell), "input", name=flat(cell, geometry.output))
        else:
            draw_cell(drawing, source, plane(cell), "zero")
    for tap in product(*drawn.kernel):
        draw_cell(drawing, kernel, plane(tap), "kernel", name=flat(tap, geometry.kernel))
    for cell in windows:
        draw_cell(drawing, target, plane(cell), "blank", name=flat(cell, geometry.input))
    for frame, (cell, meetings) in enumerate(windows.items()):
        inside = [meeting for meeting in meetings if meeting.output is not None]
        for meeting in inside:
            assert meeting.output is not None
            draw_cell(drawing, source, plane(meeting.output), "input-on", frames=(frame, frame + 1))
            draw_cell(drawing, kernel, plane(meeting.tap), "kernel-on", frames=(frame, frame + 1))
        corner = tuple(
            q - before for q, (before, _) in zip(meetings[0].full, geometry.crop, strict=True)
        )
        lying(drawing, trace, source, corner, (frame, frame + 1))
        total = (
            sum(values.at_x(m.output) * values.at_w(m.tap) for m in inside if m.output is not None)
            if values
            else None
        )
        draw_cell(drawing, target, plane(cell), "output", frames=(frame + 1, None))
        draw_cell(drawing, target, plane(cell), "output-on", frames=(frame, frame + 1))
        text = show(total) if total is not None else str(len(inside))
        draw_label(drawing, target, plane(cell), text, "on-dark", frames=(frame, frame + 1))
        draw_label(drawing, target, plane(cell), text, "ink", frames=(frame + 1, None))
        say(
            drawing,
            f"output [{show_index(cell)}] sums {counted(len(inside), 'product')}",
            frame,
            frame + 1,
        )
    kept = [
        [meeting for meeting in meetings if meeting.output is not None]
        for meetings in windows.values()
    ]
    read = {cell: (cell, show(values.at_x(cell)) if values else show_index(cell)) for cell in own}
    taps = {
        tap: (tap, show(values.at_w(tap)) if values else show_index(tap))
        for tap in product(*drawn.kernel)
    }
    labels(
        drawing,
        source,
        read,
        ({m.output for m in inside if m.output is not None} for inside in kept),
    )
    labels(
        drawing, kernel, taps, ({meeting.tap for meeting in inside} for inside in kept), "on-bright"
    )
    left_out(drawing, trace, forward=True)
    drawing.fit(20)
    return drawing
