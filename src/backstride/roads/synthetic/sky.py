"""The sky, its clouds and sun, and the hills at the horizon."""

from __future__ import annotations

import math

import numpy as np

from backstride.roads.synthetic.canvas import rgb
from backstride.roads.synthetic.noise import Floats, line, sample
from backstride.roads.synthetic.world import World


def horizon(world: World, columns: int) -> Floats:
    """The row of the horizon in every column."""
    camera = world.camera
    u = np.arange(columns, dtype=np.float32) - np.float32(camera.cx)
    # the horizon's points have no component down: v is where the camera's axes put the forward
    # direction
    row = camera.cy - camera.focal * math.tan(camera.pitch) / math.cos(camera.roll)
    return np.float32(row) - u * np.float32(math.tan(camera.roll))


def paint(world: World, image: Floats) -> None:
    """Paint the sky, then the ridges from the highest to the lowest, over the whole picture."""
    _, rows, columns = image.shape
    light = world.light
    level = horizon(world, columns)
    whole = image
    image = image[
        :, : int(np.clip(level.max() + rows * 0.12, 1, rows))
    ]  # valleys lie under the horizon
    whole[:, image.shape[1] :] = rgb(light.horizon)
    v = np.arange(image.shape[1], dtype=np.float32)[:, None]
    up = np.clip((level.mean() - v) / np.float32(max(float(level.mean()), rows * 0.3)), 0, 1)
    shade = rgb(light.horizon) + (rgb(light.sky) - rgb(light.horizon)) * np.sqrt(up)
    image[:] = shade
    if light.clouds:
        deck = 1 / (0.15 + up)
        across = (np.arange(columns, dtype=np.float32)[None] / columns - 0.5) * deck
        cells = sample("cloud", deck * 160 + world.seed % 512, across * 200) + sample(
            "smooth", deck * 90, across * 60
        )
        share = np.clip(0.5 * cells - 0.6 + 1.4 * light.clouds, 0, 1) * np.clip(up * 6, 0, 1)
        image += share * (rgb((0.92, 0.93, 0.95)) * (0.85 + 0.1 * np.clip(cells, -1, 1)) - image)
    x, y, strength = light.sun
    if strength:
        away = np.hypot(np.arange(columns, dtype=np.float32)[None] / columns - x, (v / rows - y))
        image += np.float32(strength) * np.exp(-away * 7) * rgb((1.0, 0.97, 0.9))
    for number, (height, colour) in enumerate(world.ridges):
        at = np.arange(columns, dtype=np.float32) * np.float32(220 / columns)
        outline = line("cloud", at * (1 + 0.8 * number), 60 + world.seed % 300 + number * 31)
        rough = line("rough", at * 4, 99 + world.seed % 300 + number)
        top = level - np.float32(rows * height) * (
            1 + 0.45 * outline + (0.12 if number else 0.03) * rough
        )
        share = np.clip(v - top + 0.5, 0, 1)
        texture = 1 + (0.20 if number else 0.05) * sample(
            "rough", v * 1.5, np.arange(columns, dtype=np.float32)[None] * 1.5
        )
        image += share * (rgb(colour) * texture - image)
    if light.night:
        whole *= np.float32(1 - 0.94 * light.night)
