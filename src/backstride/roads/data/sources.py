"""The pictures that a config names, split into those to train on and those held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from backstride.roads.camera import Ground
from backstride.roads.config import DataConfig, RunConfig
from backstride.roads.data import splits
from backstride.roads.data.augment import Augment
from backstride.roads.data.feed import Augmentation
from backstride.roads.data.folders import open_data
from backstride.roads.data.labels import read_table
from backstride.roads.sample import Dataset, Sample
from backstride.roads.synthetic import SyntheticDataset

SCENE_SIZE = (180, 320)
PARTS = ("held-out", "train", "all")
GROUPS = ("name", "clip", "folder")


@dataclass(frozen=True)
class Split:
    """Pictures to train on, pictures held out, and how the first are changed at random.

    `tuning`: pictures that choose the epoch and its threshold; None where those held out do.
    """

    train: Dataset
    held_out: Dataset
    augment: Augmentation | None = None
    tuning: Dataset | None = None

    @property
    def choosing(self) -> Dataset:
        """The pictures that are measured after every epoch."""
        return self.held_out if self.tuning is None else self.tuning


class Chosen:
    """Pictures of several data sets, by (data set, place in it), as one data set."""

    def __init__(self, sources: Sequence[Dataset], places: Sequence[tuple[int, int]]) -> None:
        self.sources, self.places = tuple(sources), tuple(places)
        self.classes = self.sources[0].classes
        found = ((source, self.sources[source].samples[place]) for source, place in self.places)
        # those of later data sets get names of their own
        self.samples = tuple(
            replace(sample, name=f"{at}:{sample.name}") if at else sample for at, sample in found
        )
        for source in self.sources:
            if source.classes != self.classes:
                message = (
                    f"the classes {', '.join(source.classes)} cannot be trained beside "
                    f"{', '.join(self.classes)}"
                )
                raise ValueError(message)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The photograph."""
        source, place = self.places[index]
        return self.sources[source].image(place)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The labels."""
        source, place = self.places[index]
        return self.sources[source].mask(place)

    def ground(self, index: int) -> Ground | None:
        """The plane of the road, where it is known."""
        source, place = self.places[index]
        found: Callable[[int], Ground | None] | None = getattr(self.sources[source], "ground", None)
        return None if found is None else found(place)


def open_split(data: DataConfig, seed: int) -> Split:
    """What a config names, split by its rule.

    Raises `ValueError` for what is not there or cannot be split. Without a rule, the published
    split where the folder has all of KITTI Road's frames, or else a share of the groups. The
    synthetic scenes that are held out have another seed than those to train on.
    """
    augment = _augmentation(data.augment)
    if data.tune < 0 or data.tune == 1:
        message = (
            f"`tune` (={data.tune}) must be 0, or at least 2 so that pictures to train on are left"
        )
        raise ValueError(message)
    if not data.folder:
        train, held_out = (
            _scenes(data, data.scenes, 2 * seed),
            _scenes(data, data.held_out_scenes, 2 * seed + 1),
        )
        return Split(train, held_out, augment)
    pictures = open_pictures(data)
    found = _rule(data, pictures.samples)
    tuned = found.train[data.tune // 2 :: data.tune] if data.tune else ()
    if data.tune and not tuned:
        message = (
            f"`tune` (={data.tune}) chooses none of {len(found.train)} pictures to train on; take "
            "a smaller one"
        )
        raise ValueError(message)
    own = [place for place in found.train if place not in tuned]
    train = chosen(pictures, own)
    if data.extra:
        first = pictures.image(0).shape if not data.size else data.size
        scenes = _scenes(replace(data, size=(first[0], first[1])), data.extra, 2 * seed)
        both = [(0, place) for place in own] + [(1, place) for place in range(data.extra)]
        train = Chosen((pictures, scenes), both)
    return Split(
        train,
        chosen(pictures, found.validation),
        augment,
        chosen(pictures, tuned) if tuned else None,
    )


def open_pictures(data: DataConfig) -> Dataset:
    """All pictures with masks that a config names."""
    if not data.folder:
        return _scenes(data, data.scenes, 0)
    if data.group not in GROUPS:
        message = f"`group` (={data.group!r}) must be one of {', '.join(GROUPS)}"
        raise ValueError(message)
    table, group = Path(data.table) if data.table else None, data.group
    pictures = open_data(Path(data.folder), classes=table, group=group)
    labelled = [place for place, sample in enumerate(pictures.samples) if sample.mask is not None]
    if not labelled:
        message = f"`data` (={data.folder!r}) has pictures but no masks"
        raise ValueError(message)
    return pictures if len(labelled) == len(pictures.samples) else chosen(pictures, labelled)


def open_part(
    config: RunConfig, folder: str | None, part: str, table: str | None = None
) -> Dataset:
    """What to measure on.

    Of the training's data those held out, of another folder all, or the `part` of that name.
    `table`: of the classes of these pictures. Left out, another folder is read by the training's
    table where that names its folders, and otherwise by its own layout.
    """
    if part and part not in PARTS:
        message = f"`part` (={part!r}) must be one of {', '.join(PARTS)}"
        raise ValueError(message)
    other = folder is not None and folder != config.data.folder
    data = replace(config.data, folder=cast("str", folder), extra=0) if other else config.data
    if table is not None:
        data = replace(data, table=table)
    elif (
        other
        and data.table
        and not (Path(data.folder) / read_table(Path(data.table)).images).is_dir()
    ):
        data = replace(data, table="")
    if (part or ("all" if other else "held-out")) == "all":
        return open_pictures(data)
    split = open_split(data, config.train.seed)
    return split.train if part == "train" else split.held_out


def chosen(pictures: Dataset, places: Sequence[int]) -> Chosen:
    """Some pictures of a data set."""
    return Chosen((pictures,), [(0, place) for place in places])


def scene_size(data: DataConfig) -> tuple[int, int]:
    """Rows and columns of synthetic scenes."""
    return (data.size[0], data.size[1]) if len(data.size) == 2 else SCENE_SIZE


def _augmentation(name: str) -> Augmentation | None:
    if name == "full":
        return Augment()
    if name == "flip":
        still = dict.fromkeys((field.name for field in fields(Augment)), 0.0)
        return Augment(**{**still, "flip": 0.5, "scale": 1.0})
    if name == "none":
        return None
    message = f"`augment` (={name!r}) must be one of full, flip, none"
    raise ValueError(message)


def _rule(data: DataConfig, samples: Sequence[Sample]) -> splits.Split:
    if data.held_out:
        return splits.held_out(samples, data.held_out)
    if data.folds:
        if not 0 <= data.fold < data.folds:
            message = f"`fold` (={data.fold}) must be from 0 to {data.folds - 1}"
            raise ValueError(message)
        return splits.folds(samples, data.folds)[data.fold]
    counts = [
        sum(sample.category == category for sample in samples)
        for category in splits.KITTI_CATEGORIES
    ]
    if min(counts) > splits.KITTI_HELD_OUT and sum(counts) == len(samples):
        return splits.kitti(samples)
    return splits.by_group(samples, data.share)


def _scenes(data: DataConfig, count: int, seed: int) -> Dataset:
    return SyntheticDataset(count, scene_size(data), seed, data.clear)
