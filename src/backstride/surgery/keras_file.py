"""Keras models from files that nobody vouches for: no code in them is run, sizes are bounded before they are read."""

from __future__ import annotations

import importlib
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from backstride.surgery import keras_layers

keras: Any = importlib.import_module("keras")  # untyped

PARTS = ("config.json", "metadata.json", "model.weights.h5")
LARGEST = 2**34  # bytes of all parts together
LARGEST_NUMBER = 2**31  # of filters, units or cells


def load(path: Path) -> Any:
    """Read a .keras file in safe mode. Raises `ValueError` in one sentence for what is none, or is too large."""
    if path.is_dir():
        message = f"`model` (={str(path)!r}) is a folder; name a file in it"
        raise ValueError(message)
    with path.open("rb"):
        pass  # a missing or forbidden file says so itself
    try:
        _check(path)
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, UnicodeDecodeError, EOFError, RecursionError):
        message = f"`model` (={str(path)!r}) is no .keras file, or a truncated one"
        raise ValueError(message) from None
    assert keras_layers.Padding is not None  # registered, so that networks with a decoder load
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # noqa: BLE001  Keras raises every kind
        cause = str(error).strip().partition("\n")[0][:200]
        message = f"`model` (={str(path)!r}) cannot be loaded safely: {cause}"
        raise ValueError(message) from None


def _check(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        sizes = {entry.filename: entry.file_size for entry in file.infolist()}
        missing = [part for part in PARTS if part not in sizes]
        if missing:
            message = f"`model` (={str(path)!r}) is no .keras file: it has no {missing[0]}"
            raise ValueError(message)
        if sum(sizes.values()) > LARGEST or sizes["config.json"] > 2**27:
            message = f"`model` (={str(path)!r}) unpacks to more than 16 GiB"
            raise ValueError(message)
        config = json.loads(file.read("config.json"))
    largest = max(_numbers(config), default=0)
    if largest > LARGEST_NUMBER:
        message = f"`model` (={str(path)!r}) claims a size of {largest}; {LARGEST_NUMBER} is the most that is read"
        raise ValueError(message)
    for name, claimed in _claims(config):
        if claimed > sizes["model.weights.h5"]:
            message = f"`model` (={str(path)!r}): {name} claims {claimed} weights, more than the file holds"
            raise ValueError(message)


def _numbers(value: Any) -> Iterator[int]:
    """Every integer of a config but the ids of shared objects."""
    if isinstance(value, dict):
        for name, entry in cast("dict[str, Any]", value).items():
            if name != "shared_object_id":
                yield from _numbers(entry)
    elif isinstance(value, list):
        for entry in cast("list[Any]", value):
            yield from _numbers(entry)
    elif isinstance(value, int):
        yield abs(value)


def _claims(value: Any) -> Iterator[tuple[str, int]]:
    """Layers and how many numbers their kernels have, by what they say of themselves."""
    if isinstance(value, list):
        for entry in cast("list[Any]", value):
            yield from _claims(entry)
    if not isinstance(value, dict):
        return
    layer = cast("dict[str, Any]", value)
    for entry in layer.values():
        yield from _claims(entry)
    config, built = layer.get("config"), layer.get("build_config")
    if isinstance(config, dict) and isinstance(built, dict):
        options = cast("dict[str, Any]", config)
        shape = cast("dict[str, Any]", built).get("input_shape")
        outputs = options.get("units", options.get("filters"))
        last = cast("list[Any]", shape)[-1] if isinstance(shape, list) and shape else None
        taps = options.get("kernel_size", [1])
        if isinstance(outputs, int) and isinstance(last, int) and isinstance(taps, list):
            size = math.prod(entry for entry in cast("list[Any]", taps) if isinstance(entry, int))
            groups = options.get("groups", 1)
            separable = layer.get("class_name") == "SeparableConv2D"
            share = 1 if separable else size
            yield str(options.get("name")), outputs * last * share // (groups if isinstance(groups, int) else 1)
