"""Pictures in and out: files that may be anything, and the overlay with its legend."""

from __future__ import annotations

import colorsys
import importlib
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
LARGEST = 2**27  # pixels; Pillow itself stops at a third more
GOLDEN = 0.618033988749895  # hues in this step never come close to each other soon
SWATCH, ROW, FONT = 22, 34, 18
LEAST = 160  # columns of a legend
INK, PAPER = "#1f2328", "#ffffff"

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


def pillow(part: str) -> Any:
    """A module of Pillow; a command without it says how to get it."""
    return importlib.import_module(f"PIL.{part}")


def read_picture(path: Path, name: str = "photo") -> Pixels:
    """A picture as RGB (H, W, 3), turned as its camera noted. Raises `ValueError` for what is none, or is too large."""
    image = pillow("Image")
    if path.is_dir():
        message = f"`{name}` (={str(path)!r}) is a folder; name a picture in it"
        raise ValueError(message)
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size is checked here, before anything is decoded
        try:
            opened = image.open(file, formats=FORMATS)
        except image.DecompressionBombError:
            raise ValueError(_too_large(path, name)) from None
        except Exception:  # noqa: BLE001  hostile files make Pillow raise every kind
            message = f"`{name}` (={str(path)!r}) is no picture that can be read; legal are {', '.join(FORMATS)}"
            raise ValueError(message) from None
        if math.prod(opened.size) > LARGEST:
            raise ValueError(_too_large(path, name))
        try:
            turned = pillow("ImageOps").exif_transpose(opened)
            return np.asarray(turned.convert("RGB"))
        except Exception:  # noqa: BLE001  the same
            message = f"`{name}` (={str(path)!r}) is a damaged or truncated picture"
            raise ValueError(message) from None


def _too_large(path: Path, name: str) -> str:
    return f"`{name}` (={str(path)!r}) has more than {LARGEST} pixels, the most that are read"


def as_input(pixels: Pixels, channels: int, mean: Sequence[float], std: Sequence[float], scale: float) -> NDArray[Any]:
    """RGB (H, W, 3) as a network's image (C, H, W): `(pixel * scale - mean) / std`, grey where C is 1."""
    if channels not in (1, 3):
        message = f"`network` takes {channels} channels; pictures have 3 (RGB), or 1 (grey)"
        raise ValueError(message)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            message = f"`{name}` (={tuple(values)}) must have 1 or {channels} numbers"
            raise ValueError(message)
    numbers: list[float] = [*mean, *std, scale]
    if not all(math.isfinite(number) for number in numbers) or not all(std):
        message = f"`std` (={tuple(std)}), `mean` and `scale` must be finite, and `std` not zero"
        raise ValueError(message)
    planes = pixels.transpose(2, 0, 1).astype(np.float32)
    if channels == 1:  # ITU-R BT.601, Pillow's own grey
        planes = np.tensordot(np.asarray([0.299, 0.587, 0.114], np.float32), planes, 1)[None]
    shape = (-1, 1, 1)
    centred = planes * np.float32(scale) - np.asarray(mean, np.float32).reshape(shape)
    return centred / np.asarray(std, np.float32).reshape(shape)


def palette(classes: int) -> Pixels:
    """A colour for each class, (classes, 3), neighbours far apart."""
    colours = [
        colorsys.hsv_to_rgb((0.58 + GOLDEN * entry) % 1, (0.85, 0.6)[entry // 12 % 2], (0.95, 0.7)[entry // 6 % 2])
        for entry in range(classes)
    ]
    return np.rint(255 * np.array(colours).reshape(-1, 3)).astype(np.uint8)


def overlay(pixels: Pixels, labels: NDArray[np.uint16], entries: Sequence[tuple[int, str]], opacity: float) -> bytes:
    """The picture under its labels' colours, a legend of `entries` (class, words) below, as a PNG file."""
    colours = palette(int(labels.max()) + 1)
    mixed = pixels * np.float32(1 - opacity)
    mixed += colours[labels] * np.float32(opacity)
    below = legend([(tuple(colours[entry].tolist()), words) for entry, words in entries], labels.shape[1])
    file = io.BytesIO()
    pillow("Image").fromarray(above(np.rint(mixed).astype(np.uint8), below)).save(file, "PNG")
    return file.getvalue()


def legend(entries: Sequence[tuple[Colour, str]], width: int) -> Pixels:
    """Colours and words beside them, (rows, columns, 3), both even, to stand below a picture of this width."""
    font, width = pillow("ImageFont").load_default(FONT), max(width + width % 2, LEAST)
    places, height = _laid_out(entries, width, font)
    canvas = pillow("Image").new("RGB", (width, height), PAPER)
    pen = pillow("ImageDraw").Draw(canvas)
    for (colour, words), (x, y) in zip(entries, places, strict=True):
        top = y + (ROW - SWATCH) // 2
        pen.rectangle((x, top, x + SWATCH, top + SWATCH), colour, INK)
        pen.text((x + SWATCH + 8, y + ROW // 2), words, INK, font, anchor="lm")
    return np.asarray(canvas)


def above(picture: Pixels, below: Pixels) -> Pixels:
    """A picture with a legend below it, filled up at the right where the legend is wider."""
    paper = np.full((picture.shape[0], below.shape[1] - picture.shape[1], 3), 255, np.uint8)
    return np.concatenate([np.concatenate([picture, paper], 1), below])


def _laid_out(entries: Sequence[tuple[object, str]], width: int, font: Any) -> tuple[list[tuple[int, int]], int]:
    """Where each entry stands below the picture, and how high the legend is."""
    places: list[tuple[int, int]] = []
    x, y = 8, 4
    for _, words in entries:
        step = SWATCH + 8 + int(font.getlength(words)) + 20
        if x > 8 and x + step > width:
            x, y = 8, y + ROW
        places.append((x, y))
        x += step
    return places, y + ROW + 4
