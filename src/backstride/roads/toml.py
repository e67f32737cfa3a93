"""A run's config as TOML."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
from pathlib import Path
from typing import TypeVar, cast, get_args, get_origin, get_type_hints

from backstride.roads.config import RunConfig

Section = TypeVar("Section")
LARGEST_FILE = 2**20


def to_toml(config: RunConfig, extra: dict[str, dict[str, str]] | None = None) -> str:
    """The text of a config; `extra`: further tables, such as versions.

    >>> print(to_toml(RunConfig()).splitlines()[:3])
    ['[model]', 'encoder = "mobilenetv3"', 'weights = ""']
    """
    tables: dict[str, dict[str, object]] = {**dataclasses.asdict(config)}
    for name, entries in (extra or {}).items():
        tables[name] = dict(entries)
    return "\n".join(_table(name, entries) for name, entries in tables.items())


def from_toml(text: str, source: str = "config") -> RunConfig:
    r"""The config in a text.

    What it leaves out has its default, tables `versions` and `hashes` are not read.

    >>> from_toml("[train]\nepochs = 3").train.epochs
    3

    Raises `ValueError` for what is no TOML, an unknown key (with the nearest known one), and a
    value of another type.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"`{source}` is no TOML: {error}"
        raise ValueError(message) from None
    tables = {name: table for name, table in tables.items() if name not in ("versions", "hashes")}
    return _section(RunConfig, tables, source)


def read_config(path: Path) -> RunConfig:
    """The config in a file; raises `ValueError` naming the file."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            message = f"`config` (={str(path)!r}) has more than {LARGEST_FILE} bytes"
            raise ValueError(message)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = f"`config` (={str(path)!r}) does not exist"
        raise ValueError(message) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"`config` (={str(path)!r}) cannot be read: {error}"
        raise ValueError(message) from None
    return from_toml(text, str(path))


def _table(name: str, entries: dict[str, object]) -> str:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in entries.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _key(key: str) -> str:
    return (
        key
        if key.replace("_", "").replace("-", "").isalnum() and key.isascii()
        else json.dumps(key)
    )


def toml_text(value: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # JSON's strings but for this character


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(entry) for entry in cast('tuple[object, ...]', value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    return toml_text(value) if isinstance(value, str) else str(value)


def _section(
    kind: type[Section], entries: dict[str, object], source: str, prefix: str = ""
) -> Section:
    hints = get_type_hints(kind)
    for key in entries:
        if key not in hints:
            near = (difflib.get_close_matches(key, hints, 1, 0) or list(hints))[0]
            message = f"`{prefix}{key}` in {source} is no key; the nearest is `{prefix}{near}`"
            raise ValueError(message)
    return kind(
        **{key: _typed(source, prefix + key, hints[key], value) for key, value in entries.items()}
    )


def _typed(source: str, name: str, kind: object, value: object) -> object:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        return _section(kind, cast("dict[str, object]", value), source, f"{name}.")
    if get_origin(kind) is tuple and isinstance(value, list):
        entry = get_args(kind)[0]
        return tuple(_typed(source, name, entry, item) for item in cast("list[object]", value))
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind:
        return value
    named = getattr(kind, "__name__", str(kind))
    wanted = (
        "a table"
        if dataclasses.is_dataclass(kind)
        else "a list"
        if get_origin(kind) is tuple
        else named
    )
    message = f"`{name}` (={value!r}) in {source} must be {wanted}"
    raise ValueError(message)
