"""What is written of a picture: the road over it in colour, labels, and the probability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.job import Raster
from backstride.pictures.picture import Colour, above, encoded, labels_png, legend, palette
from backstride.roads.meaning import Meaning
from backstride.roads.prediction.predictor import LEVELS, Levels, Pictures
from backstride.roads.sample import ROAD

Kind: TypeAlias = Literal["overlay", "mask", "probability"]
KINDS: tuple[Kind, ...] = ("overlay", "mask", "probability")
SUFFIXES: dict[Kind, tuple[str, str]] = {
    "overlay": (".jpg", ".mp4"),
    "mask": (".png", ".mkv"),
    "probability": (".png", ".mkv"),
}
ROAD_COLOUR, GREY = (40, 220, 120), (60, 60, 60)
EDGE = (255, 255, 255)
BAND = 1024  # rows that are painted at once, which bounds the memory for it


@dataclass(frozen=True, slots=True)
class Style:
    """`threshold`: with two classes, probabilities from here on are road.

    `opacity`: of the colours, 0 to 1. `write`: which files. `classes`: their names by label.
    """

    threshold: float = 0.5
    opacity: float = 0.45
    write: tuple[Kind, ...] = KINDS
    classes: tuple[str, ...] = Meaning().classes

    def colours(self) -> dict[int, Colour]:
        """The colour of each label that is painted.

        With two classes of road alone, else of all but "background".
        """
        if len(self.classes) == 2:
            return {ROAD: ROAD_COLOUR}
        drawn: list[list[int]] = palette(len(self.classes)).tolist()
        kept = [label for label, name in enumerate(self.classes) if name != "background"]
        return {label: (drawn[label][0], drawn[label][1], drawn[label][2]) for label in kept}

    def legend(self, width: int) -> Pictures | None:
        """What stands below overlays of this width.

        None with two classes, where nothing is to be told apart.
        """
        if len(self.classes) == 2:
            return None
        return legend(
            [(colour, self.classes[label]) for label, colour in self.colours().items()], width
        )

    def files(
        self, kinds: Iterable[str], picture: Pictures, result: Levels
    ) -> Iterator[tuple[str, bytes]]:
        """What is written of a picture, see `pictures.job.Outputs`; `result`: its probabilities."""
        mask, colours = mask_of(result, self), self.colours()
        for kind in kinds:
            if kind == "overlay":
                yield kind, encoded(paint(picture, mask, self), "JPEG", quality=92, subsampling=0)
            elif kind == "mask":
                yield (
                    kind,
                    labels_png(
                        mask, [colours.get(label, GREY) for label in range(len(self.classes))]
                    ),
                )
            else:
                yield kind, encoded(confidence_of(result), "PNG", compress_level=1)

    def frames(
        self, kinds: Iterable[str], picture: Pictures, result: Levels
    ) -> Iterator[tuple[str, Raster]]:
        """What is written of a frame of a video, the same."""
        mask = mask_of(result, self)
        for kind in kinds:
            if kind == "overlay":
                yield kind, paint(picture, mask, self)
            elif kind == "mask":  # with two classes as players show it
                yield kind, mask * np.uint8(255) if len(self.classes) == 2 else mask
            else:
                yield kind, confidence_of(result)


def mask_of(levels: Levels, style: Style) -> NDArray[np.uint8]:
    """Labels, from the probabilities of one picture.

    With two classes 1 is road, else that of the largest.
    """
    if levels.ndim == 3:
        return levels.argmax(axis=0).astype(np.uint8)
    return (levels >= round(style.threshold * LEVELS)).astype(np.uint8)


def confidence_of(levels: Levels) -> Levels:
    """The probability that is written.

    Of road, or with more than two classes of the label that was found.
    """
    return levels.max(axis=0) if levels.ndim == 3 else levels


def paint(picture: Pictures, mask: NDArray[np.uint8], style: Style) -> Pictures:
    """The picture with its labels coloured, each with a line around it, and perhaps a legend."""
    from PIL import Image  # noqa: PLC0415  loads Pillow

    painted, colours = picture.copy(), style.colours()
    known = np.isin(mask, list(colours))
    there = np.flatnonzero(known.any(axis=1))  # other rows are as they were
    for top in range(there[0], there[-1] + 1, BAND) if len(there) else ():
        rows = slice(top, min(top + BAND, there[-1] + 1))
        canvas = Image.fromarray(picture[rows])
        for label, colour in colours.items():
            here = (mask[rows] == label) * np.uint8(round(255 * style.opacity))
            canvas.paste(colour, (0, 0), Image.fromarray(here))
        painted[rows] = np.asarray(canvas)
    painted[_edge(mask) & known] = EDGE
    below = style.legend(picture.shape[1])
    return painted if below is None else above(painted, below)


def _edge(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that have another label beside them."""
    edge = np.zeros(mask.shape, np.bool_)
    down, across = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    return edge
