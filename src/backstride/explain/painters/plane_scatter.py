"""Scatter on a plane: stamps, sums, crop."""

from __future__ import annotations

from itertools import product

from backstride.explain.drawing import Drawing
from backstride.explain.facts import odd_cell
from backstride.explain.painters.plane import (
    cropped,
    each,
    left_out,
    lying,
    name,
    numbered,
    themselves,
)
from backstride.explain.painters.stage import (
    Panel,
    arrow,
    caption,
    draw_cell,
    draw_label,
    heading,
    in_a_row,
    outline,
    panel,
    plane,
    say,
    show_index,
    times,
)
from backstride.explain.painters.sums import added_up
from backstride.explain.trace import Index, Trace, flat
from backstride.explain.values import Values, show


def scatter(trace: Trace, values: Values | None = None) -> Drawing:
    """Every input cell stamps the weighted kernel; overlaps add; the crop is cut off."""
    geometry = trace.geometry
    stamps = trace.by_input()
    drawing = Drawing(
        f"Scatter: {times(geometry.input)} to {times(geometry.output)}",
        "Each input cell adds its copy of the kernel to the output; cells outside the frame are "
        "cropped.",
        frames=len(stamps) + 1,
        still=len(stamps),
    )
    drawn = trace.window
    source, kernel, full = in_a_row(
        [panel("input", drawn.input), panel("kernel", drawn.kernel), panel("full", drawn.full)],
        numbered=numbered(trace),
    )
    heading(
        drawing, f"scatter: every input cell stamps the kernel; stride {each(geometry.strides)}"
    )
    name(drawing, trace, source, f"input {times(geometry.input)}", themselves(drawn.input))
    name(drawing, trace, full, _cropped(trace), cropped(trace))
    shown, always = f"kernel {times(geometry.kernel)}", (drawing.still if values else 0, None)
    name(drawing, trace, kernel, shown, themselves(drawn.kernel), frames=always)
    arrow(drawing, source, kernel)
    arrow(drawing, kernel, full)
    _ground(drawing, trace, full)
    added_up(drawing, trace, full, values)
    for cell in stamps:
        draw_cell(drawing, source, plane(cell), "input", name=flat(cell, geometry.input))
    for tap in product(*drawn.kernel):
        draw_cell(drawing, kernel, plane(tap), "kernel", name=flat(tap, geometry.kernel))
    for frame, (cell, meetings) in enumerate(stamps.items()):
        seen = (frame, frame + 1)
        draw_cell(drawing, source, plane(cell), "input-on", frames=seen)
        for meeting in meetings:
            text = show(values.product(meeting)) if values else show_index(meeting.tap)
            draw_cell(drawing, kernel, plane(meeting.tap), "kernel-on", frames=seen)
            draw_label(drawing, kernel, plane(meeting.tap), text, "on-bright", frames=seen)
        if values:
            above = 28 if numbered(trace) else 14
            caption(
                drawing,
                kernel,
                f"{show(values.at_x(cell))} times the kernel",
                frames=seen,
                above=above,
            )
        lying(drawing, trace, full, meetings[0].full, seen)
        say(
            drawing,
            f"input cell [{show_index(cell)}] {_times_kernel(cell, values)} is added to the output",
            *seen,
        )
    for here, cell in enumerate(stamps):
        text = show(values.at_x(cell)) if values else show_index(cell)
        draw_label(drawing, source, plane(cell), text, "ink", frames=(0, here))
        draw_label(drawing, source, plane(cell), text, "on-dark", frames=(here, here + 1))
        draw_label(drawing, source, plane(cell), text, "ink", frames=(here + 1, None))
    for tap in product(*drawn.kernel):
        text = show(values.at_w(tap)) if values else show_index(tap)
        draw_label(drawing, kernel, plane(tap), text, "ink", frames=(drawing.still, None))
    say(drawing, _crop_words(trace), drawing.still)
    outline(drawing, full, tuple(before for before, _ in geometry.crop), geometry.output, "frame")
    left_out(drawing, trace)
    drawing.fit(20)
    return drawing


def _ground(drawing: Drawing, trace: Trace, full: Panel) -> None:
    """The cells of the full output: kept, cut off, or appended by a negative crop."""
    geometry = trace.geometry
    for place in product(*trace.window.full):
        cell = tuple(q - before for q, (before, _) in zip(place, geometry.crop, strict=True))
        stamped = all(0 <= q < size for q, size in zip(place, geometry.full, strict=True))
        if all(0 <= position < size for position, size in zip(cell, geometry.output, strict=True)):
            name = flat(cell, geometry.output)
            draw_cell(
                drawing,
                full,
                plane(place),
                "blank" if stamped else "zero",
                name=name,
                kind="output",
            )
        elif stamped:
            draw_cell(drawing, full, plane(place), "cut")


def _cropped(trace: Trace) -> str:
    geometry = trace.geometry
    if geometry.full == geometry.output and not any(map(any, geometry.crop)):
        return f"output {times(geometry.output)}"
    return f"full {times(geometry.full)}, framed: output {times(geometry.output)}"


def _crop_words(trace: Trace) -> str:
    words = [odd_cell(before, after) for before, after in trace.geometry.crop]
    if len(set(words)) == 1:
        return words[0] + (
            " of each axis" if len(words) > 1 and any(map(any, trace.geometry.crop)) else ""
        )
    return "; ".join(
        f"{axis}: {said}"
        for axis, said in zip(("planes", "rows", "columns")[-len(words) :], words, strict=True)
    )


def _times_kernel(cell: Index, values: Values | None) -> str:
    return "times the kernel" if values is None else f"= {show(values.at_x(cell))} times the kernel"
