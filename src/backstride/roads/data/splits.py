"""Which samples are trained on and which are held out.

Deterministic, and never a group on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backstride.roads.sample import Sample

KITTI_CATEGORIES = ("um", "umm", "uu")
KITTI_HELD_OUT = 16


@dataclass(frozen=True, slots=True)
class Split:
    """Places in the samples, in their order."""

    train: tuple[int, ...]
    validation: tuple[int, ...]


def kitti(samples: Sequence[Sample]) -> Split:
    """The split of KITTI Road's 289 training frames in use since KittiSeg.

    241 to train, 48 to validate. The last 16 frames of each category, by name, are held out: um
    from 79 on, umm from 80, uu from 82. Source: the lists train3.txt and val3.txt of Teichmann et
    al., MultiNet, 2018 (KittiSeg).
    """
    held: set[int] = set()
    for category in KITTI_CATEGORIES:
        places = [place for place, sample in enumerate(samples) if sample.category == category]
        if len(places) <= KITTI_HELD_OUT:
            message = (
                f"`data` has {len(places)} samples of category {category!r}; the split of KITTI "
                f"Road needs more than {KITTI_HELD_OUT} of each of {', '.join(KITTI_CATEGORIES)}; "
                "use folds, or a share of the groups"
            )
            raise ValueError(message)
        held.update(sorted(places, key=lambda place: samples[place].name)[-KITTI_HELD_OUT:])
    return _split(samples, held, "kitti")


def folds(samples: Sequence[Sample], count: int, seed: int = 0) -> tuple[Split, ...]:
    """`count` splits; each sample is held out in exactly one of them.

    Groups stay whole. In the order of a hash of `seed` and name they go, category by category, each
    to the fold that has fewest samples of that category so far, then fewest of all: every fold has
    its share of each.
    """
    groups = _groups(samples)
    if not 2 <= count <= len(groups):
        message = f"`count` (={count}) must be from 2 to the number of groups, {len(groups)}"
        raise ValueError(message)
    sizes, of_category = [0] * count, dict[str, list[int]]()
    members: list[set[int]] = [set() for _ in range(count)]
    order = sorted(
        groups, key=lambda name: (samples[groups[name][0]].category, share_of(f"{seed} {name}"))
    )
    for name in order:
        places = groups[name]
        own = of_category.setdefault(samples[places[0]].category, [0] * count)
        fold = min(range(count), key=lambda each: (own[each], sizes[each], each))
        own[fold] += len(places)
        sizes[fold] += len(places)
        members[fold].update(places)
    return tuple(_split(samples, held, "folds") for held in members)


def by_group(samples: Sequence[Sample], share: float, seed: int = 0) -> Split:
    """Hold out the groups whose hash falls below `share`.

    A group's side depends on its name and `seed` alone, so it stays when others are added. With few
    groups the share held out may be far from `share`; where no hash falls below it, or all do, the
    group whose hash is least is held out, or the one whose hash is largest trained on. See
    `held_out` for groups by name.
    """
    if not 0 < share < 1:
        message = f"`share` (={share}) must be between 0 and 1"
        raise ValueError(message)
    groups = _groups(samples)
    hashes = {name: share_of(f"{seed} {name}") for name in groups}
    order = sorted(groups, key=lambda name: hashes[name])
    names = {name for name in groups if hashes[name] < share} | set(order[:1])
    if len(order) > 1:
        names.discard(order[-1])
    held = {place for name in names for place in groups[name]}
    return _split(samples, held, "by_group")


def held_out(samples: Sequence[Sample], names: Iterable[str]) -> Split:
    """Hold out the groups of these names."""
    groups = _groups(samples)
    wanted = set(names)
    unknown = wanted - groups.keys()
    if unknown:
        message = (
            f"`names` has {min(unknown)!r}, which is no group of the data; groups are "
            f"{', '.join(sorted(groups)[:20])}"
        )
        raise ValueError(message)
    return _split(samples, {place for name in wanted for place in groups[name]}, "held_out")


def share_of(name: str) -> float:
    """A number from 0 to 1 that depends on the name alone, evenly spread."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def _groups(samples: Sequence[Sample]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault(sample.group or sample.name, []).append(place)
    return groups


def _split(samples: Sequence[Sample], held: set[int], rule: str) -> Split:
    """Both sides, neither empty."""
    train = tuple(place for place in range(len(samples)) if place not in held)
    for name, side in (("train", train), ("validation", tuple(held))):
        if not side:
            count = len(_groups(samples))
            message = (
                f"`split` (={rule!r}) leaves {name} empty: the data has {len(samples)} samples in "
                f"{count} group{'s' * (count != 1)}, and a group is never on both sides; "
                + (
                    "name fewer groups to hold out"
                    if count > 1
                    else "give the pictures at least two groups"
                )
            )
            raise ValueError(message)
    return Split(train, tuple(sorted(held)))
