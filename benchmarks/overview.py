"""results.md, the table over processors, and what the README says of speed.

From what is kept beside the pages.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from goals import level, mean
from machine import titled
from problem import VARIANTS
from records import Records, read
from report import grid
from torch_overview import LEVELS, measured

FOLDER = Path(__file__).parent
README = FOLDER.parent / "README.md"
HEAD = """# Results, by processor

Written by `make bench` from what is kept beside the pages; a run on another kind of processor adds its row and
its page. The ratio is the time of the best peer, of nine, divided by ours, each in its best layout, float32. Each
cell: geometric mean of the ratios, the slowest layer, and how many layers are below 1.0. There are
[whole models](torch_results.md), too.
"""  # noqa: E501
MARKS = (
    "<!-- what is measured: written by make bench and make bench-torch -->",
    "<!-- end of it -->",
)


def pages(folder: Path) -> dict[str, Records]:
    """The name of each page of a folder of results, and what was measured for it."""
    return {path.stem: read(path) for path in sorted((folder / "results").glob("*.jsonl"))}


def table(folder: Path) -> str:
    """results.md."""
    known = pages(folder)
    variants = [
        name
        for name in VARIANTS
        if any(records.factors(name, n) for records, n in _columns(known.values()))
    ]
    names = ("processor", "threads", "layers", *(VARIANTS[name].title for name in variants))
    rows: list[list[str]] = []
    held: list[list[str]] = []
    for name, records in known.items():
        link = f"[{titled(records.machine)}](results/{name}.md)"
        for threads in records.threads:
            found = [records.factors(variant, threads) for variant in variants]
            rows.append([link, str(threads), str(max(map(len, found))), *map(_cell, found)])
            held.append([link, str(threads), *_goals(records, threads)])
    goals = ("processor", "threads", "geometric mean, packed", "slowest layer of all variants")
    return "\n".join([HEAD, *grid(names, rows), "## Goals\n", *grid(goals, held)])


def words(folder: Path) -> str:
    """What the README says.

    Ranges over processors and thread counts, never one machine's figure alone.
    """
    known = pages(folder)
    packed = [mean(records.factors("packed", n)) for records, n in _columns(known.values())]
    lists = [
        records.factors(name, n) for records, n in _columns(known.values()) for name in VARIANTS
    ]
    lists = [ratios for ratios in lists if ratios]
    models = measured(folder)
    steps = {
        part: [ratios for (_, _, name), ratios in models.items() if name == part and ratios]
        for part in LEVELS
    }
    means = {
        part: _range(mean(ratios.values()) for ratios in tables) for part, tables in steps.items()
    }
    least = {part: min(min(ratios.values()) for ratios in tables) for part, tables in steps.items()}
    machines = dict.fromkeys(
        [*(titled(records.machine) for records in known.values()), *(name for name, _, _ in models)]
    )
    return (
        f"[{max(map(len, lists))} real layers](benchmarks/results.md) run {_range(packed)} times "
        "as fast as by the best of nine other ways to run each, in geometric mean with weights "
        f"packed beforehand; over all variants and gradients {_range(map(mean, lists))}, the "
        f"slowest layer {min(map(min, lists)):.2f}. [{max(map(len, steps['inference']))} whole "
        f"PyTorch models](benchmarks/torch_results.md) run {means['inference']} times as fast as "
        f"by the best of five other ways, the slowest {least['inference']:.2f}; a training step "
        f"{means['training']}, the slowest {least['training']:.2f}. Ranges over thread counts and "
        f"processors: {'; '.join(machines)}."
    )


def refresh(folder: Path) -> list[Path]:
    """Write results.md anew, and the README if the folder is the project's own."""
    path = folder / "results.md"
    _ = path.write_text(table(folder), encoding="utf-8")
    if folder.resolve() != FOLDER.resolve():
        return [path]
    _ = README.write_text(said(README.read_text(encoding="utf-8"), words(folder)), encoding="utf-8")
    return [path, README]


def said(readme: str, text: str) -> str:
    """The README with the words between its marks replaced."""
    start, end = MARKS
    lines = textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
    return re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{lines}\n{end}", readme, flags=re.DOTALL)


def _columns(known: Iterable[Records]) -> Iterable[tuple[Records, int]]:
    return ((records, threads) for records in known for threads in records.threads)


def _range(values: Iterable[float]) -> str:
    shown = [f"{value:.2f}" for value in sorted(values)]
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"


def _cell(ratios: list[float]) -> str:
    if not ratios:
        return "-"
    return f"{mean(ratios):.2f} / {min(ratios):.2f} / {sum(ratio < 1 for ratio in ratios)}"


def _goals(records: Records, threads: int) -> Iterable[str]:
    least = level(records.machine)
    packed = records.factors("packed", threads)
    every = [ratio for name in VARIANTS for ratio in records.factors(name, threads)]
    pairs: Mapping[float, float | None] = {
        least: mean(packed) if packed else None,
        1.0: min(every, default=None),
    }
    for goal, value in pairs.items():
        reached = "reached" if value is not None and value >= goal else "**not reached**"
        yield "-" if value is None else f"{value:.2f} of {goal}: {reached}"
