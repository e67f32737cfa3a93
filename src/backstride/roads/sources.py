"""The pictures that a config names, split into those to train on and those held out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from backstride.roads.config import DataConfig, RunConfig
from backstride.roads.feed import Augmentation
from backstride.roads.sample import Dataset
from backstride.roads.synthetic import SyntheticDataset

SCENE_SIZE = (180, 320)


@dataclass(frozen=True)
class Split:
    """Pictures to train on, pictures held out, and how the first are changed at random."""

    train: Dataset
    held_out: Dataset
    augment: Augmentation | None = None


def open_split(data: DataConfig, seed: int) -> Split:
    """What a config names; raises `ValueError` naming a file that is missing or broken."""
    size = (data.size[0], data.size[1]) if len(data.size) == 2 else SCENE_SIZE
    # no scene of one seed is among those of another
    return Split(
        SyntheticDataset(data.scenes, size, 2 * seed), SyntheticDataset(data.held_out_scenes, size, 2 * seed + 1)
    )


def open_pictures(data: DataConfig) -> Dataset:
    """All pictures of a folder."""
    raise NotImplementedError(data.folder)


def open_part(config: RunConfig, folder: str | None, part: str) -> Dataset:
    """Pictures to measure on: of the training's data a part ("held-out" unless said), or of another folder all."""
    legal = ("held-out", "train", "all")
    if part and part not in legal:
        message = f"`part` (={part!r}) must be one of {', '.join(legal)}"
        raise ValueError(message)
    if folder is not None and folder != config.data.folder:
        data = dataclasses.replace(config.data, folder=folder)
        return open_pictures(data) if part in ("", "all") else _part(open_split(data, config.train.seed), part)
    if part == "all":
        return open_pictures(config.data)
    return _part(open_split(config.data, config.train.seed), part or "held-out")


def _part(split: Split, part: str) -> Dataset:
    return split.train if part == "train" else split.held_out
