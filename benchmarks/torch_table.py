"""The whole-model times as a file that later runs add to, and as a page made from it alone."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path
from typing import NamedTuple

from machine import describe
from torch_published import MODELS

FOLDER = Path(__file__).parent
TIMES, PAGE = FOLDER / "torch_times.csv", FOLDER / "torch_results.md"
OURS = (
    "accelerate",
    "accelerate + trust",
    "accelerate + trust + channels last",
    "accelerate + channels last",
    "accelerate + compile",
)
PARTS = {
    "inference": "Inference, whole models",
    "layers": "Inference, their transposed convolutions alone",
    "training": "One training step",
}
HEAD = """# Whole PyTorch models

Written by `make bench-torch` from torch_times.csv; nothing here is entered by hand. Models with their sources:
torch_models.py. Milliseconds, medians of interleaved runs; the ratio is the time of the fastest other runner
divided by ours, the fastest of the columns on the right; `trust` is `accelerate(model, trust=True)`. The transposed
convolutions alone are timed one by one, each on the input that it gets in the model, and summed. A training step that
would take very long is one of smaller data, which its row says. A dash: the runner was left out or
cannot run the model.
"""


class Time(NamedTuple):
    """One measurement: milliseconds, and half the distance of the quartiles in percent of them."""

    threads: int
    part: str
    model: str
    runner: str
    milliseconds: float
    spread: float


def keep(times: list[Time]) -> None:
    """Put measurements into the file, in place of older ones of the same thing, and write the page anew."""
    known = {entry[:4]: entry for entry in (*_read(), *times)}
    order = {name: place for place, name in enumerate([*PARTS, *(entry.name for entry in MODELS)])}
    order |= {entry.trained: order[entry.name] for entry in MODELS}
    rows = sorted(known.values(), key=lambda entry: (entry.threads, order[entry.part], order[entry.model]))
    with TIMES.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Time._fields)
        writer.writerows((*entry[:4], f"{entry.milliseconds:.2f}", f"{entry.spread:.0f}") for entry in rows)
    _ = PAGE.write_text(page(_read()), encoding="utf-8")


def _read() -> list[Time]:
    if not TIMES.exists():
        return []
    with TIMES.open(encoding="utf-8", newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    return [Time(int(row[0]), row[1], row[2], row[3], float(row[4]), float(row[5])) for row in rows]


def ratio(times: dict[str, float]) -> tuple[str, float]:
    """The fastest other runner, and how many times ours is as fast."""
    peer = min((runner for runner in times if runner not in OURS), key=lambda runner: times[runner])
    return peer, times[peer] / min(times[runner] for runner in OURS if runner in times)


def page(times: list[Time]) -> str:
    """The page, as Markdown."""
    lines = [HEAD, "## Machine\n", "|  |  |", "|---|---|"]
    lines += [f"| {name} | {words} |" for name, words in describe().items() if not words.startswith("not ")]
    for threads in sorted({entry.threads for entry in times}):
        lines.append(f"\n## {'One thread' if threads == 1 else f'{threads} threads'}\n")
        lines += ["| part | models | geomean | min | below 1.0 |", "|---|---|---|---|---|"]
        tables: list[str] = []
        for part, title in PARTS.items():
            chosen = [entry for entry in times if entry.threads == threads and entry.part == part]
            if chosen:
                ratios, table = _table(chosen)
                lines.append(_summary(title, ratios))
                tables += [f"\n### {title}\n", *table]
                heavy = {entry.trained for entry in MODELS if entry.decoder_heavy} & set(ratios)
                if part == "training" and heavy:
                    lines.append(_summary(f"{title}, decoder-heavy models", {name: ratios[name] for name in heavy}))
        lines += tables
    return "\n".join(lines) + "\n"


def _table(times: list[Time]) -> tuple[dict[str, float], list[str]]:
    runners = list(dict.fromkeys(entry.runner for entry in times if entry.runner not in OURS))
    runners += [runner for runner in OURS if any(entry.runner == runner for entry in times)]
    ratios: dict[str, float] = {}
    lines = [f"| model | {' | '.join(runners)} | ratio | to |", "|---|" + "---|" * (len(runners) + 2)]
    for model in dict.fromkeys(entry.model for entry in times):
        found = {entry.runner: entry for entry in times if entry.model == model}
        peer, ratios[model] = ratio({runner: entry.milliseconds for runner, entry in found.items()})
        cells = [
            f"{found[runner].milliseconds:.2f} ± {found[runner].spread:.0f} %" if runner in found else "-"
            for runner in runners
        ]
        lines.append(f"| {model} | {' | '.join(cells)} | {ratios[model]:.2f} | {peer} |")
    return ratios, lines


def _summary(title: str, ratios: dict[str, float]) -> str:
    values = list(ratios.values())
    below = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items() if value < 1)
    return f"| {title} | {len(values)} | {geomean(values):.2f} | {min(values):.2f} | {below or 'none'} |"


def geomean(values: list[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(math.log(value) for value in values))
