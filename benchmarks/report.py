"""A processor's page of results and its picture, from the measurements alone."""

from __future__ import annotations

import json
import statistics
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from goals import Goal, at_the_limit, causes, goals, mean, one_channel
from machine import named, titled
from peers import OURS, PEERS
from picture import draw
from problem import VARIANTS
from records import Cell, Records

HEAD = """# Results on {title}

Written by `make bench` from {name}.jsonl, which holds the quartiles of what was
measured; nothing here is entered by hand but the causes of shortfalls, {name}-causes.toml.
Layers with their sources: {file}. Who is compared with whom: ../peers/\\_\\_init\\_\\_.py.{more}

The ratio is the best peer's time divided by ours, each in its best layout, float32, medians of interleaved turns; all
arrays start at a cache line. All libraries share a process, and their threads look for more work on a processor of
their own for up to 40 ms after a call: each turn begins when all of them sleep, and with a call that is not timed.
A layer's limit is the longer of its useful work at the measured peak and of its input, output and kernel at the
measured rate of a copy of that size. Winograd needs fewer multiplications than the useful work counts, so it can
pass 100 %.

![Ratio to the best peer, layer by layer]({name}.svg)
"""  # noqa: E501


def write_page(records: Records, folder: Path) -> list[Path]:
    """Keep the measurements, and write the page of their processor and its picture.

    Returns the paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{named(records.machine)}.md"
    kept = path.with_suffix(".jsonl")
    _ = kept.write_text(
        "".join(json.dumps(line) + "\n" for line in records.lines()), encoding="utf-8"
    )
    _ = path.write_text(page(records.kept(), folder), encoding="utf-8")
    return [path, kept, *draw(records.kept(), path)]


def page(records: Records, folder: Path) -> str:
    """The page, with the causes of shortfalls that stand in a folder."""
    known = folder / f"{named(records.machine)}-causes.toml"
    table: Any = tomllib.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    return "\n".join(_parts(records, table))


def _parts(records: Records, known: Any) -> Iterable[str]:
    more = "" if records.digest else " [All processors](../results.md)."
    yield HEAD.format(
        file=records.file, title=titled(records.machine), name=named(records.machine), more=more
    )
    yield "## Machine\n"
    yield from grid(("", ""), [(name, words) for name, words in records.machine.items()])
    if records.limits:
        names = ("threads", "peak, GFLOP/s", "copy, GB/s read and written", "read, GB/s")
        rows = [
            (str(n), f"{x.peak:.0f}", f"{x.memory:.1f}", f"{x.read[-1][1]:.1f}")
            for n, x in records.limits.items()
        ]
        yield from grid(names, rows)
    yield "## Summary\n"
    yield from grid(
        ("variant", "threads", "layers", "geomean", "min", "layers below 1.0"),
        list(_summary(records)),
    )
    if records.cells:
        taken = sorted(cell.foreign for cell in records.cells.values())
        share, most = (f"{100 * value:.0f} %" for value in (statistics.median(taken), taken[-1]))
        yield (
            f"Other processes took {share} of a processor during a layer's turns in the median, "
            f"{most} at most.\n"
        )
    found = list(goals(records))
    yield from _goals(found)
    yield from _peers(records)
    yield from _special(records)
    threads = records.threads
    for count in threads:
        yield f"## Layers, {_threads(count)}\n"
        yield from _layers(records, count)
    for count in threads:
        yield from _gradients(records, count)
    yield from _left_out(records)
    yield from _shortfalls(records, found, known)


def grid(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """A Markdown table and an empty line."""
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _summary(records: Records) -> Iterable[Sequence[str]]:
    for variant in VARIANTS.values():
        for threads in records.threads:
            ratios = records.factors(variant.name, threads)
            if ratios:
                below = sum(ratio < 1 for ratio in ratios)
                yield (
                    variant.title,
                    str(threads),
                    str(len(ratios)),
                    f"{mean(ratios):.2f}",
                    f"{min(ratios):.2f}",
                    str(below),
                )


def _peers(records: Records) -> Iterable[str]:
    """What choosing one peer for everything would cost: who far behind was timed by a few calls."""
    rows: list[Sequence[str]] = []
    cells = [cell for (_, variant, _), cell in records.cells.items() if variant == "packed"]
    for threads in sorted({cell.threads for cell in cells}):
        for peer in PEERS:
            mine = [
                cell
                for cell in cells
                if cell.threads == threads and peer in cell.seconds and cell.best(ours=True)
            ]
            if mine:
                ratios = [
                    cell.median(peer) / cell.median(cell.best(ours=True) or "") for cell in mine
                ]
                first = sum(cell.best(ours=False) == peer for cell in mine)
                rows.append((peer, str(threads), str(len(mine)), str(first), f"{mean(ratios):.2f}"))
    if rows:
        yield "## Each peer by itself, weights packed beforehand\n"
        names = (
            "peer",
            "threads",
            "layers it ran",
            "the best peer on",
            "geomean of its time to ours",
        )
        yield from grid(names, rows)


def _left_out(records: Records) -> Iterable[str]:
    reasons: dict[tuple[int, str, str], set[str]] = {}
    for cell in records.cells.values():
        for name, reason in cell.dropped.items():
            title = VARIANTS[cell.variant].title
            reasons.setdefault((cell.layer.number, name, reason), set()).add(
                f"{title}, {_threads(cell.threads)}"
            )
    if reasons:
        yield "## Who was left out\n"
        rows = [
            (str(n), name, reason, "; ".join(sorted(where)))
            for (n, name, reason), where in sorted(reasons.items())
        ]
        yield from grid(
            ("no.", "who", "why", "where it was asked; not asked again after that"), rows
        )


def _layers(records: Records, threads: int) -> Iterable[str]:
    names = (
        "no.",
        "layer",
        "channels last, ms",
        "channels first, ms",
        "GFLOP/s",
        "of the limit",
        "limited by",
    )
    names = (*names, "best peer", "its ms", "ratio")
    others = [name for name in ("packed-relu", "call", "call-relu") if records.table(name, threads)]
    titles = {
        "packed-relu": "with bias, ReLU",
        "call": "not packed",
        "call-relu": "not packed, bias, ReLU",
    }
    rows: list[Sequence[str]] = []
    for cell in records.table("packed", threads):
        ours, peer = cell.best(ours=True), cell.best(ours=False)
        assert ours is not None
        assert peer is not None
        mine = 1e3 * cell.median(ours)
        limit, by = ("", "")
        if threads in records.limits:
            least, by = records.limits[threads].milliseconds(cell.layer)
            limit = f"{100 * least / mine:.0f} %"
        shown = (
            *(_time(cell, name) for name in OURS),
            f"{cell.layer.gflop / mine * 1e3:.0f}",
            limit,
            by,
        )
        cells = [records.cells.get((cell.layer.number, name, threads)) for name in others]
        ratios = ["" if other is None else _ratio(other) for other in cells]
        name = cell.layer.name + _changed(records, cell)
        rows.append(
            (str(cell.layer.number), name, *shown, peer, _time(cell, peer), _ratio(cell), *ratios)
        )
    yield from grid((*names, *(titles[name] for name in others)), rows)


def _time(cell: Cell, name: str) -> str:
    return (
        f"{1e3 * cell.median(name):.3g} ± {cell.spread(name):.0f} %" if name in cell.seconds else ""
    )


def _ratio(cell: Cell) -> str:
    return "" if cell.ratio is None else f"{cell.ratio:.2f}"


def _changed(records: Records, cell: Cell) -> str:
    """What was made smaller to bound the time."""
    original = records.layer(cell.layer.number)
    words = "" if cell.layer.batch == original.batch else f" (batch {cell.layer.batch})"
    return (
        words if cell.layer.big == original.big else f"{words} ({cell.layer.big} output channels)"
    )


def _gradients(records: Records, threads: int) -> Iterable[str]:
    tables = {name: records.table(name, threads) for name in ("input-gradient", "kernel-gradient")}
    if not any(tables.values()):
        return
    yield f"## Gradients against PyTorch's backward, {_threads(threads)}\n"
    cells = {(name, cell.layer.number): cell for name, table in tables.items() for cell in table}
    rows: list[Sequence[str]] = []
    for layer in records.layers:
        pair = [cells.get((name, layer.number)) for name in tables]
        if any(cell is not None for cell in pair):
            first = next(cell for cell in pair if cell is not None)
            shown = [word for cell in pair for word in _gradient(cell)]
            rows.append((str(layer.number), layer.name + _changed(records, first), *shown))
    names = ("no.", "layer", "input: ours, ms", "ratio", "kernel: ours, ms", "ratio")
    yield from grid(names, rows)


def _gradient(cell: Cell | None) -> tuple[str, str]:
    ours = None if cell is None else cell.best(ours=True)
    return ("", "") if cell is None or ours is None else (_time(cell, ours), _ratio(cell))


def _special(records: Records) -> Iterable[str]:
    if not records.special:
        return
    yield "## Special cases\n"
    for threads in sorted({threads for _, threads in records.special}):
        lengths = records.special.get(("varying length", threads), [])
        if lengths:
            yield (
                "1-D input of varying length (1026 channels, k 1024, s 256), "
                f"{_threads(threads)}:\n"
            )
            names = ("who", "length", "first call, ms", "again, ms", "first / again")
            yield from grid(names, [(r["who"], str(r["length"]), *_first(r)) for r in lengths])
        sizes = records.special.get(("first calls", threads), [])
        if sizes:
            yield f"A plan's first call on a size that it has not met, {_threads(threads)}:\n"
            yield from grid(
                ("no.", "first call, ms", "again, ms", "first / again"),
                [(str(r["layer"]), *_first(r)) for r in sizes],
            )
        calls = records.special.get(("overhead", threads), [])
        if calls:
            yield f"A call on one cell of one channel, {_threads(threads)}:\n"
            yield from grid(
                ("call", "microseconds"),
                [(f"`{r['call']}`", f"{r['microseconds']:.1f}") for r in calls],
            )
        ratio = one_channel(records, threads)
        if ratio is not None:
            yield (
                f"k 1024, s 256 to 1 channel (layer 97), {_threads(threads)}: {ratio:.1f} times as "
                "fast as PyTorch.\n"
            )


def _first(row: dict[str, Any]) -> tuple[str, str, str]:
    first, again = row["first ms"], row["again ms"]
    return f"{first:.3g}", f"{again:.3g}", f"{first / again:.2f}"


def _goals(found: Sequence[Goal]) -> Iterable[str]:
    yield "## Goals\n"
    rows = [
        (goal.words, str(goal.threads), goal.reached, "reached" if goal.met else "**not reached**")
        for goal in found
    ]
    yield from grid(("goal", "threads", "measured", ""), rows)


def _shortfalls(records: Records, found: Sequence[Goal], known: Any) -> Iterable[str]:
    yield "## What falls short, and why\n"
    missed = [goal for goal in found if not goal.met]
    if not missed:
        yield "Nothing.\n"
        return
    for threads, limits in records.limits.items():
        cells = records.table("packed", threads)
        if cells:
            plain, tiled = at_the_limit(cells, limits)
            yield (
                f"With every layer at its limit, {_threads(threads)}, the geometric mean over the "
                f"best peer would be {plain:.2f}; {tiled:.2f} if besides every layer that runs as "
                "Winograd tiles needed 16/9 times fewer multiplications and nothing else.\n"
            )
    reasons = {
        goal.words: known.get("goals", {}).get(goal.key, "not profiled")
        for goal in missed
        if goal.key
    }
    yield from grid(("goal", "cause"), list(reasons.items()))
    rows = list(causes(known, (one for goal in missed for one in goal.short)))
    if rows:
        yield from grid(("no.", "layer", "goal", "reached, on so many threads", "cause"), rows)
