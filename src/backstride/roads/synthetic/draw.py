"""Draws a world from a seed: what kind of road, what stands beside it, what light, which camera."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from backstride.roads.camera import Camera
from backstride.roads.synthetic import bonnet
from backstride.roads.synthetic.dice import Dice
from backstride.roads.synthetic.scenery import GROUNDS, Roadside, ridges
from backstride.roads.synthetic.traffic import traffic
from backstride.roads.synthetic.world import Course, Lens, Light, Mark, Surface, World, Zone

WHITE, YELLOW = (0.88, 0.88, 0.86), (0.85, 0.62, 0.14)
EASY = frozenset({"grass", "straw", "soil", "leaves", "rock", "snow"})
WEATHER = ("sun", "cloudy", "rain", "fog", "dusk", "night")
KINDS = ("motorway", "country", "street", "lane")
SHARES = (0.38, 0.34, 0.18, 0.10)


def world_of(seed: int, rows: int, columns: int, *, clear: bool = False) -> World:
    """The world of a seed, for pictures of this size; `clear`: an easy one."""
    dice, kind = _kind(seed, clear=clear)
    lanes, left, right = _lanes(dice, kind)
    light = _light(dice, kind, clear=clear)
    place = Roadside(dice, kind, (left, right), light)
    world = World(
        seed=seed,
        category=_category(kind, lanes),
        camera=_camera(dice, rows, columns),
        course=_course(dice, kind),
        left=left,
        right=right,
        ragged={"motorway": 0.02, "country": 0.10, "street": 0.0, "lane": 0.15}[kind] * dice.unit(),
        lanes=lanes,
        surface=_surface(dice, lanes, left, right, light),
        terrain=place.terrain,
        zones=tuple(place.zones),
        marks=() if kind == "lane" else _marks(dice, kind, lanes),
        walls=tuple(place.walls),
        things=(*place.things, *traffic(dice, kind, lanes, (left, right), place.other)),
        light=light,
        lens=_lens(dice, light, clear=clear),
        ridges=ridges(dice, light),
        mirrored=dice.chance(0.35),
    )
    return _cleared(world) if clear else world


def _cleared(world: World) -> World:
    """Without what makes roads hard to tell: patches, shade, and strips that look like pavement."""
    green = GROUNDS["grass"]
    return replace(
        world,
        surface=replace(world.surface, patches=(), patch_ranges=(), joints=0.0, wet=0.0),
        light=replace(world.light, shade=0.0, bridge=0.0),
        zones=tuple(
            zone if zone.material in EASY else replace(zone, material="grass", colour=green)
            for zone in world.zones
        ),
        things=tuple(
            thing
            for thing in world.things
            if thing.distance > 10 or thing.kind in {"tree", "bush", "pole"}
        ),
    )


def category_of(seed: int, *, clear: bool = False) -> str:
    """The category of a seed's scene, without the rest of it."""
    dice, kind = _kind(seed, clear=clear)
    return _category(kind, _lanes(dice, kind)[0])


def _kind(seed: int, *, clear: bool) -> tuple[Dice, str]:
    dice = Dice(np.random.default_rng([seed, 0]))
    return dice, dice.choose(KINDS, (0.5, 0.4, 0.0, 0.1) if clear else SHARES)


def _category(kind: str, lanes: tuple[float, ...]) -> str:
    """As in KITTI Road: marked in two directions, marked with many lanes, unmarked."""
    if kind == "lane":
        return "uu"
    return "umm" if kind == "motorway" or len(lanes) > 3 else "um"


def _camera(dice: Dice, rows: int, columns: int) -> Camera:
    """Behind a windscreen: 1.1 to 2.6 m high, from wide to narrow, the horizon about the middle."""
    focal = columns * dice.log(0.55, 1.35)
    pitch = dice.normal(0.0, 0.025)
    horizon = rows * dice.normal(0.52, 0.07, 0.34, 0.70)
    return Camera(
        focal=focal,
        cx=(columns - 1) / 2 + columns * dice.normal(0, 0.02),
        cy=horizon + focal * math.tan(pitch),
        height=dice.log(1.1, 1.9) if dice.chance(0.85) else dice.uniform(1.9, 2.8),
        pitch=pitch,
        roll=dice.normal(0, 0.012),
    )


def _course(dice: Dice, kind: str) -> Course:
    """Radii from 300 m on motorways, from 25 m on country roads."""
    bend = {"motorway": 0.0012, "country": 0.010, "street": 0.003, "lane": 0.012}[kind]
    straight = dice.chance(0.3)
    return Course(
        yaw=dice.normal(0, 0.03),
        bend=0.0 if straight else dice.normal(0, bend),
        swing=0.0 if straight else dice.normal(0, bend),
        wave=dice.uniform(12, 60),
        phase=dice.uniform(0, 2 * math.pi),
        slope=dice.normal(0, 0.015),
        hill=dice.uniform(40, 150),
        crest=dice.normal(0, 0.0004),
    )


def _lanes(dice: Dice, kind: str) -> tuple[tuple[float, ...], float, float]:
    """The boundaries of the lanes, and the edges of the paved carriageway."""
    counts = {"motorway": (2, 6), "country": (2, 3), "street": (1, 5), "lane": (1, 3)}[kind]
    count = dice.integer(*counts)
    width = {"motorway": dice.uniform(3.3, 3.9), "lane": dice.uniform(2.0, 3.2)}.get(
        kind, dice.uniform(2.7, 3.7)
    )
    own = dice.integer(0, count)
    if kind == "country":
        own = 1 if dice.chance(0.9) else 0
    first = -(own + 0.5) * width + dice.normal(0, 0.25)
    lanes = tuple(first + width * number for number in range(count + 1))
    widest = {"motorway": 3.6, "country": 1.4, "street": 1.8, "lane": 0.5}[kind]
    left, right = (widest * dice.unit() ** 1.5 for _ in range(2))
    return lanes, lanes[0] - left - 0.15, lanes[-1] + right + 0.15


def _marks(dice: Dice, kind: str, lanes: tuple[float, ...]) -> tuple[Mark, ...]:
    """Lines between lanes and at the edges, of the styles in use in America and Europe."""
    width = dice.uniform(0.10, 0.22)
    period = dice.uniform(6, 16)
    dash = period * dice.uniform(0.2, 0.6)
    start = dice.uniform(0, period)
    yellow = dice.chance(0.5)
    marks: list[Mark] = []
    if dice.chance(0.9 if kind == "motorway" else 0.65):
        marks.append(Mark(lanes[0], width, YELLOW if yellow and kind == "motorway" else WHITE))
    if dice.chance(0.9 if kind == "motorway" else 0.65):
        marks.append(Mark(lanes[-1], width, WHITE))
    for number, at in enumerate(lanes[1:-1]):
        centre = kind != "motorway" and number == (len(lanes) - 2) // 2
        colour = YELLOW if centre and yellow else WHITE
        if centre and dice.chance(0.5):
            gap = width * dice.uniform(0.8, 1.4)
            marks += [Mark(at - gap, width, colour), Mark(at + gap, width, colour)]
        elif centre and dice.chance(0.3):
            marks.append(Mark(at, width, colour))
        elif dice.chance(0.95):
            marks.append(Mark(at, width, colour, period, dash, start))
    return tuple(marks)


def _surface(
    dice: Dice, lanes: tuple[float, ...], left: float, right: float, light: Light
) -> Surface:
    """Asphalt from black to pale, concrete, patches of other age, cracks, wet."""
    concrete = dice.chance(0.2)
    grey = dice.uniform(0.42, 0.72) if concrete else dice.log(0.13, 0.55)
    warm = dice.normal(0.03 if concrete else 0.0, 0.025)
    colour = (grey * (1 + warm), grey, grey * (1 - warm))
    patches: list[Zone] = []
    ranges: list[tuple[float, float]] = []

    def patch(first: float, last: float, near: float, far: float, tone: float) -> None:
        other = dice.normal(0.0, 0.03)
        patches.append(Zone(first, last, "asphalt", (tone * (1 + other), tone, tone * (1 - other))))
        ranges.append((near, far))

    if dice.chance(0.25):  # another surface begins or ends
        near = dice.log(4, 80)
        near, far = (near, near + dice.log(5, 200)) if dice.chance(0.6) else (0.0, near)
        patch(left - 1, right + 1, near, far, dice.log(0.15, 0.7))
    if dice.chance(0.25):  # a lane or shoulder laid at another time
        first = dice.integer(0, len(lanes) - 1)
        patch(lanes[first], lanes[first + 1], 0, 500, dice.log(0.15, 0.65))
    if dice.chance(0.3) and left < lanes[0] - 0.3:
        patch(left - 1, lanes[0] - 0.1, 0, 500, grey * dice.log(0.65, 1.5))
    if dice.chance(0.3) and right > lanes[-1] + 0.3:
        patch(lanes[-1] + 0.1, right + 1, 0, 500, grey * dice.log(0.65, 1.5))
    for _ in range(dice.integer(0, 4) if dice.chance(0.4) else 0):
        at, near = dice.uniform(left, right), dice.log(4, 60)
        patch(
            at,
            at + dice.uniform(0.4, 3),
            near,
            near + dice.log(0.5, 15),
            grey * dice.log(0.65, 1.5),
        )
    return Surface(
        colour=colour,
        cloud=dice.uniform(0, 0.08),
        grain=dice.uniform(0, 0.08),
        tracks=dice.normal(0, 0.05) if dice.chance(0.7) else 0.0,
        sheen=dice.uniform(0, 0.4),
        wet=dice.uniform(0.2, 0.8) if light.rain or dice.chance(0.03) else 0.0,
        patches=tuple(patches),
        patch_ranges=tuple(ranges),
        cracks=tuple(
            (dice.uniform(left, right), dice.uniform(-0.25, 0.6)) for _ in range(dice.integer(0, 5))
        )
        if dice.chance(0.5)
        else (),
        joints=dice.uniform(4, 9) if concrete and dice.chance(0.7) else 0.0,
        wear=dice.unit() ** 2,
    )


def _light(dice: Dice, kind: str, *, clear: bool) -> Light:
    """Sun, overcast, rain, fog, dusk and night."""
    weather = dice.choose(
        WEATHER, (0.75, 0.25, 0, 0, 0, 0) if clear else (0.60, 0.20, 0.06, 0.05, 0.045, 0.045)
    )
    sunny = weather in {"sun", "dusk"}
    woods = kind in {"country", "lane"} and dice.chance(0.6)
    hue = dice.uniform(-0.05, 0.08)
    blue = dice.uniform(0.45, 0.9)
    sky = (
        (blue * 0.42 + hue, blue * 0.62 + hue * 0.5, blue)
        if sunny or weather == "night"
        else (blue, blue, blue)
    )
    pale = dice.uniform(0.6, 0.98)
    horizon = (pale * dice.uniform(0.78, 1.0), pale * dice.uniform(0.88, 1.0), pale)
    if weather == "dusk":
        horizon = (pale, pale * dice.uniform(0.6, 0.85), pale * dice.uniform(0.4, 0.8))
    return Light(
        shadow=dice.uniform(0.45, 0.85) if sunny else dice.uniform(0, 0.25),
        shade=dice.uniform(0.2, 1.0)
        if woods
        else dice.uniform(0.05, 0.7)
        if dice.chance(0.25)
        else 0.0,
        shade_side=dice.uniform(-1, 1) * (2.5 if dice.chance(0.5) else 0),
        shade_scale=dice.log(2.5, 14),
        bridge=dice.log(8, 90) if dice.chance(0.06) else 0.0,
        slant=dice.normal(0, 0.8),
        fog={"fog": dice.log(25, 150), "rain": dice.log(120, 800)}.get(
            weather, dice.log(350, 6000)
        ),
        night=dice.uniform(0.6, 0.97)
        if weather == "night"
        else dice.uniform(0.1, 0.5)
        if weather == "dusk"
        else 0.0,
        rain=dice.uniform(0.3, 1) if weather == "rain" else 0.0,
        sky=sky,
        horizon=horizon,
        clouds=dice.unit() if dice.chance(0.5) else 0.0,
        sun=(
            dice.uniform(-0.2, 1.2),
            dice.uniform(0, 0.5),
            dice.uniform(0.2, 0.9) if sunny and dice.chance(0.2) else 0,
        ),
    )


def _lens(dice: Dice, light: Light, *, clear: bool) -> Lens:
    """A dash camera's faults."""
    return Lens(
        exposure=(dice.log(0.9, 1.25) if clear else dice.log(0.75, 1.5)) * (1 + 0.6 * light.night),
        contrast=dice.normal(0.2, 0.35, -0.5, 1.0),
        saturation=dice.uniform(0.4, 1.25),
        cast=(dice.normal(1, 0.05), 1.0, dice.normal(1, 0.06)),
        vignette=dice.uniform(0, 0.35) if dice.chance(0.4) else 0.0,
        blur=dice.uniform(0.2, 0.75)
        if dice.chance(0.6)
        else dice.uniform(0, 1.3)
        if dice.chance(0.3)
        else 0.0,
        noise=dice.log(0.002, 0.012 if clear else 0.03) * (1 + light.night),
        blocks=dice.uniform(2, 12) if dice.chance(0.3) and not clear else 0.0,
        veil=dice.uniform(0.05, 0.5) if dice.chance(0.3) and not clear else 0.0,
        dirt=dice.unit() if dice.chance(0.25) and not clear else 0.0,
        bonnet=dice.log(0.025, 0.2) if dice.chance(0.3 if clear else 0.6) else 0.0,
        bonnet_colour=dice.colour(dice.any(bonnet.COLOURS), 0.3),
    )
