"""Keras models from files that nobody vouches for.

No code in them is run, sizes are bounded before they are read.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar, cast

from backstride.surgery.keras import layers as keras_layers
from backstride.surgery.keras.library import Dataset, Hdf5File, Model, keras, states

PARTS = ("config.json", "metadata.json", "model.weights.h5")
SHRINKS = 16  # how many times smaller than its numbers a file of weights may be
SMALL = 2**20  # bytes, or numbers, that need no such proof
LARGEST_NUMBER = 2**31  # of filters, units or cells
Result = TypeVar("Result")


def load(path: Path) -> Model:
    """Read a .keras file in safe mode.

    Raises `ValueError` in one sentence for what is none, or is too large.
    """
    if path.is_dir():
        message = f"`model` (={str(path)!r}) is a folder; name a file in it"
        raise ValueError(message)
    with path.open("rb"):
        pass  # a missing or forbidden file says so itself
    try:
        config, stored = _check(path)
    except (
        zipfile.BadZipFile,
        KeyError,
        json.JSONDecodeError,
        UnicodeDecodeError,
        EOFError,
        RecursionError,
    ):
        message = f"`model` (={str(path)!r}) is no .keras file, or a truncated one"
        raise ValueError(message) from None
    assert keras_layers.Padding is not None  # registered, so that networks with a decoder load
    claims = _safely(path, lambda: _claims(config))
    if sum(claims.values()) > stored + SMALL:
        name = max(claims, key=lambda entry: claims[entry])
        message = (
            f"`model` (={str(path)!r}): {name} claims {claims[name]} weights; the file holds "
            f"{stored} in all"
        )
        raise ValueError(message)
    return _safely(path, lambda: keras.saving.load_model(path, compile=False, safe_mode=True))


def _safely(path: Path, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except Exception as error:  # noqa: BLE001  Keras raises every kind
        cause = str(error).strip().partition("\n")[0][:200]
        message = f"`model` (={str(path)!r}) cannot be loaded safely: {cause}"
        raise ValueError(message) from None


def _check(path: Path) -> tuple[object, int]:
    """The config, and how many numbers the weights are, of a file that holds what it claims."""
    with zipfile.ZipFile(path) as file:
        sizes = {entry.filename: entry.file_size for entry in file.infolist()}
        missing = [part for part in PARTS if part not in sizes]
        if missing:
            message = f"`model` (={str(path)!r}) is no .keras file: it has no {missing[0]}"
            raise ValueError(message)
        unpacked, most = sum(sizes.values()), SHRINKS * path.stat().st_size + SMALL
        if len(file.infolist()) != len(sizes) or unpacked > most:
            message = (
                f"`model` (={str(path)!r}) unpacks to {unpacked} bytes from {path.stat().st_size}; "
                f"weights shrink to no less than a part in {SHRINKS}"
            )
            raise ValueError(message)
        config = json.loads(file.read("config.json"))
        stored = file.read("model.weights.h5")
    largest = max(_numbers(config), default=0)
    if largest > LARGEST_NUMBER:
        message = (
            f"`model` (={str(path)!r}) claims a size of {largest}; {LARGEST_NUMBER} is the most "
            "that is read"
        )
        raise ValueError(message)
    return config, _stored(path, stored)


def _numbers(value: object) -> Iterator[int]:
    """Every integer of a config but the ids of shared objects."""
    if isinstance(value, dict):
        for name, entry in cast("dict[str, object]", value).items():
            if name != "shared_object_id":
                yield from _numbers(entry)
    elif isinstance(value, list):
        for entry in cast("list[object]", value):
            yield from _numbers(entry)
    elif isinstance(value, int):
        yield abs(value)


def _stored(path: Path, content: bytes) -> int:
    """How many numbers an HDF5 file holds.

    Its own claims of shapes are compared with its bytes, too.
    """
    found: list[Dataset] = []

    def visit(name: str, entry: object) -> None:
        if isinstance(entry, Dataset):
            found.append(entry)
            claimed = sum(other.nbytes for other in found)
            if entry.external or entry.is_virtual or claimed > SHRINKS * len(content) + SMALL:
                message = (
                    f"`model` (={str(path)!r}): the weights {name} claim {entry.shape}, which the "
                    "file lacks"
                )
                raise ValueError(message)

    try:
        with Hdf5File(io.BytesIO(content), "r") as file:
            file.visititems(visit)  # follows no link, inside or outside
            return sum(entry.size for entry in found)
    except OSError:
        message = f"`model` (={str(path)!r}) is no .keras file: its weights are no HDF5 file"
        raise ValueError(message) from None


def _claims(config: object) -> Mapping[str, int]:
    """How many numbers each variable of a model has, which is made without any, as shapes alone."""
    with keras.StatelessScope(initialize_variables=False):
        before = states.get_global_attribute("uninitialized_variables")
        try:
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        finally:
            states.set_global_attribute("uninitialized_variables", before)
    return {entry.path: math.prod(entry.shape) for entry in getattr(model, "variables", ())}
