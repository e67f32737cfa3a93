"""What is written of a picture: the road over it in colour, labels, and the probability."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backstride.files import write_beside
from backstride.roads.meaning import Meaning
from backstride.roads.prediction.predictor import LEVELS, Levels, Pictures
from backstride.roads.sample import ROAD
from backstride.segment.picture import Colour, above, legend, palette, pillow

Kind: TypeAlias = Literal["overlay", "mask", "probability"]
KINDS: tuple[Kind, ...] = ("overlay", "mask", "probability")
FOLDERS: dict[Kind, str] = {"overlay": "overlays", "mask": "masks", "probability": "probabilities"}
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
    """`threshold`: with two classes, probabilities from here on are road. `opacity`: of the colours, 0 to 1.

    `write`: which files. `classes`: their names by label.
    """

    threshold: float = 0.5
    opacity: float = 0.45
    write: tuple[Kind, ...] = KINDS
    classes: tuple[str, ...] = Meaning().classes

    def colours(self) -> dict[int, Colour]:
        """The colour of each label that is painted: with two classes of road alone, else of all but "background"."""
        if len(self.classes) == 2:
            return {ROAD: ROAD_COLOUR}
        drawn: list[list[int]] = palette(len(self.classes)).tolist()
        kept = [label for label, name in enumerate(self.classes) if name != "background"]
        return {label: (drawn[label][0], drawn[label][1], drawn[label][2]) for label in kept}

    def legend(self, width: int) -> Pictures | None:
        """What stands below overlays of this width; None with two classes, where nothing is to be told apart."""
        if len(self.classes) == 2:
            return None
        return legend([(colour, self.classes[label]) for label, colour in self.colours().items()], width)


def mask_of(levels: Levels, style: Style) -> NDArray[np.uint8]:
    """Labels, from the probabilities of one picture: with two classes 1 is road, else that of the largest."""
    if levels.ndim == 3:
        return levels.argmax(axis=0).astype(np.uint8)
    return (levels >= round(style.threshold * LEVELS)).astype(np.uint8)


def confidence_of(levels: Levels) -> Levels:
    """The probability that is written: of road, or with more than two classes of the label that was found."""
    return levels.max(axis=0) if levels.ndim == 3 else levels


def paint(picture: Pictures, mask: NDArray[np.uint8], style: Style) -> Pictures:
    """The picture with its labels coloured, a line of one pixel around each, and perhaps a legend below."""
    image: Any = pillow("Image")
    painted, colours = picture.copy(), style.colours()
    known = np.isin(mask, list(colours))
    there = np.flatnonzero(known.any(axis=1))  # other rows are as they were
    for top in range(there[0], there[-1] + 1, BAND) if len(there) else ():
        rows = slice(top, min(top + BAND, there[-1] + 1))
        canvas = image.fromarray(picture[rows])
        for label, colour in colours.items():
            here = (mask[rows] == label) * np.uint8(round(255 * style.opacity))
            canvas.paste(colour, (0, 0), image.fromarray(here))
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


def places(folder: Path, name: str, style: Style, *, video: bool) -> dict[Kind, Path]:
    """Where the outputs of an item go."""
    return {kind: folder / FOLDERS[kind] / f"{name}{SUFFIXES[kind][video]}" for kind in style.write}


def write_picture(to: dict[Kind, Path], picture: Pictures, levels: Levels, style: Style) -> None:
    """Write what is asked for, each file whole or not at all."""
    mask = mask_of(levels, style)
    for kind, path in to.items():
        if kind == "overlay":
            drawn = _encoded(paint(picture, mask, style), "JPEG", quality=92, subsampling=0)
            write_beside(path, drawn, one_of_many=True)
        elif kind == "mask":
            write_beside(path, labels_png(mask, style), one_of_many=True)
        else:
            write_beside(path, _encoded(confidence_of(levels), "PNG", compress_level=1), one_of_many=True)


def labels_png(mask: NDArray[np.uint8], style: Style) -> bytes:
    """Labels as a PNG whose pixels are the labels and whose palette shows them."""
    image, colours = pillow("Image").fromarray(mask), style.colours()
    image.putpalette([part for label in range(len(style.classes)) for part in colours.get(label, GREY)])
    return _saved(image, "PNG", compress_level=3)


def _encoded(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    return _saved(pillow("Image").fromarray(pixels), kind, **options)


def _saved(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
