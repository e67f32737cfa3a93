"""The label of every pixel.

The best class, tile by tile, so that no picture has all its scores at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from backstride.layout import AnyArray
from backstride.pictures.job import Results
from backstride.pictures.picture import Pixels
from backstride.pictures.tiles import Progress, assemble, tile_for
from backstride.segment.network import load_network
from backstride.segment.picture import as_input
from backstride.surgery.decoding.influence import Influence

Scores: TypeAlias = Callable[[AnyArray], AnyArray]


@dataclass(frozen=True, slots=True)
class Found:
    """One class in the picture. `share`: of its pixels, 0 to 1."""

    label: int
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Labelling:
    """How a network labels pictures: the options of `backstride.segment.segment`, by their names.

    Raises `ValueError` for an opacity that is not from 0 to 1.
    """

    network: Path
    head: str | int | None = None
    names: Path | None = None
    tile: int | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1 / 255
    opacity: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            message = f"`opacity` (={self.opacity}) must be from 0 to 1"
            raise ValueError(message)

    def called(self) -> dict[int, str]:
        """The names of the classes, where a file gives them; `ValueError` where it is no text."""
        if self.names is None:
            return {}
        try:
            lines = self.names.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            message = (
                f"`names` (={str(self.names)!r}) is no text file; it has the name of a class in "
                "each line"
            )
            raise ValueError(message) from None
        while lines and not lines[-1].strip():
            del lines[-1]
        return {entry: line.strip()[:40] or str(entry) for entry, line in enumerate(lines[:65536])}


class Labeller:
    """A labelling with its network loaded. `count`: how many names were given, if any."""

    def __init__(self, labelling: Labelling, count: int | None) -> None:
        loaded = load_network(labelling.network, labelling.head)
        self._labelling, self._channels, self._known = labelling, loaded.channels, loaded.known
        self._network = (
            loaded.run if count is None else _counted(loaded.run, labelling.names, count)
        )

    def tile(self, picture: Pixels) -> int:
        """The side of the tiles of a picture."""
        return tile_for((picture.shape[0], picture.shape[1]), self._known, self._labelling.tile)

    def __call__(self, picture: Pixels, tile: int, progress: Progress | None = None) -> Results:
        """The labels (H, W) of a picture (H, W, 3)."""
        return labels(self._run, picture.transpose(2, 0, 1), self._known, tile, progress)

    def _run(self, tiles: AnyArray) -> AnyArray:
        """Scores of a tile (1, 3, h, w), of which alone there are numbers of four bytes."""
        options = self._labelling
        image = as_input(
            tiles[0].transpose(1, 2, 0), self._channels, options.mean, options.std, options.scale
        )
        return self._network(image[None])


def labels(
    run: Scores, image: AnyArray, known: Influence, tile: int, progress: Progress | None = None
) -> Results:
    """The best class of every pixel, (H, W).

    `run`: (1, C, h, w) to (1, classes, h, w). `image`: (C, H, W). Pictures below the native size
    are extended by copies of their border first.
    """

    def part(pixels: AnyArray) -> AnyArray:
        scores = run(pixels[None])
        _check_scores(scores, pixels.shape[1:])
        return scores[0].argmax(axis=0)

    found = np.empty(image.shape[1:], np.uint16)
    assemble(part, image, found, known, tile, progress=progress)
    return found


def found_in(labels: Results, called: Mapping[int, str]) -> tuple[Found, ...]:
    """The classes of a map of labels, most common first.

    >>> found_in(np.array([[0, 3], [3, 3]], np.uint16), {3: "road"})
    (Found(label=3, name='road', share=0.75), Found(label=0, name='0', share=0.25))
    """
    counts: list[int] = np.bincount(labels.ravel()).tolist()
    order = sorted(
        (label for label, count in enumerate(counts) if count), key=lambda label: -counts[label]
    )
    return tuple(
        Found(label, called.get(label, str(label)), counts[label] / labels.size) for label in order
    )


def _counted(run: Scores, names: Path | None, count: int) -> Scores:
    """The network, which refuses names that are not one for each of its classes."""

    def counted(images: AnyArray) -> AnyArray:
        scores = run(images)
        if scores.ndim > 1 and scores.shape[1] != count:
            message = (
                f"`names` (={str(names)!r}) has {count} names; give one for each of the "
                f"{scores.shape[1]} classes"
            )
            raise ValueError(message)
        return scores

    return counted


def _check_scores(scores: AnyArray, size: tuple[int, ...]) -> None:
    if scores.ndim != 4 or scores.shape[2:] != size or not 1 <= scores.shape[1] <= 65535:
        shown = " x ".join(map(str, scores.shape[1:]))
        message = (
            f"`network` gives {shown} scores for an image of {size[0]} x {size[1]}, not scores for "
            "every pixel; make one with backstride transpose"
        )
        raise ValueError(message)
