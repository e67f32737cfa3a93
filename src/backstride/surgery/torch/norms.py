"""Instance and group normalisation by the statistics of a window around each cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn

from backstride.geometry import same_padding


def local_norm(  # noqa: PLR0917  what the normalisations take
    maps: torch.Tensor,
    kernel: Sequence[int],
    groups: int,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> torch.Tensor:
    """Maps (N, C, h, w) less the `kernel`'s mean around each cell, over its deviation.

    They are scaled and shifted then. `groups`: of the channels whose numbers are taken together, 0
    for each channel by itself. The mean of all of the map is taken off first, so that the windows'
    squares are not much larger than their variances.
    """
    count = groups or maps.shape[1]
    grouped = maps.reshape(len(maps), count, -1, *maps.shape[2:])
    grouped = grouped - grouped.mean((2, 3, 4), keepdim=True)
    cells = grouped.mean(2)
    inside = (grouped - cells[:, :, None]).square().mean(2)  # of the channels of one cell
    mean = _windows(cells, kernel)
    between = (_windows(cells.square(), kernel) - mean.square()).clamp_min(0)
    spread = _windows(inside, kernel) + between
    normed = (grouped - mean[:, :, None]) * torch.rsqrt(spread + eps)[:, :, None]
    result = normed.reshape(maps.shape)
    if weight is not None:
        result = result * weight[:, None, None]
    return result if bias is None else result + bias[:, None, None]


def _windows(maps: torch.Tensor, kernel: Sequence[int]) -> torch.Tensor:
    """The mean of the window around each cell, at the borders of the last one that fits."""
    rows, columns = kernel
    pooled = F.avg_pool2d(F.avg_pool2d(maps, (rows, 1), 1), (1, columns), 1)
    sides = (*same_padding(columns, columns, 1), *same_padding(rows, rows, 1))
    return F.pad(pooled, sides, mode="replicate")


class LocalNorm(nn.Module):
    """A `local_norm` with the weights of a GroupNorm or InstanceNorm."""

    def __init__(self, layer: nn.GroupNorm | nn.InstanceNorm2d, kernel: Sequence[int]) -> None:
        super().__init__()
        self.kernel = tuple(kernel)
        self.groups = layer.num_groups if isinstance(layer, nn.GroupNorm) else 0
        self.eps = layer.eps
        self.weight: nn.Parameter | None
        self.bias: nn.Parameter | None
        for name in ("weight", "bias"):
            old: nn.Parameter | None = getattr(layer, name)
            new = None if old is None else nn.Parameter(old.detach().clone(), old.requires_grad)
            self.register_parameter(name, new)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        return local_norm(maps, self.kernel, self.groups, self.weight, self.bias, self.eps)
