"""What is in a scene and is no digit: long thin arcs, short dashes, specks, and scraps of digits.

Strokes are long and thin, or short: one as long and as thick as a digit's could be read as a 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backstride.demo.digits import SIDE, Digits, Images

Random = np.random.Generator


def arc(_digits: Digits, random: Random) -> Images:
    """A thin bent stroke 35 to 60 cells long."""
    return _stroke(random, random.uniform(35, 60), 0.6)


def dash(_digits: Digits, random: Random) -> Images:
    """A short stroke of 4 to 8 cells."""
    return _stroke(random, random.uniform(4, 8), random.uniform(0.6, 1.2))


def speck(_digits: Digits, random: Random) -> Images:
    """A bright block of 1x1 to 2x2 cells."""
    return np.full(random.integers(1, 3, 2), random.uniform(0.4, 1.0), np.float32)


def scrap(digits: Digits, random: Random) -> Images:
    """A piece of 7 to 10 cells cut out of a digit around one of its ink cells."""
    image = digits.images[random.integers(len(digits))]
    ink = np.argwhere(image >= 0.5)
    row, column = ink[random.integers(len(ink))]
    height, width = random.integers(7, 11, 2)
    top, left = max(row - height // 2, 0), max(column - width // 2, 0)
    return image[top : min(top + height, SIDE), left : min(left + width, SIDE)]


def _stroke(random: Random, length: float, radius: float) -> Images:
    """A bent stroke, antialiased over one cell, in the smallest box that holds it."""
    along = np.linspace(0, 1, int(2 * length))
    heading = random.uniform(0, 2 * np.pi) + random.uniform(-2, 2) * along
    path = np.cumsum(
        0.5 * np.stack([np.sin(heading), np.cos(heading)]), axis=1
    )  # (2, points), half a cell apart
    rim = int(np.ceil(radius + 0.5))
    path += rim - path.min(axis=1, keepdims=True)
    near = np.rint(path).astype(np.int64)[:, :, None] + np.mgrid[
        -rim : rim + 1, -rim : rim + 1
    ].reshape(2, 1, -1)
    brightness = np.clip(radius + 0.5 - np.hypot(*(near - path[:, :, None])), 0, 1)
    patch = np.zeros(near.max(axis=(1, 2)) + 1, np.float32)
    np.maximum.at(patch, (near[0], near[1]), random.uniform(0.5, 1.0) * brightness)
    return patch


Drawing = Callable[[Digits, Random], Images]
DRAWINGS: tuple[Drawing, ...] = (arc, dash, speck, scrap)
