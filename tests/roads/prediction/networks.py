"""Small road networks that see something, and pictures for them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backstride.roads.config import ModelConfig, RunConfig
from backstride.roads.network.checkpoint import save
from backstride.roads.network.model import build

SMALL = "mobilenetv3-minimal"  # without poolings of the whole picture
POOLED = "mobilenetv3"


@cache
def network(encoder: str = SMALL, classes: int = 2) -> Any:
    """A network with every weight and statistic at random, whose probabilities are spread over 0 to
    1.
    """
    loose: Any = torch.random
    with loose.fork_rng(devices=[]):
        _ = loose.manual_seed(3)
        made: Any = build(ModelConfig(encoder, classes=classes))
        with torch.no_grad():
            for name, value in made.state_dict().items():
                if name.endswith("running_var"):
                    _ = value.uniform_(0.5, 1.5)
                elif name.endswith("running_mean") or (".ups." not in name and "bias" in name):
                    _ = value.normal_(0, 0.1)
                elif ".fc" in name:  # gates that open and close
                    _ = value.mul_(4)
                elif ".skips." in name:
                    _ = value.normal_(0, 0.3)
            made = made.eval()
            logits = made(as_images(pictures(1, 128, 160)))
            difference = logits[:, 1] - logits[:, 0]
            # the last step interpolates, so a bias before it is one of the logits
            made.segmenter.skips["8"].bias[1] -= difference.mean()
            _ = made.segmenter.ups["image"].weight.mul_(2 / difference.std())
    return made


def checkpoint(folder: Path, encoder: str = SMALL) -> Path:
    """The network as a checkpoint."""
    return save(folder, network(encoder), RunConfig(ModelConfig(encoder)))


def pictures(count: int, rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise in blocks of 8 pixels, (count, rows, columns, 3)."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (count, -(-rows // 8), -(-columns // 8), 3), np.uint8)
    return blocks.repeat(8, 1).repeat(8, 2)[:, :rows, :columns].copy()


def as_images(found: NDArray[np.uint8]) -> torch.Tensor:
    """As the network takes them."""
    return torch.as_tensor(found).permute(0, 3, 1, 2).float() / 255
