"""Times every layer of layers.csv against the best peer, interleaved in one process.

    python benchmarks/run.py                         all layers, 1 and 2 threads
    python benchmarks/run.py --layers 3,24 --threads 1

For each layer and thread count: the median of each runner in GFLOP/s with its spread (half the distance of the
quartiles, in percent), and the ratio of ours to the best peer in any layout. Weights are packed beforehand.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time

import numpy as np
from layers import Layer, layers
from peers import OURS, PEERS, Run
from rich.console import Console
from rich.progress import track

MOST_GFLOP = 30.0  # heavier layers are timed with a smaller batch, which the row says


def measure(runs: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Run all of them in turn until the time is spent, at least 5 rounds after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        _ = run()
    started = time.perf_counter()
    while time.perf_counter() - started < seconds * len(runs) or len(next(iter(times.values()))) < 5:
        for name, run in runs.items():
            before = time.perf_counter()
            _ = run()
            times[name].append(time.perf_counter() - before)
    return times


def compare(layer: Layer, threads: int, seconds: float) -> tuple[str, float]:
    """One row of the table, and the ratio to the best peer."""
    random = np.random.default_rng(0)
    made = {name: make(layer, random, threads) for name, make in {**OURS, **PEERS}.items()}
    times = measure({name: run for name, run in made.items() if run is not None}, seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = min(medians[name] for name in OURS)
    peer = min((name for name in medians if name in PEERS), key=lambda name: medians[name])
    shown = "  ".join(f"{name} {layer.gflop / medians[name]:.1f}±{spread(times[name]):.0f}%" for name in medians)
    ratio = medians[peer] / ours
    return f"{layer.number:>4} {layer.name[:36]:36} n={layer.batch:<4} x{ratio:5.2f} of {peer:20} {shown}", ratio


def spread(values: list[float]) -> float:
    """Half the distance of the quartiles, in percent of the median."""
    low, middle, high = statistics.quantiles(values, n=4)
    return 50 * (high - low) / middle


def main() -> None:
    """Print the table and the summary lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _ = parser.add_argument("--layers", help="numbers from layers.csv, joined by commas; all by default")
    _ = parser.add_argument("--threads", default="1,2", help="thread counts, joined by commas")
    _ = parser.add_argument("--seconds", type=float, default=0.4, help="for each runner of each layer")
    words = parser.parse_args()
    wanted = None if words.layers is None else {int(number) for number in words.layers.split(",")}
    chosen = [layer.lighter(MOST_GFLOP) for layer in layers() if wanted is None or layer.number in wanted]
    if not chosen:
        parser.error(f"`--layers` (={words.layers}) names no layer; legal are {[layer.number for layer in layers()]}")
    for threads in (int(count) for count in words.threads.split(",")):
        ratios: list[float] = []
        print(f"threads {threads}: GFLOP/s, median ± spread")
        for layer in track(chosen, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()):
            row, ratio = compare(layer, threads, words.seconds)
            ratios.append(ratio)
            print(row, flush=True)
        mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))
        below = sum(ratio < 1 for ratio in ratios)
        print(f"geomean {mean:.2f}, min {min(ratios):.2f}, layers below 1.0: {below} of {len(ratios)}")


if __name__ == "__main__":
    main()
