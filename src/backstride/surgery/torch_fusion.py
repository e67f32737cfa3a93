"""The features' way up beside the scores: U-Net (arXiv 1505.04597) and LinkNet (arXiv 1707.03718) decoders.

At each step the features are narrowed, lifted and joined with the tap: beside it, then two 3x3
convolutions (U-Net); or added to a 1x1 of it, then one (LinkNet). The last map's 1x1 scores are zero at
first, so that before training the network is the scores, interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from backstride.surgery.decoder import Decoder, Step
from backstride.surgery.torch_ups import climb, up_features

WIDEST, NARROWEST = 256, 16


class Fusion(nn.Module):
    """(features, taps) to scores of every pixel. Layers are named by the stride they lead to, the last by `image`."""

    def __init__(self, steps: tuple[Step, ...], beside: bool, layers: dict[str, dict[str, nn.Module]]) -> None:
        super().__init__()
        self.steps = steps
        self.beside = beside
        self.narrow = nn.ModuleDict(layers["narrow"])
        self.ups = nn.ModuleDict(layers["ups"])
        self.taps = nn.ModuleDict(layers["taps"])
        self.blocks = nn.ModuleDict(layers["blocks"])
        self.head = layers["head"]["image"]

    def forward(self, features: torch.Tensor, taps: Sequence[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
        """Scores, zero at first."""
        for step, tap in zip(self.steps, (*taps, None), strict=True):
            goal = size if tap is None else tap.shape[2:]
            features = climb(self.narrow[step.key](features), self.ups[step.key], step, goal)
            if tap is not None:
                joined = self.taps[step.key](tap)
                features = torch.cat([features, joined], 1) if self.beside else features + joined
            features = self.blocks[step.key](features)
        return self.head(features)


def fusion(decoder: Decoder, channels: int, classes: int, like: torch.Tensor) -> Fusion:
    """The decoder's layers for features of `channels`."""
    options = {"device": like.device, "dtype": like.dtype}
    beside = decoder.kind == "unet"
    tapped = {tap.key: tap.channels for tap in decoder.taps}
    layers: dict[str, dict[str, nn.Module]] = {"narrow": {}, "ups": {}, "taps": {}, "blocks": {}, "head": {}}
    for step in decoder.steps:
        width = max(NARROWEST, min(WIDEST, tapped.get(step.key, NARROWEST)))
        layers["narrow"][step.key] = nn.Conv2d(channels, width, 1, **options)
        layers["ups"][step.key] = up_features(step, width, decoder.init, like)
        if step.key in tapped:
            layers["taps"][step.key] = nn.Identity() if beside else nn.Conv2d(tapped[step.key], width, 1, **options)
        inner = width + (tapped.get(step.key, 0) if beside else 0)
        block: list[nn.Module] = [nn.Conv2d(inner, width, 3, padding=1, **options), nn.ReLU()]
        if beside:
            block += [nn.Conv2d(width, width, 3, padding=1, **options), nn.ReLU()]
        layers["blocks"][step.key] = nn.Sequential(*block)
        channels = width
    layers["head"]["image"] = zero_score(channels, classes, like)
    return Fusion(decoder.steps, beside, layers)


def zero_score(channels: int, classes: int, like: torch.Tensor) -> nn.Conv2d:
    """A 1x1 score layer whose weights and biases are zero."""
    layer = nn.Conv2d(channels, classes, 1, device=like.device, dtype=like.dtype)
    _ = nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    _ = nn.init.zeros_(layer.bias)
    return layer
