"""The heads of a model, which are its results, and the choice of one of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from backstride.integers import as_integer

MOST = 8  # heads that a sentence names


@dataclass(frozen=True, slots=True)
class Head:
    """One result of a model.

    Args:
        place: Its position among all that the model gives, counted from 0, packed ones where they
            stand.
        name: In PyTorch its key or place in what packs it, joined by dots (`boxes`, `aux.0`); the
            output's name in ONNX; the key or the layer's name in Keras.
        label: The layer that gives it.
    """

    place: int
    name: str
    label: str

    @property
    def key(self) -> str | int:
        """What chooses it: its name, or where that is a number, its place."""
        return self.place if self.name == str(self.place) else self.name

    def __str__(self) -> str:
        return _shown(self.key)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which head a caller asks for.

    `head` as given, `needed` where several cannot stand together.
    """

    head: object = None
    needed: bool = False

    def among(self, owner: str, heads: Sequence[Head]) -> Head | None:
        """The chosen head of `owner`; None for all of them.

        >>> heads = (Head(0, "classes", "fc1 (Linear)"), Head(1, "boxes", "fc2 (Linear)"))
        >>> [Choice(head).among("the model", heads).label for head in ("boxes", 1, -1, "0")]
        ['fc2 (Linear)', 'fc2 (Linear)', 'fc2 (Linear)', 'fc1 (Linear)']
        >>> Choice("box").among("the model", heads)
        Traceback (most recent call last):
        ValueError: `head` (='box') must be one of the 2 heads of the model, by name or position: "classes" from \
fc1 (Linear) or "boxes" from fc2 (Linear); the nearest legal value is "boxes"

        A name that is none but a number counts as a position, so that a command line can give one.
        Negative positions count from the end. Raises `TypeError` for what is neither, `ValueError`
        for what no head has.
        """  # noqa: E501
        if self.head is None and self.needed and len(heads) > 1:
            raise ValueError(_rule(owner, heads, None, heads[0].key))
        if self.head is None or not heads:
            return heads[0] if heads and self.needed else None
        if not isinstance(self.head, str):
            return _at(owner, heads, self.head, _integer(owner, heads, self.head))
        named = next((head for head in heads if head.name == self.head), None)
        if named is not None:
            return named
        if re.fullmatch(r"[+-]?[0-9]{1,9}", self.head):
            return _at(owner, heads, self.head, int(self.head))
        similar = difflib.get_close_matches(self.head, [head.name for head in heads], 1, 0.01)
        nearest = next((head for head in heads if head.name in similar), heads[0])
        raise ValueError(_rule(owner, heads, self.head, nearest.key))


def _at(owner: str, heads: Sequence[Head], given: object, place: int) -> Head:
    """The head at a place, counted from the end where that is negative."""
    if -len(heads) <= place < 0:
        return heads[place]
    found = next((head for head in heads if head.place == place), None)
    if found is None:
        raise ValueError(
            _rule(owner, heads, given, -len(heads) if place < 0 else _nearest(heads, place))
        )
    return found


def _integer(owner: str, heads: Sequence[Head], given: object) -> int:
    try:
        return as_integer("head", given)
    except TypeError:
        number = float(given) if isinstance(given, Real) else 0.0
        raise TypeError(_rule(owner, heads, given, _nearest(heads, number))) from None


def _nearest(heads: Sequence[Head], number: float) -> int:
    """The place that is nearest to a number."""
    return min((head.place for head in heads), key=lambda place: abs(place - number))


def _rule(owner: str, heads: Sequence[Head], given: object, nearest: str | int) -> str:
    """What is wrong with a given head, and which there are."""
    value = repr(given) if len(repr(given)) <= 40 else f"{repr(given)[:37]}..."
    shown = [f"{head} from {head.label}" for head in heads[:MOST]]
    if len(heads) > MOST:
        shown.append(f"{len(heads) - MOST} more")
    legal = f"{owner}'s only head: {shown[0]}"
    if len(heads) > 1:
        named = f"{', '.join(shown[:-1])} or {shown[-1]}"
        legal = f"one of the {len(heads)} heads of {owner}, by name or position: {named}"
    return f"`head` (={value}) must be {legal}; the nearest legal value is {_shown(nearest)}"


def _shown(key: str | int) -> str:
    return str(key) if isinstance(key, int) else f'"{key}"'
