"""What a network's scores mean.

The names of its classes, and from which probability on a pixel is road.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import cast

KEY = "backstride.roads.meaning"
MOST_CLASSES = 250
LONGEST = 200  # characters of a name


@dataclass(frozen=True, slots=True)
class Meaning:
    """Kept in a checkpoint beside its config, and in an exported network.

    `classes`: names by label. `threshold`: with two classes, the probability from which on a pixel
    is road, label 1; with more, a pixel has the label of its largest score.

    >>> from_json(Meaning(threshold=0.25).to_json(), "net")
    Meaning(classes=('background', 'road'), threshold=0.25)
    """

    classes: tuple[str, ...] = ("background", "road")
    threshold: float = 0.5

    def to_json(self) -> str:
        """For the metadata of a file."""
        return json.dumps(asdict(self))


def unsaid(classes: int) -> Meaning:
    """Of so many classes that nobody named.

    >>> unsaid(3).classes
    ('background', 'road', 'class 2')
    """
    first = Meaning().classes
    return Meaning((*first, *(f"class {label}" for label in range(len(first), classes))))


def from_json(text: str, source: str) -> Meaning:
    """What `to_json` wrote; raises `ValueError` naming the file `source` for anything else."""
    try:
        read = json.loads(text)
        classes, threshold = tuple(read["classes"]), read["threshold"]
    except (ValueError, KeyError, TypeError, RecursionError):
        classes, threshold = (), 0.5
    if (
        not 2 <= len(set(classes)) == len(classes) <= MOST_CLASSES
        or not all(isinstance(name, str) and 0 < len(name) <= LONGEST for name in classes)
        or type(threshold) not in (int, float)
        or not 0 <= threshold <= 1
    ):
        message = (
            f"`checkpoint` (={source!r}): what it says of its classes and threshold cannot be read"
        )
        raise ValueError(message)
    return Meaning(cast("tuple[str, ...]", classes), float(threshold))


def share(name: str, value: float) -> float:
    """The value; raises `ValueError` for what is not from 0 to 1."""
    if not 0 <= value <= 1:
        message = f"`{name}` (={value}) must be from 0 to 1"
        raise ValueError(message)
    return value
