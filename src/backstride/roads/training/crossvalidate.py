"""Every drive held out in turn: what to expect on a drive that no picture was trained on."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TypedDict

from rich.console import Console

from backstride.files import check_folder, make_folder, write_beside
from backstride.roads.config import RunConfig, changed
from backstride.roads.data.sources import open_pictures, open_split
from backstride.roads.evaluation.evaluate import ALL, VIEWS, evaluate
from backstride.roads.network import checkpoint
from backstride.roads.training.keeper import STATE
from backstride.roads.training.run import train

MEASURES, SUMMARY = "held-out.json", "crossvalidation.json"
# every fifth picture of the other drives chooses epoch and threshold, where the config does not say
TUNE = 5
MOST = 32


@dataclass(frozen=True, slots=True)
class Fold:
    """One drive held out.

    `f`: at `threshold`, kept with the network and chosen by pictures of other drives. `maxf`,
    `pre`, `rec`, `iou`: at `best_threshold`, the best one for this drive.
    """

    group: str
    images: int
    maxf: float
    f: float
    pre: float
    rec: float
    iou: float
    ap: float
    threshold: float
    best_threshold: float


class PlainFolds(TypedDict):
    """All drives as JSON has them: their measures, and the mean and the worst of each."""

    folds: list[dict[str, object]]
    mean: dict[str, float]
    worst: dict[str, float]


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """All drives, each once held out."""

    folds: tuple[Fold, ...]

    def mean(self, name: str) -> float:
        """Of one measure, over the drives: each counts the same, however many pictures it has."""
        return fmean(getattr(fold, name) for fold in self.folds)

    def worst(self, name: str) -> float:
        """Of one measure, over the drives."""
        return min(getattr(fold, name) for fold in self.folds)

    def as_dict(self) -> PlainFolds:
        """Plain data."""
        names = ("maxf", "f", "iou", "ap")
        return {
            "folds": [dataclasses.asdict(fold) for fold in self.folds],
            "mean": {name: self.mean(name) for name in names},
            "worst": {name: self.worst(name) for name in names},
        }


def crossvalidate(
    config: RunConfig, out: Path, *, resume: bool = False, console: Console | None = None
) -> CrossValidation:
    """Train once for each group of the data, on all others, and measure on the one held out.

    The group held out has no say in its network: every `data.tune`-th picture of the others (fifth,
    where that is 0) chooses the epoch and the threshold that is kept with it. In `out` appear a
    run's folder for each group, with its evaluation, and crossvalidation.json. `resume`: go on
    where it was stopped; groups that are finished stay.

    Raises `ValueError` where there are fewer than two groups, or more than 32, and what `train`
    raises.
    """
    console = console or Console()
    groups = _groups(config)
    tuned = changed(config, data__tune=config.data.tune or TUNE, data__folds=0)
    check_folder("out", out)
    make_folder(out)
    folds: list[Fold] = []
    for number, group in enumerate(groups, 1):
        console.print(f"held out {number}/{len(groups)}: {group}", highlight=False, markup=False)
        folder = out / f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', group)}"
        folds.append(
            _fold(
                changed(tuned, data__held_out=(group,)),
                group,
                folder,
                resume=resume,
                console=console,
            )
        )
    found = CrossValidation(tuple(folds))
    write_beside(out / SUMMARY, json.dumps(found.as_dict(), indent=2) + "\n")
    return found


def _groups(config: RunConfig) -> list[str]:
    found = sorted({sample.group or sample.name for sample in open_pictures(config.data).samples})
    if config.data.folder and 2 <= len(found) <= MOST:
        return found
    what = (
        f"{len(found)} groups"
        if config.data.folder
        else "no groups: synthetic scenes are all apart"
    )
    message = (
        f"`data` (={config.data.folder!r}) has {what}; from 2 to {MOST} can be held out in turn; "
        "name a folder whose "
        'pictures have drives, or group them with `group` "clip" or "folder"'
    )
    raise ValueError(message)


def _fold(config: RunConfig, group: str, folder: Path, *, resume: bool, console: Console) -> Fold:
    """Train and measure, or read what was measured before."""
    kept = folder / MEASURES
    if resume and kept.is_file():
        return Fold(**json.loads(kept.read_text(encoding="utf-8")))
    _ = train(config, folder, resume=resume and (folder / STATE).is_file(), console=console)
    network, _ = checkpoint.load(folder)
    threshold = checkpoint.meaning_of(folder).threshold
    pictures = open_split(config.data, config.train.seed).held_out
    found = evaluate(
        network, pictures, folder / "evaluation", size=config.data.size, threshold=threshold
    )
    one = found.views[VIEWS[0]][ALL]
    names = ("maxf", "f", "pre", "rec", "iou", "ap")
    fold = Fold(
        group,
        found.images,
        **{name: getattr(one, name) for name in names},
        threshold=threshold,
        best_threshold=found.best_threshold,
    )
    write_beside(kept, json.dumps(dataclasses.asdict(fold), indent=2) + "\n")
    return fold
