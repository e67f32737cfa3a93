"""What is written of a picture: the road over it in colour, labels, and the probability."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backstride.files import write_beside
from backstride.roads.prediction.predictor import LEVELS, Levels, Pictures
from backstride.segment.picture import pillow

Kind: TypeAlias = Literal["overlay", "mask", "probability"]
KINDS: tuple[Kind, ...] = ("overlay", "mask", "probability")
FOLDERS: dict[Kind, str] = {"overlay": "overlays", "mask": "masks", "probability": "probabilities"}
SUFFIXES: dict[Kind, tuple[str, str]] = {
    "overlay": (".jpg", ".mp4"),
    "mask": (".png", ".mkv"),
    "probability": (".png", ".mkv"),
}
COLOUR = (40, 220, 120)
EDGE = (255, 255, 255)
PALETTE = (60, 60, 60, *COLOUR)  # of the labels 0 and 1
BAND = 1024  # rows that are painted at once, which bounds the memory for it


@dataclass(frozen=True, slots=True)
class Style:
    """`threshold`: probabilities from here on are road. `opacity`: of the colour, 0 to 1. `write`: which files."""

    threshold: float = 0.5
    opacity: float = 0.45
    write: tuple[Kind, ...] = KINDS


def mask_of(levels: Levels, style: Style) -> NDArray[np.uint8]:
    """Labels: 1 is road."""
    return (levels >= round(style.threshold * LEVELS)).astype(np.uint8)


def paint(picture: Pictures, mask: NDArray[np.uint8], opacity: float) -> Pictures:
    """The picture with its road coloured, and a line of one pixel around it."""
    image: Any = pillow("Image")
    painted = picture.copy()
    road = np.flatnonzero(mask.any(axis=1))  # rows without road are as they were
    for top in range(road[0], road[-1] + 1, BAND) if len(road) else ():
        rows = slice(top, min(top + BAND, road[-1] + 1))
        canvas = image.fromarray(picture[rows])
        canvas.paste(COLOUR, (0, 0), image.fromarray(mask[rows] * np.uint8(round(255 * opacity))))
        painted[rows] = np.asarray(canvas)
    painted[_edge(mask).view(np.bool_)] = EDGE
    return painted


def _edge(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Road that has another label beside it."""
    edge = np.zeros_like(mask)
    edge[1:] |= mask[1:] ^ mask[:-1]
    edge[:-1] |= mask[1:] ^ mask[:-1]
    edge[:, 1:] |= mask[:, 1:] ^ mask[:, :-1]
    edge[:, :-1] |= mask[:, 1:] ^ mask[:, :-1]
    return edge & mask


def places(folder: Path, name: str, style: Style, *, video: bool) -> dict[Kind, Path]:
    """Where the outputs of an item go."""
    return {kind: folder / FOLDERS[kind] / f"{name}{SUFFIXES[kind][video]}" for kind in style.write}


def write_picture(to: dict[Kind, Path], picture: Pictures, levels: Levels, style: Style) -> None:
    """Write what is asked for, each file whole or not at all."""
    mask = mask_of(levels, style)
    for kind, path in to.items():
        if kind == "overlay":
            write_beside(
                path, _encoded(paint(picture, mask, style.opacity), "JPEG", quality=92, subsampling=0), one_of_many=True
            )
        elif kind == "mask":
            write_beside(path, labels_png(mask), one_of_many=True)
        else:
            write_beside(path, _encoded(levels, "PNG", compress_level=1), one_of_many=True)


def labels_png(mask: NDArray[np.uint8]) -> bytes:
    """Labels as a PNG whose pixels are the labels and whose palette shows them."""
    image = pillow("Image").fromarray(mask)
    image.putpalette(PALETTE)
    return _saved(image, "PNG", compress_level=3)


def _encoded(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    return _saved(pillow("Image").fromarray(pixels), kind, **options)


def _saved(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
