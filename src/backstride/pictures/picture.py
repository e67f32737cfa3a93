"""Pictures from files that may be anything, and as files; colours for classes, and a legend."""

from __future__ import annotations

import colorsys
import io
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
LARGEST = 2**27  # pixels; Pillow itself stops at a third more
GOLDEN = 0.618033988749895  # hues in this step never come close to each other soon
SWATCH, ROW, FONT = 22, 34, 18
LEAST = 160  # columns of a legend
INK, PAPER = "#1f2328", "#ffffff"

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


def read_picture(path: Path, name: str = "photo") -> Pixels:
    """A picture as RGB (H, W, 3), turned as its camera noted.

    Raises `ValueError` for what is none, or is too large.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415  loads Pillow

    if path.is_dir():
        message = f"`{name}` (={str(path)!r}) is a folder; name a picture in it"
        raise ValueError(message)
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size is checked here, before anything is decoded
        try:
            opened = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError:
            raise ValueError(_too_large(path, name)) from None
        except Exception:  # noqa: BLE001  hostile files make Pillow raise every kind
            message = (
                f"`{name}` (={str(path)!r}) is no picture that can be read; legal are "
                f"{', '.join(FORMATS)}"
            )
            raise ValueError(message) from None
        if math.prod(opened.size) > LARGEST:
            raise ValueError(_too_large(path, name))
        try:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        except Exception:  # noqa: BLE001  the same
            message = f"`{name}` (={str(path)!r}) is a damaged or truncated picture"
            raise ValueError(message) from None


def _too_large(path: Path, name: str) -> str:
    return f"`{name}` (={str(path)!r}) has more than {LARGEST} pixels, the most that are read"


def palette(classes: int) -> Pixels:
    """A colour for each class, (classes, 3), neighbours far apart."""
    colours = [
        colorsys.hsv_to_rgb(
            (0.58 + GOLDEN * entry) % 1, (0.85, 0.6)[entry // 12 % 2], (0.95, 0.7)[entry // 6 % 2]
        )
        for entry in range(classes)
    ]
    return np.rint(255 * np.array(colours).reshape(-1, 3)).astype(np.uint8)


def legend(entries: Sequence[tuple[Colour, str]], width: int) -> Pixels:
    """Colours and words beside them, (rows, columns, 3), to stand below a picture.

    Both sizes are even, and the width is the picture's.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415  the same

    font, width = ImageFont.load_default(FONT), max(width + width % 2, LEAST)
    places, height = _laid_out([words for _, words in entries], width, font.getlength)
    canvas = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(canvas)
    for (colour, words), (x, y) in zip(entries, places, strict=True):
        top = y + (ROW - SWATCH) // 2
        pen.rectangle((x, top, x + SWATCH, top + SWATCH), colour, INK)
        pen.text((x + SWATCH + 8, y + ROW // 2), words, INK, font, anchor="lm")
    return np.asarray(canvas)


def encoded(pixels: NDArray[np.uint8] | NDArray[np.uint16], kind: str, **options: object) -> bytes:
    """A picture as a file. `kind`, `options`: as Pillow's `save` takes them."""
    from PIL import Image  # noqa: PLC0415  the same

    return _saved(Image.fromarray(pixels), kind, **options)


def labels_png(labels: NDArray[np.uint8], colours: Sequence[Colour]) -> bytes:
    """Labels as a PNG whose pixels are the labels and whose palette shows them.

    `colours`: of each label.
    """
    from PIL import Image  # noqa: PLC0415  the same

    image = Image.fromarray(labels)
    image.putpalette([part for colour in colours for part in colour])
    return _saved(image, "PNG", compress_level=3)


def above(picture: Pixels, below: Pixels) -> Pixels:
    """A picture with a legend below it, filled up at the right where the legend is wider."""
    paper = np.full((picture.shape[0], below.shape[1] - picture.shape[1], 3), 255, np.uint8)
    return np.concatenate([np.concatenate([picture, paper], 1), below])


def _laid_out(
    entries: Sequence[str], width: int, length: Callable[[str], float]
) -> tuple[list[tuple[int, int]], int]:
    """Where each entry stands below the picture, and how high the legend is.

    `length`: of words, in pixels.
    """
    places: list[tuple[int, int]] = []
    x, y = 8, 4
    for words in entries:
        step = SWATCH + 8 + int(length(words)) + 20
        if x > 8 and x + step > width:
            x, y = 8, y + ROW
        places.append((x, y))
        x += step
    return places, y + ROW + 4


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
