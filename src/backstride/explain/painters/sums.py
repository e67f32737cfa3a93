"""Output cells as they fill, on one axis or two: sums that grow, and results that come whole."""

from __future__ import annotations

from itertools import product

from backstride.explain.drawing import Drawing, Rect, Text, text_width
from backstride.explain.painters.stage import CAPTION, Panel, draw_cell, draw_label, plane
from backstride.explain.palette import heat
from backstride.explain.trace import Index, Meeting, Trace
from backstride.explain.values import Values, show

SWATCH = 14


def added_up(drawing: Drawing, trace: Trace, full: Panel, values: Values | None) -> None:
    """What has been added up in each cell of the full output, as the stamps come down."""
    arrivals: dict[Index, list[Meeting]] = {}
    order = {cell: frame for frame, cell in enumerate(product(*trace.window.input))}
    for meeting in trace.meetings:
        if not full.has(plane(meeting.full)):
            continue
        arrivals.setdefault(meeting.full, []).append(meeting)
    most = max(map(len, arrivals.values()))
    for place, meetings in arrivals.items():
        # What input cells that are not drawn have added stands there from the beginning.
        meetings.sort(key=lambda meeting: order.get(meeting.input, -1))
        frames = [order.get(meeting.input, 0) for meeting in meetings]
        total: int | float = 0
        for count, (meeting, frame) in enumerate(zip(meetings, frames, strict=True), 1):
            total += values.product(meeting) if values else 1
            seen = (frame, frames[count] if count < len(frames) else drawing.frames)
            step = heat(count, most)
            if meeting.output is not None:
                draw_cell(drawing, full, plane(place), f"sum{step}", frames=seen)
            style = "faint" if meeting.output is None else f"on-sum{step}"
            draw_label(drawing, full, plane(place), show(total), style, frames=seen)
    _legend(drawing, full, most)


def _legend(drawing: Drawing, at: Panel, most: int) -> None:
    """The shades below a panel: how many products a cell is the sum of."""
    if most == 1:
        return
    steps = {heat(count, most): count for count in range(most, 0, -1)}
    x, y = at.x, at.y + at.height + 16
    for step, count in sorted(steps.items(), key=lambda entry: entry[1]):
        drawing.add(Rect(x, y, SWATCH, SWATCH, f"sum{step}"))
        drawing.add(Text(x + SWATCH + 5, y + SWATCH / 2, str(count), "soft", CAPTION, "start"))
        x += SWATCH + 10 + text_width(str(count), CAPTION) + 6
    drawing.add(Text(x, y + SWATCH / 2, "products summed", "soft", CAPTION, "start"))


def finished(
    drawing: Drawing, target: Panel, place: tuple[int, int], text: str, frame: int
) -> None:
    """Fill one output cell in its frame, and keep it filled."""
    draw_cell(drawing, target, place, "output", frames=(frame + 1, None))
    draw_cell(drawing, target, place, "output-on", frames=(frame, frame + 1))
    draw_label(drawing, target, place, text, "on-dark", frames=(frame, frame + 1))
    draw_label(drawing, target, place, text, "ink", frames=(frame + 1, None))
