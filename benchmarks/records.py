"""What was measured, as JSON lines in a file: written as it comes, read to make the tables, kept to go on later."""

from __future__ import annotations

import dataclasses
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layers import Layer, layers
from limits import Limits
from timing import spread


@dataclass(frozen=True, slots=True)
class Cell:
    """One layer in one variant with so many threads: everybody's seconds."""

    layer: Layer
    variant: str
    threads: int
    seconds: dict[str, list[float]]
    turns: list[str]
    dropped: dict[str, str]
    foreign: float = 0.0
    algorithm: str = ""  # of the plan

    def median(self, name: str) -> float:
        """Seconds of a call."""
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> float:
        """In percent, as in `timing.spread`."""
        return spread(self.seconds[name])

    def best(self, *, ours: bool) -> str | None:
        """The fastest of ours, or of the peers, in any layout; None where nobody ran."""
        names = [name for name in self.turns if name.startswith("ours") == ours]
        return min(names, key=self.median, default=None)

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the best peer we are."""
        peer, ours = self.best(ours=False), self.best(ours=True)
        return None if peer is None or ours is None else self.median(peer) / self.median(ours)


@dataclass(slots=True)
class Records:
    """A whole file; of two measurements of the same thing the later one counts."""

    machine: dict[str, str] = field(default_factory=dict[str, str])
    limits: dict[int, Limits] = field(default_factory=dict[int, Limits])
    cells: dict[tuple[int, str, int], Cell] = field(default_factory=dict[tuple[int, str, int], Cell])
    special: dict[tuple[str, int], list[dict[str, Any]]] = field(
        default_factory=dict[tuple[str, int], list[dict[str, Any]]]
    )

    def add(self, record: dict[str, Any]) -> None:
        """Take in one line of the file."""
        match record:
            case {"kind": "machine", "words": words}:
                self.machine = words
            case {"kind": "limits", "threads": threads, "peak": peak, "copy": copy, "read": read}:
                rates = (tuple((size, rate) for size, rate in pairs) for pairs in (copy, read))
                self.limits[threads] = Limits(threads, peak, *rates)
            case {"kind": "cell", "layer": number, "variant": variant, "threads": threads}:
                layer = next(layer for layer in layers() if layer.number == number)
                layer = dataclasses.replace(layer, batch=record["batch"], big=record["big"])
                cell = Cell(
                    layer,
                    variant,
                    threads,
                    record["seconds"],
                    record["turns"],
                    record["dropped"],
                    record.get("foreign", 0.0),
                    record.get("algorithm", ""),
                )
                self.cells[number, variant, threads] = cell
            case {"kind": "special", "name": name, "threads": threads, "rows": rows}:
                self.special[name, threads] = rows
            case _:
                message = f"a line of measurements has no known kind: {record}"
                raise ValueError(message)

    def table(self, variant: str, threads: int) -> list[Cell]:
        """All layers of a variant, in the order of layers.csv, that somebody beside us ran."""
        order = [layer.number for layer in layers()]
        cells = [self.cells.get((number, variant, threads)) for number in order]
        return [cell for cell in cells if cell is not None and cell.ratio is not None]


def read(path: Path) -> Records:
    """All of a file; none of a file that is not there."""
    records = Records()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        records.add(json.loads(line))
    return records


def write(path: Path, line: dict[str, Any]) -> None:
    """Append a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        _ = file.write(json.dumps(line) + "\n")
