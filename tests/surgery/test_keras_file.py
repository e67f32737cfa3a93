"""Hostile and broken .keras files: one sentence, nothing run, nothing allocated."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras", reason="these are Keras models")

pytestmark = pytest.mark.frameworks
MAKE = """
import sys, keras
layers = keras.layers
model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3, name="fc")])
model.save(sys.argv[1])
bad = keras.Sequential([keras.Input((8, 8, 1)), layers.Lambda(lambda x: x), layers.Flatten(), layers.Dense(3)])
bad.save(sys.argv[2])
"""
READ = """
import sys, json
from pathlib import Path
from backstride.surgery.keras_file import load
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
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def with_config(source: Path, target: Path, change: Callable[[str], str]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, change(data.decode()) if entry.filename == "config.json" else data)
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
    wide = with_config(good, tmp_path / "wide.keras", lambda words: words.replace('"units": 3', '"units": 30000000'))
    huge = with_config(good, tmp_path / "huge.keras", lambda words: words.replace('"units": 3', f'"units": {2**40}'))
    paths = [good, with_code, truncated, text, empty, wide, huge]
    said: list[Any] = json.loads(run(READ, *paths).splitlines()[-1])
    assert said[0] == ""
    assert said[1].startswith(f"`model` (={str(with_code)!r}) cannot be loaded safely: ")
    assert said[2] == f"`model` (={str(truncated)!r}) is no .keras file, or a truncated one"
    assert said[3] == f"`model` (={str(text)!r}) is no .keras file, or a truncated one"
    assert said[4] == f"`model` (={str(empty)!r}) is no .keras file: it has no metadata.json"
    assert said[5] == f"`model` (={str(wide)!r}): fc claims 2160000000 weights, more than the file holds"
    assert said[6] == f"`model` (={str(huge)!r}) claims a size of {2**40}; {2**31} is the most that is read"
