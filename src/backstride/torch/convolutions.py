"""Ordinary convolutions that the engine computes faster, in inference: those of stride 1 are transposed ones, too.

`y[o] = sum over j of x[o + j] * w[j]` is the scatter `y[m + j] += x[m] * w[k - 1 - j]` with k - 1 cells
cropped off each side. So a convolution of stride 1 is a transposed convolution of stride 1 with the kernel turned
around and the channels exchanged, and gets the engine's algorithms: Winograd's for 3x3 kernels, overlapped sums for
few output channels. The other convolutions stay PyTorch's, which runs them as fast.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backstride.torch import kernels
from backstride.torch.operators import is_plain, unwatched

KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WINOGRAD_CHANNELS = 24
FEW_CHANNELS = 8
MANY_TAPS = 7


def pays(module: nn.Module) -> bool:
    """Whether the engine computes a convolution by an algorithm that saves most of the work.

    >>> pays(nn.Conv2d(64, 64, 3, padding=1)), pays(nn.Conv2d(64, 3, 7)), pays(nn.Conv2d(64, 64, 3, stride=2))
    (True, True, False)
    """
    if type(module) not in KINDS or "forward" in vars(module):
        return False
    layer: Any = module
    plain = layer.groups == 1 and all(step == 1 for step in (*layer.stride, *layer.dilation))
    if not plain or nn.parameter.is_lazy(layer.weight) or layer.weight.dtype != torch.float32:
        return False
    winograd = layer.kernel_size == (3, 3) and min(layer.in_channels, layer.out_channels) >= WINOGRAD_CHANNELS
    few = layer.out_channels <= FEW_CHANNELS and (math.prod(layer.kernel_size) >= MANY_TAPS or layer.weight.dim() == 5)
    return winograd or few


class Convolution:
    """A convolution on the engine while gradients are off and nothing watches; PyTorch's own at other times."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result = self.computed(input, weight, bias, None)
        if result is None:
            parent: Any = super()
            return parent._conv_forward(input, weight, bias)
        return result

    def computed(
        self: Any, input: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None
    ) -> Tensor | None:
        """The layer with another weight and bias, ending in an activation; None where it is PyTorch's to compute."""
        if not is_inference(input, weight, bias) or {self.groups, *self.stride, *self.dilation} != {1}:
            return None
        data, padding = input, self._reversed_padding_repeated_twice
        if self.padding_mode != "zeros":
            data = functional.pad(input, padding, mode=self.padding_mode)
            padding = [0] * len(padding)
        elif not isinstance(self.padding, str):
            padding = [cells for size in reversed(self.padding) for cells in (size, size)]
        sizes = reversed(list(zip(padding[::2], padding[1::2], strict=True)))
        # The kernel is turned around, but the sides are not: what is padded in front is not cropped in front.
        crop = [k - 1 - cells for k, pair in zip(weight.shape[2:], sizes, strict=True) for cells in pair]
        if any(i + k - 1 <= sum(crop[2 * axis : 2 * axis + 2]) for axis, (i, k) in enumerate(_sizes(data, weight))):
            return None
        return kernels.convolution(data, weight, bias, tuple(crop), activation or "")


def is_inference(input: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether this is a call in float32 on ordinary tensors that fit, without gradients, and nothing watches."""
    return (
        not torch.is_grad_enabled()
        and unwatched()
        and input.dtype == weight.dtype == torch.float32
        and is_plain(input)
        and is_plain(weight)
        and (bias is None or (is_plain(bias) and bias.dtype == weight.dtype))
        and input.dim() == weight.dim()
        and input.shape[1] == weight.shape[1]
        and input.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )


def _sizes(input: Tensor, weight: Tensor) -> list[tuple[int, int]]:
    return list(zip(input.shape[2:], weight.shape[2:], strict=True))
