"""What a step of training is made of.

The loss, the groups of parameters, the learning rate over time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.roads.config import TrainConfig
from backstride.roads.network.model import encoder_parameters
from backstride.roads.sample import IGNORE, Dataset

POLY = 0.9  # the exponent of Chen et al., "DeepLab" (arXiv 1606.00915), section 4.1


class Group(TypedDict):
    """Parameters that an optimiser changes alike."""

    name: str
    params: list[nn.Parameter]
    lr: float
    weight_decay: float


def loss_of(logits: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    """The mean cross entropy of (N, classes, H, W) and (N, H, W), weighted by class.

    Pixels that are IGNORE do not count. Zero, with gradients, where every pixel is to be ignored.
    """
    logits = logits.float()
    total = F.cross_entropy(logits, labels, weight, ignore_index=IGNORE, reduction="sum")
    valid = labels != IGNORE
    share = valid.sum() if weight is None else weight[labels[valid]].sum()
    return total / share.clamp_min(1e-6)


def groups_of(network: nn.Module, config: TrainConfig) -> list[Group]:
    """Parameters by learning rate and by decay: kernels shrink, biases and norms do not.

    A kernel is a parameter of two or more axes. The decay stands in the optimiser, so it acts on
    every kernel that it is given, whatever the loss is made of.
    """
    groups: list[Group] = []
    rates = (config.rate * config.encoder_rate, config.rate)
    for part, rate, named in zip(
        ("encoder", "decoder"), rates, encoder_parameters(network), strict=True
    ):
        trained = [parameter for _, parameter in named if parameter.requires_grad]
        for kind, decay in (("kernels", config.decay), ("others", 0.0)):
            chosen = [
                parameter for parameter in trained if (parameter.ndim > 1) == (kind == "kernels")
            ]
            if chosen:
                groups.append(
                    {"name": f"{part} {kind}", "params": chosen, "lr": rate, "weight_decay": decay}
                )
    return groups


def optimiser_of(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (decoupled decay, arXiv 1711.05101) or SGD with momentum (decay as L2)."""
    groups: list[dict[str, object]] = [dict(group) for group in groups_of(network, config)]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9)
    return torch.optim.AdamW(groups)


def rate_at(config: TrainConfig, steps: int) -> Callable[[int], float]:
    """The share of the learning rate at each step: a straight warm-up, then the schedule.

    >>> rate = rate_at(TrainConfig(schedule="cosine", warmup=0.1), 100)
    >>> rate(0), rate(10), round(rate(55), 3), round(rate(100), 3)
    (0.1, 1.0, 0.5, 0.0)
    """
    rising = round(config.warmup * steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        done = min((step - rising) / max(steps - rising, 1), 1)
        if config.schedule == "poly":
            return (1 - done) ** POLY
        return (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1.0

    return share


def class_weights(balance: str, pictures: Dataset) -> tuple[float, ...] | None:
    """The weight of each class in the loss: None for "none", given ones, or by "median" frequency.

    Median frequency balancing: the median over the classes of their shares of the pixels of
    pictures in which they are, over the class's own (Eigen & Fergus, arXiv 1411.4734, section
    6.3.2).
    """
    classes = len(pictures.classes)
    if balance == "none":
        return None
    if balance == "median":
        return _median_weights(pictures, classes)
    try:
        weights = tuple(float(word) for word in balance.split(","))
    except ValueError:
        weights = ()
    if (
        len(weights) != classes
        or min(weights) < 0
        or not all(map(math.isfinite, weights))
        or not sum(weights)
    ):
        message = (
            f'`balance` (={balance!r}) must be "none", "median" or {classes} weights joined by '
            "commas, none of them "
            f"negative; for example {','.join(['1'] * classes)}"
        )
        raise ValueError(message)
    return weights


def frozen(network: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Hold the parameters of the encoder's layers of these names, and return the layers.

    A name holds all layers that it begins: `block1` those of VGG16's first block. Raises
    `ValueError` for one that begins none.
    """
    backbone = network.get_submodule("segmenter.backbone")
    layers = dict(cast("Iterable[tuple[str, nn.Module]]", backbone.named_modules()))
    held: list[nn.Module] = []
    for start in names:
        begun = (f"{start}.", f"{start}_")
        chosen = [
            layer for name, layer in layers.items() if name == start or name.startswith(begun)
        ]
        if not chosen:
            legal = list(
                dict.fromkeys(name.partition("_")[0].partition(".")[0] for name in layers if name)
            )
            message = (
                f"`freeze` (={start!r}) begins the name of no layer of the encoder; legal are "
                f"{', '.join(legal)}"
            )
            raise ValueError(message)
        held += chosen
    for layer in held:
        for parameter in layer.parameters():
            _ = parameter.requires_grad_(False)
    return held


def _median_weights(pictures: Dataset, classes: int) -> tuple[float, ...]:
    of_class, among = np.zeros(classes), np.zeros(classes)
    for index in range(len(pictures.samples)):
        mask = pictures.mask(index)
        counts = np.bincount(mask[mask != IGNORE].ravel(), minlength=classes)[:classes]
        of_class += counts
        among += np.where(counts > 0, counts.sum(), 0)
    if not of_class.all():
        missing = pictures.classes[int(np.argmin(of_class))]
        message = (
            f'`balance` (="median") needs pixels of every class; no mask has any of {missing!r}'
        )
        raise ValueError(message)
    shares = of_class / among
    return tuple(float(weight) for weight in np.median(shares) / shares)
