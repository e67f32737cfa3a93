"""Scenes: digits at random places among clutter, and the class of every pixel.

Image: digits and clutter at their native size, composed by the brighter ink (pixelwise maximum).
Label: a pixel whose brightest ink is a digit's and at least `INK` has that digit's class; all
others are background, the faint rims of digits and all clutter included. Where two inks are equally
bright the later one wins; clutter comes first, so it loses ties. A digit stands only where at most
`OVERLAP` of its ink meets ink of digits already there; after `TRIES` places in vain it is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backstride.demo.clutter import DRAWINGS
from backstride.demo.digits import SIDE, Digits, Images

SCENE = 112
BACKGROUND = 10
CLASSES = 11
INK = 0.5
OVERLAP = 0.06
DIGITS = (5, 9)  # a scene has 5 to 9
CLUTTER = (6, 14)
TRIES = 20

Random = np.random.Generator
LabelMaps = NDArray[np.uint8]
Corner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scenes:
    """Images (N, 112, 112) in [0, 1] and label maps (N, 112, 112): 0 to 9, or 10 for background."""

    images: Images
    labels: LabelMaps

    def __len__(self) -> int:
        return len(self.images)


def compose(
    digits: Digits, count: int, random: Random, on_scene: Callable[[], None] | None = None
) -> Scenes:
    """Draw `count` scenes from these digits."""
    images = np.zeros((count, SCENE, SCENE), np.float32)
    labels = np.full((count, SCENE, SCENE), BACKGROUND, np.uint8)
    for image, label in zip(images, labels, strict=True):
        draw_scene(image, label, digits, random)
        if on_scene is not None:
            on_scene()
    return Scenes(images, labels)


def draw_scene(image: Images, label: LabelMaps, digits: Digits, random: Random) -> None:
    """Draw clutter and digits into one image and its label map, in place."""
    for _ in range(random.integers(CLUTTER[0], CLUTTER[1], endpoint=True)):
        patch = DRAWINGS[random.integers(len(DRAWINGS))](digits, random)
        row, column = random.integers(0, SCENE - np.array(patch.shape), endpoint=True)
        stamp(image, label, patch, BACKGROUND, (row, column))
    for _ in range(random.integers(DIGITS[0], DIGITS[1], endpoint=True)):
        chosen = random.integers(len(digits))
        digit = digits.images[chosen]
        for _ in range(TRIES):
            row, column = random.integers(0, SCENE - SIDE, 2, endpoint=True)
            if overlap(label, digit, (row, column)) <= OVERLAP:
                stamp(image, label, digit, int(digits.labels[chosen]), (row, column))
                break


def stamp(image: Images, label: LabelMaps, patch: Images, kind: int, corner: Corner) -> None:
    """Compose a patch into the scene, its first cell at `corner`, by the brighter ink."""
    place = _place(patch, corner)
    scene, classes = image[place], label[place]
    wins = (patch >= scene) & (patch > 0)
    classes[wins] = np.where(patch[wins] >= INK, kind, BACKGROUND)
    scene[wins] = patch[wins]


def overlap(label: LabelMaps, digit: Images, corner: Corner) -> float:
    """The share of this digit's ink that would fall on ink of digits already there."""
    ink = digit >= INK
    return np.count_nonzero(ink & (label[_place(digit, corner)] != BACKGROUND)) / np.count_nonzero(
        ink
    )


def _place(patch: Images, corner: Corner) -> tuple[slice, slice]:
    (row, column), (height, width) = corner, patch.shape
    return slice(row, row + height), slice(column, column + width)
