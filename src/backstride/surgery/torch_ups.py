"""Transposed convolutions that climb one step, and how they start."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn

from backstride.initializers import bilinear, icnr, nearest
from backstride.surgery.decoder import Init, Step


def climb(maps: torch.Tensor, up: nn.Module, step: Step, size: Sequence[int]) -> torch.Tensor:
    """Lift maps to `size` cells: repeat the border, transpose-convolve, crop."""
    (top, bottom), (left, right) = step.extend
    extended = F.pad(maps, (left, right, top, bottom), mode="replicate")
    full: torch.Tensor = up(extended)
    (row, column), (rows, columns) = step.crop, size
    return full[:, :, row : row + rows, column : column + columns]


def up_scores(step: Step, classes: int, init: Init, like: torch.Tensor) -> nn.ConvTranspose2d:
    """The layer for scores, where every class may reach every other one."""
    layer = _layer(step, classes, 1, like)
    if init == "icnr":
        kernel = _icnr(layer, step)
    else:
        make = bilinear if init == "bilinear" else nearest
        found = make(step.kernel, step.factor, classes, data_format="channels_first", dtype="float64")
        kernel = torch.as_tensor(found)
    with torch.no_grad():
        _ = layer.weight.copy_(kernel)
    return layer


def up_features(step: Step, channels: int, init: Init, like: torch.Tensor) -> nn.ConvTranspose2d:
    """The layer for features, each channel on its own."""
    layer = _layer(step, channels, channels, like)
    if init == "icnr":
        kernel = _icnr(layer, step)
    else:
        make = bilinear if init == "bilinear" else nearest
        kernel = torch.as_tensor(make(step.kernel, step.factor, 1, data_format="channels_first", dtype="float64"))
    with torch.no_grad():
        _ = layer.weight.copy_(kernel.expand_as(layer.weight))
    return layer


def _layer(step: Step, channels: int, groups: int, like: torch.Tensor) -> nn.ConvTranspose2d:
    kernel, factor = (step.kernel[0], step.kernel[1]), (step.factor[0], step.factor[1])
    options = {"device": like.device, "dtype": like.dtype}
    return nn.ConvTranspose2d(channels, channels, kernel, factor, groups=groups, bias=False, **options)


def _icnr(layer: nn.ConvTranspose2d, step: Step) -> torch.Tensor:
    """A random kernel of one tap, near the identity, repeated over the phases of the stride."""
    inputs, outputs = layer.weight.shape[:2]
    base = torch.eye(inputs, outputs) if outputs > 1 or inputs == 1 else torch.ones(inputs, outputs)
    base = base + torch.randn(inputs, outputs) * 0.1 / inputs
    spread = icnr(base[:, :, None, None].numpy(), step.factor, data_format="channels_first")
    return torch.as_tensor(spread)
