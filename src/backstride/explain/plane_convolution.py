"""The other direction on a plane: the strided convolution that is transposed."""

from __future__ import annotations

from backstride.explain.drawing import Drawing
from backstride.explain.plane import after, blink, counted, each, window
from backstride.explain.stage import (
    arrow,
    caption,
    check_sides,
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
from backstride.explain.trace import Index, Trace, cells, flat
from backstride.explain.values import Values, show


def convolution(trace: Trace, values: Values | None = None) -> Drawing:
    """The other direction: the strided convolution of which the trace is the transpose, from `output` to `input`."""
    geometry = trace.geometry
    windows = trace.by_input()
    axes = list(zip(geometry.full, geometry.crop, geometry.output, strict=True))
    first = plane(tuple(min(0, -before) for _, (before, _), _ in axes))
    last = after(tuple(max(size, full - before) - 1 for full, (before, _), size in axes))
    check_sides("input", tuple(b - a for a, b in zip(first, last, strict=True)))
    drawing = Drawing(
        f"Convolution: {times(geometry.output)} to {times(geometry.input)}",
        "The kernel slides over the padded input; each position gives one output cell.",
        frames=len(windows),
        still=len(windows) // 2,
    )
    source, kernel, target = in_a_row(
        [
            panel("input", first, last),
            panel("kernel", (0, 0), plane(geometry.kernel)),
            panel("output", (0, 0), plane(geometry.input)),
        ]
    )
    heading(drawing, f"convolution: the kernel slides over the input; stride {each(geometry.strides)}")
    pads = ", ".join(dict.fromkeys(f"{before}+{after}" for before, after in geometry.crop))
    caption(drawing, source, f"input {times(geometry.output)}, padding {pads}")
    caption(drawing, kernel, f"kernel {times(geometry.kernel)}")
    caption(drawing, target, f"output {times(geometry.input)}")
    arrow(drawing, source, kernel)
    arrow(drawing, kernel, target)
    own = {plane(cell): cell for cell in cells(geometry.output)}
    for cell in source.cells():
        if cell in own:
            draw_cell(drawing, source, cell, "input", name=flat(own[cell], geometry.output))
        else:
            draw_cell(drawing, source, cell, "zero")
    for tap in cells(geometry.kernel):
        draw_cell(drawing, kernel, plane(tap), "kernel", name=flat(tap, geometry.kernel))
    for cell in cells(geometry.input):
        draw_cell(drawing, target, plane(cell), "blank", name=flat(cell, geometry.input))
    lit: dict[Index, list[int]] = {cell: [] for cell in cells(geometry.output)}
    for frame, (cell, meetings) in enumerate(windows.items()):
        inside = [meeting for meeting in meetings if meeting.output is not None]
        for meeting in inside:
            assert meeting.output is not None
            lit[meeting.output].append(frame)
            draw_cell(drawing, source, plane(meeting.output), "input-on", frames=(frame, frame + 1))
            draw_cell(drawing, kernel, plane(meeting.tap), "kernel-on", frames=(frame, frame + 1))
        corner = tuple(q - before for q, (before, _) in zip(meetings[0].full, geometry.crop, strict=True))
        window(drawing, trace, source, corner, (frame, frame + 1))
        total = (
            sum(values.at_x(m.output) * values.at_w(m.tap) for m in inside if m.output is not None) if values else None
        )
        draw_cell(drawing, target, plane(cell), "output", frames=(frame + 1, None))
        draw_cell(drawing, target, plane(cell), "output-on", frames=(frame, frame + 1))
        text = show(total) if total is not None else str(len(inside))
        draw_label(drawing, target, plane(cell), text, "on-dark", frames=(frame, frame + 1))
        draw_label(drawing, target, plane(cell), text, "ink", frames=(frame + 1, None))
        say(drawing, f"output [{show_index(cell)}] sums {counted(len(inside), 'product')}", frame, frame + 1)
    for cell, frames in lit.items():
        blink(drawing, source, plane(cell), show(values.at_x(cell)) if values else show_index(cell), frames=frames)
    for tap in cells(geometry.kernel):
        text = show(values.at_w(tap)) if values else show_index(tap)
        met = [
            frame
            for frame, found in enumerate(windows.values())
            if any(meeting.tap == tap and meeting.output is not None for meeting in found)
        ]
        blink(drawing, kernel, plane(tap), text, frames=met, lit="on-bright")
    drawing.fit(20)
    return drawing
