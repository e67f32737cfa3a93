"""Hostile and broken .keras files: one sentence, nothing run, nothing allocated."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

h5py: Any = pytest.importorskip("h5py", reason="Keras keeps weights in it")
pytest.importorskip("keras", reason="these are Keras models")

pytestmark = pytest.mark.frameworks
MAKE = """
import sys, keras
layers = keras.layers
model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3, name="fc")])
model.save(sys.argv[1])
bad = keras.Sequential([keras.Input((8, 8, 1)), layers.Lambda(lambda x: x), layers.Flatten(), layers.Dense(3)])
bad.save(sys.argv[2])
"""  # noqa: E501
READ = """
import sys, json
from pathlib import Path
from backstride.surgery.keras.file import load
said = []
for path in sys.argv[1:]:
    try:
        load(Path(path))
        said.append("")
    except ValueError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def run(program: str, *words: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def with_weights(source: Path, target: Path, weights: bytes) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(
                entry.filename, weights if entry.filename.endswith(".h5") else old.read(entry)
            )
    return target


def test_bytes_that_unpack_to_more_than_weights_do(tmp_path: Path) -> None:
    good = tmp_path / "good.keras"
    _ = run(MAKE, good, tmp_path / "code.keras")
    zeros = with_weights(good, tmp_path / "zeros.keras", bytes(2**26))
    assert zeros.stat().st_size < 2**17
    claims = tmp_path / "claims.h5"
    with h5py.File(claims, "w") as file:
        file.create_dataset(
            "vars/0", (2**20, 2**20), "f4", chunks=True
        )  # of which nothing is stored
    hollow = with_weights(good, tmp_path / "hollow.keras", claims.read_bytes())
    with h5py.File(claims, "w") as file:
        file.create_dataset("vars/0", (8,), "u1", external=[("/etc/passwd", 0, 8)])
    outside = with_weights(good, tmp_path / "outside.keras", claims.read_bytes())
    broken = with_weights(good, tmp_path / "broken.keras", b"no weights")
    paths = [zeros, hollow, outside, broken]
    said: list[Any] = json.loads(run(READ, *paths).splitlines()[-1])
    assert said[0].startswith(f"`model` (={str(zeros)!r}) unpacks to 6711")
    assert said[0].endswith("; weights shrink to no less than a part in 16")
    assert (
        said[1]
        == f"`model` (={str(hollow)!r}): the weights vars/0 claim (1048576, 1048576), which the file lacks"  # noqa: E501
    )
    assert (
        said[2]
        == f"`model` (={str(outside)!r}): the weights vars/0 claim (8,), which the file lacks"
    )
    assert said[3] == f"`model` (={str(broken)!r}) is no .keras file: its weights are no HDF5 file"


def with_config(source: Path, target: Path, change: Callable[[str], str]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(
                entry.filename, change(data.decode()) if entry.filename == "config.json" else data
            )
    return target


def test_files_that_are_none_or_claim_too_much(tmp_path: Path) -> None:
    good, with_code = tmp_path / "good.keras", tmp_path / "code.keras"
    _ = run(MAKE, good, with_code)
    truncated = tmp_path / "cut.keras"
    _ = truncated.write_bytes(good.read_bytes()[:-300])
    text = tmp_path / "text.keras"
    _ = text.write_text("no model")
    empty = tmp_path / "empty.keras"
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("config.json", "{}")
    wide = with_config(
        good,
        tmp_path / "wide.keras",
        lambda words: words.replace('"units": 3', '"units": 30000000'),
    )
    huge = with_config(
        good,
        tmp_path / "huge.keras",
        lambda words: words.replace('"units": 3', f'"units": {2**40}'),
    )
    changes = {"8, 8, 1]": "8, 99999999, 1]", "6, 6, 2]": "6, 99999997, 2]", "72]": "1199999964]"}
    tall = with_config(
        good,
        tmp_path / "tall.keras",
        lambda words: functools.reduce(lambda a, b: a.replace(*b), changes.items(), words),
    )
    paths = [good, with_code, truncated, text, empty, wide, huge, tall]
    said: list[Any] = json.loads(run(READ, *paths).splitlines()[-1])
    assert said[0] == ""
    assert said[1].startswith(f"`model` (={str(with_code)!r}) cannot be loaded safely: ")
    assert said[2] == f"`model` (={str(truncated)!r}) is no .keras file, or a truncated one"
    assert said[3] == f"`model` (={str(text)!r}) is no .keras file, or a truncated one"
    assert said[4] == f"`model` (={str(empty)!r}) is no .keras file: it has no metadata.json"
    assert (
        said[5]
        == f"`model` (={str(wide)!r}): fc/kernel claims 2160000000 weights; the file holds 239 in all"  # noqa: E501
    )
    assert (
        said[6]
        == f"`model` (={str(huge)!r}) claims a size of {2**40}; {2**31} is the most that is read"
    )
    assert (
        said[7]
        == f"`model` (={str(tall)!r}): fc/kernel claims 3599999892 weights; the file holds 239 in all"  # noqa: E501
    )
