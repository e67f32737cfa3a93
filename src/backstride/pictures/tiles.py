"""A picture of any size through a network, whole or in tiles that overlap.

A tile starts at a multiple of the network's stride, so that its coarse cells are those of the whole
picture; of each tile only the pixels are kept that see nothing beyond its border.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from backstride.layout import AnyArray
from backstride.surgery.decoding.influence import Influence

Part: TypeAlias = Callable[[AnyArray], AnyArray]
Progress: TypeAlias = Callable[[int, int], None]
SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a tile.

    It reads the pixels from `start` to `end` and gives those from `first` to `last`.
    """

    start: int
    end: int
    first: int
    last: int


def spans(size: int, tile: int, known: Influence, native: int) -> list[Span]:
    """The tiles along one axis; a single one where the picture fits.

    >>> spans(100, 64, Influence((8, 8), 8, 16, 1), 8)
    [Span(start=0, end=64, first=0, last=48), Span(start=32, end=100, first=48, last=100)]
    """
    if size <= tile:
        return [Span(0, size, 0, size)]
    step = tile - 2 * known.margin
    found: list[Span] = []
    start = 0
    furthest = (
        (size - max(tile, native)) // known.stride * known.stride
    )  # where a last tile may start
    while start < furthest:
        last = start + tile - known.margin
        found.append(Span(start, start + tile, found[-1].last if found else 0, last))
        start += step
    start = min(start, furthest)
    found.append(Span(start, size, found[-1].last if found else 0, size))
    return found


def check_tile(tile: int, known: Influence) -> int:
    """The nearest tile that the stride divides.

    Raises `ValueError` where it is too small to give any pixel.
    """
    least = max(2 * known.margin + known.stride, *known.native)
    least = -(-least // known.stride) * known.stride
    if tile < least:
        message = (
            f"`tile` (={tile}) must be at least {least}: this network's labels look {known.margin} "
            "pixels far"
        )
        raise ValueError(message)
    return tile // known.stride * known.stride


def assemble(
    part: Part,
    image: AnyArray,
    found: AnyArray,
    known: Influence,
    tile: int,
    *,
    progress: Progress | None = None,
) -> None:
    """Fill `found`, (..., H, W), tile by tile.

    `part`: pixels (..., h, w) to their results (..., h, w). Pictures below the native size are
    extended by copies of their border first.
    """
    rows, columns = image.shape[-2:]
    image = extended(image, known)
    places = tiles((image.shape[-2], image.shape[-1]), tile, known)
    for done, (row, column) in enumerate(places):
        made = part(image[..., row.start : row.end, column.start : column.end])
        last = min(row.last, rows), min(column.last, columns)
        kept = made[
            ...,
            row.first - row.start : last[0] - row.start,
            column.first - column.start : last[1] - column.start,
        ]
        found[..., row.first : last[0], column.first : last[1]] = kept
        if progress is not None:
            progress(done + 1, len(places))


def free_memory() -> int:
    """Bytes that this machine has left."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def tile_for(
    size: tuple[int, int], known: Influence, tile: int | None = None, free: int | None = None
) -> int:
    """The tile asked for, as `check_tile` takes it; for None the largest that memory allows.

    That is at least the picture's side where it fits. `free`: bytes, by default those that this
    machine has.
    """
    if tile is not None:
        return check_tile(tile, known)
    pixels = (free_memory() if free is None else free) * SHARE_OF_MEMORY / (4 * known.floats)
    if size[0] * size[1] <= pixels:
        return max(size)
    least = max(2 * known.margin + known.stride, *known.native)
    return check_tile(max(math.isqrt(int(pixels)), -(-least // known.stride) * known.stride), known)


def extended(image: AnyArray, known: Influence) -> AnyArray:
    """A picture (..., H, W) below the native size, extended by copies of its border.

    Others as they are.
    """
    short = [
        max(0, least - have) for have, least in zip(image.shape[-2:], known.native, strict=True)
    ]
    if not any(short):
        return image
    return np.pad(image, (*[(0, 0)] * (image.ndim - 2), (0, short[0]), (0, short[1])), mode="edge")


def tiles(size: tuple[int, int], tile: int, known: Influence) -> list[tuple[Span, Span]]:
    """The tiles of a picture, row by row."""
    columns = spans(size[1], tile, known, known.native[1])
    return [
        (row, column) for row in spans(size[0], tile, known, known.native[0]) for column in columns
    ]
