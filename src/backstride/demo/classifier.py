"""The classifier: a small CNN that ends in Flatten and dense layers.

It is trained on digits that stand in the middle. No layer pads, so every cell of the network made
from it must equal the classifier on that cell's crop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from backstride.demo.digits import SIDE, Digits, Images, required

if TYPE_CHECKING:
    from torch import nn

SHIFT = 2  # cells that an image is moved by, at most, in each direction
BATCH = 50
RATE = 4e-3


def build() -> nn.Sequential:
    """An untrained classifier: (N, 1, 28, 28) to scores (N, 10).

    Draws its weights from torch's global stream.
    """
    torch = required("torch")
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 5),  # 24x24
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5),  # 8x8
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)


def train(
    model: nn.Module,
    digits: Digits,
    epochs: int,
    random: np.random.Generator,
    on_epoch: Callable[[], None],
) -> None:
    """Train in place: AdamW, one cycle of the learning rate, small random shifts."""
    torch = required("torch")
    steps = -(-len(digits) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * steps)
    labels = torch.from_numpy(digits.labels)
    _ = model.train()
    for _ in range(epochs):
        images = torch.from_numpy(shifted(digits.images, random)[:, None])
        order = torch.from_numpy(random.permutation(len(digits)))
        for chosen in order.split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        on_epoch()
    _ = model.eval()


def shifted(images: Images, random: np.random.Generator) -> Images:
    """Each image moved by up to `SHIFT` cells; what moves in is empty."""
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (SIDE, SIDE), axis=(1, 2)
    )  # (N, 5, 5, 28, 28)
    rows, columns = random.integers(0, 2 * SHIFT, (2, len(images)), endpoint=True)
    return np.ascontiguousarray(windows[np.arange(len(images)), rows, columns])


def accuracy(model: nn.Module, digits: Digits) -> float:
    """The share of digits that the model names right."""
    torch = required("torch")
    with torch.no_grad():
        named = model(torch.from_numpy(digits.images[:, None])).argmax(1).numpy()
    return float(np.count_nonzero(named == digits.labels) / len(digits))
