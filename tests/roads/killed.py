"""Trains a small run to its end: what the test of interruptions starts, kills and starts again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from toy import Toy

from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from backstride.roads.sources import Split
from backstride.roads.training import train


def flipped(images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Mirror images, half of the time."""
    return (images.flip(-1), labels.flip(-1)) if np.random.default_rng(seed).random() < 0.5 else (images, labels)


def run(out: Path, *, resume: bool, epochs: int, devices: int = 1) -> None:
    torch.set_num_threads(1)
    config = RunConfig(
        ModelConfig("mobilenetv3-minimal", dropout=0.3),
        DataConfig(),
        TrainConfig(epochs=epochs, batch=4, accumulate=2, rate=3e-3, patience=50, devices=devices, accelerator="cpu"),
    )
    split = Split(Toy(20, ragged=True), Toy(4, seed=1), flipped)
    _ = train(config, out, resume=resume, split=split, console=Console())


if __name__ == "__main__":
    run(Path(sys.argv[1]), resume=sys.argv[2] == "resume", epochs=int(sys.argv[3]))
