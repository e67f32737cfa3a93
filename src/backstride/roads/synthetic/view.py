"""Where each pixel looks: the road's path and slope, seen through the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backstride.roads.camera import Camera
from backstride.roads.synthetic.noise import Floats, line
from backstride.roads.synthetic.world import World

STEEPEST = 1.2  # radians that the road may turn away from the camera's axis
NEAREST, FARTHEST, STEPS = 0.6, 450.0, 400
STEP = math.log(FARTHEST / NEAREST) / (STEPS - 1)
LEVELS = 2048

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Path:
    """The road's path, tabulated over the distance z."""

    z: Doubles
    x: Doubles
    cosine: Doubles  # of the angle between the road and the camera's axis
    along: Doubles  # arc length
    rise: Doubles  # height over the plane under the camera

    def at(self, z: float) -> tuple[float, float, float]:
        """x, cosine and rise at a distance."""
        place = min(max(math.log(max(z, NEAREST) / NEAREST) / STEP, 0.0), STEPS - 1.001)
        index = int(place)
        share = place - index
        x, cosine, rise = (
            float(values[index]) * (1 - share) + float(values[index + 1]) * share
            for values in (self.x, self.cosine, self.rise)
        )
        return x, cosine, rise


@dataclass(frozen=True, slots=True)
class Below:
    """The ground that the picture shows, from row `top` down: arrays of (rows - top, columns)."""

    top: int
    shown: Floats  # 1 where a pixel shows ground, between 0 and 1 at the farthest row
    lateral: Floats
    along: Floats
    depth: Floats
    fine: Floats  # m across a pixel
    coarse: Floats  # m along the road that a pixel covers
    left: Floats  # the edges of the road at that distance
    right: Floats


def path_of(world: World) -> Path:
    """Integrates curvature and slope."""
    course = world.course
    z = np.geomspace(NEAREST, FARTHEST, STEPS)
    steps = np.diff(z, prepend=0.0)
    bend = course.bend + course.swing * (
        np.sin(z / course.wave + course.phase) - math.sin(course.phase)
    )
    angle = np.clip(course.yaw + np.cumsum(bend * steps), -STEEPEST, STEEPEST)
    slope = course.slope * np.sin(z / course.hill) + course.crest * 60 * np.tanh(z / 60)
    return Path(
        z,
        np.cumsum(np.tan(angle) * steps),
        np.cos(angle),
        np.cumsum(steps / np.cos(angle)),
        np.cumsum(np.clip(slope, -0.12, 0.12) * steps),
    )


@lru_cache(maxsize=2)
def rotation_of(camera: Camera) -> Doubles:
    """The camera's rotation, computed once a scene."""
    return camera.rotation


def project(world: World, x: Doubles, up: Doubles, z: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Pixels (u, v) and depth of points in metres.

    X to the right, `up` over the plane under the camera, z ahead.
    """
    camera = world.camera
    turned = rotation_of(camera) @ np.stack([x, camera.height - up, z])
    depth = np.maximum(turned[2], 0.1)
    return (
        camera.cx + camera.focal * turned[0] / depth,
        camera.cy + camera.focal * turned[1] / depth,
        depth,
    )


def edges(world: World, along: Doubles) -> tuple[Floats, Floats]:
    """The lateral places of the road's two edges."""
    at = (along * 0.7).astype(np.float32)
    wavers = [world.ragged * line("rough", at, 11 + world.seed % 400 + side) for side in (0, 40)]
    return np.float32(world.left) + wavers[0], np.float32(world.right) + wavers[1]


def below(world: World, path: Path, rows: int, columns: int) -> Below:
    """Looks up the ground under every pixel.

    Rows are compared in the picture of a camera without roll: there, distance depends on the row
    alone, and of all the places that a row meets the nearest is seen, which is where the rows so
    far reach their minimum.
    """
    camera = world.camera
    cos, sin = math.cos(camera.pitch), math.sin(camera.pitch)
    down = camera.height - path.rise
    depth = path.z * cos + down * sin
    height = (down * cos - path.z * sin) / depth
    seen = np.minimum.accumulate(height) >= height
    table, depth_of = height[seen][::-1], depth[seen][::-1]
    widest = max(camera.cx, columns - camera.cx) * abs(math.sin(camera.roll))
    lowest = (max(rows - camera.cy, 1) + widest) / camera.focal
    low, high = float(table[0]), min(float(table[-1]), lowest)
    levels = np.linspace(low, high, LEVELS)
    place = np.interp(levels, table, np.arange(len(table), dtype=np.float64))

    def lookup(values: Doubles) -> Floats:
        return np.interp(place, np.arange(len(table)), values[seen][::-1]).astype(np.float32)

    left, right = edges(world, path.along)
    depths = np.interp(place, np.arange(len(table)), depth_of)
    # the road covers 1 / slope metres for each step in height; the table is dense enough for a
    # difference
    covers = np.abs(np.gradient(lookup(path.along).astype(np.float64), levels)) / camera.focal
    cos_roll, sin_roll = math.cos(camera.roll), math.sin(camera.roll)
    a = (np.arange(columns, dtype=np.float32) - np.float32(camera.cx)) / np.float32(camera.focal)
    b = (np.arange(rows, dtype=np.float32) - np.float32(camera.cy)) / np.float32(camera.focal)
    leaning = max(abs(float(sin_roll * a[0])), abs(float(sin_roll * a[-1])))
    top = int(np.clip(np.searchsorted(b * cos_roll, low - leaning) - 1, 0, rows - 1))
    b = b[top:, None]
    across = np.float32(cos_roll) * a - np.float32(sin_roll) * b
    height_of = np.float32(sin_roll) * a + np.float32(cos_roll) * b
    index = (
        (height_of - np.float32(low)) * np.float32((LEVELS - 1) / (high - low)) + np.float32(0.5)
    ).astype(np.int32)
    index = np.clip(index, 0, LEVELS - 1)
    depth_at = depths.astype(np.float32)[index]
    lateral = (across * depth_at - lookup(path.x)[index]) * lookup(path.cosine)[index]
    return Below(
        top,
        np.clip((height_of - np.float32(low)) * np.float32(camera.focal) + np.float32(0.5), 0, 1),
        lateral,
        lookup(path.along)[index],
        depth_at,
        depth_at / np.float32(camera.focal),
        covers.astype(np.float32)[index],
        lookup(left.astype(np.float64))[index],
        lookup(right.astype(np.float64))[index],
    )
