"""One trace of a call as plain data: which input cell meets which tap in which output cell, in which order.

Every picture, page and test of this room reads the trace; none of them works out a crop of its own.
The order is that of the scatter: input cells row by row, and for each its taps row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from backstride.geometry import Geometry

Index = tuple[int, ...]

LARGEST_TRACE = 65536


@dataclass(frozen=True, slots=True)
class Meeting:
    """`y_full[full] += x[input] * w[tap]`; `output` is `full` without the crop, None where it is cut off."""

    input: Index
    tap: Index
    full: Index
    output: Index | None


@dataclass(frozen=True, slots=True)
class Trace:
    """All meetings of a call, cropped ones too.

    >>> from backstride.geometry import geometry
    >>> found = trace(geometry(2, 2, strides=3, padding=[(1, 0)]))
    >>> [(meeting.input, meeting.tap, meeting.output) for meeting in found.meetings]
    [((0,), (0,), None), ((0,), (1,), (0,)), ((1,), (0,), (2,)), ((1,), (1,), (3,))]
    """

    geometry: Geometry
    meetings: tuple[Meeting, ...]

    def by_input(self) -> dict[Index, tuple[Meeting, ...]]:
        """Scatter: what each input cell stamps."""
        return _grouped(cells(self.geometry.input), ((meeting.input, meeting) for meeting in self.meetings))

    def by_output(self) -> dict[Index, tuple[Meeting, ...]]:
        """Gather: what each output cell is the sum of."""
        kept = ((meeting.output, meeting) for meeting in self.meetings if meeting.output is not None)
        return _grouped(cells(self.geometry.output), kept)

    def as_data(self) -> dict[str, object]:
        """The trace for JSON: sizes, and [input, tap, output] triples of flat indices, output None where cropped."""
        geometry = self.geometry
        return {
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


def trace(geometry: Geometry) -> Trace:
    """Walk through a call in scatter order.

    Raises `ValueError` where more than 65536 (input cell, tap) pairs or output cells would be met.
    """
    pairs = math.prod(geometry.input) * math.prod(geometry.kernel)
    largest = max(pairs, math.prod(geometry.output), math.prod(geometry.full))
    if largest > LARGEST_TRACE:
        message = (
            f"`input` (={geometry.input}) and `kernel` (={geometry.kernel}) have {largest} meetings or cells; at most "
            f"{LARGEST_TRACE} can be traced; --json gives the explanation without a trace"
        )
        raise ValueError(message)
    return Trace(geometry, tuple(_meetings(geometry)))


def _meetings(geometry: Geometry) -> Iterator[Meeting]:
    for cell in cells(geometry.input):
        for tap in cells(geometry.kernel):
            full = tuple(
                m * s + j * d for m, s, j, d in zip(cell, geometry.strides, tap, geometry.dilation, strict=True)
            )
            place = tuple(q - before for q, (before, _) in zip(full, geometry.crop, strict=True))
            inside = all(0 <= position < size for position, size in zip(place, geometry.output, strict=True))
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


def _grouped(keys: Iterator[Index], pairs: Iterator[tuple[Index, Meeting]]) -> dict[Index, tuple[Meeting, ...]]:
    groups: dict[Index, list[Meeting]] = {key: [] for key in keys}
    for key, meeting in pairs:
        groups[key].append(meeting)
    return {key: tuple(meetings) for key, meetings in groups.items()}
