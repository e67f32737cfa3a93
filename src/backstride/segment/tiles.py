"""A picture of any size through a network, whole or in tiles that overlap.

A tile starts at a multiple of the network's stride, so that its coarse cells are those of the whole
picture; of each tile only the pixels are kept that see nothing beyond its border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backstride.surgery.influence import Influence

Scores: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of a tile: it reads the pixels from `start` to `end` and gives those from `first` to `last`."""

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
    furthest = (size - max(tile, native)) // known.stride * known.stride  # where a last tile may start
    while start < furthest:
        last = start + tile - known.margin
        found.append(Span(start, start + tile, found[-1].last if found else 0, last))
        start += step
    start = min(start, furthest)
    found.append(Span(start, size, found[-1].last if found else 0, size))
    return found


def check_tile(tile: int, known: Influence) -> int:
    """The nearest tile that the stride divides; raises `ValueError` where it is too small to give any pixel."""
    least = max(2 * known.margin + known.stride, *known.native)
    least = -(-least // known.stride) * known.stride
    if tile < least:
        message = f"`tile` (={tile}) must be at least {least}: this network's labels look {known.margin} pixels far"
        raise ValueError(message)
    return tile // known.stride * known.stride


def labels(
    run: Scores, image: NDArray[Any], known: Influence, tile: int, progress: Progress | None = None
) -> NDArray[np.uint16]:
    """The best class of every pixel, (H, W). `run`: (1, C, h, w) to (1, classes, h, w). `image`: (C, H, W).

    Pictures below the native size are extended by copies of their border first.
    """
    rows, columns = image.shape[1:]
    short = [max(0, least - have) for have, least in zip((rows, columns), known.native, strict=True)]
    padded = np.pad(image, ((0, 0), (0, short[0]), (0, short[1])), mode="edge")
    found = np.empty(padded.shape[1:], np.uint16)
    tiles = list(_tiles((padded.shape[1], padded.shape[2]), tile, known))
    for done, (row, column) in enumerate(tiles):
        scores = run(padded[None, :, row.start : row.end, column.start : column.end])
        _check_scores(scores, (row.end - row.start, column.end - column.start))
        kept = scores[0, :, row.first - row.start : row.last - row.start]
        kept = kept[:, :, column.first - column.start : column.last - column.start]
        found[row.first : row.last, column.first : column.last] = kept.argmax(axis=0)
        if progress is not None:
            progress(done + 1, len(tiles))
    return found[:rows, :columns]


def _tiles(size: tuple[int, int], tile: int, known: Influence) -> Iterator[tuple[Span, Span]]:
    for row in spans(size[0], tile, known, known.native[0]):
        for column in spans(size[1], tile, known, known.native[1]):
            yield row, column


def _check_scores(scores: NDArray[Any], size: tuple[int, int]) -> None:
    if scores.ndim != 4 or scores.shape[2:] != size or not 1 <= scores.shape[1] <= 65535:
        shown = " x ".join(map(str, scores.shape[1:]))
        message = (
            f"`network` gives {shown} scores for an image of {size[0]} x {size[1]}, not scores for every pixel; "
            "make one with backstride transpose"
        )
        raise ValueError(message)
