"""The one-dimensional views.

Cells that stand above each other are the same position of the full output.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from backstride.explain.drawing import Drawing, Line, Text
from backstride.explain.facts import odd_cell
from backstride.explain.painters.plane import cropped, left_out
from backstride.explain.painters.stage import (
    CAPTION,
    CELL,
    MARGIN,
    Panel,
    draw_cell,
    draw_label,
    heading,
    number,
    outline,
    panel,
    say,
    torn,
)
from backstride.explain.painters.sums import added_up, finished
from backstride.explain.trace import Index, Meeting, Trace
from backstride.explain.values import Values, show
from backstride.explain.window import Positions

LEFT = 120  # room for the names of the rows
TOP_ROW = 84
STEP = 14  # between two stamps
ROOM = 34  # between two kinds of rows


def scatter(trace: Trace, values: Values | None = None) -> Drawing:
    """Overlap-add: one stamp a row, the sums below, the crop marked."""
    geometry = trace.geometry
    (before, after), full, (stride,) = geometry.crop[0], geometry.full[0], geometry.strides
    drawn, stamps = trace.window, list(trace.by_input().items())
    drawing = Drawing(
        f"Scatter: {geometry.input[0]} to {geometry.output[0]}",
        "Each input cell adds its copy of the kernel to the output; cells outside the frame are "
        "cropped.",
        frames=len(stamps) + 1,
        still=len(stamps),
    )
    heading(drawing, f"scatter: every input cell stamps the kernel; stride {stride}")
    source = _row("input", 0, drawn.full[0])
    _name(drawing, source, f"input {geometry.input[0]}")
    rows = [_below(source, "stamp", ROOM + index * (CELL + STEP)) for index in range(len(stamps))]
    target = _below(rows[-1], "full", ROOM)
    _name(drawing, target, f"sum {full}")
    for index, (((cell,), meetings), row) in enumerate(zip(stamps, rows, strict=True)):
        text = show(values.at_x((cell,))) if values else str(cell)
        at = (0, cell * stride)
        draw_cell(drawing, source, at, "input", name=cell)
        draw_cell(drawing, source, at, "input-on", frames=(index, index + 1))
        draw_label(drawing, source, at, text, "ink", frames=(0, index))
        draw_label(drawing, source, at, text, "on-dark", frames=(index, index + 1))
        draw_label(drawing, source, at, text, "ink", frames=(index + 1, None))
        _name(drawing, row, f"{text} · kernel" if values else f"x[{cell}] · kernel", index)
        for meeting in meetings:
            product = show(values.product(meeting)) if values else f"w{meeting.tap[0]}"
            style = "cut" if meeting.output is None else "kernel"
            place = (0, meeting.full[0])
            draw_cell(drawing, row, place, style, frames=(index, None))
            draw_label(
                drawing,
                row,
                place,
                product,
                "ink" if meeting.output else "soft",
                frames=(index + 1, None),
            )
            draw_cell(drawing, row, place, "kernel-on", frames=(index, index + 1))
            draw_label(drawing, row, place, product, "on-bright", frames=(index, index + 1))
        say(
            drawing,
            f"input cell [{cell}] times the kernel is added to the output",
            index,
            index + 1,
        )
    for position in drawn.full[0]:
        cell = position - before
        kept = 0 <= cell < geometry.output[0]
        inside = 0 <= position < full
        if kept:
            draw_cell(
                drawing,
                target,
                (0, position),
                "blank" if inside else "zero",
                name=cell,
                kind="output",
            )
        elif inside:
            draw_cell(drawing, target, (0, position), "cut")
    added_up(drawing, trace, target, values)
    outline(drawing, target, (before,), geometry.output, "frame")
    say(drawing, odd_cell(before, after), drawing.still)
    _number(drawing, trace, target, cropped(trace))
    for row in (source, *rows):
        torn(drawing, row)
    left_out(drawing, trace)
    drawing.fit(MARGIN)
    return drawing


def gather(trace: Trace, values: Values | None = None) -> Drawing:
    """The flipped kernel under the input with zeros between its cells."""
    geometry = trace.geometry
    (before, _), (stride,) = geometry.crop[0], geometry.strides
    drawn, places = trace.window, list(trace.by_output())
    sums = list(trace.by_output().values())
    drawing = Drawing(
        f"Gather: {geometry.input[0]} to {geometry.output[0]}",
        "The flipped kernel slides over the input with zeros between its cells; each position "
        "gives one output cell.",
        frames=len(sums),
        still=max(
            range(len(sums)), key=lambda frame: (len(sums[frame]), -abs(frame - len(sums) // 2))
        ),
    )
    heading(
        drawing, "gather: the flipped kernel slides over the input with zeros between its cells"
    )
    source = _row("stretched", 0, drawn.stretched[0])
    window = _below(source, "kernel", 8)
    target = _below(window, "output", ROOM)
    _name(drawing, source, f"input {geometry.input[0]}")
    _name(drawing, window, "kernel, flipped")
    _name(drawing, target, f"output {geometry.output[0]}")
    for position in drawn.stretched[0]:
        cell, rest = divmod(position, stride)
        if rest or not 0 <= cell < geometry.input[0]:
            draw_cell(drawing, source, (0, position), "zero")
            draw_label(drawing, source, (0, position), "0", "faint")
            continue
        draw_cell(drawing, source, (0, position), "input", name=cell, kind="input")
        draw_label(
            drawing,
            source,
            (0, position),
            show(values.at_x((cell,))) if values else f"x{cell}",
            "ink",
        )
    for (cell,) in places:
        draw_cell(drawing, target, (0, cell + before), "blank", name=cell)
    for frame, ((cell,), meetings) in enumerate(zip(places, sums, strict=True)):
        place, seen = (0, cell + before), (frame, frame + 1)
        met = {meeting.tap[0]: meeting for meeting in meetings}
        for tap in drawn.kernel[0]:
            at = (0, place[1] - tap * geometry.dilation[0])
            text = show(values.at_w((tap,))) if values else f"w{tap}"
            draw_cell(drawing, window, at, "kernel-on" if tap in met else "kernel", frames=seen)
            draw_label(
                drawing, window, at, text, "on-bright" if tap in met else "on-tap", frames=seen
            )
            if tap in met:
                label = show(values.at_x(met[tap].input)) if values else f"x{met[tap].input[0]}"
                _light(drawing, source, at, label, seen=seen)
                _ray(drawing, window, target, (at[1], place[1]), seen)
        text = show(sum(map(values.product, meetings))) if values else str(len(meetings))
        finished(drawing, target, place, text, frame)
        say(drawing, _sentence(cell, meetings, values), *seen)
    _number(drawing, trace, target, cropped(trace))
    for row in (source, window):
        torn(drawing, row)
    left_out(drawing, trace)
    drawing.fit(MARGIN)
    return drawing


def convolution(trace: Trace, values: Values | None = None) -> Drawing:
    """The other direction: the kernel slides over the padded input, `stride` cells at a time."""
    geometry = trace.geometry
    (before, _), (stride,), (span,) = geometry.crop[0], geometry.strides, geometry.effective_kernel
    size = geometry.output[0]
    drawn, windows = trace.window, list(trace.by_input().items())
    drawing = Drawing(
        f"Convolution: {size} to {geometry.input[0]}",
        "The kernel slides over the padded input; each position gives one output cell.",
        frames=len(windows),
        still=len(windows) // 2,
    )
    heading(drawing, f"convolution: the kernel slides over the input; stride {stride}")
    source = _row("input", 0, drawn.padded[0])
    window = _below(source, "kernel", 8)
    target = _below(window, "output", ROOM)
    _name(drawing, source, f"input {size}")
    _name(drawing, window, f"kernel {geometry.kernel[0]}")
    _name(drawing, target, f"output {geometry.input[0]}")
    for position in drawn.padded[0]:
        own = 0 <= position < size
        draw_cell(
            drawing,
            source,
            (0, position),
            "input" if own else "zero",
            name=position if own else None,
        )
        text = (show(values.at_x((position,))) if values else f"x{position}") if own else "0"
        draw_label(drawing, source, (0, position), text, "ink" if own else "faint")
    middles = {cell: cell[0] * stride - before + (span - 1) // 2 for cell, _ in windows}
    if not all(target.has((0, middle)) for middle in middles.values()):
        middles = {cell: cell[0] for cell in middles}  # a wide kernel's middle may not be drawn
        target = panel("output", drawn.input).moved(target.x, target.y)
    for frame, (cell, meetings) in enumerate(windows):
        start, seen = cell[0] * stride - before, (frame, frame + 1)
        place = (0, middles[cell])
        draw_cell(drawing, target, place, "blank", name=cell[0])
        total: int | float = 0
        inside = 0
        for meeting in meetings:
            (tap,), at = meeting.tap, (0, start + meeting.tap[0] * geometry.dilation[0])
            met = meeting.output is not None
            draw_cell(drawing, window, at, "kernel-on" if met else "kernel", frames=seen)
            text = show(values.at_w((tap,))) if values else f"w{tap}"
            draw_label(drawing, window, at, text, "on-bright" if met else "on-tap", frames=seen)
            if meeting.output is None:
                continue
            inside += 1
            total += values.at_x(meeting.output) * values.at_w((tap,)) if values else 1
            draw_cell(drawing, source, at, "input-on", frames=seen)
            label = show(values.at_x(meeting.output)) if values else f"x{meeting.output[0]}"
            draw_label(drawing, source, at, label, "on-dark", frames=seen)
            _ray(drawing, window, target, (at[1], place[1]), seen)
        finished(drawing, target, place, show(total), frame)
        say(
            drawing,
            f"output [{cell[0]}] sums {inside} products"
            if inside != 1
            else f"output [{cell[0]}] is 1 product",
            *seen,
        )
    _number(drawing, trace, target, ((cell, (middle,)) for cell, middle in middles.items()))
    for row in (source, window):
        torn(drawing, row)
    left_out(drawing, trace, forward=True)
    drawing.fit(MARGIN)
    return drawing


def _row(name: str, offset: float, positions: Positions) -> Panel:
    return panel(name, (positions,)).moved(LEFT, TOP_ROW + offset)


def _below(row: Panel, name: str, room: float) -> Panel:
    return replace(row, name=name, y=row.y + CELL + room)


def _number(
    drawing: Drawing, trace: Trace, row: Panel, cells: Iterable[tuple[Index, Index]]
) -> None:
    if not trace.window.whole:
        number(drawing, row, cells, below=True)


def _name(drawing: Drawing, row: Panel, text: str, first: int = 0) -> None:
    drawing.add(Text(MARGIN, row.y + CELL / 2, text, "soft", CAPTION, "start"), first)


def _light(
    drawing: Drawing, source: Panel, at: tuple[int, int], text: str, *, seen: tuple[int, int]
) -> None:
    draw_cell(drawing, source, at, "input-on", frames=seen)
    draw_label(drawing, source, at, text, "on-dark", frames=seen)


def _ray(
    drawing: Drawing, window: Panel, target: Panel, ends: tuple[int, int], seen: tuple[int, int]
) -> None:
    if not (window.has((0, ends[0])) and target.has((0, ends[1]))):
        return
    (x1, y1), (x2, y2) = (
        row.place((0, end)) for row, end in zip((window, target), ends, strict=True)
    )
    drawing.add(Line(x1 + CELL / 2, y1 + CELL, x2 + CELL / 2, y2, "ray"), *seen)


def _sentence(cell: int, meetings: tuple[Meeting, ...], values: Values | None) -> str:
    if not meetings:
        return f"output [{cell}] = 0: no input reaches it"
    if values:
        terms = [f"{show(values.at_x(m.input))}·{show(values.at_w(m.tap))}" for m in meetings]
    else:
        terms = [f"x{m.input[0]}·w{m.tap[0]}" for m in meetings]
    return f"output [{cell}] = " + " + ".join(terms)
