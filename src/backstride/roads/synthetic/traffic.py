"""Who is on the road.

Vehicles in their lanes, parked ones, people, and traffic on the other carriageway.
"""

from __future__ import annotations

from backstride.roads.synthetic.dice import Dice
from backstride.roads.synthetic.world import Colour, Thing, ThingKind

PAINTS: tuple[Colour, ...] = (
    (0.04, 0.04, 0.05),
    (0.85, 0.85, 0.86),
    (0.55, 0.56, 0.58),
    (0.25, 0.26, 0.28),
    (0.45, 0.06, 0.06),
    (0.08, 0.13, 0.35),
    (0.35, 0.30, 0.22),
    (0.10, 0.22, 0.14),
    (0.75, 0.55, 0.10),
)
OFTEN = (3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 0.7, 0.7, 0.5)


def traffic(
    dice: Dice,
    kind: str,
    lanes: tuple[float, ...],
    edges: tuple[float, float],
    other: tuple[float, float] | None,
) -> tuple[Thing, ...]:
    """Everybody on and beside the road; the lane in front of the camera is free for some metres."""
    left, right = edges
    found: list[Thing] = []
    count = len(lanes) - 1
    for _ in range(int(dice.log(1, 9)) - 1):
        lane = dice.integer(0, count)
        at = (lanes[lane] + lanes[lane + 1]) / 2 + dice.normal(0, 0.25)
        oncoming = kind != "motorway" and lane < count / 2 and count > 1 and at < 0
        own = lanes[lane] < 0 < lanes[lane + 1]
        found.append(vehicle(dice, at, dice.log(9 if own else 4, 140), oncoming=oncoming))
    if other:
        low, high = other
        found.extend(
            vehicle(dice, dice.uniform(low + 1, high - 1), dice.log(10, 150), oncoming=True)
            for _ in range(dice.integer(0, 6))
        )
    if kind == "street":
        for _ in range(dice.integer(0, 7)):
            side, inwards = dice.any(((left - 0.2, 1.0), (right + 0.2, -1.0)))
            at = side + inwards * dice.uniform(0.6, 1.1)
            found.append(vehicle(dice, at, dice.log(5, 80), oncoming=dice.chance(0.5)))
        found += [
            person(dice, dice.uniform(left - 4, right + 4)) for _ in range(dice.integer(0, 4))
        ]
    elif dice.chance(0.08):
        found.append(person(dice, dice.uniform(left, right)))
    return tuple(found)


def vehicle(dice: Dice, at: float, distance: float, *, oncoming: bool) -> Thing:
    """A car, van, truck or motorcycle of usual size."""
    kind: ThingKind = dice.choose(("car", "van", "truck", "bike"), (0.72, 0.14, 0.08, 0.06))
    size = {
        "car": (dice.uniform(1.7, 1.95), dice.uniform(1.35, 1.75), dice.uniform(3.8, 5.0)),
        "van": (dice.uniform(1.8, 2.1), dice.uniform(1.8, 2.6), dice.uniform(4.5, 6.0)),
        "truck": (2.5, dice.uniform(2.8, 4.0), dice.uniform(7, 15)),
        "bike": (0.8, dice.uniform(1.3, 1.8), 2.0),
    }[kind]
    if kind == "truck" and abs(at) < 2:
        distance = max(distance, 15.0)
    return Thing(kind, at, distance, size, dice.colour(dice.choose(PAINTS, OFTEN)), oncoming)


def person(dice: Dice, at: float) -> Thing:
    """Somebody on foot."""
    return Thing(
        "person",
        at,
        dice.log(6, 60),
        (0.55, dice.uniform(1.5, 1.9), 0.4),
        dice.colour(dice.any(PAINTS)),
    )
