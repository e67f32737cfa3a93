"""The times of whole models beside each processor's page, and the table over them."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from machine import titled

OURS = (
    "accelerate",
    "accelerate + trust",
    "accelerate + trust + channels last",
    "accelerate + channels last",
    "accelerate + compile",
)
STOCK = ("eager", "channels last")
PARTS = {
    "inference": "Inference, whole models",
    "layers": "Inference, their transposed convolutions alone",
    "training": "One training step",
}
LEVELS = {"inference": 1.7, "training": 1.5}  # geometric mean against every stock runner
NEVER_BELOW = 0.97  # plain `accelerate` against the better of eager and channels last
DTYPES = ("float32", "bfloat16", "autocast")
SUFFIX = "-torch"
HEAD = """# Whole PyTorch models, by processor

Written by `make bench-torch` from what is kept beside the pages; a run on another kind of processor adds its rows
and its page.
"""  # noqa: E501


class Time(NamedTuple):
    """One measurement: milliseconds, and half the distance of the quartiles in percent of them."""

    threads: int
    part: str
    model: str
    runner: str
    milliseconds: float
    spread: float


class Times(NamedTuple):
    """What is kept of a processor."""

    machine: Mapping[str, str]
    times: list[Time]


def read(path: Path) -> Times:
    """A file: lines of `# name: words` about the machine, then a table."""
    lines = path.read_text(encoding="utf-8").splitlines()
    said = [line.removeprefix("# ").partition(": ") for line in lines if line.startswith("# ")]
    rows = [
        list(row.values())
        for row in csv.DictReader(line for line in lines if not line.startswith("# "))
    ]
    times = [
        Time(int(row[0]), row[1], row[2], row[3], float(row[4]), float(row[5])) for row in rows
    ]
    return Times({name: words for name, _, words in said}, times)


def write(path: Path, kept: Times) -> None:
    """The same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {name}: {words}\n" for name, words in kept.machine.items())
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Time._fields)
        writer.writerows(
            (*entry[:4], f"{entry.milliseconds:.2f}", f"{entry.spread:.0f}") for entry in kept.times
        )


def ratio(times: Mapping[str, float]) -> tuple[str, float]:
    """The fastest other runner, and how many times ours is as fast."""
    peer = min((runner for runner in times if runner not in OURS), key=lambda runner: times[runner])
    return peer, times[peer] / min(times[runner] for runner in OURS if runner in times)


def plain(times: Mapping[str, float]) -> float | None:
    """How many times as fast plain `accelerate` is as the better of eager and channels last.

    None without both.
    """
    stock = [times[runner] for runner in STOCK if runner in times]
    return min(stock) / times["accelerate"] if stock and "accelerate" in times else None


def geomean(values: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def dtype(model: str) -> str:
    """In what a row computes, which its name says."""
    return next((name for name in DTYPES[1:] if f", {name}" in model), "float32")


def models(times: Iterable[Time]) -> dict[tuple[int, str], dict[str, dict[str, float]]]:
    """Milliseconds by threads and part, model, runner."""
    found: dict[tuple[int, str], dict[str, dict[str, float]]] = {}
    for entry in times:
        table = found.setdefault((entry.threads, entry.part), {}).setdefault(entry.model, {})
        table[entry.runner] = entry.milliseconds
    return found


def measured(folder: Path) -> dict[tuple[str, int, str], dict[str, float]]:
    """The float32 ratios to every other runner by model, per processor, threads and part."""
    return {
        (titled(kept.machine), *key): {
            name: ratio(times)[1] for name, times in tables.items() if dtype(name) == "float32"
        }
        for kept in map(read, _files(folder))
        for key, tables in models(kept.times).items()
    }


def table(folder: Path) -> str:
    """torch_results.md."""
    every = [
        "| processor | threads | part | dtype | models | geomean | slowest | below 1.0 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    stock = [
        "| processor | threads | part | dtype | models | geomean | slowest | model |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in _files(folder):
        kept = read(path)
        link = f"[{titled(kept.machine)}](results/{path.stem}.md)"
        for (threads, part), tables in models(kept.times).items():
            for name in DTYPES:
                ratios = [
                    ratio(times)[1] for model, times in tables.items() if dtype(model) == name
                ]
                row = (link, str(threads), PARTS[part], name, str(len(ratios)))
                every += [f"| {' | '.join((*row, *_held(part, ratios)))} |"] if ratios else []
            if part != "layers":
                stock += (
                    f"| {link} | {threads} | {PARTS[part]} | {row} |" for row in _stock(tables)
                )
    parts = [HEAD, _EVERY, *every, _STOCK, *stock]
    return "\n".join(parts) + "\n"


_EVERY = f"""## Against every other runner

The time of the fastest other runner (eager, channels last, `torch.compile`, ONNX Runtime, OpenVINO) divided by that
of the fastest of ours. To reach: a geometric mean of {LEVELS["inference"]} in inference and {LEVELS["training"]} in
training, and no model below 1.0.
"""  # noqa: E501
_STOCK = f"""
## Plain `accelerate` against PyTorch alone

The time of the better of eager and channels last divided by that of `accelerate(model)`, without `trust` and in the
model's own memory format. To reach: no model below {NEVER_BELOW}.
"""  # noqa: E501


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "results").glob(f"*{SUFFIX}.csv"))


def _held(part: str, ratios: list[float]) -> tuple[str, str, str]:
    mean = geomean(ratios)
    said = (
        ""
        if part not in LEVELS
        else f" of {LEVELS[part]}: " + ("reached" if mean >= LEVELS[part] else _NOT)
    )
    return f"{mean:.2f}{said}", f"{min(ratios):.2f}", str(sum(value < 1 for value in ratios))


_NOT = "**not reached**"


def _stock(tables: Mapping[str, Mapping[str, float]]) -> Iterable[str]:
    for name in DTYPES:
        found = {model: plain(times) for model, times in tables.items() if dtype(model) == name}
        ratios = {model: value for model, value in found.items() if value is not None}
        if ratios:
            worst = min(ratios, key=lambda model: ratios[model])
            held = "reached" if ratios[worst] >= NEVER_BELOW else _NOT
            mean = geomean(ratios.values())
            yield (
                f"{name} | {len(ratios)} | {mean:.2f} | {ratios[worst]:.2f} of {NEVER_BELOW}: "
                f"{held} | {worst}"
            )
