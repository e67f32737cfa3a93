"""The bonnet of the camera's own car, at the foot of the picture.

It is not road, whatever it mirrors.
"""

from __future__ import annotations

import numpy as np

from backstride.roads.synthetic.canvas import rgb
from backstride.roads.synthetic.dice import Dice
from backstride.roads.synthetic.noise import Floats, crop, line
from backstride.roads.synthetic.world import Colour

COLOURS: tuple[Colour, ...] = (
    (0.30, 0.16, 0.16),
    (0.48, 0.36, 0.37),
    (0.40, 0.06, 0.06),
    (0.07, 0.07, 0.08),
    (0.75, 0.75, 0.76),
    (0.35, 0.37, 0.40),
    (0.55, 0.54, 0.52),
    (0.10, 0.15, 0.30),
)


def paint(image: Floats, height: float, colour: Colour, seed: int, light: float = 1.0) -> Floats:
    """Paint it over an image (3, rows, columns) from 0 to 1, in place.

    Its share of each pixel, (rows, columns). `height`: of the picture's. `colour`: its paint.
    `seed`: of its shape and of what it mirrors. `light`: how much of the day's light there is.
    """
    dice = Dice(np.random.default_rng([seed, 3]))
    _, rows, columns = image.shape
    across = np.linspace(-1, 1, columns, dtype=np.float32)
    top = rows - rows * np.float32(height) * outline(dice, across)
    first = int(np.clip(top.min() - 1, 0, rows))
    v = np.arange(first, rows, dtype=np.float32)[:, None]
    share = np.zeros((rows, columns), np.float32)
    share[first:] = np.clip(v - top + 0.5, 0, 1)
    deep = np.clip((v - top) / np.float32(max(rows * height, 1)), 0, 1)
    edge = np.exp(-(v - top).clip(0) * np.float32(dice.uniform(0.3, 1.2)))
    shine = (
        1
        + np.float32(dice.uniform(-0.3, 0.3)) * (1 - 2 * deep)
        + np.float32(dice.uniform(-0.5, 0.5)) * edge
    )
    shine = shine + np.float32(0.08) * crop("cloud", rows - first, columns, seed % 511, 7)
    painted = rgb(colour) * shine * np.float32(light)
    if dice.chance(0.8):
        strength = dice.uniform(0.1, 0.85)
        fading = strength * (1 - np.float32(dice.uniform(0.2, 1.0)) * deep)
        painted = painted + fading * (mirrored(image, v, top, dice) - painted)
    image[:, first:] += share[first:] * (painted - image[:, first:])
    return share


def outline(dice: Dice, across: Floats) -> Floats:
    """The height of its far edge over the picture's width, 1 on the whole.

    Arched or hollow, tilted, with ridges.
    """
    height = (
        1
        - np.float32(dice.uniform(-0.35, 0.5)) * across * across
        + np.float32(dice.normal(0, 0.08)) * across
    )
    if dice.chance(0.6):  # over the wheels, or beside the middle
        place, width, rise = (
            dice.uniform(0.25, 0.95),
            dice.uniform(0.08, 0.3),
            dice.uniform(-0.3, 0.35),
        )
        height = height + np.float32(rise) * np.exp(
            -np.square((np.abs(across) - np.float32(place)) / np.float32(width))
        )
    return np.maximum(
        height + np.float32(0.04) * line("smooth", (across + 1) * 60, dice.integer(0, 256)), 0.4
    )


def mirrored(image: Floats, v: Floats, top: Floats, dice: Dice) -> Floats:
    """What stands above its edge, upside down, pressed together and drawn out across."""
    _, _, columns = image.shape
    reach, offset = dice.log(1.0, 8.0), dice.uniform(0, 12)
    row = np.clip(top - offset - (v - top).clip(0) * np.float32(reach), 0, top.clip(0)).astype(
        np.int64
    )
    width = max(int(columns * dice.uniform(0.01, 0.15)), 1)
    summed = np.cumsum(
        np.pad(image, ((0, 0), (0, 0), (width, width)), mode="edge"), axis=2, dtype=np.float32
    )
    smooth = (summed[:, :, 2 * width :] - summed[:, :, : -2 * width]) / np.float32(2 * width)
    return smooth[:, row.clip(0, image.shape[1] - 1), np.arange(columns)[None]]
