"""What was measured, as JSON lines in a file.

Written as it comes, read to make the tables, kept to go on later. A run writes every time that it
took. What is kept beside a page has their quartiles in place of them, which have the same median
and spread. A page whose measurements were not kept has the ratios alone.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layers import Layer, Table, layers
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
    """A whole file; of two measurements of the same thing the later one counts.

    `layers` are those that the numbers mean; `file` and `digest` are of their file, the latter
    empty for the project's own. `ratios` has those of a page whose measurements were not kept, by
    variant and threads.
    """

    layers: tuple[Layer, ...] = field(default_factory=layers)
    digest: str = ""
    file: str = "../layers.csv"
    machine: dict[str, str] = field(default_factory=dict[str, str])
    limits: dict[int, Limits] = field(default_factory=dict[int, Limits])
    cells: dict[tuple[int, str, int], Cell] = field(
        default_factory=dict[tuple[int, str, int], Cell]
    )
    special: dict[tuple[str, int], list[dict[str, Any]]] = field(
        default_factory=dict[tuple[str, int], list[dict[str, Any]]]
    )
    ratios: dict[tuple[str, int], list[float]] = field(
        default_factory=dict[tuple[str, int], list[float]]
    )

    def add(self, record: dict[str, Any]) -> None:
        """Take in one line of the file."""
        match record:
            case {"kind": "machine", "words": words}:
                self.machine = words
            case {"kind": "layers", "digest": digest}:
                if digest != self.digest:
                    message = "holds measurements of another file of layers"
                    raise ValueError(message)
            case {"kind": "limits", "threads": threads, "peak": peak, "copy": copy, "read": read}:
                rates = (tuple((size, rate) for size, rate in pairs) for pairs in (copy, read))
                self.limits[threads] = Limits(threads, peak, *rates)
            case {"kind": "cell", "layer": number, "variant": variant, "threads": threads}:
                layer = dataclasses.replace(
                    self.layer(number), batch=record["batch"], big=record["big"]
                )
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
            case {"kind": "ratios", "variant": variant, "threads": threads, "ratios": ratios}:
                self.ratios[variant, threads] = list(ratios.values())
            case _:
                message = f"a line of measurements has no known kind: {str(record)[:80]}"
                raise ValueError(message)

    def layer(self, number: int) -> Layer:
        """The layer that a number means."""
        found = next((layer for layer in self.layers if layer.number == number), None)
        if found is None:
            message = f"holds measurements of another file of layers: there is no layer {number}"
            raise ValueError(message)
        return found

    def table(self, variant: str, threads: int) -> list[Cell]:
        """All layers of a variant, in the order of their file, that somebody beside us ran."""
        cells = [self.cells.get((layer.number, variant, threads)) for layer in self.layers]
        return [cell for cell in cells if cell is not None and cell.ratio is not None]

    def factors(self, variant: str, threads: int) -> list[float]:
        """How many times as fast as the best peer each layer is."""
        found = [cell.ratio for cell in self.table(variant, threads) if cell.ratio is not None]
        return found or self.ratios.get((variant, threads), [])

    @property
    def threads(self) -> list[int]:
        """The thread counts that were measured."""
        return sorted(
            {threads for _, _, threads in self.cells} | {threads for _, threads in self.ratios}
        )

    def kept(self) -> Records:
        """What is kept beside a page: times reduced to their quartiles, four digits of each."""
        kept = Records(self.layers, self.digest, self.file)
        for line in self.lines():
            kept.add(line)
        return kept

    def lines(self) -> Iterable[dict[str, Any]]:
        """The lines of what is kept; of a second time, they are the same again."""
        if self.digest:
            yield {"kind": "layers", "digest": self.digest}
        yield {"kind": "machine", "words": self.machine}
        for limits in self.limits.values():
            yield {"kind": "limits", **dataclasses.asdict(limits)}
        for cell in self.cells.values():
            seconds = {name: _quartiles(values) for name, values in cell.seconds.items()}
            said = {"layer": cell.layer.number, "batch": cell.layer.batch, "big": cell.layer.big}
            rest = {"turns": cell.turns, "dropped": cell.dropped, "foreign": round(cell.foreign, 3)}
            named = {"kind": "cell", **said, "variant": cell.variant, "threads": cell.threads}
            yield {**named, "algorithm": cell.algorithm, "seconds": seconds, **rest}
        for (name, threads), rows in self.special.items():
            yield {
                "kind": "special",
                "name": name,
                "threads": threads,
                "rows": [_rounded(row) for row in rows],
            }


def _quartiles(values: list[float]) -> list[float]:
    found = (
        statistics.quantiles(values, n=4) if len(values) > 1 else values
    )  # of three values, these are the values
    return [float(f"{value:.4g}") for value in found]


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in row.items()
    }


def read(path: Path, table: Table | None = None) -> Records:
    """All of a file, none of one that is not there.

    Raises ValueError where a line is no measurement of the layers.
    """
    records = Records() if table is None else Records(table.layers, table.digest, table.name)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if records.digest and lines and '"layers"' not in lines[0]:
        message = "holds measurements of another file of layers"
        raise ValueError(message)
    for place, line in enumerate(lines, 1):
        try:
            records.add(json.loads(line))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError):
            message = f"line {place} is no measurement: {line[:60]}"
            raise ValueError(message) from None
    return records


def write(path: Path, line: dict[str, Any]) -> None:
    """Append a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        _ = file.write(json.dumps(line) + "\n")


def mend(path: Path) -> None:
    """Cut off the half line that a run leaves which is killed while it writes."""
    if path.exists() and not (text := path.read_bytes()).endswith(b"\n"):
        _ = path.write_bytes(text[: text.rfind(b"\n") + 1])
