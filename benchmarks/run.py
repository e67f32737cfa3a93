"""Times every layer of layers.csv against the best peer, interleaved.

Weights packed beforehand and not.

    python benchmarks/run.py                              all layers, 1 and 2 threads, 25 minutes on 2 cores
    python benchmarks/run.py --layers 3,24 --threads 1 --variants packed
    python benchmarks/run.py --resume                     go on where the last run was stopped
    python benchmarks/run.py --resume --at-most 80        and stop after 80 seconds; exit code 3 while something is left
    python benchmarks/run.py --results                    and write this processor's page, and results.md, from it
    python benchmarks/run.py --from FILE --results        the same without measuring anything
    python benchmarks/run.py --file MINE.csv              other layers, in the form of layers.csv

For each layer: the ratio of ours to the best peer in any layout, and everybody's GFLOP/s with the
spread (half the distance of the quartiles, in percent). `~` marks a peer far behind, which was
called a few times only. Heavier layers are timed with a smaller batch, or fewer output channels,
which the row says.
"""  # noqa: E501

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from layers import FILE, MOST_GFLOP, Layer, Table, table
from limits import measure as measure_limits
from machine import describe, named
from overview import refresh
from parent import Parent
from peers import GRADIENTS, PEERS, makers
from problem import VARIANTS
from records import Cell, Records, mend, read, write
from report import write_page
from special import SPECIAL

Keep = Callable[[dict[str, Any]], None]
RAW = Path(__file__).parents[1] / "build" / "measurements.jsonl"
DEFAULT = ("packed", "packed-relu", "call", "input-gradient", "kernel-gradient")
UNFINISHED = 3  # exit code
DISTURBED = 0.15  # processors' worth of time of others: measured again
CARRY = (
    2.5  # times as slow as the best peer with packed weights: not asked again in the other variants
)


class OutOfTimeError(Exception):
    """`--at-most` has passed."""


def main() -> int:
    """Measure what was asked for, print the tables and the summary lines, write the results."""
    words, records = arguments()
    if words.source is not None:
        show(records)
    else:
        try:
            run_all(words, records)
        except OutOfTimeError:
            print(f"stopped after {words.at_most:g} s; the same words with --resume go on")
            return UNFINISHED
    if words.results:
        folder = Path(__file__).parent if words.folder is None else words.folder
        written = write_page(records, folder / "results")
        for path in [*written, *([] if records.digest else refresh(folder))]:
            print(f"wrote {path.name}")
    return 0


def run_all(words: argparse.Namespace, records: Records) -> None:
    """Measure every cell that the records lack, one process for each number of threads."""

    def keep(line: dict[str, Any]) -> None:
        write(words.raw, line)
        records.add(line)

    if records.digest and not records.cells:
        keep({"kind": "layers", "digest": records.digest})
    keep({"kind": "machine", "words": describe()})
    for threads in words.threads:
        if threads not in records.limits and not words.quick:
            in_time(words)
            keep({"kind": "limits", **dataclasses.asdict(measure_limits(threads))})
        with Parent(threads, words.peers, words.file) as parent:
            for variant in words.variants:
                run_table(words, records, parent, variant, keep)
            for name in (
                () if words.quick or records.digest else SPECIAL
            ):  # they have layers of their own
                if (name, threads) not in records.special:
                    in_time(words)
                    keep(parent.special(name))


def in_time(words: argparse.Namespace) -> None:
    """Raise when `--at-most` has passed."""
    if time.perf_counter() > words.until:
        raise OutOfTimeError


def run_table(
    words: argparse.Namespace, records: Records, parent: Parent, variant: str, keep: Keep
) -> None:
    """Measure and print one variant."""
    print(title(variant, parent.threads), flush=True)
    for layer in words.layers:
        key = (layer.number, variant, parent.threads)
        if key not in records.cells:
            in_time(words)
            keep(undisturbed(parent, job(words, layer, variant, records, parent.threads)))
        print(row(records.cells[key], layer), flush=True)
    print(summary(records.table(variant, parent.threads)), flush=True)


def undisturbed(parent: Parent, asked: dict[str, Any]) -> dict[str, Any]:
    """A cell, measured again where other processes took part of the processors.

    The least disturbed of three.
    """
    cells: list[dict[str, Any]] = []
    while len(cells) < 3 and (not cells or min(cell["foreign"] for cell in cells) > DISTURBED):
        cells.append(parent.cell(asked))
    return min(cells, key=lambda cell: cell["foreign"])


def job(
    words: argparse.Namespace, layer: Layer, variant: str, records: Records, threads: int
) -> dict[str, Any]:
    """What the worker is asked.

    Who runs is what was chosen, less those who have shown that they are far behind.
    """
    names = [
        name for name in makers(VARIANTS[variant]) if name.startswith("ours") or name in words.peers
    ]
    gradient = VARIANTS[variant].gradient
    alike = [
        cell
        for key, cell in records.cells.items()
        if key[0] == layer.number and kind(key[1]) == gradient
    ]
    dropped = {name for cell in alike for name in cell.dropped if not name.startswith("ours")}
    before = records.cells.get((layer.number, "packed", threads))
    peer = None if before is None else before.best(ours=False)
    if gradient is None and before is not None and peer is not None:
        limit = CARRY * before.median(peer)
        dropped |= {
            name for name in before.seconds if name in PEERS and before.median(name) > limit
        }
        fair = [name for name in names if name in PEERS and name not in dropped]
        if not fair:  # the best of those who can
            dropped = {name for name in dropped if name not in names}
    gflop = words.gflop / 2 if gradient else words.gflop
    runners = [name for name in names if name not in dropped]
    return {
        "layer": layer.number,
        "variant": variant,
        "gflop": gflop,
        "runners": runners,
        "seconds": words.seconds,
    }


def kind(variant: str) -> str | None:
    """Which gradient a variant times, if any."""
    return VARIANTS[variant].gradient


def title(variant: str, threads: int) -> str:
    """The line above a table."""
    return f"threads {threads}, {VARIANTS[variant].title}: GFLOP/s, median ± spread"


def row(cell: Cell, original: Layer) -> str:
    """One line of a table; `original` is the layer as its file has it."""
    layer, peer = cell.layer, cell.best(ours=False)
    shown = "  ".join(one(cell, name) for name in cell.seconds)
    lost = "".join(f"  {name}: {reason}" for name, reason in cell.dropped.items())
    size = f"n={layer.batch:<4}" + (f" out={layer.big}" if layer.big != original.big else "")
    ratio = "not compared" if cell.ratio is None else f"x{cell.ratio:5.2f} of {peer:20}"
    return f"{layer.number:>4} {layer.name[:36]:36} {size} {ratio} {shown}{lost}"


def one(cell: Cell, name: str) -> str:
    """Somebody's rate."""
    rate = cell.layer.gflop / cell.median(name)
    few = name not in cell.turns
    return f"{name} {'~' if few else ''}{rate:.1f}" + ("" if few else f"±{cell.spread(name):.0f}%")


def summary(cells: Iterable[Cell]) -> str:
    """The line that the issue of the engine asks for."""
    ratios = [cell.ratio for cell in cells if cell.ratio is not None]
    if not ratios:
        return "nothing was compared"
    mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))
    return (
        f"geomean {mean:.2f}, min {min(ratios):.2f}, layers below 1.0: "
        f"{sum(ratio < 1 for ratio in ratios)}"
    )


def show(records: Records) -> None:
    """Print the tables of a file."""
    for threads, variant in sorted(
        {(cell.threads, cell.variant) for cell in records.cells.values()}, key=_order
    ):
        print(title(variant, threads))
        for layer in records.layers:
            if (layer.number, variant, threads) in records.cells:
                print(row(records.cells[layer.number, variant, threads], layer))
        print(summary(records.table(variant, threads)))


def _order(key: tuple[int, str]) -> tuple[int, int]:
    return key[0], list(VARIANTS).index(key[1])


def arguments() -> tuple[argparse.Namespace, Records]:
    """The command line, checked, and what is measured already.

    Exit code 2 and one line on what is wrong.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _ = parser.add_argument(
        "--layers", help="numbers from the file, joined by commas; all by default"
    )
    _ = parser.add_argument("--threads", default="1,2", help="thread counts, joined by commas")
    _ = parser.add_argument(
        "--variants", default=",".join(DEFAULT), help=f"joined by commas, of {', '.join(VARIANTS)}"
    )
    _ = parser.add_argument(
        "--peers", help=f"joined by semicolons, of {'; '.join(PEERS)}; all by default"
    )
    _ = parser.add_argument(
        "--seconds", type=float, default=0.08, help="for each runner of each layer"
    )
    _ = parser.add_argument(
        "--gflop", type=float, default=MOST_GFLOP, help="most work of a call; gradients half"
    )
    _ = parser.add_argument(
        "--file", type=Path, default=FILE, help="CSV of layers with the columns of layers.csv"
    )
    _ = parser.add_argument(
        "--raw", type=Path, help="file of measurements, started anew; in build/ by default"
    )
    _ = parser.add_argument(
        "--resume", action="store_true", help="keep what --raw holds and measure the rest"
    )
    _ = parser.add_argument(
        "--at-most", type=float, default=math.inf, help="seconds; nothing new begins after them"
    )
    _ = parser.add_argument(
        "--from", dest="source", type=Path, help="file of measurements to read; measures nothing"
    )
    _ = parser.add_argument(
        "--results", action="store_true", help="write the processor's page and its picture"
    )
    _ = parser.add_argument(
        "--folder", type=Path, help="where --results writes; beside this file by default"
    )
    _ = parser.add_argument(
        "--quick", action="store_true", help="without the machine's limits and special cases"
    )
    words = parser.parse_args()
    words.until = time.perf_counter() + words.at_most
    try:
        chosen = table(words.file)
    except OSError as error:
        parser.error(f"`--file` (={words.file}) must be a CSV of layers ({error.strerror})")
    except ValueError as error:
        parser.error(f"`--file` (={words.file}): {error}")
    known = {str(layer.number): layer for layer in chosen.layers}
    words.layers = [known[name] for name in _chosen(parser, "layers", words.layers, known, ",")]
    words.variants = _chosen(parser, "variants", words.variants, VARIANTS, ",")
    words.peers = _chosen(parser, "peers", words.peers, {**PEERS, **GRADIENTS}, ";")
    words.threads = [
        int(n) for n in _chosen(parser, "threads", words.threads, map(str, range(1, 1025)), ",")
    ]
    if words.source is not None and not words.source.is_file():
        parser.error(
            f"`--from` (={words.source}) must be a file that a run has written, such as {RAW.name}"
        )
    if words.results and chosen.digest and words.folder is None:
        parser.error(
            "`--results` of another `--file` needs `--folder`: pages of the project's own layers "
            "stay as they are"
        )
    if words.raw is None:
        words.raw = RAW.with_stem(f"{RAW.stem}-{chosen.digest}") if chosen.digest else RAW
    return words, _known(parser, words, chosen)


def _known(parser: argparse.ArgumentParser, words: argparse.Namespace, chosen: Table) -> Records:
    """What is measured already.

    Of the same layers, and on this processor if the run is to go on.
    """
    option, path = ("--from", words.source) if words.source else ("--raw", words.raw)
    if words.source is None and not words.resume:
        words.raw.unlink(missing_ok=True)
    if words.source is None:
        mend(words.raw)
    try:
        records = read(path, chosen)
    except ValueError as error:
        parser.error(f"`{option}` (={path}): {error}")
    if words.source is None and records.machine and named(records.machine) != named(describe()):
        parser.error(
            f"`--resume` of `{option}` (={path}): it was measured on "
            f"{records.machine['processor']}; run anew"
        )
    if words.source and words.results and not records.cells:
        parser.error(f"`--from` (={path}) holds no single times; its page stays as it is")
    return records


def _chosen(
    parser: argparse.ArgumentParser, name: str, text: str | None, known: Iterable[str], mark: str
) -> list[str]:
    legal = list(known)
    chosen = legal if text is None else [word.strip() for word in text.split(mark)]
    wrong = [word for word in chosen if word not in legal]
    if wrong:
        shown = ", ".join(legal) if len(legal) < 200 else f"{legal[0]} to {legal[-1]}"
        parser.error(f"`--{name}` (={text}) holds {wrong[0]!r}; legal are {shown}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
