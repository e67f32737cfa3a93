"""Vehicles, people, single trees, poles and signs: boxes seen through the camera, their shadows under them."""

from __future__ import annotations

import math

import numpy as np

from backstride.roads.synthetic.canvas import Canvas, Points
from backstride.roads.synthetic.ground import rgb
from backstride.roads.synthetic.noise import SIDE, Floats, crop, tile
from backstride.roads.synthetic.view import Path
from backstride.roads.synthetic.world import Colour, Thing, World

Corners = list[tuple[float, float, float]]

OCTAGON = [(math.cos(step * math.pi / 4), math.sin(step * math.pi / 4)) for step in range(8)]
GLASS: Colour = (0.10, 0.12, 0.15)
TYRE: Colour = (0.05, 0.05, 0.055)


class Box:
    """Where a thing stands, and its own axes in the picture: across, up, and along the road."""

    def __init__(self, canvas: Canvas, world: World, path: Path, thing: Thing) -> None:
        self.canvas, self.world, self.thing = canvas, world, thing
        self.width, self.height, self.length = thing.size
        self.depth = z = thing.distance
        self.cosine = float(np.interp(z, path.z, path.cosine))
        turn = float(np.interp(z * 1.02, path.z, path.x)) - float(np.interp(z, path.z, path.x))
        self.sine = math.copysign(math.sqrt(max(1 - self.cosine**2, 0.0)), turn)
        self.x = float(np.interp(z, path.z, path.x)) + thing.at / self.cosine
        self.rise = float(np.interp(z, path.z, path.rise))
        self.rotation: list[list[float]] = world.camera.rotation.tolist()
        dim = 1 - 0.80 * world.light.night
        self.light = np.float32(dim * (1 - 0.25 * world.light.shadow * (world.light.shade > 0.6)))

    @property
    def pixels(self) -> float:
        """How many pixels high it appears."""
        return self.height * self.world.camera.focal / self.depth

    def points(self, corners: Corners) -> Points:
        """Pixels of corners: across in half widths, up in heights, along in lengths from the near face."""
        camera = self.world.camera
        found: Points = []
        for across, up, along in corners:
            aside, ahead = across * self.width / 2, along * self.length
            x = self.x + aside * self.cosine + ahead * self.sine
            y = camera.height - self.rise - up * self.height
            z = self.depth - aside * self.sine + ahead * self.cosine
            u, v, depth = (row[0] * x + row[1] * y + row[2] * z for row in self.rotation)
            depth = max(depth, 0.1)
            found.append((camera.cx + camera.focal * u / depth, camera.cy + camera.focal * v / depth))
        return found

    def face(self, corners: Corners, colour: Colour, shade: float = 1.0) -> None:
        """Paint one convex face."""
        self.canvas.polygon(self.points(corners), rgb(colour) * np.float32(shade) * self.light, self.depth)

    def shadow(self) -> None:
        """The dark patch on the ground under and beside it; the road stays road there."""
        strength = 0.45 + 0.35 * self.world.light.shadow
        for grow, share in ((0.35, 0.35), (0.05, strength)):
            corners = [(-1 - grow, 0, -grow / 4), (1 + grow, 0, -grow / 4), (1 + grow, 0, 1), (-1 - grow, 0, 1)]
            self.canvas.polygon(self.points(corners), rgb((0.02, 0.02, 0.025)), self.depth, opacity=share, shadow=True)


def quad(left: float, right: float, low: float, high: float, along: float, inset: float = 0.0) -> Corners:
    """A face across the road, its top narrower by `inset` on each side."""
    return [(left, low, along), (right, low, along), (right - inset, high, along), (left + inset, high, along)]


def paint_thing(canvas: Canvas, world: World, path: Path, thing: Thing) -> None:
    """Paint one thing."""
    if thing.kind in {"tree", "bush"}:
        _tree(canvas, world, path, thing)
        return
    box = Box(canvas, world, path, thing)
    if box.pixels < 1.5:
        return
    if thing.kind in {"car", "van", "truck"}:
        _vehicle(box)
    elif thing.kind in {"bike", "person"}:
        _upright(box)
    else:
        _post(box)


def _side(box: Box) -> float:
    """Which side of a thing faces the camera, as the sign of its place: -1 where we see its right side."""
    away = box.x * box.cosine - box.depth * box.sine
    return 1.0 if away < -box.width / 2 else -1.0 if away > box.width / 2 else 0.0


def _vehicle(box: Box) -> None:
    thing = box.thing
    colour, side = thing.colour, _side(box)
    if box.pixels < 7:  # too far to tell its parts
        box.shadow()
        box.face(quad(-1, 1, 0.12, 0.6, 0.0), colour, 0.9)
        box.face(quad(-0.9, 0.9, 0.6, 1.0, 0.0, 0.2), colour if thing.kind == "truck" else GLASS)
        _shine(box, 0.5)
        return
    tall = thing.kind != "car"
    belt = 0.55 if thing.kind == "car" else 0.6
    foot = 0.16 if thing.kind == "car" else 0.12
    box.shadow()
    front, rear = (0.0, 1.0)
    if side:
        box.face(
            [(side, foot, front), (side, foot, rear), (side, belt + 0.05, rear), (side, belt + 0.05, front)],
            colour,
            0.75,
        )
        roof = (0.02, 0.98, 0.0) if tall else (0.18, 0.72, 0.12)
        top = side * (1 - roof[2])
        box.face(
            [(side, belt, roof[0] - 0.0), (side, belt, 0.9), (top, 1.0, roof[1]), (top, 1.0, roof[0])], colour, 0.7
        )
        if thing.kind != "truck":
            box.face([(side, belt, 0.1), (side, belt, 0.82), (top, 0.94, 0.66), (top, 0.94, 0.22)], GLASS)
        for along in (0.2, 0.8):
            tyre = 0.33 / box.height, 0.33 / box.length
            box.face([(side, tyre[0] * (1 + b), along + tyre[1] * a) for a, b in OCTAGON], TYRE)
    for wheel in (-0.8, 0.8):
        box.face(quad(wheel - 0.15, wheel + 0.15, 0.0, 0.3, 0.02), TYRE)
    inset = 0.03 if tall else 0.18
    if not tall:
        box.face([(-0.82, 1.0, 0.2), (0.82, 1.0, 0.2), (0.8, 0.98, 0.7), (-0.8, 0.98, 0.7)], colour, 1.1)
    cabin = 0.0 if tall else 0.1
    box.face(quad(-0.97, 0.97, belt - 0.02, 1.0, cabin, inset), colour, 0.9)
    box.face(quad(-1, 1, foot, belt, 0.0), colour, 0.95)
    if thing.kind != "truck" or thing.oncoming:
        box.face(quad(-0.85, 0.85, belt + 0.03, 0.93, cabin, inset), GLASS, 1.3)
    box.face(quad(-0.95, 0.95, foot, foot + 0.1, -0.01), tuple(0.5 * part for part in colour), 0.8)
    _lights(box, belt)


def _lights(box: Box, belt: float) -> None:
    """Lamps and plate."""
    lamp: Colour = (0.95, 0.93, 0.85) if box.thing.oncoming else (0.55, 0.05, 0.05)
    for left in (-0.95, 0.65):
        box.face(quad(left, left + 0.3, belt - 0.16, belt - 0.02, -0.01), lamp)
    box.face(quad(-0.25, 0.25, belt - 0.25, belt - 0.12, -0.01), (0.8, 0.8, 0.75))
    _shine(box, belt)


def _shine(box: Box, belt: float) -> None:
    """The glow of lamps at night."""
    night = box.world.light.night
    if night > 0.3:
        glow: Colour = (1.0, 0.95, 0.8) if box.thing.oncoming else (1.0, 0.12, 0.08)
        for u, v in box.points([(-0.8, belt - 0.1, 0.0), (0.8, belt - 0.1, 0.0)]):
            radius = 0.35 * box.world.camera.focal / box.depth * (2.5 if box.thing.oncoming else 1.2)
            _glow(box.canvas, u, v, radius, glow, night)


def _glow(canvas: Canvas, u: float, v: float, radius: float, colour: Colour, strength: float) -> None:
    found = canvas.window(u - radius, v - radius, u + radius, v + radius)
    if found is not None:
        top, left, across, down = found
        spot = np.float32(strength) * np.clip(1 - across * across - down * down, 0, 1) ** 2
        rows, columns = spot.shape
        canvas.image[:, top : top + rows, left : left + columns] += spot * rgb(colour)


def _upright(box: Box) -> None:
    """A person, or one on a motorcycle."""
    box.shadow()
    if box.thing.kind == "bike":
        box.face(quad(-0.25, 0.25, 0.0, 0.42, 0.0), TYRE)
        box.face(quad(-0.9, 0.9, 0.32, 0.5, 0.0, 0.2), (0.12, 0.12, 0.13))
        box.face(quad(-0.6, 0.6, 0.4, 0.82, 0.0, 0.1), box.thing.colour)
    else:
        box.face(quad(-0.5, -0.05, 0.0, 0.5, 0.0), (0.12, 0.13, 0.2))
        box.face(quad(0.05, 0.5, 0.0, 0.5, 0.0), (0.12, 0.13, 0.2))
        box.face(quad(-0.8, 0.8, 0.45, 0.85, 0.0, 0.1), box.thing.colour)
    box.face(quad(-0.3, 0.3, 0.84, 1.0, 0.0, 0.08), (0.45, 0.33, 0.27) if box.thing.kind == "person" else TYRE)


def _post(box: Box) -> None:
    """A pole, or a sign on one; the plate is in the upper third."""
    if box.thing.kind == "pole":
        box.face(quad(-1, 1, 0.0, 1.0, 0.0), box.thing.colour)
        return
    thin = min(0.12 / box.width, 0.5)
    box.face(quad(-thin, thin, 0.0, 0.7, 0.0), (0.45, 0.45, 0.46))
    box.face(quad(-1, 1, 0.62, 1.0, 0.0), (0.9, 0.9, 0.88))
    box.face(quad(-0.94, 0.94, 0.635, 0.985, 0.0), box.thing.colour)


def _tree(canvas: Canvas, world: World, path: Path, thing: Thing) -> None:
    box = Box(canvas, world, path, thing)
    (foot_u, foot_v), (_, top_v) = box.points([(0, 0, 0), (0, 1, 0)])
    height = foot_v - top_v
    half = height * thing.size[0] / thing.size[1] / 2
    bush = thing.kind == "bush"
    if not bush:
        box.face(quad(-0.07, 0.07, 0.0, 0.5, 0.0), (0.17, 0.14, 0.11))
    low = foot_v if bush else foot_v - 0.22 * height
    found = canvas.window(foot_u - half, top_v, foot_u + half, low)
    if found is None:
        return
    top, left, across, down = found
    rows, columns = down.size, across.size
    seed = int(thing.at * 97 + thing.distance * 31) & 511
    leaf, clump = crop("rough", rows, columns, seed, seed), _clumps(rows, columns, seed)
    outline = 1 - across * across - down * down * (1 + 0.3 * down) + 0.35 * clump + 0.25 * leaf
    share = np.clip(outline * min(height / 8, 4) + 0.5, 0, 1)
    share *= np.clip(1.6 + 0.8 * leaf + 0.5 * clump, 0, 1)
    shade = np.clip(0.70 - 0.25 * down + 0.26 * leaf + 0.2 * clump, 0.08, 1.8)
    canvas.put(top, left, share, rgb(thing.colour) * (shade * box.light), box.depth)


def _clumps(rows: int, columns: int, seed: int) -> Floats:
    """Smooth noise with about five clumps across the piece."""
    step = 120 / max(rows, columns, 1)
    above = (seed + np.arange(rows) * step).astype(np.int64)
    right = (seed * 3 + np.arange(columns) * step).astype(np.int64)

    return tile("smooth")[above[:, None] % SIDE, right[None] % SIDE]
