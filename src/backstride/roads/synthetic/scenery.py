"""What is beside the road: terrain, verges, the other carriageway, walls, trees, signs, hills."""

from __future__ import annotations

from collections.abc import Sequence

from backstride.roads.synthetic.dice import Dice
from backstride.roads.synthetic.world import (
    Colour,
    Light,
    Material,
    Thing,
    ThingKind,
    Wall,
    WallKind,
    Zone,
)

GROUNDS: dict[Material, Colour] = {
    "grass": (0.27, 0.34, 0.15),
    "straw": (0.60, 0.50, 0.33),
    "soil": (0.44, 0.33, 0.24),
    "gravel": (0.50, 0.47, 0.42),
    "leaves": (0.38, 0.26, 0.18),
    "rock": (0.42, 0.39, 0.35),
    "paving": (0.56, 0.54, 0.51),
    "snow": (0.85, 0.87, 0.90),
}
LEAVES: tuple[Colour, ...] = (
    (0.22, 0.28, 0.13),
    (0.30, 0.34, 0.15),
    (0.13, 0.19, 0.11),
    (0.36, 0.37, 0.20),
    (0.36, 0.31, 0.19),
    (0.17, 0.21, 0.14),
    (0.24, 0.25, 0.17),
)
SIGNS: tuple[Colour, ...] = (
    (0.05, 0.35, 0.18),
    (0.8, 0.6, 0.05),
    (0.1, 0.2, 0.5),
    (0.7, 0.1, 0.1),
    (0.8, 0.8, 0.8),
)
# woods, bank, houses, hedge, open
BACKDROPS = {
    "motorway": (0.25, 0.35, 0.08, 0.12, 0.35),
    "country": (0.45, 0.25, 0.05, 0.15, 0.3),
    "street": (0.15, 0.05, 0.6, 0.2, 0.2),
    "lane": (0.4, 0.2, 0.1, 0.3, 0.3),
    "forest": (1.0, 0.15, 0.0, 0.05, 0.0),
}


class Roadside:
    """Both sides of a road while they are drawn; lists grow outwards from its edges."""

    def __init__(self, dice: Dice, kind: str, edges: tuple[float, float], light: Light) -> None:
        self.dice, self.kind = dice, kind
        self.left, self.right = edges
        self.zones: list[Zone] = []
        self.walls: list[Wall] = []
        self.things: list[Thing] = []
        self.other: tuple[float, float] | None = None  # the other carriageway
        wild: tuple[Material, ...] = ("grass", "straw", "grass", "straw", "soil", "leaves", "rock")
        material, colour = self.ground(("snow",) if dice.chance(0.03) else wild)
        self.terrain = Zone(-1e3, 1e3, material, colour)
        wooded = kind in {"country", "lane"} and (light.shade > 0.2 or dice.chance(0.3))
        for sign, edge in ((-1, self.left), (1, self.right)):
            if sign < 0 and kind == "motorway" and dice.chance(0.85):
                start = self.median(edge)
            elif kind == "street" and dice.chance(0.85):
                start = self.pavement(sign, edge)
            else:
                start = self.verge(sign, edge)
            self.backdrop(sign, start, "forest" if wooded else kind)
            self.scatter(sign, start)

    def ground(self, materials: Sequence[Material]) -> tuple[Material, Colour]:
        """One of these materials, in one of its colours."""
        material = self.dice.any(materials)
        return material, self.dice.colour(GROUNDS[material], 0.3)

    def strip(self, sign: int, start: float, width: float, materials: Sequence[Material]) -> float:
        """Lay a strip of this width outwards from `start`; where it ends."""
        end = start + sign * width
        self.zones.append(Zone(min(start, end), max(start, end), *self.ground(materials)))
        return end

    def wall(
        self, kind: WallKind, at: float, height: float, colour: Colour, rough: float = 0.0
    ) -> None:
        """Something along the whole road."""
        self.walls.append(Wall(kind, at, height, colour, rough=rough))

    def concrete(self) -> Colour:
        """A wall's grey, from dark to pale, as roads have it."""
        grey = self.dice.log(0.18, 0.68)
        return self.dice.colour((grey, grey * 0.98, grey * 0.95), 0.1)

    def median(self, edge: float) -> float:
        """A barrier or a strip of green, and the carriageway behind it."""
        dice = self.dice
        if dice.chance(0.7):
            height, colour = dice.uniform(0.6, 1.6), self.concrete()
            self.wall("barrier", edge - 0.1, height, colour)
            if dice.chance(0.3):
                self.wall("rail", edge - 0.3, height + 0.4, dice.colour((0.6, 0.6, 0.6)))
            end = edge - dice.uniform(0.6, 2)
            self.wall("barrier", end, height, colour)
        else:
            if dice.chance(0.5):
                edge = self.strip(-1, edge, dice.uniform(0.3, 1.5), ("gravel", "soil", "straw"))
            end = self.strip(-1, edge, dice.uniform(2, 14), ("grass", "straw", "soil", "straw"))
            choice = dice.unit()
            if choice < 0.25:
                self.wall(
                    "leaves",
                    dice.uniform(end, edge),
                    dice.uniform(0.5, 1.8),
                    dice.colour((0.40, 0.38, 0.22)),
                    0.4,
                )
            elif choice < 0.7:
                kind: WallKind = "rail" if choice < 0.55 else "barrier"
                self.wall(kind, dice.uniform(end, edge), 0.8, dice.colour((0.6, 0.6, 0.6)))
        far = end - dice.uniform(7, 16)
        grey = dice.log(0.15, 0.6)
        self.zones.append(Zone(far, end - 0.05, "asphalt", (grey, grey, grey)))
        self.other = (far, end)
        return far

    def pavement(self, sign: int, edge: float) -> float:
        """A kerb, perhaps a strip of green, and a footpath."""
        dice = self.dice
        self.wall("kerb", edge, dice.uniform(0.08, 0.18), dice.colour((0.62, 0.60, 0.57)))
        at = self.strip(sign, edge, dice.uniform(0.12, 0.3), ("paving",))
        if dice.chance(0.4):
            at = self.strip(sign, at, dice.uniform(0.8, 3), ("grass", "grass", "soil", "straw"))
        return self.strip(sign, at, dice.uniform(1.2, 4), ("paving", "paving", "paving", "gravel"))

    def verge(self, sign: int, edge: float) -> float:
        """Gravel, soil or grass, and perhaps a rail or a wall."""
        dice, at = self.dice, edge
        if dice.chance(0.6):
            at = self.strip(
                sign,
                at,
                dice.log(0.2, 2.5),
                ("gravel", "soil", "straw", "leaves", "grass", "paving"),
            )
        if dice.chance(0.5):
            at = self.strip(sign, at, dice.uniform(0.5, 6), ("grass", "straw", "soil", "leaves"))
        if dice.chance(0.5 if self.kind != "lane" else 0.2):
            chosen: WallKind = dice.choose(("rail", "barrier", "fence"), (3, 3, 0.8))
            near = 1.0 if dice.chance(0.6) else dice.log(2, 40)
            highest = 2.2 if self.kind == "motorway" else 1.2
            height = dice.uniform(1, 2.5) if chosen == "fence" else dice.log(0.5, highest)
            place = (
                edge + sign * 0.15 if chosen == "barrier" and dice.chance(0.5) else at + sign * 0.3
            )
            far = 300.0 if dice.chance(0.6) else near + dice.log(8, 200)
            colour = (
                self.concrete() if chosen == "barrier" else dice.colour((0.6, 0.59, 0.57), 0.25)
            )
            self.walls.append(Wall(chosen, place, height, colour, near, far))
            at += sign * 0.5
        return at

    def backdrop(self, sign: int, start: float, place: str) -> None:
        """What closes the view: woods, banks, houses, hedges, or nothing."""
        dice = self.dice
        chosen = dice.choose(("woods", "bank", "houses", "hedge", "open"), BACKDROPS[place])
        if chosen == "woods":
            self.woods(
                sign, start + sign * (dice.log(0.2, 4) if place == "forest" else dice.log(1, 20))
            )
        elif chosen == "bank":
            _, colour = self.ground(("straw", "grass", "soil", "rock", "straw"))
            self.wall(
                "bank",
                start + sign * dice.log(0.5, 15),
                dice.log(1, 14),
                colour,
                dice.uniform(0.2, 0.7),
            )
            if dice.chance(0.4):
                self.woods(sign, start + sign * dice.log(4, 25))
        elif chosen == "houses":
            for number in range(dice.integer(1, 4)):
                near = 1.0 if number == 0 else dice.log(5, 120)
                at, far = start + sign * dice.uniform(0.5, 8), near + dice.log(10, 150)
                colour = dice.colour((0.58, 0.52, 0.46), 0.35)
                self.walls.append(Wall("building", at, dice.log(4, 25), colour, near, far))
        elif chosen == "hedge":
            leaf = dice.colour(dice.any(LEAVES), 0.25)
            self.wall("leaves", start + sign * dice.log(0.2, 5), dice.uniform(0.8, 3), leaf, 0.25)

    def woods(self, sign: int, at: float) -> None:
        """Undergrowth or whole crowns in front, stems in the dark or more crowns behind."""
        dice = self.dice
        leaf, high = dice.colour(dice.any(LEAVES), 0.3), dice.log(5, 30)
        low = dice.chance(0.55)
        behind, choice = at + sign * dice.log(2, 8), dice.unit()
        if low and choice < 0.5:
            self.wall("trunks", behind, high * 1.3, dice.colour((0.14, 0.16, 0.10), 0.4), 0.3)
        elif low and choice < 0.9:
            self.wall("leaves", behind, high * 1.2, dice.colour(leaf, 0.3), dice.uniform(0.2, 0.6))
        self.wall("leaves", at, dice.uniform(0.4, 3) if low else high, leaf, dice.uniform(0.2, 0.6))

    def scatter(self, sign: int, start: float) -> None:
        """Single trees and bushes, poles, posts and signs."""
        dice = self.dice
        for _ in range(dice.integer(0, 7)):
            bush = dice.chance(0.4)
            height = dice.uniform(0.6, 2.5) if bush else dice.log(4, 18)
            at = start + sign * (dice.log(1, 30) + height / 2)
            size = (height * dice.uniform(0.7, 1.7), height, 1.0)
            colour = dice.colour(dice.any(LEAVES), 0.35)
            self.things.append(
                Thing("bush" if bush else "tree", at, dice.log(8, 200), size, colour)
            )
        for _ in range(dice.integer(0, 3)):
            size, paint = (dice.log(0.5, 4), dice.uniform(2.2, 5), 0.1), dice.any(SIGNS)
            shape: ThingKind = "sign"
            if dice.chance(0.5):
                shape, size, paint = "pole", (0.15, dice.uniform(1.0, 9), 0.1), (0.4, 0.4, 0.4)
                if dice.chance(0.4):  # a post at the edge of the road
                    size, paint = (0.12, 1.1, 0.1), dice.any(((0.85, 0.25, 0.12), (0.9, 0.9, 0.88)))
            at = start + sign * dice.uniform(0.2, 3)
            self.things.append(Thing(shape, at, dice.log(7, 120), size, dice.colour(paint)))


def ridges(dice: Dice, light: Light) -> tuple[tuple[float, Colour], ...]:
    """Hills, farthest first, each nearer one darker, and a line of trees in front."""
    found: list[tuple[float, Colour]] = []
    if dice.chance(0.6):
        share = dice.uniform(0.2, 0.6)
        own = dice.any(
            ((0.16, 0.21, 0.27), (0.20, 0.25, 0.30), (0.45, 0.37, 0.25), (0.18, 0.24, 0.16))
        )
        red, green, blue = (
            mine + (sky - mine) * share for mine, sky in zip(own, light.horizon, strict=True)
        )
        found.append((dice.log(0.01, 0.12), (red, green, blue)))
    if dice.chance(0.7):
        found.append((dice.log(0.01, 0.14), dice.colour(dice.any(LEAVES), 0.3)))
    return tuple(found)
