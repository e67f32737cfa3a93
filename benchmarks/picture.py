"""The picture of the results.

The ratio of every layer on a logarithmic axis, one mark for each number of threads.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from records import Records

MARKS = ("o", "D", "s", "^")
COLOURS = ("#1f4e79", "#c55a11", "#548235", "#7030a0")


def draw(records: Records, page: Path) -> list[Path]:
    """Write an SVG and a PNG beside a page.

    Nothing where matplotlib is missing or no layer was measured.
    """
    counts = sorted({threads for _, variant, threads in records.cells if variant == "packed"})
    tables = {threads: records.table("packed", threads) for threads in counts}
    numbers = list(dict.fromkeys(cell.layer.number for table in tables.values() for cell in table))
    if not numbers or importlib.util.find_spec("matplotlib") is None:
        return []
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    matplotlib.rcParams["svg.hashsalt"] = "ratios"  # the same file for the same numbers
    names = {cell.layer.number: cell.layer.name for table in tables.values() for cell in table}
    figure, axes = pyplot.subplots(figsize=(9, 1.6 + 0.19 * len(numbers)), layout="constrained")
    for place, (threads, table) in enumerate(tables.items()):
        xs = [cell.ratio for cell in table]
        ys = [numbers.index(cell.layer.number) for cell in table]
        label = "1 thread" if threads == 1 else f"{threads} threads"
        look = {"marker": MARKS[place % 4], "color": COLOURS[place % 4], "alpha": 0.85}
        axes.scatter(xs, ys, s=22, label=label, linewidths=0, zorder=3, **look)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    low = min(0.5, *(cell.ratio or 1 for table in tables.values() for cell in table))
    high = max(2.0, *(cell.ratio or 1 for table in tables.values() for cell in table))
    axes.set_xlim(low / 1.15, high * 1.15)
    ticks = [
        tick
        for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
        if low / 1.15 <= tick <= high * 1.15
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_yticks(
        range(len(numbers)), [f"{names[number]}  {number}" for number in numbers], fontsize=7
    )
    axes.set_ylim(len(numbers) - 0.4, -0.6)
    axes.grid(axis="both", color="#dddddd", linewidth=0.6)
    axes.set_xlabel(
        "times as fast as the best peer, each in its best layout (logarithmic; right of 1 is "
        "faster)"
    )
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(tables), frameon=False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    paths = [page.with_suffix(".svg"), page.with_suffix(".png")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=130, metadata=metadata)
    pyplot.close(figure)
    return paths
