"""A picture as a network takes it, and under the colours of its labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.job import Results
from backstride.pictures.picture import Colour, Pixels, above, encoded, legend, palette

GREY = (0.299, 0.587, 0.114)
BAND = 1024  # rows that are mixed at once, which bounds the memory for it


def as_input(
    pixels: Pixels, channels: int, mean: Sequence[float], std: Sequence[float], scale: float
) -> NDArray[np.float32]:
    """RGB (H, W, 3) as a network's image (C, H, W).

    `(pixel * scale - mean) / std`, grey where C is 1.
    """
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
    if (
        channels == 1
    ):  # ITU-R BT.601, Pillow's own grey; summed in one order, so that tiles get the same bits
        red, green, blue = (
            np.float32(share) * plane for share, plane in zip(GREY, planes, strict=True)
        )
        planes = (red + green + blue)[None]
    shape = (-1, 1, 1)
    centred = planes * np.float32(scale) - np.asarray(mean, np.float32).reshape(shape)
    return centred / np.asarray(std, np.float32).reshape(shape)


def painted(pixels: Pixels, labels: Results, opacity: float) -> Pixels:
    """The picture (H, W, 3) under the colours of its labels (H, W)."""
    colours = palette(int(labels.max()) + 1) * np.float32(opacity)
    made = np.empty_like(pixels)
    for top in range(0, len(pixels), BAND):
        rows = slice(top, top + BAND)
        mixed = pixels[rows] * np.float32(1 - opacity)
        mixed += colours[labels[rows]]
        made[rows] = np.rint(mixed)
    return made


def overlay(
    pixels: Pixels, labels: Results, entries: Sequence[tuple[int, str]], opacity: float
) -> bytes:
    """The picture under its labels' colours, a legend of `entries` below, as a PNG file.

    An entry is (class, words).
    """
    below = legend(coloured(entries), labels.shape[1])
    return encoded(above(painted(pixels, labels, opacity), below), "PNG")


def coloured(entries: Sequence[tuple[int, str]]) -> list[tuple[Colour, str]]:
    """Entries of a legend from classes and words."""
    drawn: list[list[int]] = palette(max((label for label, _ in entries), default=0) + 1).tolist()
    return [
        ((drawn[label][0], drawn[label][1], drawn[label][2]), words) for label, words in entries
    ]
