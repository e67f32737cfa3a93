"""What may stand before any road, painted over photographs and scenes.

The own bonnet, a wall beside the road. A camera sees the same road with or without its car's
bonnet, and with or without a wall along it. Drives differ in both, so a network that is to judge
drives it was not trained on must not learn either from the picture's place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backstride.roads.sample import BACKGROUND, ROAD
from backstride.roads.synthetic import bonnet
from backstride.roads.synthetic.dice import Dice
from backstride.roads.synthetic.noise import Floats, sample

LEAST = 0.2  # of the picture's rows that show road, for a wall along it
KEPT = 0.55  # of the road that a wall must leave


def paste_bonnet(image: Floats, mask: NDArray[np.int64], seed: int) -> None:
    """Paint a bonnet over an image (3, rows, columns) and its mask (rows, columns), in place.

    The image is from 0 to 1.
    """
    dice = Dice(np.random.default_rng([seed, 4]))
    light = float(image.mean()) / 0.45
    share = bonnet.paint(
        image, dice.log(0.02, 0.18), dice.colour(dice.any(bonnet.COLOURS), 0.3), seed, light
    )
    mask[share >= 0.5] = BACKGROUND


def paste_wall(image: Floats, mask: NDArray[np.int64], seed: int) -> None:
    """Paint a wall along a straight road, in place; an image is left alone where no road recedes.

    Its foot and its top run to the point where the road ends; what lies beyond its foot is the
    other carriageway.
    """
    dice = Dice(np.random.default_rng([seed, 5]))
    road = mask == ROAD
    rows, columns = mask.shape
    shown = np.flatnonzero(road.sum(1) > columns * 0.02)
    if shown.size < rows * LEAST:
        return
    far = int(shown[0])
    middle = float(np.flatnonzero(road[far]).mean())
    sign = -1 if dice.chance(0.5) else 1
    out = sign * (np.arange(columns, dtype=np.float32)[None] - np.float32(middle))
    down = np.arange(rows, dtype=np.float32)[:, None] - np.float32(far - dice.uniform(0, 2))
    foot = dice.log(0.9, 5.0)  # columns outwards for each row down
    away = out - np.float32(foot) * down
    beyond = (away > 0) & (out > 0)
    if (road & ~beyond).sum() < KEPT * road.sum() or not (road & beyond).any():
        return
    rise = dice.uniform(
        0.05, 0.7
    )  # the height of the horizon over its top, as a share of that over its foot
    top = out * np.float32(rise / foot)
    high = np.clip(
        (out / np.float32(foot) - down) / np.maximum(out * np.float32((1 - rise) / foot), 1e-3),
        0,
        1,
    )
    face = (
        np.clip(away / np.float32(foot) + 0.5, 0, 1) * np.clip(down - top + 0.5, 0, 1) * (out > 0)
    )
    tone = np.median(image[:, road], axis=1).reshape(3, 1, 1) * np.float32(dice.log(0.55, 1.7))
    shade = (
        dice.uniform(0.3, 0.75) if dice.chance(0.5) else 1.0
    )  # the side turned from the sun, in the sky's blue
    hue = np.asarray(dice.colour((1.0, 1.0, 1.0), 0.06), np.float32).reshape(3, 1, 1)
    if shade < 1:
        hue = hue * np.asarray((0.93, 1.0, 1.1), np.float32).reshape(3, 1, 1)
        width = dice.uniform(0, 0.45)
        shadow = (
            np.clip((away + np.float32(width * foot) * down) / np.float32(foot) + 0.5, 0, 1)
            * (out > 0)
            * (down > 0)
        )
        image *= 1 - np.float32(1 - shade) * shadow * (1 - face)
    along = np.float32(rows * foot) / np.maximum(out, 1)  # as distance along the wall
    joint = np.mod(along, np.float32(dice.uniform(0.4, 2))) < 0.03
    texture = (
        1 + 0.05 * sample("cloud", high * 9, along * 11) + 0.03 * sample("grain", high * 20, out)
    )
    texture = texture * (0.85 + 0.15 * np.clip(high * 3, 0, 1)) * (1 - 0.2 * joint) + dice.uniform(
        0, 0.25
    ) * (high > 0.9)
    image += face * (np.clip(tone * hue * np.float32(shade) * texture, 0, 1) - image)
    mask[beyond & road] = BACKGROUND
    mask[face >= 0.5] = BACKGROUND
