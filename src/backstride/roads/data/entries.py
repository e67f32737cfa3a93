"""What files of other tools hold, read within bounds and checked; a `ValueError` says what is wrong in them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, NoReturn, cast

from backstride.roads.data.polygons import FARTHEST


def read_yaml(content: bytes) -> Any:
    """What a YAML file holds; None for what cannot be read, or has aliases, which unfold without bounds."""
    yaml: Any = importlib.import_module("yaml")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, yaml.SafeLoader)):
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


def read_json(path: Path, most: int) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(content_of(path, most).decode())
    except (ValueError, RecursionError) as error:
        if str(error).startswith(path.name):
            raise
        wrong(f"{path.name} is no JSON: {str(error)[:80]}")


def entries(top: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a list in an object."""
    return [mapping(entry, f"an entry of `{key}`") for entry in list_of(top.get(key), f"`{key}`")]


def points_of(value: Any) -> list[tuple[float, float]]:
    """A list of [x, y]."""
    pairs = [list_of(point, "a point") for point in list_of(value, "`points`")]
    if not all(len(pair) == 2 for pair in pairs):
        wrong("a point must be [x, y]")
    return [(number(x), number(y)) for x, y in pairs]


def mapping(value: Any, what: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        wrong(f"{what} must be an object")
    return cast("dict[str, Any]", value)


def list_of(value: Any, what: str) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        wrong(f"{what} must be a list")
    return cast("list[Any]", value)


def number(value: Any) -> float:
    """A coordinate."""
    if type(value) not in (int, float) or not abs(value) <= FARTHEST:
        wrong(f"a coordinate is {str(value)[:40]!r}; it must be a number from -{FARTHEST} to {FARTHEST}")
    return float(value)


def whole(value: Any) -> int:
    """A whole number."""
    if type(value) is not int:
        wrong(f"an id or a count is {str(value)[:40]!r}; it must be a whole number")
    return value


def identity(value: Any) -> int | str:
    """What tells entries apart: a number, as COCO has it, or a text, as others do."""
    return value if isinstance(value, str) else whole(value)


def text_of(value: Any) -> str:
    """A name."""
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        wrong(f"a name is {str(value)[:40]!r}; it must be a text of 1 to 200 characters")
    return value


def wrong(message: str) -> NoReturn:
    """Raise for what is wrong."""
    raise ValueError(message)
