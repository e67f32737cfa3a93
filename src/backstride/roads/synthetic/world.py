"""What a scene consists of, as numbers drawn before anything is painted.

Lengths in metres, angles in radians. Lateral places (`at`, `left`, `right`) count from the camera's
own path, positive to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backstride.roads.camera import Camera

Colour = tuple[float, float, float]
Material = Literal[
    "asphalt", "concrete", "grass", "straw", "soil", "gravel", "paving", "leaves", "rock", "snow"
]
WallKind = Literal["barrier", "rail", "leaves", "trunks", "bank", "building", "fence", "kerb"]
SOLID = frozenset({"barrier", "building", "bank"})  # walls that cast a whole shadow
ThingKind = Literal["car", "van", "truck", "bike", "person", "tree", "bush", "pole", "sign"]


@dataclass(frozen=True, slots=True)
class Course:
    """The road's path: curvature and slope as sums of waves, exact at the camera."""

    yaw: float
    bend: float  # 1 / m at the camera
    swing: float  # 1 / m, of the wave added to it
    wave: float  # m
    phase: float
    slope: float  # of the slope's wave; the slope is 0 at the camera
    hill: float  # m, its wave length
    crest: float  # 1 / m, change of slope at the camera


@dataclass(frozen=True, slots=True)
class Mark:
    """A painted line along the road; dashes where `period` > 0."""

    at: float
    width: float
    colour: Colour
    period: float = 0.0
    dash: float = 0.0
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Zone:
    """A strip of ground along the road."""

    left: float
    right: float
    material: Material
    colour: Colour


@dataclass(frozen=True, slots=True)
class Wall:
    """Something that stands along the road for a while; its top wavers by `rough` of its height."""

    kind: WallKind
    at: float
    height: float
    colour: Colour
    near: float = 1.0
    far: float = 300.0
    rough: float = 0.0


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands or drives at one place."""

    kind: ThingKind
    at: float
    distance: float
    size: Colour  # width, height, length
    colour: Colour
    oncoming: bool = False


@dataclass(frozen=True, slots=True)
class Surface:
    """How the road itself looks."""

    colour: Colour
    cloud: float
    grain: float
    tracks: float
    sheen: float
    wet: float
    patches: tuple[Zone, ...] = ()
    patch_ranges: tuple[tuple[float, float], ...] = ()
    cracks: tuple[tuple[float, float], ...] = ()  # place, strength
    joints: float = 0.0  # m between slabs, 0 for none
    wear: float = 0.0  # of the markings


@dataclass(frozen=True, slots=True)
class Light:
    """Daylight, shadows and what is between camera and scene."""

    shadow: float  # strength of shadows, 0 to 1
    shade: float  # how much of the ground they cover, 0 to 1
    shade_side: float  # which side, -1 to 1
    shade_scale: float  # m
    bridge: float  # distance of a bridge's shadow, 0 for none
    slant: float  # how far to the right shadows fall, as a share of what casts them
    fog: float  # m of visibility
    night: float  # 0 by day, 1 at night
    rain: float
    sky: Colour
    horizon: Colour
    clouds: float
    sun: tuple[float, float, float]  # place in the picture as fractions, and strength


@dataclass(frozen=True, slots=True)
class Lens:
    """The camera's own marks on the picture."""

    exposure: float
    contrast: float
    saturation: float
    cast: Colour
    vignette: float
    blur: float
    noise: float
    blocks: float
    veil: float
    dirt: float
    bonnet: float  # height of the car's own bonnet, as a fraction of the picture
    bonnet_colour: Colour


@dataclass(frozen=True, slots=True)
class World:
    """A whole scene."""

    seed: int
    category: str
    camera: Camera
    course: Course
    left: float  # edges of the paved carriageway
    right: float
    ragged: float  # how much those edges waver
    lanes: tuple[float, ...]  # their boundaries
    surface: Surface
    terrain: Zone
    zones: tuple[Zone, ...]
    marks: tuple[Mark, ...]
    walls: tuple[Wall, ...]
    things: tuple[Thing, ...]
    light: Light
    lens: Lens
    ridges: tuple[
        tuple[float, Colour], ...
    ]  # height over the horizon as a fraction of the picture, and colour
    mirrored: bool = False
