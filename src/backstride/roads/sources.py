"""The pictures that a config names, split into those to train on and those held out."""

from __future__ import annotations

from dataclasses import dataclass

from backstride.roads.config import DataConfig
from backstride.roads.feed import Augmentation
from backstride.roads.sample import Dataset


@dataclass(frozen=True)
class Split:
    """Pictures to train on, pictures held out, and how the first are changed at random."""

    train: Dataset
    held_out: Dataset
    augment: Augmentation | None = None


def open_split(data: DataConfig, seed: int) -> Split:
    """What a config names; raises `ValueError` naming a file that is missing or broken."""
    raise NotImplementedError
