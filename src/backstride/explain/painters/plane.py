"""What the views of a plane share.

The kernel lying on a map, results, labels on cells that light up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from backstride.explain.drawing import Drawing
from backstride.explain.painters.stage import (
    Panel,
    caption,
    draw_label,
    note,
    number,
    outline,
    plane,
    times,
)
from backstride.explain.painters.sums import finished
from backstride.explain.trace import Index, Meeting, Trace
from backstride.explain.values import Values, show
from backstride.explain.window import Positions
from backstride.explain.window import show as show_cells


def lying(drawing: Drawing, trace: Trace, at: Panel, corner: Index, seen: tuple[int, int]) -> None:
    """The kernel lying on a map: one outline, or one for each tap where dilation spreads them."""
    geometry = trace.geometry
    if all(d == 1 or k == 1 for d, k in zip(geometry.dilation, geometry.kernel, strict=True)):
        outline(drawing, at, corner, geometry.kernel, "window", frames=seen)
        return
    ones = (1,) * len(corner)
    for tap in product(*trace.window.kernel):
        place = tuple(q + j * d for q, j, d in zip(corner, tap, geometry.dilation, strict=True))
        outline(drawing, at, place, ones, "window", frames=seen)


def numbered(trace: Trace) -> bool:
    """Whether the indices of cells stand beside the panels."""
    return not trace.window.whole or len(trace.geometry.input) == 3


def name(
    drawing: Drawing,
    trace: Trace,
    at: Panel,
    text: str,
    cells: Iterable[tuple[Index, Index]],
    *,
    frames: tuple[int, int | None] = (0, None),
) -> None:
    """Name a panel, and its cells where they do not begin at 0 or break off.

    (index, where it stands).
    """
    if numbered(trace):
        number(drawing, at, cells)
        caption(drawing, at, text, frames=frames, above=28)
    else:
        caption(drawing, at, text, frames=frames)


def themselves(axes: tuple[Positions, ...]) -> Iterable[tuple[Index, Index]]:
    """Cells that stand where their indices say."""
    return ((index, index) for index in product(*axes))


def cropped(trace: Trace) -> Iterable[tuple[Index, Index]]:
    """Output cells, and where they stand in the full output."""
    for place in product(*trace.window.full):
        index = tuple(q - before for q, (before, _) in zip(place, trace.geometry.crop, strict=True))
        if all(
            0 <= position < size
            for position, size in zip(index, trace.geometry.output, strict=True)
        ):
            yield index, place


def left_out(drawing: Drawing, trace: Trace, *, forward: bool = False) -> None:
    """Say which cells are drawn, where not all are."""
    if trace.window.whole:
        return
    geometry, seen = trace.geometry, trace.window
    drawn, size = (seen.input, geometry.input) if forward else (seen.output, geometry.output)
    words = [f"{show_cells(cells)} of {length}" for cells, length in zip(drawn, size, strict=True)]
    if len(set(words)) > 1:
        names = ("planes", "rows", "columns")[-len(words) :]
        words = [f"{name} {said}" for name, said in zip(names, words, strict=True)]
        note(drawing, f"drawn: output {', '.join(words)}; what is left out goes on in the same way")
        return
    each = " of each axis" if len(words) > 1 else ""
    note(drawing, f"drawn: output cells {words[0]}{each}; what is left out goes on in the same way")


def result(
    drawing: Drawing,
    target: Panel,
    cell: Index,
    step: tuple[int, tuple[Meeting, ...]],
    values: Values | None,
) -> None:
    """Fill one output cell in its frame, and keep it filled."""
    frame, meetings = step
    text = (
        show(sum(values.product(meeting) for meeting in meetings)) if values else str(len(meetings))
    )
    finished(drawing, target, plane(cell), text, frame)


def blink(
    drawing: Drawing,
    at: Panel,
    cell: tuple[int, int],
    text: str,
    *,
    frames: list[int],
    lit: str = "on-dark",
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


def labels(
    drawing: Drawing,
    at: Panel,
    places: Mapping[Index, tuple[Index, str]],
    met: Iterable[set[Index]],
    lit: str = "on-dark",
) -> None:
    """Write into cells, each {index.

    (place, text)}, that light up in the frames in which they are met.
    """
    frames: dict[Index, list[int]] = {index: [] for index in places}
    for frame, found in enumerate(met):
        for index in found & places.keys():
            frames[index].append(frame)
    for index, (place, text) in places.items():
        blink(drawing, at, plane(place), text, frames=frames[index], lit=lit)


def extent(size: tuple[int, ...]) -> tuple[int, int]:
    """A size as (rows, columns), of three axes those of a plane."""
    return (1, size[0]) if len(size) == 1 else (size[-2], size[-1])


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
