"""Vehicles, people, single trees, poles and signs.

Boxes seen through the camera, their shadows under them.
"""

from __future__ import annotations

import math

import numpy as np

from backstride.roads.synthetic.canvas import Canvas, Points, rgb
from backstride.roads.synthetic.noise import SIDE, Floats, crop, tile
from backstride.roads.synthetic.view import Path, rotation_of
from backstride.roads.synthetic.world import Colour, Thing, World

Corners = list[tuple[float, float, float]]

OCTAGON = [(math.cos(step * math.pi / 4), math.sin(step * math.pi / 4)) for step in range(8)]
GLASS: Colour = (0.10, 0.12, 0.15)
TYRE: Colour = (0.05, 0.05, 0.055)
NEAREST = 1.0  # m in front of the camera, for any part of a box


class Box:
    """Where a thing stands, and its own axes in the picture: across, up, and along the road."""

    def __init__(self, canvas: Canvas, world: World, path: Path, thing: Thing) -> None:
        self.canvas, self.world, self.thing = canvas, world, thing
        self.width, self.height, self.length = thing.size
        self.depth = z = thing.distance
        x, self.cosine, self.rise = path.at(z)
        self.sine = math.copysign(math.sqrt(max(1 - self.cosine**2, 0.0)), path.at(z * 1.02)[0] - x)
        self.x = x + thing.at / self.cosine
        self.rotation: list[list[float]] = rotation_of(world.camera).tolist()
        shaded = world.light.shade > 0.6
        self.light = (1 - 0.80 * world.light.night) * (1 - 0.25 * world.light.shadow * shaded)
        self.pixels = self.height * world.camera.focal / z  # how high it appears

    def points(self, corners: Corners) -> Points:
        """Pixels of corners.

        Across in half widths, up in heights, along in lengths from the near face.
        """
        camera = self.world.camera
        right, down, ahead = self.rotation
        found: Points = []
        for across, up, along in corners:
            first, second = across * self.width / 2, along * self.length
            x = self.x + first * self.cosine + second * self.sine
            y = camera.height - self.rise - up * self.height
            z = self.depth - first * self.sine + second * self.cosine
            scale = camera.focal / max(ahead[0] * x + ahead[1] * y + ahead[2] * z, NEAREST)
            found.append(
                (
                    camera.cx + scale * (right[0] * x + right[1] * y + right[2] * z),
                    camera.cy + scale * (down[0] * x + down[1] * y + down[2] * z),
                )
            )
        return found

    def face(self, corners: Corners, colour: Colour, shade: float = 1.0) -> None:
        """Paint one convex face."""
        light = shade * self.light
        lit = (colour[0] * light, colour[1] * light, colour[2] * light)
        self.canvas.polygon(self.points(corners), lit, self.depth)

    def shadow(self) -> None:
        """The dark patch on the ground under and beside it; the road stays road there."""
        strength = 0.45 + 0.35 * self.world.light.shadow
        lean = (
            1.2 * self.height / self.width * self.world.light.shadow
        )  # the sun casts it to one side
        left, right = (lean, 0.0) if self.world.seed % 2 else (0.0, lean)
        for grow, share in ((1.0, 0.35 + 0.3 * self.world.light.shadow), (0.0, strength)):
            corners = [
                (-1.03 - grow * left, 0.0, 0.0),
                (1.03 + grow * right, 0.0, 0.0),
                (1.03 + grow * right, 0.0, 1.0),
                (-1.03 - grow * left, 0.0, 1.0),
            ]
            self.canvas.polygon(
                self.points(corners), (0.02, 0.02, 0.025), self.depth, opacity=share, shadow=True
            )


def quad(
    left: float, right: float, low: float, high: float, along: float = 0.0, *, inset: float = 0.0
) -> Corners:
    """A face across the road, its top narrower by `inset` on each side."""
    return [
        (left, low, along),
        (right, low, along),
        (right - inset, high, along),
        (left + inset, high, along),
    ]


def paint_thing(canvas: Canvas, world: World, path: Path, thing: Thing) -> None:
    """Paint one thing."""
    box = Box(canvas, world, path, thing)
    if box.pixels < 1.5:
        return
    if thing.kind in {"tree", "bush"}:
        _tree(box)
    elif thing.kind in {"car", "van", "truck"}:
        _vehicle(box)
    elif thing.kind in {"bike", "person"}:
        _upright(box)
    else:
        _post(box)


def _vehicle(box: Box) -> None:
    """A box with a cabin; parts that would be smaller than a pixel are left out."""
    colour, car = box.thing.colour, box.thing.kind == "car"
    box.shadow()
    if box.pixels < 6:
        box.face(quad(-1, 1, 0.12, 0.6), colour, 0.9)
        box.face(
            quad(-0.9, 0.9, 0.6, 1.0, inset=0.2), colour if box.thing.kind == "truck" else GLASS
        )
    else:
        belt, foot = (0.55, 0.16) if car else (0.6, 0.12)
        _side(box, belt, foot)
        _near_face(box, belt, foot)
    night = box.world.light.night
    if night > 0.3:
        glow: Colour = (1.0, 0.95, 0.8) if box.thing.oncoming else (1.0, 0.12, 0.08)
        for u, v in box.points([(-0.8, 0.45, 0.0), (0.8, 0.45, 0.0)]):
            radius = (
                0.35 * box.world.camera.focal / box.depth * (2.5 if box.thing.oncoming else 1.2)
            )
            _glow(box.canvas, u, v, radius, (night * glow[0], night * glow[1], night * glow[2]))


def _side(box: Box, belt: float, foot: float) -> None:
    """The long side that faces the camera, if any: body, roof line, windows, wheels."""
    thing, colour = box.thing, box.thing.colour
    away = box.x * box.cosine - box.depth * box.sine
    side = 1.0 if away < -box.width / 2 else -1.0 if away > box.width / 2 else 0.0
    if not side:
        return
    box.face(
        [(side, foot, 0.0), (side, foot, 1.0), (side, belt + 0.05, 1.0), (side, belt + 0.05, 0.0)],
        colour,
        0.75,
    )
    near, far, inset = (0.18, 0.72, 0.12) if thing.kind == "car" else (0.02, 0.98, 0.0)
    top = side * (1 - inset)
    box.face(
        [(side, belt, near / 4), (side, belt, 0.9), (top, 1.0, far), (top, 1.0, near)], colour, 0.7
    )
    if thing.kind != "truck":
        box.face(
            [(side, belt, 0.1), (side, belt, 0.82), (top, 0.94, 0.66), (top, 0.94, 0.22)], GLASS
        )
    if box.pixels > 12:
        high, long = 0.33 / box.height, 0.33 / box.length
        for along in (0.2, 0.8):
            box.face([(side, high * (1 + b), along + long * a) for a, b in OCTAGON], TYRE)


def _near_face(box: Box, belt: float, foot: float) -> None:
    """The rear of what drives ahead, the front of what comes towards us."""
    thing, colour = box.thing, box.thing.colour
    car = thing.kind == "car"
    inset, cabin = (0.18, 0.1) if car else (0.03, 0.0)
    fine = box.pixels > 14
    box.face(quad(-0.9, 0.9, 0.0, foot + 0.05), TYRE)
    if car:
        box.face(
            [(-0.82, 1.0, 0.2), (0.82, 1.0, 0.2), (0.8, 0.98, 0.7), (-0.8, 0.98, 0.7)], colour, 1.1
        )
    box.face(quad(-0.97, 0.97, belt - 0.02, 1.0, cabin, inset=inset), colour, 0.9)
    box.face(quad(-1, 1, foot, belt), colour, 0.95)
    if thing.kind != "truck" or thing.oncoming:
        box.face(quad(-0.85, 0.85, belt + 0.03, 0.93, cabin, inset=inset), GLASS, 1.3)
    lamp: Colour = (0.95, 0.93, 0.85) if thing.oncoming else (0.55, 0.05, 0.05)
    for left in (-0.95, 0.65):
        box.face(quad(left, left + 0.3, belt - 0.16, belt - 0.02), lamp)
    if fine:
        box.face(
            quad(-0.95, 0.95, foot, foot + 0.1),
            (0.5 * colour[0], 0.5 * colour[1], 0.5 * colour[2]),
            0.8,
        )
        box.face(quad(-0.25, 0.25, belt - 0.25, belt - 0.12), (0.8, 0.8, 0.75))


def _glow(canvas: Canvas, u: float, v: float, radius: float, light: Colour) -> None:
    found = canvas.window(u - radius, v - radius, u + radius, v + radius)
    if found is not None:
        top, left, across, down = found
        spot = np.clip(1 - across * across - down * down, 0, 1) ** 2
        rows, columns = spot.shape
        canvas.image[:, top : top + rows, left : left + columns] += spot * rgb(light)


def _upright(box: Box) -> None:
    """A person, or one on a motorcycle."""
    box.shadow()
    if box.thing.kind == "bike":
        box.face(quad(-0.25, 0.25, 0.0, 0.42), TYRE)
        box.face(quad(-0.9, 0.9, 0.32, 0.5, inset=0.2), (0.12, 0.12, 0.13))
        box.face(quad(-0.6, 0.6, 0.4, 0.82, inset=0.1), box.thing.colour)
    else:
        box.face(quad(-0.5, -0.05, 0.0, 0.5), (0.12, 0.13, 0.2))
        box.face(quad(0.05, 0.5, 0.0, 0.5), (0.12, 0.13, 0.2))
        box.face(quad(-0.8, 0.8, 0.45, 0.85, inset=0.1), box.thing.colour)
    box.face(
        quad(-0.3, 0.3, 0.84, 1.0, inset=0.08),
        (0.45, 0.33, 0.27) if box.thing.kind == "person" else TYRE,
    )


def _post(box: Box) -> None:
    """A pole, or a sign on one; the plate is in the upper third."""
    if box.thing.kind == "pole":
        box.face(quad(-1, 1, 0.0, 1.0), box.thing.colour)
        return
    thin = min(0.12 / box.width, 0.5)
    box.face(quad(-thin, thin, 0.0, 0.7), (0.45, 0.45, 0.46))
    box.face(quad(-1, 1, 0.62, 1.0), (0.9, 0.9, 0.88))
    box.face(quad(-0.94, 0.94, 0.635, 0.985), box.thing.colour)


def _tree(box: Box) -> None:
    """A trunk, and a crown whose outline is an ellipse broken up by noise.

    A bush is a crown on the ground.
    """
    thing = box.thing
    (foot_u, foot_v), (_, top_v) = box.points([(0, 0, 0), (0, 1, 0)])
    height = foot_v - top_v
    half = height * thing.size[0] / thing.size[1] / 2
    bush = thing.kind == "bush"
    if not bush:
        box.face(quad(-0.07, 0.07, 0.0, 0.5), (0.17, 0.14, 0.11))
    found = box.canvas.window(
        foot_u - half, top_v, foot_u + half, foot_v if bush else foot_v - 0.2 * height
    )
    if found is None:
        return
    top, left, across, down = found
    rows, columns = down.size, across.size
    seed = int(thing.at * 97 + thing.distance * 31) & (SIDE - 1)
    leaf, clump = crop("rough", rows, columns, seed, seed), _clumps(rows, columns, seed)
    across, down = across * 1.3, down * 1.3  # room for the outline's noise
    outline = 1 - across * across - down * down * (1 + 0.25 * down) + 0.25 * clump + 0.18 * leaf
    share = np.clip(outline * min(height / 8, 4) + 0.5, 0, 1) * np.clip(
        1.7 + 0.7 * leaf + 0.5 * clump, 0, 1
    )
    share *= np.clip((1.3 - np.maximum(np.abs(across), np.abs(down))) * 8, 0, 1)
    shade = np.clip(0.72 - 0.2 * down + 0.22 * leaf + 0.18 * clump, 0.08, 1.8) * np.float32(
        box.light
    )
    depth = np.full((1, 1), box.depth, np.float32)
    box.canvas.put(top, left, share, box.canvas.through_fog(rgb(thing.colour) * shade, depth))


def _clumps(rows: int, columns: int, seed: int) -> Floats:
    """Smooth noise with about five clumps across the piece."""
    step = 80 / max(rows, columns, 1)
    above = (seed + np.arange(rows) * step).astype(np.int64) % SIDE
    right = (seed * 3 + np.arange(columns) * step).astype(np.int64) % SIDE
    return tile("smooth").take(above, 0).take(right, 1)
