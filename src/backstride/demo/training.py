"""Fine-tuning of the transposed classifier on scenes.

The decoder is trained first, then, where allowed, all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from backstride.demo.digits import Images, required
from backstride.demo.metrics import Matrix, confusion
from backstride.demo.scenes import BACKGROUND, CLASSES, LabelMaps, Scenes

if TYPE_CHECKING:
    from torch import nn

BATCH = 4
LABELLED = 16  # scenes labelled at once
RATE = 1e-2
ENCODER_RATE = 5e-3  # lower: its layers were trained before
BACKGROUND_WEIGHT = 0.5  # 94 of 100 pixels are background; a digit's pixel counts twice as much


@dataclass(frozen=True, slots=True)
class Parts:
    """The network's parameters.

    Those of the classifier's layers below the score, and all others.
    """

    encoder: tuple[nn.Parameter, ...]
    decoder: tuple[nn.Parameter, ...]


def parts(network: nn.Module, score: str) -> Parts:
    """Split the parameters.

    `score`: the name of the layer that gives the coarse scores, in the backbone.
    """
    encoder: list[nn.Parameter] = []
    decoder: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        below = name.startswith("backbone.") and not name.startswith(f"backbone.{score}.")
        (encoder if below else decoder).append(parameter)
    return Parts(tuple(encoder), tuple(decoder))


def tune(
    network: nn.Module,
    parts: Parts,
    scenes: Scenes,
    *,
    whole: bool,
    steps: int,
    random: np.random.Generator,
    on_step: Callable[[], None],
) -> list[float]:
    """Train for `steps` batches the decoder, and the encoder where `whole`.

    Returns the loss of every batch.
    """
    torch = required("torch")
    for parameter in parts.encoder:
        _ = parameter.requires_grad_(whole)
    groups = [{"params": parts.decoder}, *([{"params": parts.encoder}] if whole else [])]
    rates = [RATE, ENCODER_RATE][: len(groups)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)
    weights = torch.ones(CLASSES)
    weights[BACKGROUND] = BACKGROUND_WEIGHT
    images, labels = torch.from_numpy(scenes.images[:, None]), torch.from_numpy(scenes.labels)
    losses: list[float] = []
    to = cast("Callable[..., nn.Module]", network.to)  # its types know no formats
    _ = to(memory_format=torch.channels_last).train()
    for chosen in batches(len(scenes), steps, random):
        rows = torch.from_numpy(chosen)
        loss = torch.nn.functional.cross_entropy(
            network(images[rows]), labels[rows].long(), weights
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        on_step()
    _ = network.eval()
    return losses


def batches(count: int, steps: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Row numbers of each batch.

    The scenes in a new order each time all were used, the odd rest left out.
    """
    whole = count // BATCH
    orders = [random.permutation(count)[: whole * BATCH] for _ in range(-(-steps // whole))]
    return np.split(np.concatenate(orders)[: steps * BATCH], steps)


def labelled(network: nn.Module, images: Images) -> LabelMaps:
    """The class that the network gives each pixel, (N, H, W)."""
    torch = required("torch")
    with torch.no_grad():
        parts = torch.from_numpy(images[:, None]).split(LABELLED)
        found = [network(part).argmax(1).numpy() for part in parts]
    return np.concatenate(found).astype(np.uint8)


def tested(network: nn.Module, scenes: Scenes) -> Matrix:
    """The confusion matrix over all pixels of these scenes."""
    return confusion(scenes.labels, labelled(network, scenes.images), CLASSES)
