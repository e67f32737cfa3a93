"""What happens between the scene and the file: rain, veils, the bonnet, exposure, blur, noise, compression."""

from __future__ import annotations

import math

import numpy as np

from backstride.roads.synthetic.canvas import rgb
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
    luma = LUMA[0] * image[0] + LUMA[1] * image[1] + LUMA[2] * image[2]
    image -= luma
    image *= np.float32(lens.saturation)
    image += luma
    gain = rgb(lens.cast) * np.float32(lens.exposure)
    if lens.vignette:
        u = np.linspace(-1, 1, columns, dtype=np.float32)
        v = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
        gain = gain * (1 - np.float32(lens.vignette) * (u * u + v * v) * np.float32(0.5))
    image *= gain
    _ = np.clip(image, 0, 1, out=image)
    if abs(lens.contrast) > 0.02:  # an S, x + c x (1 - x) (2 x - 1), steeper where c is positive
        curve = image * (np.float32(3) - 2 * image)
        curve -= 1
        curve *= image
        curve *= np.float32(lens.contrast)
        image += curve
    if lens.blur > 0.05:
        image = _blurred(image, lens.blur)
    if lens.noise:
        for channel in range(3):
            grain = crop("grain", rows, columns, *rng.integers(0, 512, 2).tolist())
            image[channel] += np.float32(lens.noise) * grain
    if lens.blocks:
        _compress(image, lens.blocks)
    return np.clip(image, 0, 1, out=image)


def _blurred(image: Floats, sigma: float) -> Floats:
    """Binomial blur, as often as needed; the border repeated."""
    times = max(1, round(2 * sigma * sigma))
    share = np.float32(min(sigma * sigma / times, 0.5))
    for _ in range(times):
        for axis in (1, 2):
            step: Floats = np.diff(image, axis=axis)
            step *= share / 2
            image = image.copy()
            before, after = (image[:, :-1], image[:, 1:]) if axis == 1 else (image[..., :-1], image[..., 1:])
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
