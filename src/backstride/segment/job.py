"""Picture in, overlay out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backstride.files import check_file, write_beside
from backstride.segment.network import load_network
from backstride.segment.picture import as_input, overlay, read_picture
from backstride.segment.tiles import Progress, Scores, check_tile, labels, largest_tile

IN_LEGEND = 12


@dataclass(frozen=True, slots=True)
class Found:
    """One class in the picture. `share`: of its pixels, 0 to 1."""

    label: int
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What was found, most common first. `size`: (rows, columns). `tile`: the tiles' side, None if none were needed."""

    size: tuple[int, int]
    tile: int | None
    found: tuple[Found, ...]


def segment(
    network: Path,
    photo: Path,
    output: Path,
    *,
    head: str | int | None = None,
    names: Path | None = None,
    tile: int | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    scale: float = 1 / 255,
    opacity: float = 0.5,
    progress: Progress | None = None,
) -> Segmentation:
    """Label every pixel of a picture and write it with the labels' colours and a legend, as a PNG.

    `network`: an .onnx or .keras file, as `backstride transpose` writes it. `head`: which of its results has the
    scores, where there are several: a name or position. `names`: a text file, a class a line, as many as the network
    has. `tile`: side of the tiles in pixels; None takes the whole picture where memory allows. `mean`, `std`, `scale`:
    the network gets `(pixel * scale - mean) / std`, pixels from 0 to 255. `opacity`: of the colours. Labels of a tiled
    picture are those of the whole one.

    Raises `ValueError` for files that are no network or picture and for tiles that are too small.
    """
    check_file("output", output, endings=(".png",), inputs={"network": network, "photo": photo, "names": names})
    if not 0 <= opacity <= 1:
        message = f"`opacity` (={opacity}) must be from 0 to 1"
        raise ValueError(message)
    pixels = read_picture(photo)
    called = _names(names)
    loaded = load_network(network, head)
    image = as_input(pixels, loaded.channels, mean, std, scale)
    rows, columns = pixels.shape[:2]
    side = largest_tile((rows, columns), loaded.known) if tile is None else check_tile(tile, loaded.known)
    run = loaded.run if names is None else _counted(loaded.run, names, len(called))
    map_of_labels = labels(run, image, loaded.known, side, progress)
    kinds, counts = np.unique(map_of_labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    found = tuple(
        Found(kind, called.get(kind, str(kind)), count / map_of_labels.size)
        for kind, count in ((int(kinds[at]), int(counts[at])) for at in order)
    )
    legend = [(entry.label, f"{entry.name}: {entry.share:.0%}") for entry in found[:IN_LEGEND]]
    write_beside(output, overlay(pixels, map_of_labels, legend, opacity))
    return Segmentation((rows, columns), side if side < max(rows, columns) else None, found)


def _counted(run: Scores, path: Path, count: int) -> Scores:
    """The network, which refuses names that are not one for each of its classes."""

    def counted(images: NDArray[Any]) -> NDArray[Any]:
        scores = run(images)
        if scores.ndim > 1 and scores.shape[1] != count:
            message = f"`names` (={str(path)!r}) has {count} names; give one for each of the {scores.shape[1]} classes"
            raise ValueError(message)
        return scores

    return counted


def _names(path: Path | None) -> dict[int, str]:
    if path is None:
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        message = f"`names` (={str(path)!r}) is no text file; it has the name of a class in each line"
        raise ValueError(message) from None
    while lines and not lines[-1].strip():
        del lines[-1]
    return {entry: line.strip()[:40] or str(entry) for entry, line in enumerate(lines[:65536])}
