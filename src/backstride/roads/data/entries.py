"""What files of other tools hold, read within bounds and checked.

A `ValueError` says what is wrong in them.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import NoReturn, cast

from backstride.roads.data.polygons import FARTHEST


def read_yaml(content: bytes) -> object:
    """What a YAML file holds.

    None for what cannot be read, or has aliases, which unfold without bounds.
    """
    yaml = importlib.import_module("yaml")
    try:
        if any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.SafeLoader)
        ):
            return None
        return yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def content_of(path: Path, most: int) -> bytes:
    """The bytes of a file."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        wrong(f"{path.name} has more than {most} bytes, the most that are read")
    return content


def read_json(path: Path, most: int) -> object:
    """What a JSON file holds."""
    try:
        return json.loads(content_of(path, most).decode())
    except (ValueError, RecursionError) as error:
        if str(error).startswith(path.name):
            raise
        wrong(f"{path.name} is no JSON: {str(error)[:80]}")


def entries(top: dict[str, object], key: str) -> list[dict[str, object]]:
    """The objects of a list in an object."""
    return [mapping(entry, f"an entry of `{key}`") for entry in list_of(top.get(key), f"`{key}`")]


def points_of(value: object) -> list[tuple[float, float]]:
    """A list of [x, y]."""
    pairs = [list_of(point, "a point") for point in list_of(value, "`points`")]
    if not all(len(pair) == 2 for pair in pairs):
        wrong("a point must be [x, y]")
    return [(number(x), number(y)) for x, y in pairs]


def mapping(value: object, what: str) -> dict[str, object]:
    """An object."""
    if not isinstance(value, dict):
        wrong(f"{what} must be an object")
    return cast("dict[str, object]", value)


def list_of(value: object, what: str) -> list[object]:
    """A list."""
    if not isinstance(value, list):
        wrong(f"{what} must be a list")
    return cast("list[object]", value)


def number(value: object) -> float:
    """A coordinate."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= FARTHEST:
        wrong(
            f"a coordinate is {str(value)[:40]!r}; it must be a number from -{FARTHEST} to "
            f"{FARTHEST}"
        )
    return float(value)


def whole(value: object) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        wrong(f"an id or a count is {str(value)[:40]!r}; it must be a whole number")
    return value


def identity(value: object) -> int | str:
    """What tells entries apart: a number, as COCO has it, or a text, as others do."""
    return value if isinstance(value, str) else whole(value)


def text_of(value: object) -> str:
    """A name."""
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        wrong(f"a name is {str(value)[:40]!r}; it must be a text of 1 to 200 characters")
    return value


def wrong(message: str) -> NoReturn:
    """Raise for what is wrong."""
    raise ValueError(message)
