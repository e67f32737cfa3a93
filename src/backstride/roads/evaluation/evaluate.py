"""How well a trained network finds the road.

Measures by category, a curve, and the pictures it does worst on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from numpy.typing import NDArray
from torch import nn

from backstride.demo.metrics import intersection_over_union
from backstride.files import check_folder, make_folder, write_beside
from backstride.roads.camera import Ground, read_calibration
from backstride.roads.data.feed import scaled
from backstride.roads.evaluation import birdseye, curves
from backstride.roads.evaluation.metrics import (
    Counts,
    Measures,
    as_levels,
    confusion,
    f_measure,
    level_of,
    mean_of,
    threshold_of,
    total,
)
from backstride.roads.evaluation.worst import Worst, check_worst, draw
from backstride.roads.meaning import share
from backstride.roads.prediction.torch_predictor import check_device
from backstride.roads.sample import IGNORE, ROAD, Dataset

ALL = "all"
VIEWS = ("perspective", "bird's eye")


@dataclass(frozen=True)
class Evaluation:
    """Measures of road, label 1, by view and category, `all` among them.

    `worst`: names, worst first. `classes`, `miou`: IoU by class, and their mean. `threshold`: the
    probability that `f` is at. `best_threshold`: the one that MaxF of all pictures is at.
    """

    views: dict[str, dict[str, Measures]]
    classes: dict[str, float]
    miou: float
    worst: tuple[str, ...]
    images: int
    threshold: float
    best_threshold: float

    def as_dict(self) -> dict[str, object]:
        """Plain data."""
        return dataclasses.asdict(self)


@dataclass
class _Seen:
    """What one picture adds."""

    category: str
    counts: Counts
    above: Counts | None


def evaluate(
    network: nn.Module,
    pictures: Dataset,
    out: Path | None = None,
    *,
    size: Sequence[int] = (),
    device: str = "cpu",
    worst: int = 10,
    threshold: float = 0.5,
    on_image: Callable[[], None] | None = None,
) -> Evaluation:
    """Measure a network on pictures with masks.

    Probabilities are compared with the masks in the pictures' own size; `size` is what they are
    scaled to before the network sees them, as in training. Where a picture has a calibration, it is
    also measured in bird's-eye view. Into `out` are written evaluation.json, precision_recall.png,
    and the `worst` pictures with errors drawn over them: green road that was found, red road that
    was missed, blue what is none; with more than two classes green what is right but label 0, and
    red what is wrong. They replace those of an earlier call. `threshold`: with two classes, the
    probability from which on a pixel is road, as `predict` takes it: in the pictures, for `f` and
    the IoU of classes.

    Raises `ValueError` where there are no pictures, a mask has another size than its picture, `out`
    has other files among its worst pictures, or `device` is not there.
    """
    if not pictures.samples:
        message = "there is no picture to evaluate on"
        raise ValueError(message)
    if out is not None:
        check_folder("out", out)
        make_folder(out)
        check_worst(out)
    network = network.to(check_device(device)).eval()
    matrix = np.zeros((len(pictures.classes), len(pictures.classes)), np.int64)
    seen: list[_Seen] = []
    level = level_of(share("threshold", threshold))
    kept, right = Worst(0 if out is None else worst), list[float]()
    for index, sample in enumerate(pictures.samples):
        mask = pictures.mask(index)
        shares = probabilities(network, pictures.image(index), size, device)
        if shares.shape[1:] != mask.shape:
            message = (
                f"the mask of {sample.name!r} has shape {mask.shape}, its picture "
                f"{shares.shape[1:]}"
            )
            raise ValueError(message)
        found = labels_of(shares, level)
        matrix += confusion(mask, found, len(matrix))
        counts = Counts()
        counts.add(shares[ROAD], mask)
        right.append(f_measure(counts, level) if len(shares) == 2 else _right(found, mask))
        kept.add(index, right[index], found)
        seen.append(
            _Seen(sample.category, counts, _above(shares[ROAD], mask, _ground(pictures, index)))
        )
        if on_image is not None:
            on_image()
    pooled = _pooled(seen)
    order = sorted(range(len(seen)), key=lambda index: (right[index], index))[:worst]
    classes = dict(zip(pictures.classes, map(float, intersection_over_union(matrix)), strict=True))
    made = Evaluation(
        views={
            view: {name: counts.measures(level) for name, counts in categories.items()}
            for view, categories in pooled.items()
        },
        classes=classes,
        miou=mean_of(classes.values()),
        worst=tuple(pictures.samples[index].name for index in order),
        images=len(seen),
        threshold=threshold,
        best_threshold=threshold_of(pooled[VIEWS[0]][ALL].measures()),
    )
    if out is not None:

        def found_of(index: int) -> NDArray[np.uint8]:
            return kept.found(
                index,
                lambda: labels_of(
                    probabilities(network, pictures.image(index), size, device), level
                ),
            )

        draw(out, pictures, order, found_of)
        write_beside(out / "precision_recall.png", curves.of_precision(_curves(pooled)))
        write_beside(out / "evaluation.json", json.dumps(_finite(made.as_dict()), indent=2) + "\n")
    return made


def probabilities(
    network: nn.Module, image: NDArray[np.uint8], size: Sequence[int], device: str = "cpu"
) -> NDArray[np.float32]:
    """Of every class, (classes, rows, columns) in the picture's own size."""
    rows, columns = image.shape[:2]
    with torch.inference_mode():
        fed = scaled(image, size)[None].to(device)
        shares = network(fed).float().softmax(1)
        if tuple(shares.shape[2:]) != (rows, columns):
            shares = F.interpolate(shares, (rows, columns), mode="bilinear")
        return shares[0].cpu().numpy()


def labels_of(shares: NDArray[np.float32], level: int) -> NDArray[np.uint8]:
    """Labels from probabilities (classes, rows, columns).

    With two classes road from a level on, else the largest.
    """
    if len(shares) == 2:
        return (as_levels(shares[ROAD]) >= level).astype(np.uint8)
    return shares.argmax(0).astype(np.uint8)


def _right(found: NDArray[np.uint8], mask: NDArray[np.uint8]) -> float:
    """The share of valid pixels that have their label."""
    valid = mask != IGNORE
    return float((found == mask)[valid].mean()) if valid.any() else 1.0


def _above(
    probability: NDArray[np.float32], mask: NDArray[np.uint8], ground: Ground | None
) -> Counts | None:
    if ground is None:
        return None
    counts = Counts()
    counts.add(
        birdseye.probability_from_above(probability, ground),
        birdseye.labels_from_above(mask, ground),
    )
    return counts


def _ground(pictures: Dataset, index: int) -> Ground | None:
    calibration = pictures.samples[index].calibration
    if calibration is not None:
        return read_calibration(calibration)
    drawn: Callable[[int], Ground] | None = getattr(pictures, "ground", None)
    return None if drawn is None else drawn(index)


def _pooled(seen: list[_Seen]) -> dict[str, dict[str, Counts]]:
    """Counts by view and category, those of all pictures last."""
    found: dict[str, dict[str, Counts]] = {}
    for view, parts in (
        (VIEWS[0], [(one.category, one.counts) for one in seen]),
        (VIEWS[1], [(one.category, one.above) for one in seen if one.above is not None]),
    ):
        if not parts:
            continue
        names = sorted({category for category, _ in parts if category})
        found[view] = {
            name: total(counts for category, counts in parts if category == name and counts)
            for name in names
        }
        found[view][ALL] = total(counts for _, counts in parts if counts)
    return found


def _curves(pooled: dict[str, dict[str, Counts]]) -> dict[str, Counts]:
    return {
        category if view == VIEWS[0] else f"{category}, {view}": counts
        for view, categories in pooled.items()
        for category, counts in categories.items()
        if view == VIEWS[0] or category == ALL
    }


def _finite(value: object) -> object:
    """NaN, which JSON has no word for, as null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in cast("dict[str, object]", value).items()}
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124  NaN alone differs from itself
