"""The ground and its shadows: terrain, strips, the road's surface and its markings."""

from __future__ import annotations

import numpy as np

from backstride.roads.synthetic.canvas import rgb
from backstride.roads.synthetic.noise import Floats, line, sample
from backstride.roads.synthetic.view import Below
from backstride.roads.synthetic.world import SOLID, Colour, Light, Mark, Surface, World

# amplitudes of three textures shared by all that lies on the ground
TEXTURES = {
    "asphalt": {"rough": 0.03, "grain": 0.05},
    "concrete": {"cloud": 0.06, "grain": 0.04},
    "grass": {"rough": 0.18, "grain": 0.14},
    "straw": {"rough": 0.16, "grain": 0.15},
    "soil": {"cloud": 0.16, "grain": 0.09},
    "gravel": {"rough": 0.10, "grain": 0.14},
    "paving": {"cloud": 0.05, "grain": 0.03},
    "leaves": {"rough": 0.28, "grain": 0.20},
    "rock": {"cloud": 0.22, "rough": 0.10},
    "snow": {"cloud": 0.03, "grain": 0.02},
}
CELLS = {"rough": 12.0, "cloud": 11.0, "grain": 32.0}  # to a metre


def cover(lateral: Floats, left: Floats | float, right: Floats | float, fine: Floats) -> Floats:
    """How much of each pixel lies between two lateral places."""
    inside = np.minimum(lateral - left, right - lateral)
    return np.clip(inside / fine + np.float32(0.5), 0, 1)


def mix(target: Floats, share: Floats, colour: Floats) -> None:
    """Lay a colour, (3, ...), over another in place."""
    change = colour - target
    change *= share
    target += change


def faded(cells: float, coarse: Floats) -> Floats:
    """What is left of a texture of so many cells a metre where a pixel covers `coarse` metres."""
    return 1 / (1 + np.square(coarse * np.float32(cells * 0.12)))


class Ground:
    """The ground of one scene while it is painted.

    `image` (3, rows, columns) and `road`, the covered share.
    """

    def __init__(self, world: World, below: Below) -> None:
        self.world, self.below = world, below
        self.rng = np.random.default_rng([world.seed, 1])
        self.road = cover(below.lateral, below.left, below.right, below.fine)
        self.image = np.empty((3, *below.depth.shape), np.float32)
        self.fields: dict[str, Floats] = {}

    def noise(self, kind: str, across: float, along: float, shear: float = 0.0) -> Floats:
        """Noise fixed to the ground, in cells a metre."""
        first, second = self.rng.random(2) * 512
        rows = self.below.along * np.float32(along) + np.float32(first)
        columns = self.below.lateral * np.float32(across) + np.float32(second)
        if shear:
            columns += self.below.along * np.float32(shear)
        return sample(kind, rows, columns)

    def field(self, kind: str) -> Floats:
        """A texture of the whole ground, fading where pixels become coarser than it."""
        if kind not in self.fields:
            cells = CELLS[kind]
            self.fields[kind] = self.noise(kind, cells, cells) * faded(cells, self.below.coarse)
        return self.fields[kind]

    def texture(self, material: str) -> Floats:
        """A factor about 1."""
        found: Floats = np.ones((1, 1), np.float32)
        for kind, amplitude in TEXTURES[material].items():
            found = found + np.float32(amplitude) * self.field(kind)
        return found

    def terrain(self) -> None:
        """What lies beside the road: the terrain, then each strip over it."""
        world, below = self.world, self.below
        broad = self.noise("smooth", 5.0, 2.0)
        self.image[:] = rgb(world.terrain.colour) * (
            self.texture(world.terrain.material) * (1 + 0.12 * broad)
        )
        for zone in world.zones:
            share = cover(below.lateral, zone.left, zone.right, below.fine)
            mix(self.image, share, rgb(zone.colour) * self.texture(zone.material))

    def surface(self) -> None:
        """The road: its colour, wheel tracks, patches, joints and cracks."""
        surface, below = self.world.surface, self.below
        shade = self.texture("concrete" if surface.joints else "asphalt")
        shade += np.float32(surface.grain) * self.field("grain")
        shade += np.float32(surface.cloud) * self.noise("cloud", 9.0, 2.5)
        if surface.tracks:
            shade += np.float32(surface.tracks) * self._tracks()
        self._lines(surface, shade)
        colour = rgb(surface.colour) * shade
        for zone, (near, far) in zip(surface.patches, surface.patch_ranges, strict=True):
            share = cover(below.lateral, zone.left, zone.right, below.fine)
            share = share * cover(below.along, near, far, below.coarse)
            mix(colour, share, rgb(zone.colour) * shade)
        self._sheen(surface, colour)
        mix(self.image, self.road, colour)

    def _tracks(self) -> Floats:
        """Dark or bright where wheels run: twice a lane, with noise along the road."""
        lanes = self.world.lanes
        width = (lanes[-1] - lanes[0]) / max(len(lanes) - 1, 1)
        turns = (self.below.lateral - np.float32(lanes[0])) * np.float32(4 * np.pi / width)
        return -np.cos(turns) * (1 + 0.4 * self.noise("smooth", 1.0, 2.0))

    def _lines(self, surface: Surface, shade: Floats) -> None:
        """Joints between slabs and lanes, and cracks filled with tar, as dark lines."""
        below = self.below
        if surface.joints:
            place = np.mod(below.along, np.float32(surface.joints))
            shade *= 1 - 0.3 * np.clip(
                (0.03 - np.abs(place - 0.05)) / below.coarse + 0.5, 0, 1
            ) * faded(2, below.coarse)
            for at in self.world.lanes:
                shade *= 1 - 0.3 * self._stripe(at, 0.03)
        for at, strength in surface.cracks:
            wander = line(
                "cloud", below.along[:, :1] * np.float32(1.3), int(abs(at) * 50)
            ) * np.float32(0.25)
            shade *= 1 - np.float32(strength) * self._stripe(at, 0.05, wander)

    def _stripe(self, at: float, width: float, wander: Floats | float = 0.0) -> Floats:
        """How much of each pixel a line along the road covers."""
        away = np.abs(self.below.lateral - np.float32(at) - wander)
        fine = np.maximum(
            self.below.fine, np.float32(width)
        )  # narrower than a pixel: paler, not jagged
        return np.clip((np.float32(width / 2) - away) / fine + np.float32(0.5), 0, 1) * (
            np.float32(width) / fine
        )

    def _sheen(self, surface: Surface, colour: Floats) -> None:
        """Roads look paler in the distance, and wet ones mirror the sky."""
        below, light = self.below, self.world.light
        share = np.float32(surface.sheen) * (1 - np.exp(below.depth * np.float32(-1 / 40)))
        if surface.wet:
            puddles = np.clip(0.5 + 0.7 * self.noise("smooth", 6.0, 3.0), 0, 1)
            share = share + np.float32(surface.wet) * puddles * (
                1 - np.exp(below.depth * np.float32(-1 / 15))
            )
        mix(colour, np.clip(share, 0, 0.85), rgb(light.horizon))

    def marks(self) -> None:
        """The painted lines, worn in places."""
        surface = self.world.surface
        worn = np.clip(
            1 - np.float32(surface.wear) * (0.6 + 0.8 * self.noise("rough", 12.0, 5.0)), 0, 1
        )
        worn *= self.road
        shares: dict[Colour, Floats] = {}
        for mark in self.world.marks:
            share = self._stripe(mark.at, mark.width)
            if mark.period:
                share *= self._dashes(mark)
            shares[mark.colour] = (
                np.maximum(shares[mark.colour], share) if mark.colour in shares else share
            )
        for colour, share in shares.items():
            mix(self.image, share * worn, rgb(colour))

    def _dashes(self, mark: Mark) -> Floats:
        """1 on dashes, 0 between them, the mean where a pixel covers both."""
        place = np.mod(self.below.along + np.float32(mark.start), np.float32(mark.period))
        inside = np.minimum(place, np.float32(mark.dash) - place)
        sharp = np.clip(inside / self.below.coarse + np.float32(0.5), 0, 1)
        blurred = np.clip(self.below.coarse * np.float32(1 / mark.period) - 0.3, 0, 1)
        return sharp + blurred * (np.float32(mark.dash / mark.period) - sharp)

    def shadows(self) -> None:
        """Shadows of trees and walls beside the road and of a bridge over it."""
        light, below = self.world.light, self.below
        lit = np.ones_like(below.depth)
        if light.shadow and light.shade:
            lit *= 1 - np.float32(light.shadow) * self._shade(light)
        if light.shadow and light.bridge:
            span = cover(
                below.along, light.bridge, light.bridge * 1.15 + 6, np.maximum(below.coarse, 0.3)
            )
            lit *= 1 - np.float32(light.shadow) * span
        if light.shadow and light.slant:
            lit *= 1 - np.float32(light.shadow) * self._cast(light.slant)
        if light.night:
            lit *= self._headlights(light)
        self.image *= lit
        self.image[2] += (1 - lit) * np.float32(
            0.03 * (1 - light.night)
        )  # shadows are lit by the blue sky

    def _cast(self, slant: float) -> Floats:
        """The share of the sun that solid walls keep from each place."""
        below, cast = self.below, np.zeros_like(self.below.depth)
        for wall in self.world.walls:
            if wall.kind in SOLID:
                ends = wall.at, wall.at + slant * wall.height
                share = cover(below.lateral, min(ends), max(ends), below.fine)
                cast = np.maximum(
                    cast, share * cover(below.depth, wall.near, wall.far, below.coarse)
                )
        return cast

    def _shade(self, light: Light) -> Floats:
        """The share of the sun that trees keep from each place."""
        below, rng = self.below, self.rng
        scale = 40 / light.shade_scale
        crowns = self.noise(
            "smooth", scale * 0.7, scale * 0.5, float(rng.uniform(-0.6, 0.6)) * scale
        )
        crowns += 0.45 * self.noise(
            "cloud", scale * 1.5, scale * 1.0, float(rng.uniform(-0.6, 0.6)) * scale
        )
        crowns += 0.2 * self.noise("rough", 14.0, 9.0) * faded(9, below.coarse)
        level = 2.6 * light.shade - 1.3 + np.float32(light.shade_side * 0.12) * below.lateral
        return np.clip((crowns + level) * 2.5 + 0.5, 0, 1)

    def _headlights(self, light: Light) -> Floats:
        """Our own lights at night: near, ahead, and little beside."""
        below = self.below
        beam = np.exp(below.depth * np.float32(-1 / 28)) * np.exp(
            -np.square(below.lateral / (3 + 0.25 * below.depth))
        )
        return 1 - np.float32(light.night) * (1 - np.clip(0.25 + 1.1 * beam, 0, 1.2))


def paint(world: World, below: Below) -> Ground:
    """The whole ground."""
    ground = Ground(world, below)
    ground.terrain()
    ground.surface()
    ground.marks()
    ground.shadows()
    return ground
