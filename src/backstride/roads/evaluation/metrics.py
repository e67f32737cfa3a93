"""How well probabilities of road agree with masks, pooled over all valid pixels of all images.

The measures of the KITTI Road benchmark: Fritsch, Kuehnl & Geiger, "A New Performance Measure and
Evaluation Benchmark for Road Detection Algorithms" (ITSC 2013), equations 1 to 5. Probabilities are
levels from 0 to 255, and a pixel is found to be road at threshold t where its level is t or more.
So one histogram of levels for road and one for background hold everything, however many images
there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backstride.roads.sample import IGNORE, ROAD

LEVELS = 256
RECALLS = np.arange(11) / 10


@dataclass(frozen=True, slots=True)
class Measures:
    """Shares from 0 to 1, at the threshold of the largest F-measure but for `ap`.

    `threshold`: the level; `pre`, `rec`: precision and recall; `fpr`, `fnr`: of the background
    found to be road and of the road that was not found; `iou`: of the road. `f`: the F-measure at
    the level that was asked about. `pixels`: how many were counted.
    """

    maxf: float
    ap: float
    pre: float
    rec: float
    fpr: float
    fnr: float
    iou: float
    f: float
    threshold: int
    pixels: int


@dataclass(slots=True)
class Counts:
    """Pixels by truth (row 0 background, row 1 road) and level: what is added up over images.

    >>> counts = Counts()
    >>> counts.add(np.array([[0.9, 0.2, 0.6]]), np.array([[1, 0, 255]], np.uint8))
    >>> counts.measures().maxf, counts.measures().pixels
    (1.0, 2)
    """

    table: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, LEVELS), np.int64))

    def add(
        self, probability: NDArray[np.floating] | NDArray[np.uint8], mask: NDArray[np.uint8]
    ) -> None:
        """Count an image: probabilities of road (0 to 1, or levels) and labels of its shape."""
        if probability.shape != mask.shape:
            message = (
                f"`probability` has shape {probability.shape}; it must be the mask's, {mask.shape}"
            )
            raise ValueError(message)
        levels = as_levels(probability)
        road = (mask == ROAD).astype(np.int64)
        cells = (road * LEVELS + levels)[mask != IGNORE]
        self.table += np.bincount(cells, minlength=2 * LEVELS).reshape(2, LEVELS)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.table + other.table)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision and recall at every threshold; precision is 0 where nothing is found."""
        found = self.table[:, ::-1].cumsum(1)[:, ::-1]  # level t or more
        false, true = found
        precision = np.divide(true, true + false, out=np.zeros(LEVELS), where=true + false > 0)
        recall = np.divide(true, true[0], out=np.zeros(LEVELS), where=true[0] > 0)
        return precision, recall

    def measures(self, level: int = LEVELS // 2) -> Measures:
        """All measures, `f` at a level; those of an empty class are NaN."""
        background, road = (int(row.sum()) for row in self.table)
        if not road:
            rate = float("nan")
            return Measures(*[rate] * 8, threshold=0, pixels=background)
        precision, recall = self.curve()
        total = precision + recall
        f = np.divide(2 * precision * recall, total, out=np.zeros(LEVELS), where=total > 0)
        best = int(f.argmax())
        true = int(self.table[1, best:].sum())
        false = int(self.table[0, best:].sum())
        return Measures(
            maxf=float(f[best]),
            ap=average_precision(precision, recall),
            pre=float(precision[best]),
            rec=float(recall[best]),
            fpr=false / background if background else float("nan"),
            fnr=1 - float(recall[best]),
            iou=true / (road + false),
            f=float(f[level]),
            threshold=best,
            pixels=background + road,
        )


def f_measure(counts: Counts, threshold: int) -> float:
    """Of one picture at one threshold; 1 where there is no road and none was found."""
    true, false = counts.table[1, threshold:].sum(), counts.table[0, threshold:].sum()
    missed = counts.table[1, :threshold].sum()
    whole = 2 * true + false + missed
    return float(2 * true / whole) if whole else 1.0


def average_precision(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> float:
    """The mean over the recalls 0, 0.1, ... 1 of the best precision with at least that recall.

    >>> average_precision(np.array([0.5, 1.0]), np.array([1.0, 0.5]))
    0.7727272727272727

    Everingham et al., "The PASCAL VOC Challenge" (2010), section 4.2; the KITTI Road devkit does
    the same.
    """
    # 0.6 of 5 pixels is 3/5, which is not 6/10 in floating-point numbers of another way there
    best = [precision[recall >= level - 1e-12].max(initial=0) for level in RECALLS]
    return float(np.mean(best))


def as_levels(probability: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Probabilities from 0 to 1 as levels from 0 to 255, rounded; levels stay as they are.

    >>> as_levels(np.array([0.0, 0.5, 1.0]))
    array([  0, 128, 255], dtype=uint8)
    """
    if probability.dtype == np.uint8:
        return probability.astype(np.uint8, copy=False)
    return np.floor(probability.clip(0, 1) * (LEVELS - 1) + 0.5).astype(np.uint8)


def level_of(threshold: float) -> int:
    """The level from which on a pixel is road, for a probability.

    >>> level_of(0.5), level_of(probability_of(77))
    (128, 77)
    """
    return min(round((LEVELS - 1) * threshold + 0.5), LEVELS - 1)


def probability_of(level: int) -> float:
    """The smallest probability that is rounded to a level, or to a higher one."""
    return max(level - 0.5, 0) / (LEVELS - 1)


@dataclass(frozen=True, slots=True)
class Scores:
    """What an epoch is judged by.

    The measures of road (label 1), and the IoU of each class by its name.
    """

    road: Measures
    classes: dict[str, float]

    @property
    def miou(self) -> float:
        """The mean over the classes that are anywhere."""
        return mean_of(self.classes.values())

    def of(self, measure: str) -> float:
        """One of "maxf", "miou" and the classes' names."""
        return {**self.classes, "maxf": self.road.maxf, "miou": self.miou}[measure]


def mean_of(values: Iterable[float]) -> float:
    """Without those that are NaN; NaN where nothing is left.

    >>> mean_of([0.5, 1.0, float("nan")])
    0.75
    """
    counted = [value for value in values if not math.isnan(value)]
    return sum(counted) / len(counted) if counted else float("nan")


def measure_named(measure: str, classes: Sequence[str]) -> str:
    """The measure of these classes that a config means; raises `ValueError` with the legal ones.

    >>> measure_named("auto", ("background", "road"))
    'maxf'
    """
    if measure == "auto":
        return "maxf" if len(classes) == 2 else "miou"
    legal = ("maxf", "miou", *classes)
    if measure not in legal:
        message = f"`measure` (={measure!r}) must be one of auto, {', '.join(legal)}"
        raise ValueError(message)
    return measure


def title_of(measure: str) -> str:
    """As it is printed."""
    return {"maxf": "MaxF", "miou": "mIoU"}.get(measure, f"IoU of {measure}")


def threshold_of(measures: Measures) -> float:
    """The probability that the largest F-measure is at.

    0.5 where nothing is better than to find road everywhere.
    """
    return probability_of(measures.threshold) if measures.threshold else 0.5


def total(counts: Iterable[Counts]) -> Counts:
    """All of them added."""
    return sum(counts, Counts())


def confusion(
    truth: NDArray[np.uint8], found: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Valid pixels by true class (row) and found class (column).

    >>> confusion(np.array([0, 0, 1, 255], np.uint8), np.array([0, 1, 1, 0]), 2)
    array([[1, 1],
           [0, 1]])
    """
    valid = truth != IGNORE
    pairs = truth[valid].astype(np.int64) * classes + found[valid].astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
