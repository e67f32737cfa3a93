"""What happens between the scene and the file: rain, veils, the bonnet, exposure, blur, noise, compression."""

from __future__ import annotations

import math

import numpy as np

from backstride.roads.synthetic.ground import rgb
from backstride.roads.synthetic.noise import Floats, crop, line
from backstride.roads.synthetic.world import World

LUMA = (0.299, 0.587, 0.114)


def paint_bonnet(world: World, image: Floats, road: Floats) -> None:
    """The bonnet of the camera's own car, at the foot of the picture: it is not road."""
    lens = world.lens
    if not lens.bonnet:
        return
    _, rows, columns = image.shape
    across = np.linspace(-1, 1, columns, dtype=np.float32)
    wave = line("smooth", (across + 1) * 60, world.seed % 512)
    top = rows * np.float32(1 - lens.bonnet) * (1 + 0.035 * across * across) + wave * np.float32(rows * 0.006)
    first = max(int(top.min()) - 1, 0)
    v = np.arange(first, rows, dtype=np.float32)[:, None]
    share = np.clip(v - top + 0.5, 0, 1)
    shine = 0.75 + 0.5 * np.clip(1 - (v - top) / np.float32(rows * lens.bonnet), 0, 1)
    shine = shine + 0.12 * crop("cloud", rows - first, columns, world.seed % 511, 7)
    colour = rgb(lens.bonnet_colour) * shine * np.float32(1 - 0.9 * world.light.night)
    image[:, first:] += share * (colour - image[:, first:])
    road[first:] *= 1 - share


def develop(world: World, image: Floats) -> Floats:
    """The picture as the camera would write it, 0 to 1."""
    lens, rng = world.lens, np.random.default_rng([world.seed, 2])
    _, rows, columns = image.shape
    if world.light.rain:
        image = _rain(world, image, rng)
    if lens.veil or lens.dirt:
        image = _windscreen(world, image, rng)
    luma = np.tensordot(np.asarray(LUMA, np.float32), image, 1)
    image = luma + np.float32(lens.saturation) * (image - luma)
    image *= rgb(lens.cast) * np.float32(lens.exposure)
    if lens.vignette:
        u = np.linspace(-1, 1, columns, dtype=np.float32)
        v = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
        image *= 1 - np.float32(lens.vignette) * (u * u + v * v) * np.float32(0.5)
    image = np.clip(image, 0, 1)
    image += np.float32(lens.contrast) * image * (1 - image) * (2 * image - 1)  # an S, steeper where positive
    if lens.blur > 0.05:
        image = _blurred(image, lens.blur)
    if lens.noise:
        for channel in range(3):
            grain = crop("grain", rows, columns, *rng.integers(0, 512, 2).tolist())
            image[channel] += np.float32(lens.noise) * grain
    if lens.blocks:
        _compress(image, lens.blocks)
    return np.clip(image, 0, 1)


def _blurred(image: Floats, sigma: float) -> Floats:
    """Binomial blur, as often as needed; the border repeated."""
    times = max(1, round(2 * sigma * sigma))
    share = np.float32(min(sigma * sigma / times, 0.5))
    for _ in range(times):
        for axis in (1, 2):
            before = np.take(image, [0, *range(image.shape[axis] - 1)], axis)
            after = np.take(image, [*range(1, image.shape[axis]), image.shape[axis] - 1], axis)
            image = image + (share / 2) * (before + after - 2 * image)
    return image


def _rain(world: World, image: Floats, rng: np.random.Generator) -> Floats:
    """Streaks in the air, and drops on the glass that show blurred light."""
    _, rows, columns = image.shape
    rain = world.light.rain
    streaks = crop("rough", rows // 6 + 1, columns, int(rng.integers(512)), int(rng.integers(512)))
    streaks = np.repeat(streaks, 6, 0)[:rows]
    image = image + np.float32(0.05 * rain) * np.clip(streaks - 1, 0, 2)
    drops = crop("smooth", rows * 2, columns * 2, int(rng.integers(512)), int(rng.integers(512)))[::2, ::2]
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
    if rng.random() < 0.5:  # a reflected edge of the dashboard
        edge = float(rng.uniform(0.6, 0.9))
        veil = veil * np.where(v > edge, 0.55, 1.0).astype(np.float32)
        veil = veil + np.float32(lens.veil * 0.35) * np.exp(-np.square((v - edge) * 120))
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
    step = ((1 + place[:, None] + place[None]) * strength / 255).astype(np.float32)
    blocks = image[:, :rows, :columns].reshape(3, rows // 8, 8, columns // 8, 8).transpose(0, 1, 3, 2, 4)
    coded = basis @ blocks @ basis.T
    coded = np.rint(coded / step) * step
    image[:, :rows, :columns] = (basis.T @ coded @ basis).transpose(0, 1, 3, 2, 4).reshape(3, rows, columns)
