"""Which cells of a layer are drawn: all of a small one, of a larger one its front and its back.

The one rule that every view, the trace and the page go by. At the front stand the crop and the
first of the regular interior, at the back `output_padding` and the odd cells; in between everything
repeats with the stride.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from backstride.geometry import Geometry

Positions = tuple[int, ...]

LARGEST_SIDE = 32  # cells a side of a layer that is drawn whole
LARGEST_TRACE = 65536  # meetings
LONGEST, SHORTEST = 16, 2  # output cells at each end of a longer axis
DEEP, FLAT = 2, 3  # the same where three axes are drawn, planes below each other
DEEPEST = 6  # cells a side of three axes that are drawn whole
MOST_CUT = 8  # cropped cells at each end


@dataclass(frozen=True, slots=True)
class DrawnCells:
    """The cells of each axis that are drawn, in ascending order.

    `full`: of the output before the crop, and the zeros that a negative crop appends. `stretched`:
    the same cells with all that the kernel reads for them, where it lies on the input with zeros
    between its cells. `padded`: what the convolution's windows read, by output cell.
    """

    whole: bool
    input: tuple[Positions, ...]
    kernel: tuple[Positions, ...]
    output: tuple[Positions, ...]
    full: tuple[Positions, ...]
    stretched: tuple[Positions, ...]
    padded: tuple[Positions, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis' integers, and all cells of each kind."""

    input: int
    kernel: int
    stride: int
    dilation: int
    before: int
    output: int
    span: int
    full: range
    stretched: range
    padded: range


def window(geometry: Geometry) -> DrawnCells:
    """The cells to draw.

    >>> from backstride.geometry import geometry
    >>> window(geometry(4, 4, strides=2, padding=1)).whole
    True
    >>> found = window(geometry(64, 4, strides=2, padding=1))
    >>> show(found.output[0]), show(found.input[0])
    ('0 to 7 and 120 to 127', '0 to 4 and 59 to 63')

    Raises `ValueError` where the kernel has so many taps that the few cells of a window take more
    than 65536 products.
    """
    axes = list(_axes(geometry))
    if _small(geometry, axes):
        return _whole(axes)
    most = [LONGEST] * len(axes) if len(axes) < 3 else [DEEP, FLAT, FLAT]
    wanted = [
        min(max(axis.span + axis.stride, 8), limit) for axis, limit in zip(axes, most, strict=True)
    ]
    for size in range(max(wanted), SHORTEST - 1, -1):
        ends = [_ends(axis, min(size, limit)) for axis, limit in zip(axes, wanted, strict=True)]
        found = DrawnCells(False, *(tuple(side) for side in zip(*ends, strict=True)))
        if len(axes) == 3:  # planes of zeros alone say nothing
            planes = tuple(cell * axes[0].stride for cell in found.input[0])
            found = replace(found, stretched=(planes, *found.stretched[1:]))
        if (
            max(map(len, found.kernel)) <= LARGEST_SIDE
            and _meetings(geometry, found) <= LARGEST_TRACE
        ):
            return found
    message = (
        f"`kernel` (={geometry.kernel}) has {math.prod(geometry.kernel)} taps, too many to draw "
        f"what a cell is the sum of: at most {LARGEST_TRACE} products; give a smaller kernel, or "
        "--json for the explanation as data"
    )
    raise ValueError(message)


def everything(geometry: Geometry) -> DrawnCells:
    """All cells, whatever they are."""
    return _whole(list(_axes(geometry)))


def pieces(positions: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of cells that follow on each other.

    >>> list(pieces((0, 1, 2, 9)))
    [(0, 2), (9, 9)]
    """
    ordered = list(positions)
    starts = [at for at, cell in enumerate(ordered) if not at or ordered[at - 1] != cell - 1]
    for first, stop in zip(starts, [*starts[1:], len(ordered)], strict=True):
        yield ordered[first], ordered[stop - 1]


def show(positions: Iterable[int]) -> str:
    """Cells in words: 0 to 7 and 120 to 127."""
    return " and ".join(f"{a} to {b}" if a != b else str(a) for a, b in pieces(positions))


def both_ends(size: int, most: int) -> Positions:
    """At most so many of `size`, from the front and from the back.

    >>> both_ends(4, 5), both_ends(64, 5)
    ((0, 1, 2, 3), (0, 1, 2, 62, 63))
    """
    if size <= most:
        return tuple(range(size))
    return (*range(most - most // 2), *range(size - most // 2, size))


def _axes(geometry: Geometry) -> Iterator[_Axis]:
    rows = zip(
        geometry.input,
        geometry.kernel,
        geometry.strides,
        geometry.dilation,
        geometry.crop,
        strict=True,
    )
    for axis, (i, k, s, d, (before, after)) in enumerate(rows):
        o, full, span = geometry.output[axis], geometry.full[axis], geometry.effective_kernel[axis]
        yield _Axis(
            i,
            k,
            s,
            d,
            before,
            o,
            span,
            range(min(0, before), max(full, full - after)),
            range(min(0, before - span + 1), max((i - 1) * s, before + o - 1) + 1),
            range(min(0, -before), max(o, full - before)),
        )


def _small(geometry: Geometry, axes: list[_Axis]) -> bool:
    sides = (
        side for axis in axes for side in (axis.input, axis.kernel, axis.output, len(axis.full))
    )
    if max(sides) > (LARGEST_SIDE if len(axes) < 3 else DEEPEST):
        return False
    return math.prod(geometry.input) * math.prod(geometry.kernel) <= LARGEST_TRACE


def _whole(axes: list[_Axis]) -> DrawnCells:
    def each(name: str) -> tuple[Positions, ...]:
        return tuple(tuple(getattr(axis, name)) for axis in axes)

    def counted(name: str) -> tuple[Positions, ...]:
        return tuple(tuple(range(getattr(axis, name))) for axis in axes)

    sizes = (counted(name) for name in ("input", "kernel", "output"))
    return DrawnCells(True, *sizes, *(each(name) for name in ("full", "stretched", "padded")))


def _ends(axis: _Axis, size: int) -> tuple[Positions, ...]:
    """One axis, with so many output cells at each end: the fields of a window, in their order."""
    before, o = axis.before, axis.output
    outputs = [range(min(size, o)), range(max(o - size, 0), o)]
    read, full, stretched, padded = (set[int]() for _ in range(4))
    for front, cells in zip((True, False), outputs, strict=True):
        low, high = cells[0] + before, cells[-1] + before
        met = range(
            max(-((axis.span - 1 - low) // axis.stride), 0),
            min(high // axis.stride, axis.input - 1) + 1,
        )
        met = (met[: 2 * size] if front else met[-2 * size :]) or range(
            0 if front else axis.input - 1, axis.input
        )[:1]
        read |= set(met)
        cut = min(size, MOST_CUT)
        reach = size + cut
        around = (low - cut, high) if front else (low, high + cut)
        full |= _within(axis.full, *around)
        # Of a wide kernel, the part that lies nearest to the last cell of the front, and to the
        # first of the back.
        stretched |= _within(axis.stretched, max(low - axis.span + 1, high - 2 * reach), high)
        stretched |= {cell * axis.stride for cell in met}
        begin, end = met[0] * axis.stride - before, met[-1] * axis.stride - before + axis.span - 1
        if front:
            begin = max(min(begin, 0), -cut)
            padded |= _within(axis.padded, begin, min(max(end, cells[-1]), begin + 2 * reach))
        else:
            end = min(max(end, axis.padded[-1]), o - 1 + cut)
            padded |= _within(axis.padded, max(min(begin, cells[0]), end - 2 * reach), end)
    output = {cell for cells in outputs for cell in cells}
    kernel = range(axis.kernel) if axis.kernel <= LARGEST_SIDE else _taps(axis, read, output)
    return tuple(tuple(sorted(found)) for found in (read, kernel, output, full, stretched, padded))


def _within(known: range, first: int, last: int) -> set[int]:
    return set(range(max(known.start, first), min(known.stop, last + 1)))


def _taps(axis: _Axis, read: set[int], output: set[int]) -> set[int]:
    """The taps by which these cells meet."""
    gaps = (place + axis.before - cell * axis.stride for cell, place in product(read, output))
    return {
        gap // axis.dilation for gap in gaps if 0 <= gap < axis.span and not gap % axis.dilation
    }


def _meetings(geometry: Geometry, found: DrawnCells) -> int:
    """The most meetings that these input cells, and these cells of the full output, can have."""
    reach = (-(-k // s) for k, s in zip(geometry.kernel, geometry.strides, strict=True))
    stamped = math.prod(
        len(cells) * k for cells, k in zip(found.input, geometry.kernel, strict=True)
    )
    summed = math.prod(len(cells) * taps for cells, taps in zip(found.full, reach, strict=True))
    return max(stamped, summed)
