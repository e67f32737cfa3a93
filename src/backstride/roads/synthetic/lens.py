"""What happens between the scene and the file.

Rain, veils, the bonnet, exposure, blur, noise, compression.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backstride.roads.synthetic import bonnet
from backstride.roads.synthetic.canvas import rgb
from backstride.roads.synthetic.noise import Floats, crop
from backstride.roads.synthetic.world import Lens, World

STARTS = 2**16
LUMA = (0.299, 0.587, 0.114)


def paint_bonnet(world: World, image: Floats, road: Floats) -> None:
    """The bonnet of the camera's own car, at the foot of the picture: it is not road."""
    lens = world.lens
    if not lens.bonnet:
        return
    share = bonnet.paint(
        image, lens.bonnet, lens.bonnet_colour, world.seed, 1 - 0.9 * world.light.night
    )
    road *= 1 - share


def develop(world: World, image: Floats) -> NDArray[np.uint8]:
    """The picture as the camera would write it, (rows, columns, 3)."""
    lens, rng = world.lens, np.random.default_rng([world.seed, 2])
    _, rows, columns = image.shape
    if world.light.rain:
        image = _rain(world, image, rng)
    if lens.veil or lens.dirt:
        image = _windscreen(world, image, rng)
    image = (_colours(lens) @ image.reshape(3, -1)).reshape(image.shape)
    if lens.vignette:
        u = np.linspace(-1, 1, columns, dtype=np.float32)
        v = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
        image *= 1 - np.float32(lens.vignette) * (u * u + v * v) * np.float32(0.5)
    if lens.blur > 0.05:
        image = _blurred(image, lens.blur)
    if lens.noise:
        start = int(rng.integers(STARTS))
        image += np.float32(255 * lens.noise) * _grain(image.size)[
            start : start + image.size
        ].reshape(image.shape)
    if lens.blocks:
        _compress(image, lens.blocks)
    image += 0.5
    pixels = np.clip(image, 0, 255, out=image).astype(np.uint8).transpose(1, 2, 0)
    return _curve(lens.contrast).take(pixels)


def _colours(lens: Lens) -> Floats:
    """The matrix of saturation, exposure and colour cast, from 1 to 255."""
    saturation = lens.saturation * np.eye(3) + (1 - lens.saturation) * np.asarray(LUMA)
    return (255 * lens.exposure * np.asarray(lens.cast)[:, None] * saturation).astype(np.float32)


def _curve(contrast: float) -> NDArray[np.uint8]:
    """What the camera makes of each value x.

    X + c x (1 - x) (2 x - 1), an S where c is positive.
    """
    x = np.arange(256) / 255
    return np.rint(255 * np.clip(x + contrast * x * (1 - x) * (2 * x - 1), 0, 1)).astype(np.uint8)


@lru_cache(maxsize=2)
def _grain(count: int) -> Floats:
    """White noise, from which each scene takes `count` numbers at a place of its own."""
    return np.random.default_rng(STARTS).standard_normal(count + STARTS, np.float32)


def _blurred(image: Floats, sigma: float) -> Floats:
    """Binomial blur, as often as needed; the border repeated."""
    times = max(1, round(2 * sigma * sigma))
    share = np.float32(min(sigma * sigma / times, 0.5))
    for _ in range(times):
        for axis in (1, 2):
            step: Floats = np.diff(image, axis=axis)
            step *= share / 2
            image = image.copy()
            before, after = (
                (image[:, :-1], image[:, 1:]) if axis == 1 else (image[..., :-1], image[..., 1:])
            )
            before += step
            after -= step
    return image


def _rain(world: World, image: Floats, rng: np.random.Generator) -> Floats:
    """Streaks in the air, and drops on the glass that show blurred light."""
    _, rows, columns = image.shape
    rain = world.light.rain
    streaks = crop("rough", rows // 6 + 1, columns, int(rng.integers(512)), int(rng.integers(512)))
    streaks = np.repeat(streaks, 6, 0)[:rows]
    image = image + np.float32(0.05 * rain) * np.clip(streaks - 1, 0, 2)
    drops = crop("smooth", rows, columns, int(rng.integers(512)), int(rng.integers(512)))
    spots = np.clip((np.abs(drops) - 2.0) * 6, 0, 1) * np.float32(rain)
    return image + spots * (image.mean((1, 2), keepdims=True) * 1.1 - image)


def _windscreen(world: World, image: Floats, rng: np.random.Generator) -> Floats:
    """Light scattered by the glass, and reflections of the dashboard, with smears."""
    _, rows, columns = image.shape
    lens = world.lens
    v = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    side = float(rng.uniform(-1, 1))
    u = np.linspace(-1, 1, columns, dtype=np.float32)
    veil = np.float32(lens.veil) * np.clip(0.6 + 0.4 * side * u + 0.4 * (v - 0.5), 0, 1)
    if (
        lens.veil and rng.random() < 0.6
    ):  # the edge of the dashboard, reflected, and its grain below
        edge, reach = float(rng.uniform(0.55, 0.9)), float(rng.uniform(-0.6, 1.5))
        above = np.clip((edge - v) * rows + 0.5, 0, 1)
        beside = np.clip((side * u - reach) * 12, 0, 1) if rng.random() < 0.6 else np.float32(0)
        dark = float(rng.uniform(0.2, 0.8))
        dashboard = dark + 0.15 * dark * crop(
            "rough", rows, columns, int(rng.integers(512)), int(rng.integers(512))
        )
        veil = veil * (dashboard + np.maximum(above, beside) * (1 - dashboard))
        veil = veil + np.float32(lens.veil * 0.35) * np.exp(-np.square((v - edge) * 120)) * (
            1 - beside
        )
    smear = crop("smooth", rows, columns, int(rng.integers(512)), int(rng.integers(512)))
    veil = veil + np.float32(lens.dirt) * np.clip(smear, 0, 2) * 0.08
    return image + veil * (rgb((0.85, 0.87, 0.9)) * np.float32(1 - 0.8 * world.light.night) - image)


def _compress(image: Floats, strength: float) -> None:
    """Coarse steps of the cosine transform in blocks of 8, as JPEG has; whole blocks only."""
    _, rows, columns = image.shape
    rows, columns = rows // 8 * 8, columns // 8 * 8
    if not rows or not columns:
        return
    place = np.arange(8)
    basis = np.cos(np.pi * (2 * place[None] + 1) * place[:, None] / 16) / 2
    basis[0] /= math.sqrt(2)
    basis = basis.astype(np.float32)
    step = ((1 + place[:, None] + place[None]) * strength).astype(np.float32)
    blocks = (
        image[:, :rows, :columns].reshape(3, rows // 8, 8, columns // 8, 8).transpose(0, 1, 3, 2, 4)
    )
    coded = basis @ blocks @ basis.T
    coded = np.rint(coded / step) * step
    image[:, :rows, :columns] = (
        (basis.T @ coded @ basis).transpose(0, 1, 3, 2, 4).reshape(3, rows, columns)
    )
