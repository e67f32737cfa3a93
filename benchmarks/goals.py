"""What the engine is to reach, held against the measurements.

Each goal, what was reached, and who falls short.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from layers import Layer
from limits import Limits
from problem import VARIANTS
from records import Cell, Records

PEAK, MEMORY, TILES = (
    0.9,
    0.8,
    1.5,
)  # fractions of a layer's limit; a copy's time within 25 % is 0.8
WIDE = 64  # channels on both sides from which Winograd is to reach TILES
TILE_GAIN = 16 / 9  # fewer multiplications by F(2,2) on both axes of 4x4 kernels of stride 2
MEAN, GRADIENT_MEAN = 2.0, 1.5  # times as fast as the best peer, in geometric mean
PACKED = {
    "AMD": 1.55,
    "Intel": 1.8,
}  # the same with weights packed beforehand, by who makes the processor
ONE_CHANNEL, FIRST, CALL = 5.0, 2.0, 10.0  # times PyTorch; times a later call; microseconds


class Short(NamedTuple):
    """A layer that misses a goal.

    `table` and `key`: where the processor's file of causes says why.
    """

    layer: Layer
    goal: str
    threads: int
    reached: str
    table: str
    key: str


class Goal(NamedTuple):
    """A goal for a number of threads."""

    words: str
    threads: int
    reached: str
    met: bool
    key: str
    short: Sequence[Short] = ()


def goals(records: Records) -> Iterable[Goal]:
    """All goals that the measurements can tell about, for each number of threads."""
    for threads in records.threads:
        for variant in VARIANTS.values():
            yield from _ratios(records.table(variant.name, threads), level(records.machine))
        if threads in records.limits:
            yield from _fractions(records.table("packed", threads), records.limits[threads])
        yield from _special(records, threads)


def level(machine: Mapping[str, str]) -> float:
    """What the geometric mean with packed weights is to reach on a processor.

    AMD's level on those of others.
    """
    name = machine.get("processor", "")
    return next((least for maker, least in PACKED.items() if maker in name), PACKED["AMD"])


def mean(ratios: Iterable[float]) -> float:
    """Geometric mean."""
    return math.exp(statistics.fmean(map(math.log, ratios)))


def at_the_limit(cells: Iterable[Cell], limits: Limits) -> tuple[float, float]:
    """The geometric mean of the ratios at every layer's limit, with Winograd's raised."""
    plain: list[float] = []
    tiled: list[float] = []
    for cell in cells:
        plain.append(
            1e3 * cell.median(cell.best(ours=False) or "") / limits.milliseconds(cell.layer)[0]
        )
        tiled.append(plain[-1] * (TILE_GAIN if cell.algorithm == "winograd" else 1))
    return mean(plain), mean(tiled)


def _ratios(cells: Sequence[Cell], packed: float) -> Iterable[Goal]:
    if not cells:
        return
    variant, threads = VARIANTS[cells[0].variant], cells[0].threads
    side = "" if variant.gradient is None else f" {variant.gradient}"
    ratios = [(cell.layer, cell.ratio or 0) for cell in cells]
    words, given = f"{variant.title}: times the best peer", "" if variant.packed else " call"
    short = [
        Short(layer, words, threads, f"{ratio:.2f}", "layers", f"{layer.number}{side or given}")
        for layer, ratio in ratios
        if ratio < 1
    ]
    words = f"{variant.title}: no layer slower than the best peer"
    yield Goal(
        words, threads, f"{min(ratio for _, ratio in ratios):.2f} at least", not short, "", short
    )
    least = packed if variant.name == "packed" else GRADIENT_MEAN if side else MEAN
    value = mean(ratio for _, ratio in ratios)
    yield Goal(
        f"{variant.title}: geometric mean {least}",
        threads,
        f"{value:.2f}",
        value >= least,
        f"mean{side}",
    )


def _fractions(cells: Sequence[Cell], limits: Limits) -> Iterable[Goal]:
    def tiles(cell: Cell) -> bool:
        layer = cell.layer
        small, big = layer.small // layer.groups, layer.big // layer.groups
        return layer.kernel == (4, 4) and layer.strides == (2, 2) and min(small, big) >= WIDE

    def computing(cell: Cell) -> bool:
        return limits.milliseconds(cell.layer)[1] == "peak"

    def copying(cell: Cell) -> bool:
        layer = cell.layer
        plain = layer.kernel == layer.strides or layer.groups == layer.small
        return plain and limits.milliseconds(layer)[1] == "memory"

    kinds: Iterable[tuple[str, str, float, Callable[[Cell], bool]]] = (
        ("peak", "limited by the peak", PEAK, computing),
        ("winograd", f"4x4 of stride 2, {WIDE} channels or more", TILES, tiles),
        ("memory", "limited by memory, stride is kernel or depthwise", MEMORY, copying),
    )
    for name, words, least, chosen in kinds:
        reached = [(cell.layer, _share(cell, limits)) for cell in cells if chosen(cell)]
        if not reached:
            continue
        goal = f"{words}: {100 * least:.0f} % of the limit"
        short = [
            Short(layer, goal, limits.threads, f"{100 * share:.0f} %", name, str(layer.number))
            for layer, share in reached
            if share < least
        ]
        held = f"{len(reached) - len(short)} of {len(reached)} layers"
        yield Goal(goal, limits.threads, held, not short, "", short)


def _share(cell: Cell, limits: Limits) -> float:
    return limits.milliseconds(cell.layer)[0] / (1e3 * cell.median(cell.best(ours=True) or ""))


def _special(records: Records, threads: int) -> Iterable[Goal]:
    rows = [
        row for row in records.special.get(("varying length", threads), []) if row["who"] == "ours"
    ]
    if rows:
        most = max(row["first ms"] / row["again ms"] for row in rows)
        words = (
            "1-D input of a length not met before as fast as one that was: ratio of times, 1.2 at "
            "most"
        )
        yield Goal(
            words, threads, f"{most:.2f} at most", most <= 1.2, "length"
        )  # the spread of a few calls
    rows = records.special.get(("first calls", threads), [])
    if rows:
        ratios = {row["layer"]: row["first ms"] / row["again ms"] for row in rows}
        worst = max(ratios, key=lambda number: ratios[number])
        words = f"first call on a size less than {FIRST:g} times a later one"
        yield Goal(
            words,
            threads,
            f"{ratios[worst]:.2f} at most (layer {worst})",
            ratios[worst] < FIRST,
            "first",
        )
    rows = records.special.get(("overhead", threads), [])
    if rows:
        most = max(row["microseconds"] for row in rows)
        words = f"a call on one cell of one channel below {CALL:g} microseconds"
        yield Goal(words, threads, f"{most:.1f}", most < CALL, "call")
    ratio = one_channel(records, threads)
    if ratio is not None:
        words = f"k 1024, s 256 to 1 channel (layer 97): {ONE_CHANNEL:g} times as fast as PyTorch"
        yield Goal(words, threads, f"{ratio:.1f}", ratio >= ONE_CHANNEL, "one channel")


def one_channel(records: Records, threads: int) -> float | None:
    """How many times as fast as PyTorch the inverse STFT of layer 97 is."""
    cell = None if records.digest else records.cells.get((97, "packed", threads))
    ours = None if cell is None else cell.best(ours=True)
    torches = [] if cell is None else [name for name in cell.seconds if name.startswith("torch")]
    return (
        None
        if cell is None or ours is None or not torches
        else min(map(cell.median, torches)) / cell.median(ours)
    )


def causes(table: Any, short: Iterable[Short]) -> Iterable[tuple[str, str, str, str, str]]:
    """Rows of what falls short.

    Number, name, goal, reached with each number of threads, and the cause.
    """
    rows: dict[tuple[int, str, str], list[Short]] = {}
    for one in sorted(short, key=lambda one: (one.layer.number, one.table, one.goal, one.threads)):
        rows.setdefault((one.layer.number, one.goal, one.key), []).append(one)
    for (number, goal, key), many in rows.items():
        reached = ", ".join(f"{one.reached} on {one.threads}" for one in many)
        yield (
            str(number),
            many[0].layer.name,
            goal,
            reached,
            table.get(many[0].table, {}).get(key, "not profiled"),
        )
