"""What stands along the road: barriers, rails, trees in rows, banks, houses, fences, kerbs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from backstride.roads.synthetic.canvas import Canvas, rgb
from backstride.roads.synthetic.noise import Floats, line, sample
from backstride.roads.synthetic.view import Doubles, Path, project
from backstride.roads.synthetic.world import SOLID, Wall, World

SHADE = (0.30, 0.36, 0.44)  # what the sky alone lights
FOLDS = 3  # how often a wall may turn back on itself in the picture before the rest is left out


class Strip:
    """The columns of the picture that one stretch of a wall covers.

    Its top and bottom rows, place and depth.
    """

    def __init__(self, wall: Wall, world: World, columns: int, table: tuple[Doubles, ...]) -> None:
        u, top, bottom, along, depth = table
        if u[0] > u[-1]:
            u, top, bottom, along, depth = (
                values[::-1] for values in (u, top, bottom, along, depth)
            )
        self.left = max(int(np.ceil(u[0])), 0)
        at = np.arange(self.left, min(int(np.floor(u[-1])) + 1, columns), dtype=np.float64)
        self.wall, self.world = wall, world

        def lookup(values: Doubles) -> Floats:
            return np.interp(at, u, values).astype(np.float32)[None]

        self.empty = at.size == 0
        if not self.empty:
            self.top, self.bottom, self.along, self.depth = map(lookup, (top, bottom, along, depth))


def stretches(wall: Wall, world: World, path: Path, columns: int) -> Iterator[Strip]:
    """The wall cut where it folds in the picture, the farthest stretch first."""
    use = (path.z >= wall.near) & (path.z <= wall.far)
    if np.count_nonzero(use) < 3:
        return
    z, along = path.z[use], path.along[use]
    x, foot = path.x[use] + wall.at / path.cosine[use], path.rise[use]
    height = np.full_like(z, wall.height)
    if wall.rough:
        at = (along * (2.0 if wall.height > 3 else 6.0)).astype(np.float32)
        wave = line("smooth", at, row_of(wall, world)) + 0.25 * line(
            "cloud", at, row_of(wall, world) + 9
        )
        height = height * np.maximum(1 + wall.rough * np.clip(wave, -1.6, 1.6), 0.05)
    u, bottom, depth = project(world, x, foot, z)
    _, top, _ = project(world, x, foot + height, z)
    seen = depth > 0.5
    turns = np.flatnonzero(np.diff(np.sign(np.diff(u))) != 0) + 1
    cuts = [0, *turns[:FOLDS].tolist(), len(u) - 1]
    for first, last in reversed(list(itertools.pairwise(cuts))):
        piece = slice(first, last + 1)
        if seen[piece].all() and last - first >= 1:
            strip = Strip(
                wall,
                world,
                columns,
                (u[piece], top[piece], bottom[piece], along[piece], depth[piece]),
            )
            if not strip.empty:
                yield strip


def row_of(wall: Wall, world: World) -> int:
    """A row of the noise for this wall alone."""
    return int(abs(wall.at) * 37) + world.seed % 997


def paint_wall(canvas: Canvas, world: World, path: Path, wall: Wall) -> None:
    """Paint one wall."""
    rows, columns = canvas.road.shape
    for strip in stretches(wall, world, path, columns):
        if wall.kind in {"leaves", "trunks"}:  # the outline of crowns
            pixels = strip.bottom - strip.top
            at = strip.left + np.arange(pixels.size, dtype=np.float32)
            jitter = line("rough", at, row_of(wall, world)) + line(
                "cloud", at * 2, row_of(wall, world) + 5
            )
            strip.top = strip.top - np.float32(0.03) * pixels * jitter[None]
        above = int(np.clip(np.floor(strip.top.min()) - 1, 0, rows))
        under = int(np.clip(np.ceil(strip.bottom.max()) + 2, 0, rows))
        if above >= under:
            continue
        v = np.arange(above, under, dtype=np.float32)[:, None]
        share = np.clip(v - strip.top + 0.5, 0, 1) * np.clip(strip.bottom - v + 0.5, 0, 1)
        high = (strip.bottom - v) / np.maximum(
            strip.bottom - strip.top, 0.5
        )  # 0 at the foot, 1 at the top
        colour, holes = PAINTERS[wall.kind](strip, high, v)
        if (
            wall.kind in SOLID and wall.at * world.light.slant < 0
        ):  # its side towards the road lies in its own shade
            colour = colour * (
                rgb(SHADE) * np.float32(world.light.shadow) + np.float32(1 - world.light.shadow)
            )
        seen = canvas.through_fog(colour, strip.depth)
        canvas.put(above, strip.left, share if holes is None else share * holes, seen)


Painted: TypeAlias = "tuple[Floats, Floats | None]"


def _speckle(strip: Strip, high: Floats, kind: str, cells: float, amplitude: float) -> Floats:
    """Texture fixed to the wall, finest one cell a pixel."""
    pixel = strip.depth / np.float32(strip.world.camera.focal)
    scale = np.minimum(np.float32(cells), 0.7 / np.maximum(pixel, 1e-3))
    octave = np.exp2(np.floor(np.log2(scale)))
    seed = row_of(strip.wall, strip.world)
    return np.float32(amplitude) * sample(
        kind, high * strip.wall.height * octave + seed, strip.along * octave
    )


def _barrier(strip: Strip, high: Floats, v: Floats) -> Painted:
    del v
    shade = 1 + _speckle(strip, high, "cloud", 12, 0.08) + _speckle(strip, high, "grain", 40, 0.04)
    shade *= 0.72 + 0.28 * np.clip(high * 3, 0, 1) + 0.10 * (high > 0.85)
    joint = np.mod(strip.along, 6.0) < np.maximum(
        0.08, strip.depth / strip.world.camera.focal * 0.5
    )
    return rgb(strip.wall.colour) * (shade * (1 - 0.25 * joint * (strip.depth < 40))), None


def _rail(strip: Strip, high: Floats, v: Floats) -> Painted:
    del v
    beam = np.clip((high - 0.55) * 30, 0, 1)
    post = (np.mod(strip.along, 3.0) < 0.16) & (strip.depth < 50)
    shade = 0.75 + 0.35 * np.abs(np.sin(high * 14))
    return rgb(strip.wall.colour) * shade, np.maximum(beam, post.astype(np.float32) * 0.9)


def _foliage(strip: Strip, v: Floats, kind: str, cells: float) -> Floats:
    """Texture of leaves.

    Alike from every side, so it lies in the picture's plane, finer with distance.
    """
    scale = cells * strip.depth / np.float32(strip.world.camera.focal)
    scale = np.exp2(np.rint(2 * np.log2(np.clip(scale, 0.6, 0.9))) / 2).astype(np.float32)
    u = strip.left + np.arange(strip.depth.size, dtype=np.float32)[None]
    return sample(kind, v * scale + np.float32(row_of(strip.wall, strip.world)), u * scale)


def _leaves(strip: Strip, high: Floats, v: Floats) -> Painted:
    light = strip.world.light
    leaf = np.float32(0.25) * _foliage(strip, v, "rough", 16)
    clump = np.float32(0.3) * _foliage(strip, v, "cloud", 14) + np.float32(0.2) * _foliage(
        strip, v, "smooth", 16
    )
    shade = np.clip(0.70 + 0.2 * high + leaf + clump * (0.5 + light.shadow * 0.8), 0.10, 1.9)
    holes = np.clip(1.5 - 2.0 * (high - 0.7) + 2.5 * (leaf + clump), 0, 1)
    warm = np.stack([1 + 0.25 * clump, np.ones_like(clump), 1 - 0.25 * clump])
    return rgb(strip.wall.colour) * warm * shade, holes


def _trunks(strip: Strip, high: Floats, v: Floats) -> Painted:
    stems = line(
        "rough", (strip.along * 1.6).astype(np.float32)[0], row_of(strip.wall, strip.world)
    )[None]
    stem = np.clip((stems - 0.55) * 6, 0, 1)
    dark = np.clip(
        0.4 + 0.3 * _foliage(strip, v, "rough", 10) + 0.2 * _foliage(strip, v, "smooth", 12),
        0.03,
        1.6,
    )
    colour = rgb(strip.wall.colour) * dark
    colour = colour + stem * (
        rgb((0.20, 0.16, 0.13)) * (0.7 + _speckle(strip, high, "grain", 20, 0.2)) - colour
    )
    return colour, None


def _bank(strip: Strip, high: Floats, v: Floats) -> Painted:
    del v
    shade = (
        0.85
        + 0.15 * high
        + _speckle(strip, high, "cloud", 4, 0.14)
        + _speckle(strip, high, "grain", 16, 0.10)
    )
    bushes = np.clip((_speckle(strip, high, "smooth", 8, 1.0) - 1.1) * 6, 0, 1)
    colour = rgb(strip.wall.colour) * shade
    return colour + bushes * (rgb((0.17, 0.21, 0.11)) * shade - colour), None


def _building(strip: Strip, high: Floats, v: Floats) -> Painted:
    del v
    height = strip.wall.height
    part = np.floor(strip.along / 14)
    hue = 0.75 + 0.4 * np.mod(part * 0.618, 1)
    window = (
        (np.mod(strip.along, 3.2) < 1.4)
        & (np.mod(high * height, 3.0) > 1.2)
        & (np.mod(high * height, 3.0) < 2.5)
    )
    glass = rgb((0.16, 0.19, 0.23)) * (1 + 0.5 * np.mod(np.floor(strip.along / 3.2) * 0.37, 1))
    colour = rgb(strip.wall.colour) * (hue * (1 + _speckle(strip, high, "grain", 20, 0.03)))
    return colour + window * (glass - colour), None


def _fence(strip: Strip, high: Floats, v: Floats) -> Painted:
    del v
    post = (np.mod(strip.along, 2.5) < 0.12) & (strip.depth < 60)
    bars = np.clip(np.abs(np.sin(high * 9)) * 3 - 2, 0, 1)
    mesh = np.maximum(np.maximum(post, bars * 0.8), 0.25)
    return rgb(strip.wall.colour) * np.ones_like(high), mesh.astype(np.float32)


def _kerb(strip: Strip, high: Floats, v: Floats) -> Painted:
    del v
    joint = (np.mod(strip.along, 1.0) < 0.03) & (strip.depth < 12)
    shade = 0.85 + 0.2 * high + _speckle(strip, high, "grain", 40, 0.06)
    return rgb(strip.wall.colour) * (shade * (1 - 0.3 * joint)), None


PAINTERS = {
    "barrier": _barrier,
    "rail": _rail,
    "leaves": _leaves,
    "trunks": _trunks,
    "bank": _bank,
    "building": _building,
    "fence": _fence,
    "kerb": _kerb,
}
