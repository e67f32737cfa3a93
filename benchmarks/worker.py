"""The process that measures: jobs come as JSON lines, events go back as JSON lines.

Started by run.py. One process holds all peers and one number of threads, since some set it once; on
as many processors, so that nobody uses more. Whatever peers print goes to standard error. The
parent ends it where a peer takes too long.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import ours
from layers import Layer, table
from peers import makers
from problem import VARIANTS, Problem
from special import SPECIAL
from timing import measure

WARM_UP = Layer(
    0,
    "small",
    1,
    21,
    21,
    (16, 16),
    (4, 4),
    (2, 2),
    ((0, 0), (0, 0)),
    1,
    "one that everybody can express",
)


def main() -> None:
    """Serve until standard input ends."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    _ = os.dup2(2, 1)
    warnings.simplefilter("ignore")
    threads = int(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    known = {layer.number: layer for layer in table(Path(sys.argv[3])).layers}
    warm_up(sys.argv[2].split(";"), WARM_UP, threads)
    tell(kind="ready")
    for line in sys.stdin:
        job = json.loads(line)
        if "special" in job:
            tell(
                kind="special",
                name=job["special"],
                threads=threads,
                rows=SPECIAL[job["special"]](threads),
            )
        else:
            tell(**cell(job, known[job["layer"]], threads, tell))


def warm_up(names: list[str], layer: Layer, threads: int) -> None:
    """Import everybody who will be asked, outside of the time that they are given."""
    variant = VARIANTS["packed"]
    for name, make in makers(variant).items():
        if name in names:
            _ = make(Problem(layer, variant, threads))


def cell(job: dict[str, Any], layer: Layer, threads: int, tell: Any) -> dict[str, Any]:
    """Measure one layer in one variant."""
    layer, variant = layer.lighter(job["gflop"]), VARIANTS[job["variant"]]
    chosen = [(name, make) for name, make in makers(variant).items() if name in job["runners"]]
    problem = Problem(layer, variant, threads)
    times = measure(
        chosen,
        problem,
        job["seconds"],
        lambda name, best: tell(kind="next", runner=name, best=min(best, 1e6)),
    )
    said = {
        "layer": layer.number,
        "batch": layer.batch,
        "big": layer.big,
        "algorithm": ours.algorithm(problem),
    }
    return {
        "kind": "cell",
        **said,
        "variant": variant.name,
        "threads": threads,
        **dataclasses.asdict(times),
    }


if __name__ == "__main__":
    main()
