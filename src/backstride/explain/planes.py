"""The two-dimensional views: scatter, gather, and the convolution that is transposed."""

from __future__ import annotations

from backstride.explain.drawing import Drawing
from backstride.explain.facts import odd_cell
from backstride.explain.palette import heat
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
from backstride.explain.trace import Index, Meeting, Trace, cells, flat
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
    heading(drawing, f"scatter: every input cell stamps the kernel; stride {_each(geometry.strides)}")
    for at, text in (
        (source, f"input {times(geometry.input)}"),
        (kernel, f"kernel {times(geometry.kernel)}"),
        (full, _cropped(trace)),
    ):
        caption(drawing, at, text)
    arrow(drawing, source, kernel)
    arrow(drawing, kernel, full)
    _ground(drawing, trace, full)
    _stack(drawing, trace, full, values)
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
        _stamp(drawing, trace, full, meetings, seen)
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
    outline(drawing, full, plane(tuple(before for before, _ in geometry.crop)), _extent(geometry.output), "frame")
    drawing.fit(20)
    return drawing


def gather(trace: Trace, values: Values | None = None) -> Drawing:
    """The flipped kernel slides over the input with zeros between its cells."""
    geometry = trace.geometry
    sums = trace.by_output()
    axes = list(zip(geometry.input, geometry.effective_kernel, geometry.strides, geometry.crop, geometry.output, strict=True))
    first = plane(tuple(min(0, before - span + 1) for _, span, _, (before, _), _ in axes))
    last = _after(tuple(max((i - 1) * s, before + out - 1) for i, _, s, (before, _), out in axes))
    check_sides("output", tuple(b - a for a, b in zip(first, last, strict=True)))
    drawing = Drawing(
        f"Gather: {times(geometry.input)} to {times(geometry.output)}",
        "The flipped kernel slides over the input with zeros between its cells; each position gives one output cell.",
        frames=len(sums),
        still=_busiest(sums),
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
    places = {cell: plane(tuple(m * s for m, s in zip(cell, geometry.strides, strict=True))) for cell in cells(geometry.input)}
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
        _slide(drawing, trace, source, (frame, cell), meetings, places)
        for meeting in meetings:
            draw_cell(drawing, kernel, _flipped(meeting.tap, trace), "kernel-on", frames=(frame, frame + 1))
        _result(drawing, target, cell, (frame, meetings), values)
        say(drawing, _sentence(cell, meetings, values), frame, frame + 1)
    for cell, place in places.items():
        _blink(drawing, source, place, show(values.at_x(cell)) if values else show_index(cell), [
            frame for frame, meetings in enumerate(sums.values()) if any(meeting.input == cell for meeting in meetings)
        ])
    for tap in cells(geometry.kernel):
        text = show(values.at_w(tap)) if values else show_index(tap)
        met = [frame for frame, found in enumerate(sums.values()) if any(meeting.tap == tap for meeting in found)]
        _blink(drawing, kernel, _flipped(tap, trace), text, met, "on-bright")
    drawing.fit(20)
    return drawing


def convolution(trace: Trace, values: Values | None = None) -> Drawing:
    """The other direction: the strided convolution of which the trace is the transpose, from `output` to `input`."""
    geometry = trace.geometry
    windows = trace.by_input()
    axes = list(zip(geometry.full, geometry.crop, geometry.output, strict=True))
    first = plane(tuple(min(0, -before) for _, (before, _), _ in axes))
    last = _after(tuple(max(size, full - before) - 1 for full, (before, _), size in axes))
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
    heading(drawing, f"convolution: the kernel slides over the input; stride {_each(geometry.strides)}")
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
        _window(drawing, trace, source, corner, (frame, frame + 1))
        total = sum(values.at_x(m.output) * values.at_w(m.tap) for m in inside if m.output is not None) if values else None
        draw_cell(drawing, target, plane(cell), "output", frames=(frame + 1, None))
        draw_cell(drawing, target, plane(cell), "output-on", frames=(frame, frame + 1))
        text = show(total) if total is not None else str(len(inside))
        draw_label(drawing, target, plane(cell), text, "on-dark", frames=(frame, frame + 1))
        draw_label(drawing, target, plane(cell), text, "ink", frames=(frame + 1, None))
        say(drawing, f"output [{show_index(cell)}] sums {_counted(len(inside), 'product')}", frame, frame + 1)
    for cell, frames in lit.items():
        _blink(drawing, source, plane(cell), show(values.at_x(cell)) if values else show_index(cell), frames)
    for tap in cells(geometry.kernel):
        text = show(values.at_w(tap)) if values else show_index(tap)
        met = [
            frame
            for frame, found in enumerate(windows.values())
            if any(meeting.tap == tap and meeting.output is not None for meeting in found)
        ]
        _blink(drawing, kernel, plane(tap), text, met, "on-bright")
    drawing.fit(20)
    return drawing


def coverage(trace: Trace, values: Values | None = None) -> Drawing:  # noqa: ARG001  one signature for all views
    """How many (input, tap) pairs each output cell is the sum of: where the counts differ, a checkerboard shows."""
    geometry = trace.geometry
    check_sides("output", geometry.output)
    sums = trace.by_output()
    most = max(len(meetings) for meetings in sums.values())
    drawing = Drawing(
        f"Coverage of {times(geometry.output)}", "The number of products that each output cell sums.", frames=1, still=0
    )
    (target,) = in_a_row([panel("output", (0, 0), plane(geometry.output))])
    heading(drawing, "coverage: how many products each output cell sums")
    least = min(len(meetings) for meetings in sums.values())
    say(drawing, f"{least} to {most}" + ("" if geometry.is_even else ": uneven inside, a checkerboard"))
    caption(drawing, target, f"output {times(geometry.output)}")
    for cell, meetings in sums.items():
        step = heat(len(meetings), most)
        style = f"sum{step}" if meetings else "zero"
        draw_cell(drawing, target, plane(cell), style, name=flat(cell, geometry.output))
        draw_label(drawing, target, plane(cell), str(len(meetings)), f"on-sum{step}")
    drawing.fit(20)
    return drawing


def _ground(drawing: Drawing, trace: Trace, full: Panel) -> None:
    """The cells of the full output: kept, cut off, or appended by a negative crop."""
    geometry = trace.geometry
    kept = {plane(tuple(p + b for p, (b, _) in zip(cell, geometry.crop, strict=True))): cell for cell in cells(geometry.output)}
    whole = set(map(plane, cells(geometry.full)))
    for cell in full.cells():
        if cell in kept:
            name = flat(kept[cell], geometry.output)
            draw_cell(drawing, full, cell, "blank" if cell in whole else "zero", name=name, kind="output")
        elif cell in whole:
            draw_cell(drawing, full, cell, "cut")


def _stack(drawing: Drawing, trace: Trace, full: Panel, values: Values | None) -> None:
    """What has been added up in each cell of the full output, as the stamps come down."""
    arrivals: dict[Index, list[Meeting]] = {}
    for meeting in trace.meetings:
        arrivals.setdefault(meeting.full, []).append(meeting)
    most = max(map(len, arrivals.values()))
    for place, meetings in arrivals.items():
        frames = [flat(meeting.input, trace.geometry.input) for meeting in meetings]
        total: int | float = 0
        for count, (meeting, frame) in enumerate(zip(meetings, frames, strict=True), 1):
            total += values.product(meeting) if values else 1
            seen = (frame, frames[count] if count < len(frames) else drawing.frames)
            step = heat(count, most)
            if meeting.output is not None:
                draw_cell(drawing, full, plane(place), f"sum{step}", frames=seen)
            style = "faint" if meeting.output is None else f"on-sum{step}"
            draw_label(drawing, full, plane(place), show(total), style, frames=seen)


def _stamp(drawing: Drawing, trace: Trace, full: Panel, meetings: tuple[Meeting, ...], seen: tuple[int, int]) -> None:
    _window(drawing, trace, full, meetings[0].full, seen)


def _window(drawing: Drawing, trace: Trace, at: Panel, corner: Index, seen: tuple[int, int]) -> None:
    """The kernel lying on a map: one outline, or one for each tap where dilation spreads them."""
    geometry = trace.geometry
    if all(d == 1 or k == 1 for d, k in zip(geometry.dilation, geometry.kernel, strict=True)):
        outline(drawing, at, plane(corner), _extent(geometry.kernel), "window", seen)
        return
    for tap in cells(geometry.kernel):
        place = tuple(q + j * d for q, j, d in zip(corner, tap, geometry.dilation, strict=True))
        outline(drawing, at, plane(place), (1, 1), "window", seen)


def _slide(
    drawing: Drawing,
    trace: Trace,
    source: Panel,
    step: tuple[int, Index],
    meetings: tuple[Meeting, ...],
    places: dict[Index, tuple[int, int]],
) -> None:
    frame, cell = step
    geometry = trace.geometry
    for meeting in meetings:
        draw_cell(drawing, source, places[meeting.input], "input-on", frames=(frame, frame + 1))
    corner = tuple(
        o + before - span + 1
        for o, (before, _), span in zip(cell, geometry.crop, geometry.effective_kernel, strict=True)
    )
    _window(drawing, trace, source, corner, (frame, frame + 1))


def _result(
    drawing: Drawing, target: Panel, cell: Index, step: tuple[int, tuple[Meeting, ...]], values: Values | None
) -> None:
    frame, meetings = step
    text = show(sum(values.product(meeting) for meeting in meetings)) if values else str(len(meetings))
    draw_cell(drawing, target, plane(cell), "output", frames=(frame + 1, None))
    draw_cell(drawing, target, plane(cell), "output-on", frames=(frame, frame + 1))
    draw_label(drawing, target, plane(cell), text, "on-dark", frames=(frame, frame + 1))
    draw_label(drawing, target, plane(cell), text, "ink", frames=(frame + 1, None))


def _blink(drawing: Drawing, at: Panel, cell: tuple[int, int], text: str, frames: list[int], lit: str = "on-dark") -> None:
    """A label that is read on a lit cell in these frames, and on a plain one in all others."""
    start = 0
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and runs[-1][1] == frame:
            runs[-1] = (runs[-1][0], frame + 1)
        else:
            runs.append((frame, frame + 1))
    for first, last in runs:
        draw_label(drawing, at, cell, text, "ink", frames=(start, first))
        draw_label(drawing, at, cell, text, lit, frames=(first, last))
        start = last
    draw_label(drawing, at, cell, text, "ink", frames=(start, None))


def _flipped(tap: Index, trace: Trace) -> tuple[int, int]:
    return plane(tuple(k - 1 - j for j, k in zip(tap, trace.geometry.kernel, strict=True)))


def _extent(size: tuple[int, ...]) -> tuple[int, int]:
    return (1, size[0]) if len(size) == 1 else (size[0], size[1])


def _after(index: Index) -> tuple[int, int]:
    row, column = plane(index)
    return row + 1, column + 1


def _busiest(sums: dict[Index, tuple[Meeting, ...]]) -> int:
    """A frame near the middle where much meets: the one to show where nothing moves."""
    counts = [len(meetings) for meetings in sums.values()]
    middle = len(counts) // 2
    return max(range(len(counts)), key=lambda frame: (counts[frame], -abs(frame - middle)))


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


def _sentence(cell: Index, meetings: tuple[Meeting, ...], values: Values | None) -> str:
    left = f"output [{show_index(cell)}] = "
    if not meetings:
        return left + "0: no input reaches it"
    if len(meetings) > 4:
        return left + f"the sum of {len(meetings)} products"
    if values:
        return left + " + ".join(f"{show(values.at_x(m.input))}·{show(values.at_w(m.tap))}" for m in meetings)
    return left + " + ".join(f"x[{show_index(m.input)}]·w[{show_index(m.tap)}]" for m in meetings)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _each(size: tuple[int, ...]) -> str:
    return str(size[0]) if len(set(size)) == 1 else times(size)
