"""Measure row by row, each in a process of its own.

What is measured stays, should a later row or the power fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from backstride.files import write_beside
from backstride.survey.roster import ROSTERS, entries_of
from backstride.survey.row import Entry, Numbers, Row, first_line, numbers_of

Progress: TypeAlias = Callable[[str, int, int], None]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "0"}


def run(
    frameworks: Sequence[str] | None = None,
    *,
    kept: Path | None = None,
    progress: Progress = lambda _row, _done, _total: None,
) -> list[Row]:
    """Measure every entry of these frameworks, of all by default.

    `kept`: a JSON file for what is measured so far; rows that are in it already are not measured
    again. `progress(row, done, total)` is called before each row, and at the end.
    """
    listed = [
        (name, number, entry)
        for name in frameworks or ROSTERS
        for number, entry in enumerate(entries_of(name))
    ]
    known = {} if kept is None else _read(kept)
    rows: list[Row] = []
    for name, number, entry in listed:
        progress(f"{name}, {entry.name}", len(rows), len(listed))
        row = _row(entry, known[entry.key]) if entry.key in known else None
        if row is None:
            row = Row(entry, **_measured(name, number))
            if kept is not None and row.failed is None:
                known[entry.key] = numbers_of(row)
                write_beside(kept, json.dumps(known, indent=1))
        rows.append(row)
    progress("", len(rows), len(listed))
    return rows


def _measured(framework: str, number: int) -> Numbers:
    """A row's numbers, from a process that measures it."""
    command = [sys.executable, "-m", "backstride.survey.worker", framework, str(number)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        done = subprocess.run(  # noqa: S603  our own interpreter and module
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path},
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        _ = log.seek(0)
        last = (log.read().strip().splitlines() or ["no message"])[-1]
    return {"failed": first_line(f"its process ended with {done.returncode}: {last}")}


def _read(path: Path) -> dict[str, Numbers]:
    """What an earlier run kept; nothing where there is no such file."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        message = (
            f"`kept` (={str(path)!r}) is not what this wrote; delete it to measure all rows anew"
        )
        raise ValueError(message) from None


def _row(entry: Entry, numbers: Numbers) -> Row | None:
    try:
        return Row(entry, **numbers)
    except TypeError:  # kept by another version of this program
        return None
