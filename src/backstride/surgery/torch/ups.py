"""Transposed convolutions that climb one step, and how they start."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn

from backstride.layout import AnyArray
from backstride.surgery.decoding.decoder import Init, Step
from backstride.surgery.decoding.starts import among, apart


def climb(maps: torch.Tensor, up: nn.Module, step: Step, size: Sequence[int]) -> torch.Tensor:
    """Lift maps to `size` cells: repeat the border, transpose-convolve, crop."""
    (top, bottom), (left, right) = step.extend
    extended = F.pad(maps, (left, right, top, bottom), mode="replicate")
    full: torch.Tensor = up(extended)
    (row, column), (rows, columns) = step.crop, size
    if (
        torch.compiler.is_exporting()
    ):  # where the bounds of a slice become inequalities to be solved
        for axis, first, cells in ((2, row, rows), (3, column, columns)):
            full = full.index_select(axis, torch.arange(first, first + cells, device=full.device))
        return full
    return full[:, :, row : row + rows, column : column + columns]


def up_scores(step: Step, classes: int, init: Init, like: torch.Tensor) -> nn.ConvTranspose2d:
    """The layer for scores, where every class may reach every other one."""
    return _layer(step, among(step, classes, init, _normal), 1, like)


def up_features(step: Step, channels: int, init: Init, like: torch.Tensor) -> nn.ConvTranspose2d:
    """The layer for features, each channel on its own."""
    return _layer(step, apart(step, channels, init, _normal), channels, like)


def _layer(step: Step, weights: AnyArray, groups: int, like: torch.Tensor) -> nn.ConvTranspose2d:
    kernel, factor = (step.kernel[0], step.kernel[1]), (step.factor[0], step.factor[1])
    layer = nn.ConvTranspose2d(
        len(weights),
        len(weights),
        kernel,
        factor,
        groups=groups,
        bias=False,
        device=like.device,
        dtype=like.dtype,
    )
    with torch.no_grad():
        _ = layer.weight.copy_(torch.as_tensor(weights.copy()))
    return layer


def _normal(shape: tuple[int, ...]) -> AnyArray:
    return torch.randn(shape).numpy()
