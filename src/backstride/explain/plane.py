"""What the views of a plane share: the kernel lying on a map, results, labels on cells that light up."""

from __future__ import annotations

from backstride.explain.drawing import Drawing
from backstride.explain.stage import (
    Panel,
    draw_label,
    outline,
    plane,
    times,
)
from backstride.explain.sums import finished
from backstride.explain.trace import Index, Meeting, Trace, cells
from backstride.explain.values import Values, show


def window(drawing: Drawing, trace: Trace, at: Panel, corner: Index, seen: tuple[int, int]) -> None:
    """The kernel lying on a map: one outline, or one for each tap where dilation spreads them."""
    geometry = trace.geometry
    if all(d == 1 or k == 1 for d, k in zip(geometry.dilation, geometry.kernel, strict=True)):
        outline(drawing, at, (plane(corner), extent(geometry.kernel)), "window", frames=seen)
        return
    for tap in cells(geometry.kernel):
        place = tuple(q + j * d for q, j, d in zip(corner, tap, geometry.dilation, strict=True))
        outline(drawing, at, (plane(place), (1, 1)), "window", frames=seen)


def result(
    drawing: Drawing, target: Panel, cell: Index, step: tuple[int, tuple[Meeting, ...]], values: Values | None
) -> None:
    """Fill one output cell in its frame, and keep it filled."""
    frame, meetings = step
    text = show(sum(values.product(meeting) for meeting in meetings)) if values else str(len(meetings))
    finished(drawing, target, plane(cell), text, frame)


def blink(
    drawing: Drawing, at: Panel, cell: tuple[int, int], text: str, *, frames: list[int], lit: str = "on-dark"
) -> None:
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


def extent(size: tuple[int, ...]) -> tuple[int, int]:
    """A size of one or two axes as (rows, columns)."""
    return (1, size[0]) if len(size) == 1 else (size[0], size[1])


def after(index: Index) -> tuple[int, int]:
    """The cell diagonally below one."""
    row, column = plane(index)
    return row + 1, column + 1


def each(size: tuple[int, ...]) -> str:
    """A size in words, once where all axes agree."""
    return str(size[0]) if len(set(size)) == 1 else times(size)


def counted(count: int, noun: str) -> str:
    """1 product, 2 products."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def busiest(sums: dict[Index, tuple[Meeting, ...]]) -> int:
    """A frame near the middle where much meets: the one to show where nothing moves."""
    counts = [len(meetings) for meetings in sums.values()]
    middle = len(counts) // 2
    return max(range(len(counts)), key=lambda frame: (counts[frame], -abs(frame - middle)))
