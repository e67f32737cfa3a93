"""Scatter on a plane: stamps, sums, crop."""

from __future__ import annotations

from backstride.explain.drawing import Drawing
from backstride.explain.facts import odd_cell
from backstride.explain.plane import each, extent, window
from backstride.explain.stage import (
    Panel,
    arrow,
    caption,
    check_sides,
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
from backstride.explain.sums import added_up
from backstride.explain.trace import Index, Trace, cells, flat
from backstride.explain.values import Values, show


def scatter(trace: Trace, values: Values | None = None) -> Drawing:
    """Every input cell stamps the weighted kernel; overlaps add; the crop is cut off."""
    geometry = trace.geometry
    stamps = trace.by_input()
    drawing = Drawing(
        f"Scatter: {times(geometry.input)} to {times(geometry.output)}",
        "Each input cell adds its copy of the kernel to the output; cells outside the frame are cropped.",
        frames=len(stamps) + 1,
        still=len(stamps),
    )
    first = plane(tuple(min(0, before) for before, _ in geometry.crop))
    last = plane(tuple(max(full, full - after) for full, (_, after) in zip(geometry.full, geometry.crop, strict=True)))
    check_sides("output", geometry.full)
    source, kernel, full = in_a_row(
        [
            panel("input", (0, 0), plane(geometry.input)),
            panel("kernel", (0, 0), plane(geometry.kernel)),
            panel("full", first, last),
        ]
    )
    heading(drawing, f"scatter: every input cell stamps the kernel; stride {each(geometry.strides)}")
    for at, text in (
        (source, f"input {times(geometry.input)}"),
        (full, _cropped(trace)),
    ):
        caption(drawing, at, text)
    shown = f"kernel {times(geometry.kernel)}"
    caption(drawing, kernel, shown, frames=(drawing.still if values else 0, None))
    arrow(drawing, source, kernel)
    arrow(drawing, kernel, full)
    _ground(drawing, trace, full)
    added_up(drawing, trace, full, values)
    for cell in cells(geometry.input):
        draw_cell(drawing, source, plane(cell), "input", name=flat(cell, geometry.input))
    for tap in cells(geometry.kernel):
        draw_cell(drawing, kernel, plane(tap), "kernel", name=flat(tap, geometry.kernel))
    for frame, (cell, meetings) in enumerate(stamps.items()):
        seen = (frame, frame + 1)
        draw_cell(drawing, source, plane(cell), "input-on", frames=seen)
        for meeting in meetings:
            text = show(values.product(meeting)) if values else show_index(meeting.tap)
            draw_cell(drawing, kernel, plane(meeting.tap), "kernel-on", frames=seen)
            draw_label(drawing, kernel, plane(meeting.tap), text, "on-bright", frames=seen)
        if values:
            caption(drawing, kernel, f"{show(values.at_x(cell))} times the kernel", frames=seen)
        window(drawing, trace, full, meetings[0].full, seen)
        say(drawing, f"input cell [{show_index(cell)}] {_times_kernel(cell, values)} is added to the output", *seen)
    for cell in cells(geometry.input):
        text = show(values.at_x(cell)) if values else show_index(cell)
        here = flat(cell, geometry.input)
        draw_label(drawing, source, plane(cell), text, "ink", frames=(0, here))
        draw_label(drawing, source, plane(cell), text, "on-dark", frames=(here, here + 1))
        draw_label(drawing, source, plane(cell), text, "ink", frames=(here + 1, None))
    for tap in cells(geometry.kernel):
        text = show(values.at_w(tap)) if values else show_index(tap)
        draw_label(drawing, kernel, plane(tap), text, "ink", frames=(drawing.still, None))
    say(drawing, _crop_words(trace), drawing.still)
    outline(drawing, full, (plane(tuple(before for before, _ in geometry.crop)), extent(geometry.output)), "frame")
    drawing.fit(20)
    return drawing


def _ground(drawing: Drawing, trace: Trace, full: Panel) -> None:
    """The cells of the full output: kept, cut off, or appended by a negative crop."""
    geometry = trace.geometry
    kept = {
        plane(tuple(p + b for p, (b, _) in zip(cell, geometry.crop, strict=True))): cell
        for cell in cells(geometry.output)
    }
    whole = set(map(plane, cells(geometry.full)))
    for cell in full.cells():
        if cell in kept:
            name = flat(kept[cell], geometry.output)
            draw_cell(drawing, full, cell, "blank" if cell in whole else "zero", name=name, kind="output")
        elif cell in whole:
            draw_cell(drawing, full, cell, "cut")


def _cropped(trace: Trace) -> str:
    geometry = trace.geometry
    if geometry.full == geometry.output and not any(map(any, geometry.crop)):
        return f"output {times(geometry.output)}"
    return f"full {times(geometry.full)}, framed: output {times(geometry.output)}"


def _crop_words(trace: Trace) -> str:
    words = [odd_cell(before, after) for before, after in trace.geometry.crop]
    if len(set(words)) == 1:
        return words[0] + (" of each axis" if len(words) > 1 and any(map(any, trace.geometry.crop)) else "")
    return "; ".join(f"{axis}: {said}" for axis, said in zip(("rows", "columns"), words, strict=True))


def _times_kernel(cell: Index, values: Values | None) -> str:
    return "times the kernel" if values is None else f"= {show(values.at_x(cell))} times the kernel"
