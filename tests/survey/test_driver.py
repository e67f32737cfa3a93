"""The table is measured row by row.

What is known is not measured again, and what dies is a row that says so.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from backstride.survey import driver, to_markdown
from backstride.survey.row import Converted, Entry, Row, numbers_of


def unconverted() -> Converted:
    raise NotImplementedError


ENTRIES = [
    Entry(name, "NumPy", "by hand", (1, 6, 5), unconverted) for name in ("one", "two", "three")
]
KNOWN = Row(ENTRIES[0], 3, 1.0, 1e-7, True, 0.5, 12.5)


def every_entry(_: object) -> list[Entry]:
    return ENTRIES


def one_entry(_: object) -> list[Entry]:
    return ENTRIES[:1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    numbers: list[int] = []

    def measured(framework: str, number: int) -> dict[str, Any]:
        assert framework == "NumPy"
        numbers.append(number)
        return {"failed": "ValueError: no"} if number == 2 else numbers_of(KNOWN)

    monkeypatch.setattr(driver, "ROSTERS", {"NumPy": "nowhere"})
    monkeypatch.setattr(driver, "entries_of", every_entry)
    monkeypatch.setattr(driver, "_measured", measured)
    return numbers


def test_what_is_kept_is_not_measured_again(asked: list[int], tmp_path: Path) -> None:
    kept, seen = tmp_path / "rows.json", list[tuple[str, int, int]]()
    _ = kept.write_text(json.dumps({ENTRIES[0].key: numbers_of(KNOWN)}))

    def hear(name: str, done: int, of: int) -> None:
        seen.append((name, done, of))

    rows = driver.run(kept=kept, progress=hear)
    assert asked == [1, 2]
    assert [row.sound for row in rows] == [True, True, False]
    assert set(json.loads(kept.read_bytes())) == {
        ENTRIES[0].key,
        ENTRIES[1].key,
    }  # a fault is measured again
    assert seen == [("NumPy, one", 0, 3), ("NumPy, two", 1, 3), ("NumPy, three", 2, 3), ("", 3, 3)]
    assert "| FAILS: ValueError: no |" in to_markdown(rows)
    assert [row.speed for row in driver.run(kept=kept)] == [12.5, 12.5, 0.0]
    assert asked == [1, 2, 2]


@pytest.mark.parametrize("content", ['{"broken', "7"])
def test_another_file_is_refused(asked: list[int], tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.json"
    _ = path.write_text(content)
    with pytest.raises(ValueError, match="is not what this wrote; delete it"):
        _ = driver.run(kept=path)
    assert not asked


def test_rows_of_another_version_are_measured(asked: list[int], tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    _ = path.write_text(json.dumps({entry.key: {"colour": 1} for entry in ENTRIES}))
    assert len(driver.run(kept=path)) == 3
    assert asked == [0, 1, 2]


def test_a_process_that_dies_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dying = tmp_path / "python"
    _ = dying.write_text("#!/bin/sh\necho gone >&2\nexit 9\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    monkeypatch.setattr(driver, "ROSTERS", {"NumPy": "nowhere"})
    monkeypatch.setattr(driver, "entries_of", one_entry)
    (row,) = driver.run()
    assert row.failed == "its process ended with 9: gone"
