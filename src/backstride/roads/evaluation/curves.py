"""Curves as PNG: loss and measures over epochs, precision over recall."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backstride.roads.evaluation.metrics import Counts, title_of

BLUE, ORANGE, GREEN, PURPLE, GREY = "#1f5fa8", "#d1661c", "#2c8a4b", "#8450a8", "#8a8f98"
SHADES = (BLUE, ORANGE, GREEN, PURPLE, GREY)


def of_training(rows: Sequence[Mapping[str, float]], measure: str = "maxf") -> bytes:
    """The losses and the held-out measures of every epoch; `measure` says which is the best."""
    figure, (left, right) = _figure(2)
    epochs = [row["epoch"] for row in rows]
    title = title_of(measure)
    column = {"maxf": "val_maxf", "miou": "val_miou"}.get(measure, f"iou of {measure}")
    names = [("val_maxf", "MaxF", GREEN), ("val_ap", "AP", BLUE), ("val_iou", "IoU", ORANGE)]
    if column not in {"val_maxf", "val_iou"}:
        names.append((column, title, PURPLE))
    for axes, shown, heading, place in (
        (
            left,
            (("loss", "training", BLUE), ("val_loss", "held out", ORANGE)),
            "loss",
            "upper right",
        ),
        (right, names, "", "lower right"),
    ):
        for name, label, colour in shown:
            axes.plot(
                epochs,
                [row.get(name, float("nan")) for row in rows],
                color=colour,
                label=label,
                marker="o",
                markersize=3,
            )
        axes.set_title(heading)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, loc=place)
    best = max((row.get(column, 0.0) for row in rows), default=0)
    right.set_title(f"held out; best {title} {best:.4f}")
    return _png(figure)


def of_precision(counts: Mapping[str, Counts]) -> bytes:
    """Precision over recall, a curve for each name, with a dot at the largest F-measure."""
    figure, (axes,) = _figure(1)
    for (name, counted), colour in zip(counts.items(), SHADES * len(counts), strict=False):
        precision, recall = counted.curve()
        shown = precision > 0
        measures = counted.measures()
        axes.plot(
            recall[shown], precision[shown], color=colour, label=f"{name}: MaxF {measures.maxf:.4f}"
        )
        axes.plot([measures.rec], [measures.pre], "o", color=colour, markersize=5)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_xlim(0, 1.01)
    low = min(
        (float(np.min(c.curve()[0][c.curve()[0] > 0], initial=1)) for c in counts.values()),
        default=0,
    )
    axes.set_ylim(min(low, 0.8), 1.01)
    axes.legend(frameon=False, loc="lower left")
    return _png(figure)


def _figure(count: int) -> tuple[Any, Any]:  # matplotlib leaves keywords untyped
    """A figure of its own, which no global state of matplotlib holds, and its axes."""
    made = importlib.import_module("matplotlib.figure").Figure(figsize=(5 * count, 3.6), dpi=110)
    axes = made.subplots(1, count, squeeze=False)[0]
    for one in axes:
        one.grid(visible=True, color="#e3e5e8", linewidth=0.8)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    return made, axes


def _png(figure: Any) -> bytes:
    figure.tight_layout()
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()
