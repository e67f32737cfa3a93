"""The features' way up beside the scores (see `fusion`) as a PyTorch module."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from backstride.surgery.decoding.decoder import Init, Step
from backstride.surgery.decoding.features import Lift
from backstride.surgery.torch.ups import climb, up_features


class Fusion(nn.Module):
    """(features, taps) to scores of every pixel.

    Layers are named by the stride they lead to, the last by `image`.
    """

    def __init__(
        self, steps: tuple[Step, ...], beside: bool, layers: dict[str, dict[str, nn.Module]]
    ) -> None:
        super().__init__()
        self.steps = steps
        self.beside = beside
        self.narrow = nn.ModuleDict(layers["narrow"])
        self.ups = nn.ModuleDict(layers["ups"])
        self.taps = nn.ModuleDict(layers["taps"])
        self.blocks = nn.ModuleDict(layers["blocks"])
        self.head = layers["head"]["image"]

    def forward(
        self, features: torch.Tensor, taps: Sequence[torch.Tensor], size: Sequence[int]
    ) -> torch.Tensor:
        """Scores, zero at first."""
        for step, tap in zip(self.steps, (*taps, None), strict=True):
            goal = size if tap is None else tap.shape[2:]
            features = climb(self.narrow[step.key](features), self.ups[step.key], step, goal)
            if tap is not None:
                joined = self.taps[step.key](tap)
                features = torch.cat([features, joined], 1) if self.beside else features + joined
            features = self.blocks[step.key](features)
        return self.head(features)


def fusion(ways: tuple[Lift, ...], init: Init, classes: int, like: torch.Tensor) -> Fusion:
    """The layers of these steps."""
    convolution = partial(nn.Conv2d, device=like.device, dtype=like.dtype)
    beside = len(ways[0].blocks) > 1
    layers: dict[str, dict[str, nn.Module]] = {
        "narrow": {},
        "ups": {},
        "taps": {},
        "blocks": {},
        "head": {},
    }
    for lift in ways:
        key, width = lift.step.key, lift.width
        layers["narrow"][key] = convolution(lift.channels, width, 1)
        layers["ups"][key] = up_features(lift.step, width, init, like)
        if lift.tap is not None:
            layers["taps"][key] = nn.Identity() if beside else convolution(lift.tap, width, 1)
        block: list[nn.Module] = []
        for inner in lift.blocks:
            block += [convolution(inner, width, 3, padding=1), nn.ReLU()]
        layers["blocks"][key] = nn.Sequential(*block)
    layers["head"]["image"] = zero_score(ways[-1].width, classes, like)
    return Fusion(tuple(lift.step for lift in ways), beside, layers)


def zero_score(channels: int, classes: int, like: torch.Tensor) -> nn.Conv2d:
    """A 1x1 score layer whose weights and biases are zero."""
    layer = nn.Conv2d(channels, classes, 1, device=like.device, dtype=like.dtype)
    _ = nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    _ = nn.init.zeros_(layer.bias)
    return layer
