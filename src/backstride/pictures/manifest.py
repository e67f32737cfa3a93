"""What an output folder holds: what made it, what is finished, what failed and why."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from backstride.files import check_folder, leftovers, make_folder, write_beside
from backstride.pictures.items import Item

NAME, LOCK = "manifest.json", ".lock"
FORMAT = 1
PAUSE = 2.0  # seconds between writes, or twenty times what one takes


@dataclass(frozen=True, slots=True)
class Skipped:
    """Frames that could not be read. `time`: of the first, in seconds, None where it is unknown."""

    time: float | None
    reason: str
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an item: `reason` is "" where it is finished.

    `frames`: how many went through.
    """

    name: str
    frames: int = 0
    skipped: tuple[Skipped, ...] = ()
    reason: str = ""


@dataclass
class Manifest:
    """`settings`: what outputs depend on beside their input.

    `done`, `failed`: by the items' names.
    """

    folder: Path
    settings: dict[str, object]
    done: dict[str, dict[str, object]] = field(default_factory=dict[str, "dict[str, object]"])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    _written: float = 0.0
    _pause: float = PAUSE

    def is_finished(self, item: Item, outputs: list[Path]) -> bool:
        """Whether its outputs are there, made from this input with these settings."""
        entry = self.done.get(item.name)
        return (
            entry is not None
            and entry["input"] == _stamp(item)
            and all(path.is_file() for path in outputs)
        )

    def note(self, item: Item, outcome: Outcome) -> None:
        """Take down what became of an item; it reaches the disk soon."""
        if outcome.reason:
            self.failed[item.name] = outcome.reason
            _ = self.done.pop(item.name, None)
        else:
            skipped = [asdict(entry) for entry in outcome.skipped]
            self.done[item.name] = {
                "input": _stamp(item),
                "frames": outcome.frames,
                "skipped": skipped,
            }
            _ = self.failed.pop(item.name, None)
        if time.monotonic() - self._written > self._pause:
            self.write()

    def write(self) -> None:
        """Write `manifest.json`, whole."""
        began = time.monotonic()
        data = {
            "format": FORMAT,
            "settings": self.settings,
            "done": self.done,
            "failed": self.failed,
        }
        write_beside(self.folder / NAME, json.dumps(data, indent=1))
        self._written = time.monotonic()
        self._pause = max(PAUSE, 20 * (self._written - began))


def _stamp(item: Item) -> list[int]:
    """Bytes and time of the input: a changed file is run anew."""
    try:
        found = item.source.stat()
    except OSError:
        return [0, 0]
    return [found.st_size, found.st_mtime_ns]


def read_manifest(folder: Path, settings: dict[str, object], command: str) -> Manifest:
    """What was finished with the same settings; with others, all is to be made anew.

    Raises `ValueError` for what `command` did not write.
    """
    try:
        data: Any = json.loads((folder / NAME).read_text(encoding="utf-8"))
        same = data["format"] == FORMAT and data["settings"] == settings
        done = (
            {str(name): dict(entry) for name, entry in data["done"].items() if "input" in entry}
            if same
            else {}
        )
    except FileNotFoundError:
        done = {}
    except (ValueError, KeyError, TypeError, AttributeError):
        message = (
            f"`out` (={str(folder)!r}) has a {NAME} that backstride {command} did not write; name "
            "another folder"
        )
        raise ValueError(message) from None
    return Manifest(folder, settings, cast("dict[str, dict[str, object]]", done))


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold an output folder.

    No second run may write there, and what a killed one left half written goes. Raises `ValueError`
    where another run holds it.
    """
    check_folder("out", folder)
    make_folder(folder)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = (
                f"`out` (={str(folder)!r}) is in use by another run; wait for it, or name another "
                "folder"
            )
            raise ValueError(message) from None
        for path in leftovers(folder):
            path.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
