"""What is beside the road and on it: terrain, verges, the other carriageway, walls, trees, traffic, hills."""

from __future__ import annotations

from dataclasses import dataclass

from backstride.roads.synthetic.dice import Dice
from backstride.roads.synthetic.world import Colour, Light, Material, Thing, ThingKind, Wall, WallKind, Zone

GROUNDS: dict[Material, Colour] = {
    "grass": (0.25, 0.33, 0.13),
    "straw": (0.58, 0.48, 0.30),
    "soil": (0.42, 0.30, 0.21),
    "gravel": (0.50, 0.47, 0.42),
    "leaves": (0.36, 0.24, 0.15),
    "rock": (0.42, 0.39, 0.35),
    "paving": (0.56, 0.54, 0.51),
    "snow": (0.85, 0.87, 0.90),
}
LEAVES: tuple[Colour, ...] = (
    (0.20, 0.27, 0.11), (0.28, 0.33, 0.12), (0.11, 0.17, 0.09), (0.34, 0.36, 0.16), (0.38, 0.30, 0.15), (0.15, 0.19, 0.12),
)  # fmt: skip
PAINTS: tuple[Colour, ...] = (
    (0.04, 0.04, 0.05), (0.85, 0.85, 0.86), (0.55, 0.56, 0.58), (0.25, 0.26, 0.28), (0.45, 0.06, 0.06), (0.08, 0.13, 0.35),
    (0.35, 0.30, 0.22), (0.10, 0.22, 0.14), (0.75, 0.55, 0.10),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """What `beside` found: `clear` is how far from each edge nothing stands."""

    terrain: Zone
    zones: tuple[Zone, ...]
    walls: tuple[Wall, ...]
    things: tuple[Thing, ...]
    other: tuple[float, float] | None  # the other carriageway


def ground(dice: Dice, materials: tuple[Material, ...]) -> tuple[Material, Colour]:
    """One of these materials, in one of its colours."""
    material = dice.choose(materials, (1,) * len(materials))
    return material, dice.colour(GROUNDS[material], 0.2)


def beside(dice: Dice, kind: str, left: float, right: float, light: Light) -> Place:
    """Everything beside the road, on both sides."""
    wild: tuple[Material, ...] = ("grass", "straw", "grass", "straw", "soil", "leaves", "rock")
    if dice.chance(0.03):
        wild = ("snow",)
    material, colour = ground(dice, wild)
    terrain = Zone(-1e3, 1e3, material, colour)
    zones: list[Zone] = []
    walls: list[Wall] = []
    things: list[Thing] = []
    other = None
    wooded = kind in {"country", "lane"} and (light.shade > 0.2 or dice.chance(0.3))
    for sign, edge in ((-1, left), (1, right)):
        if sign < 0 and kind == "motorway" and dice.chance(0.85):
            other = _median(dice, edge, zones, walls)
            start = other[0] if other else edge - 8
        elif kind == "street" and dice.chance(0.85):
            start = _pavement(dice, sign, edge, zones, walls)
        else:
            start = _verge(dice, kind, sign, edge, zones, walls)
        _backdrop(dice, kind, sign, start, wooded, walls, things)
    return Place(terrain, tuple(zones), tuple(walls), tuple(things), other)


def strip(
    dice: Dice, sign: int, start: float, width: float, materials: tuple[Material, ...], zones: list[Zone]
) -> float:
    """Lay a strip of this width outwards from `start`; where it ends."""
    end = start + sign * width
    material, colour = ground(dice, materials)
    zones.append(Zone(min(start, end), max(start, end), material, colour))
    return end


def _median(dice: Dice, edge: float, zones: list[Zone], walls: list[Wall]) -> tuple[float, float]:
    """A barrier or a strip of green, and the carriageway behind it."""
    if dice.chance(0.55):
        height = dice.uniform(0.7, 1.2)
        colour = dice.colour((0.55, 0.53, 0.49), 0.25)
        walls.append(Wall("barrier", edge - 0.1, height, colour))
        if dice.chance(0.3):
            walls.append(Wall("rail", edge - 0.3, height + 0.4, dice.colour((0.6, 0.6, 0.6))))
        end = edge - dice.uniform(0.6, 2)
        walls.append(Wall("barrier", end, height, colour))
    else:
        width = dice.uniform(2, 14)
        if dice.chance(0.5):
            edge = strip(dice, -1, edge, dice.uniform(0.3, 1.5), ("gravel", "soil", "straw"), zones)
        end = strip(dice, -1, edge, width, ("grass", "straw", "soil", "straw"), zones)
        if dice.chance(0.7):
            kind: WallKind = dice.choose(("rail", "barrier", "leaves"), (3, 1, 2))
            at = dice.uniform(end, edge)
            height = dice.uniform(0.5, 1.2) if kind == "leaves" else 0.8
            colour = dice.colour((0.40, 0.38, 0.20) if kind == "leaves" else (0.6, 0.6, 0.6))
            walls.append(Wall(kind, at, height, colour, rough=0.4 if kind == "leaves" else 0))
    far = end - dice.uniform(7, 16)
    grey = dice.log(0.15, 0.6)
    zones.append(Zone(far, end - 0.05, "asphalt", (grey, grey, grey)))
    return far, end


def _pavement(dice: Dice, sign: int, edge: float, zones: list[Zone], walls: list[Wall]) -> float:
    """A kerb, perhaps a strip of green, and a footpath."""
    walls.append(Wall("kerb", edge, dice.uniform(0.08, 0.18), dice.colour((0.62, 0.60, 0.57))))
    at = strip(dice, sign, edge, dice.uniform(0.12, 0.3), ("paving",), zones)
    if dice.chance(0.4):
        at = strip(dice, sign, at, dice.uniform(0.8, 3), ("grass", "grass", "soil", "straw"), zones)
    return strip(dice, sign, at, dice.uniform(1.2, 4), ("paving", "paving", "paving", "gravel"), zones)


def _verge(dice: Dice, kind: str, sign: int, edge: float, zones: list[Zone], walls: list[Wall]) -> float:
    """Gravel, soil or grass, and perhaps a rail or a wall."""
    at = edge
    if dice.chance(0.6):
        at = strip(dice, sign, at, dice.log(0.2, 2.5), ("gravel", "soil", "straw", "leaves", "grass", "paving"), zones)
    if dice.chance(0.5):
        at = strip(dice, sign, at, dice.uniform(0.5, 6), ("grass", "straw", "soil", "leaves"), zones)
    if dice.chance(0.45 if kind != "lane" else 0.2):
        chosen: WallKind = dice.choose(("rail", "barrier", "fence"), (3, 1.6, 0.8))
        near = 1.0 if dice.chance(0.6) else dice.log(2, 40)
        height = dice.uniform(0.6, 1.1) if chosen != "fence" else dice.uniform(1, 2.5)
        place = edge + sign * 0.15 if chosen == "barrier" and dice.chance(0.5) else at + sign * 0.3
        far = 300.0 if dice.chance(0.6) else near + dice.log(8, 200)
        walls.append(Wall(chosen, place, height, dice.colour((0.6, 0.59, 0.57), 0.2), near, far))
        at += sign * 0.5
    return at


def _backdrop(
    dice: Dice, kind: str, sign: int, start: float, wooded: bool, walls: list[Wall], things: list[Thing]
) -> None:
    """What closes the view: woods, banks, houses, hedges, or nothing but single trees."""
    weights = {
        "motorway": (0.25, 0.35, 0.08, 0.12, 0.3),
        "country": (0.45, 0.25, 0.05, 0.15, 0.3),
        "street": (0.15, 0.05, 0.6, 0.2, 0.2),
        "lane": (0.4, 0.2, 0.1, 0.3, 0.3),
    }[kind]
    if wooded:
        weights = (1, 0.1, 0, 0.1, 0)
    chosen = dice.choose(("woods", "bank", "houses", "hedge", "open"), weights)
    if chosen == "woods":
        at = start + sign * (dice.log(0.2, 3) if wooded else dice.log(1, 20))
        leaf = dice.colour(dice.choose(LEAVES, (1,) * len(LEAVES)), 0.3)
        high = dice.log(5, 30)
        if dice.chance(0.7):
            walls.append(Wall("trunks", at + sign * 4, high * 1.3, dice.colour((0.14, 0.16, 0.09), 0.4), rough=0.3))
        walls.append(
            Wall("leaves", at, high if dice.chance(0.6) else dice.uniform(0.6, 3), leaf, rough=dice.uniform(0.2, 0.6))
        )
    elif chosen == "bank":
        at = start + sign * dice.log(0.5, 15)
        _, colour = ground(dice, ("straw", "grass", "soil", "rock", "straw"))
        walls.append(Wall("bank", at, dice.log(1, 14), colour, rough=dice.uniform(0.2, 0.7)))
    elif chosen == "houses":
        for number in range(dice.integer(1, 4)):
            near = 1.0 if number == 0 else dice.log(5, 120)
            at = start + sign * dice.uniform(0.5, 8)
            walls.append(
                Wall(
                    "building",
                    at,
                    dice.log(4, 25),
                    dice.colour((0.58, 0.52, 0.46), 0.35),
                    near,
                    near + dice.log(10, 150),
                )
            )
    elif chosen == "hedge":
        leaf = dice.colour(dice.choose(LEAVES, (1,) * len(LEAVES)), 0.25)
        walls.append(Wall("leaves", start + sign * dice.log(0.2, 5), dice.uniform(0.8, 3), leaf, rough=0.25))
    for _ in range(dice.integer(0, 7)):
        distance = dice.log(8, 200)
        bush = dice.chance(0.4)
        height = dice.uniform(0.6, 2.5) if bush else dice.log(4, 18)
        at = start + sign * (dice.log(1, 30) + height / 2)
        tree: ThingKind = "bush" if bush else "tree"
        size = (height * dice.uniform(0.7, 1.6), height, 1.0)
        things.append(Thing(tree, at, distance, size, dice.colour(dice.choose(LEAVES, (1,) * len(LEAVES)), 0.35)))
    for _ in range(dice.integer(0, 3)):
        pole = dice.chance(0.5)
        size = (0.15, dice.uniform(1.0, 9), 0.1) if pole else (dice.log(0.5, 4), dice.uniform(2.2, 5), 0.1)
        paint = (
            (0.4, 0.4, 0.4)
            if pole
            else dice.choose(((0.05, 0.35, 0.18), (0.8, 0.6, 0.05), (0.1, 0.2, 0.5), (0.7, 0.1, 0.1)), (1,) * 4)
        )
        orange = pole and dice.chance(0.3)
        if orange:
            size, paint = (0.12, 1.1, 0.1), (0.85, 0.25, 0.12)
        shape: ThingKind = "pole" if pole else "sign"
        things.append(Thing(shape, start + sign * dice.uniform(0.2, 3), dice.log(7, 120), size, dice.colour(paint)))


def things(
    dice: Dice, kind: str, lanes: tuple[float, ...], left: float, right: float, place: Place
) -> tuple[Thing, ...]:
    """Traffic and what stands beside the road, those behind others first."""
    found = list(place.things)
    count = len(lanes) - 1
    for _ in range(int(dice.log(1, 9)) - 1):
        lane = dice.integer(0, count)
        at = (lanes[lane] + lanes[lane + 1]) / 2 + dice.normal(0, 0.25)
        oncoming = kind != "motorway" and lane < count / 2 and count > 1 and at < 0
        own = lanes[lane] < 0 < lanes[lane + 1]
        found.append(_vehicle(dice, at, dice.log(9 if own else 4, 140), oncoming=oncoming))
    if place.other:
        low, high = place.other
        for _ in range(dice.integer(0, 6)):
            found.append(_vehicle(dice, dice.uniform(low + 1, high - 1), dice.log(10, 150), oncoming=True))
    if kind == "street":
        for _ in range(dice.integer(0, 7)):
            side = dice.choose((left - 0.2, right + 0.2), (1, 1))
            inwards = 1.0 if side < 0 else -1.0
            found.append(
                _vehicle(dice, side + inwards * dice.uniform(0.6, 1.1), dice.log(5, 80), oncoming=dice.chance(0.5))
            )
        for _ in range(dice.integer(0, 4)):
            found.append(_person(dice, dice.uniform(left - 4, right + 4)))
    elif dice.chance(0.08):
        found.append(_person(dice, dice.uniform(left, right)))
    middle = (left + right) / 2

    def order(thing: Thing) -> tuple[float, float]:
        outside = max(left - thing.at, thing.at - right, 0.0)
        return (-outside if abs(thing.at - middle) > (right - left) / 2 else 0.0, -thing.distance)

    return tuple(sorted(found, key=order))


def _vehicle(dice: Dice, at: float, distance: float, *, oncoming: bool) -> Thing:
    kind: ThingKind = dice.choose(("car", "van", "truck", "bike"), (0.72, 0.14, 0.09, 0.05))
    size: Colour = {
        "car": (dice.uniform(1.7, 1.95), dice.uniform(1.35, 1.75), dice.uniform(3.8, 5.0)),
        "van": (dice.uniform(1.8, 2.1), dice.uniform(1.8, 2.6), dice.uniform(4.5, 6.0)),
        "truck": (2.5, dice.uniform(2.8, 4.0), dice.uniform(7, 15)),
        "bike": (0.8, dice.uniform(1.3, 1.8), 2.0),
    }[kind]
    if kind == "truck" and abs(at) < 2:
        distance = max(distance, 15.0)
    return Thing(
        kind, at, distance, size, dice.colour(dice.choose(PAINTS, (3, 3, 2, 2, 1, 1, 0.7, 0.7, 0.5))), oncoming
    )


def _person(dice: Dice, at: float) -> Thing:
    height = dice.uniform(1.5, 1.9)
    return Thing(
        "person", at, dice.log(6, 60), (0.55, height, 0.4), dice.colour(dice.choose(PAINTS, (1,) * len(PAINTS)))
    )


def ridges(dice: Dice, light: Light) -> tuple[tuple[float, Colour], ...]:
    """Hills, farthest first, each nearer one darker, and a line of trees in front."""
    found: list[tuple[float, Colour]] = []
    if dice.chance(0.6):
        red, green, blue = light.horizon
        share = dice.uniform(0.3, 0.7)
        far = dice.choose(((0.20, 0.25, 0.30), (0.35, 0.30, 0.20), (0.18, 0.24, 0.16)), (2, 1, 1))
        colour = tuple(own + (sky - own) * share for own, sky in zip(far, (red, green, blue), strict=True))
        found.append((dice.log(0.01, 0.12), (colour[0], colour[1], colour[2])))
    if dice.chance(0.7):
        found.append((dice.log(0.01, 0.14), dice.colour(dice.choose(LEAVES, (1,) * len(LEAVES)), 0.3)))
    return tuple(found)
