"""One trace of a call as plain data.

Which input cell meets which tap in which output cell, in which order. Every picture, page and test
of this room reads the trace; none of them works out a crop of its own. The order is that of the
scatter: input cells row by row, and for each its taps row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from backstride.explain.window import LARGEST_TRACE, DrawnCells, everything
from backstride.geometry import Geometry

Index = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """`y_full[full] += x[input] * w[tap]`.

    `output` is `full` without the crop, None where it is cut off.
    """

    input: Index
    tap: Index
    full: Index
    output: Index | None


@dataclass(frozen=True, slots=True)
class Trace:
    """All meetings of a call, cropped ones too.

    Of a window: whatever its input cells stamp, and whatever is added up in its cells of the full
    output.

    >>> from backstride.geometry import geometry
    >>> found = trace(geometry(2, 2, strides=3, padding=[(1, 0)]))
    >>> [(meeting.input, meeting.tap, meeting.output) for meeting in found.meetings]
    [((0,), (0,), None), ((0,), (1,), (0,)), ((1,), (0,), (2,)), ((1,), (1,), (3,))]
    """

    geometry: Geometry
    meetings: tuple[Meeting, ...]
    window: DrawnCells

    def by_input(self) -> dict[Index, tuple[Meeting, ...]]:
        """Scatter: what each input cell stamps."""
        return _grouped(
            product(*self.window.input), ((meeting.input, meeting) for meeting in self.meetings)
        )

    def by_output(self) -> dict[Index, tuple[Meeting, ...]]:
        """Gather: what each output cell is the sum of."""
        kept = (
            (meeting.output, meeting) for meeting in self.meetings if meeting.output is not None
        )
        return _grouped(product(*self.window.output), kept)

    def as_data(self) -> dict[str, object]:
        """The trace for JSON.

        Sizes, and [input, tap, output] triples of flat indices, output None where cropped.
        `reached`, where not all meetings are there: how many output cells each drawn tap reaches,
        [tap, cells].
        """
        geometry = self.geometry
        data: dict[str, object] = {
            "input": geometry.input,
            "kernel": geometry.kernel,
            "strides": geometry.strides,
            "dilation": geometry.dilation,
            "crop": geometry.crop,
            "full": geometry.full,
            "output": geometry.output,
            "meetings": [
                (
                    flat(meeting.input, geometry.input),
                    flat(meeting.tap, geometry.kernel),
                    None if meeting.output is None else flat(meeting.output, geometry.output),
                )
                for meeting in self.meetings
            ],
        }
        if not self.window.whole:
            data["reached"] = [
                (flat(tap, geometry.kernel), reached(geometry, tap))
                for tap in product(*self.window.kernel)
            ]
        return data


def reached(geometry: Geometry, tap: Index) -> int:
    """How many output cells a tap reaches."""
    ranges = (geometry.tap_range(axis, position) for axis, position in enumerate(tap))
    return math.prod(stop - first for first, stop, _ in ranges)


def trace(geometry: Geometry, window: DrawnCells | None = None) -> Trace:
    """Walk through a call, or through what meets in a window of it, in scatter order.

    Args:
        geometry: The call's integers.
        window: The part of it to walk through; None for the whole call.

    Returns:
        All meetings of an input cell with a tap, cropped ones too.

    Raises:
        ValueError: Where a whole call has more than 65536 (input cell, tap) pairs or output cells.
    """
    if window is not None and not window.whole:
        return Trace(geometry, tuple(_partly(geometry, window)), window)
    count = math.prod(geometry.input) * math.prod(geometry.kernel)
    largest = max(count, math.prod(geometry.output), math.prod(geometry.full))
    if largest > LARGEST_TRACE:
        message = (
            f"`input` (={geometry.input}) and `kernel` (={geometry.kernel}) have {largest} "
            f"meetings or cells; at most {LARGEST_TRACE} can be traced; --json gives the "
            "explanation without a trace"
        )
        raise ValueError(message)
    pairs = product(cells(geometry.input), cells(geometry.kernel))
    return Trace(geometry, tuple(meetings(geometry, pairs)), everything(geometry))


def _partly(geometry: Geometry, window: DrawnCells) -> Iterator[Meeting]:
    """The meetings of the drawn input cells, and those of the drawn cells of the full output."""
    stamped = set(product(product(*window.input), cells(geometry.kernel)))
    ends = [
        [
            (cell, tap)
            for tap in range(k)
            for place in places
            if (place - tap * d) % s == 0 and 0 <= (cell := (place - tap * d) // s) < size
        ]
        for places, size, k, s, d in zip(
            window.full,
            geometry.input,
            geometry.kernel,
            geometry.strides,
            geometry.dilation,
            strict=True,
        )
    ]
    summed = {
        (tuple(cell), tuple(tap))
        for cell, tap in (zip(*pairs, strict=True) for pairs in product(*ends))
    }
    return meetings(geometry, sorted(stamped | summed))


def meetings(geometry: Geometry, pairs: Iterable[tuple[Index, Index]]) -> Iterator[Meeting]:
    """Where these input cells and taps meet."""
    for cell, tap in pairs:
        full = tuple(
            m * s + j * d
            for m, s, j, d in zip(cell, geometry.strides, tap, geometry.dilation, strict=True)
        )
        place = tuple(q - before for q, (before, _) in zip(full, geometry.crop, strict=True))
        inside = all(
            0 <= position < size for position, size in zip(place, geometry.output, strict=True)
        )
        yield Meeting(cell, tap, full, place if inside else None)


def cells(size: tuple[int, ...]) -> Iterator[Index]:
    """All cells of a map, row by row."""
    return product(*map(range, size))


def flat(index: Index, size: tuple[int, ...]) -> int:
    """The position of a cell in row-by-row order."""
    position = 0
    for entry, length in zip(index, size, strict=True):
        position = position * length + entry
    return position


def _grouped(
    keys: Iterator[Index], pairs: Iterator[tuple[Index, Meeting]]
) -> dict[Index, tuple[Meeting, ...]]:
    groups: dict[Index, list[Meeting]] = {key: [] for key in keys}
    for key, meeting in pairs:
        if key in groups:
            groups[key].append(meeting)
    return {key: tuple(meetings) for key, meetings in groups.items()}
