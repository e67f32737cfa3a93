"""Compares the times that `plan.explain` predicts with measured ones.

Every algorithm that may run is compared.

    python benchmarks/predicted.py                        all layers, 1 and 2 threads, 5 minutes on 2 cores
    python benchmarks/predicted.py --layers 3,24 --threads 1
    python benchmarks/predicted.py --resume --at-most 80  go on where the last run was stopped, for 80 seconds; exit
                                                          code 3 while something is left
    python benchmarks/predicted.py --results              and write this processor's page

Everybody's turn is a call that is not timed and a few that are; medians count. Heavier layers are
timed with a smaller batch, or fewer output channels. What is four times as slow as the quickest
keeps the time of its second call.
"""  # noqa: E501

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layers import FILE, MOST_GFLOP, Layer, table
from machine import describe, named, titled
from problem import VARIANTS, Problem
from records import mend
from report import grid
from timing import timed

import backstride as bs

RAW = Path(__file__).parents[1] / "build" / "predicted.jsonl"
RESULTS = Path(__file__).parent / "results"
UNFINISHED = 3  # exit code
FAR, TURNS, SECONDS = (
    4,
    15,
    1.0,
)  # times as slow as the quickest; turns at most; and seconds of a layer
CLOSE, BEST = (
    0.2,
    1.05,
)  # the level: predictions within 20 %, and the chosen one within 5 % of the best


@dataclass(frozen=True, slots=True)
class Row:
    """One layer on so many threads: milliseconds of each algorithm, measured and predicted."""

    layer: int
    name: str
    threads: int
    chosen: str
    limit: str
    measured: dict[str, float]
    predicted: dict[str, float]

    @property
    def loss(self) -> float:
        """How many times as slow as the best one the chosen one is."""
        return self.measured[self.chosen] / min(self.measured.values())

    def error(self, algorithm: str) -> float:
        """Predicted by measured."""
        return self.predicted[algorithm] / self.measured[algorithm]


def main() -> int:
    """Measure what is not in the records, print the table, write the page."""
    words = arguments()
    known = [*read(words.raw)] if words.resume else []
    if not words.resume:
        words.raw.unlink(missing_ok=True)
    words.raw.parent.mkdir(exist_ok=True)
    done, end = {(row.layer, row.threads) for row in known}, time.monotonic() + words.at_most
    for threads in words.threads:
        for layer in table(FILE).layers:
            if (layer.number, threads) in done or layer.number not in (
                words.layers or {layer.number}
            ):
                continue
            if time.monotonic() > end:
                print(f"stopped after {words.at_most:g} s; the same words with --resume go on")
                return UNFINISHED
            row = compare(layer.lighter(MOST_GFLOP), threads)
            with words.raw.open("a", encoding="utf-8") as file:
                _ = file.write(json.dumps(asdict(row)) + "\n")
            known.append(row)
            print(" | ".join(cells(row)), flush=True)
    print("\n".join(summary(known)))
    if words.results:
        path = RESULTS / f"{named(describe())}-predictions.md"
        _ = path.write_text(page(known), encoding="utf-8")
        print(f"wrote {path.name}")
    return 0


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    _ = parser.add_argument("--layers", type=_numbers, default=None, metavar="3,24")
    _ = parser.add_argument("--threads", type=_numbers, default=(1, 2), metavar="1,2")
    _ = parser.add_argument("--raw", type=Path, default=RAW, metavar="FILE")
    _ = parser.add_argument("--resume", action="store_true")
    _ = parser.add_argument("--at-most", type=float, default=float("inf"), metavar="SECONDS")
    _ = parser.add_argument("--results", action="store_true")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def read(path: Path) -> Iterator[Row]:
    """What a run before this one kept."""
    if path.exists():
        mend(path)
        for line in path.read_text(encoding="utf-8").splitlines():
            yield Row(**json.loads(line))


def compare(layer: Layer, threads: int) -> Row:
    """Measure every algorithm that may run for a layer, interleaved."""
    bs.set_num_threads(threads)
    problem = Problem(layer, VARIANTS["packed"], threads)
    options: dict[str, Any] = {
        "strides": layer.strides,
        "padding": layer.crop,
        "groups": layer.groups,
    }
    automatic, x = bs.plan(problem.kernel, **options), problem.x
    explained, plans, predicted = (
        automatic.explain(x.shape),
        {automatic.algorithm: automatic},
        dict[str, float](),
    )
    for row in explained.predictions:
        name = row.algorithm
        if name != automatic.algorithm:
            plans[name] = bs.plan(problem.kernel, **options, algorithm=name)
        found = {other.algorithm: other for other in plans[name].explain(x.shape).predictions}
        predicted[name] = found[name].milliseconds
    limit = next(row.limit for row in explained.predictions if row.algorithm == automatic.algorithm)
    measured = {name: 1e3 * seconds for name, seconds in times(plans, x).items()}
    return Row(layer.number, layer.name, threads, automatic.algorithm, limit, measured, predicted)


def times(plans: dict[str, Any], x: Any) -> dict[str, float]:
    """Median seconds of each plan, in turns, forwards and backwards."""
    calls: dict[str, Callable[[], Any]] = {
        name: functools.partial(plan, x) for name, plan in plans.items()
    }
    single = {name: (timed(call), timed(call))[1] for name, call in calls.items()}
    near = [name for name in calls if single[name] < FAR * min(single.values())]
    total = sum(single[name] for name in near)
    count = 3 if total < SECONDS / 20 else 1
    found: dict[str, list[float]] = {name: [] for name in near}
    for turn in range(max(4, min(TURNS, int(SECONDS / total / (count + 1))))):
        for name in near if turn % 2 else reversed(near):
            _ = timed(calls[name])
            found[name] += [timed(calls[name]) for _ in range(count)]
    return {**single, **{name: statistics.median(values) for name, values in found.items()}}


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    others = (
        f"{name} {row.measured[name]:.3g} ({row.error(name):.2f})"
        for name in row.measured
        if name != row.chosen
    )
    return (
        f"{row.layer} {row.name}",
        row.chosen,
        f"{row.predicted[row.chosen]:.3g}",
        f"{row.measured[row.chosen]:.3g}",
        f"{row.error(row.chosen):.2f}",
        row.limit,
        f"{row.loss:.2f}",
        ", ".join(others),
    )


def summary(rows: Iterable[Row]) -> Iterator[str]:
    """The level, for each number of threads."""
    everybody = [*rows]
    for threads in sorted({row.threads for row in everybody}):
        own = [row for row in everybody if row.threads == threads]
        errors = [row.error(row.chosen) for row in own]
        others = [row.error(name) for row in own for name in row.measured]
        close, all_close = (
            sum(abs(error - 1) <= CLOSE for error in found) / len(found)
            for found in (errors, others)
        )
        best, worst = sum(row.loss <= BEST for row in own), max(row.loss for row in own)
        near = f"within {CLOSE:.0%} of what was measured"
        yield (
            f"- {_threads(threads)}: {close:.0%} of the predictions of the chosen algorithm are "
            f"{near},"
        )
        yield (
            f"  {all_close:.0%} of all; the chosen one is within {BEST - 1:.0%} of the best one on"
        )
        yield f"  {best} of {len(own)} layers, and takes {worst:.2f} times its time at most."


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def page(rows: list[Row]) -> str:
    """The page of this processor."""
    parts = [
        f"# Predicted and measured: {titled(describe())}",
        "",
        (
            "Milliseconds of a call with packed weights, and predicted by measured in the last "
            "columns' brackets; made by"
        ),
        (
            "`benchmarks/predicted.py`. The level: within 20 % on 80 % of the layers, and the "
            "chosen algorithm within 5 %"
        ),
        "of the best one on every layer.",
        "",
        *summary(rows),
        "",
    ]
    names = ("layer", "chosen", "predicted", "measured", "ratio", "limit", "by the best", "others")
    for threads in sorted({row.threads for row in rows}):
        own = sorted((row for row in rows if row.threads == threads), key=lambda row: row.layer)
        parts += [f"## {_threads(threads)}", "", *grid(names, [cells(row) for row in own])]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
