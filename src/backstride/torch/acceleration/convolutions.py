"""Ordinary convolutions that the engine computes faster, in inference.

Those of stride 1 are transposed ones, too. `y[o] = sum over j of x[o + j] * w[j]` is the scatter
`y[m + j] += x[m] * w[k - 1 - j]` with k - 1 cells cropped off each side. So a convolution of stride
1 is a transposed convolution of stride 1 with the kernel flipped and the channels exchanged, and
gets the engine's algorithms: Winograd's for 3x3 kernels, overlapped sums for few output channels.
Kernels of one axis and 3x3x3 ones are cut into tiles of four outputs (`tiles.py`). The other
convolutions stay PyTorch's, which runs them as fast.

`in_tiles` and `on_engine` are the whole rule; both were measured layer by layer, on one thread
(docs/torch.md).
"""

from __future__ import annotations

import math
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional

from backstride.torch.acceleration.training import Conv, Trained, class_of
from backstride.torch.operator import graphs, kernels, tiles
from backstride.torch.operator.fallback import activate
from backstride.torch.operator.fusion import Norm
from backstride.torch.operator.internals import is_overridden, is_plain, unwatched
from backstride.torch.operator.packing import note_new
from backstride.torch.operator.policy import (
    LANE_CHANNELS,
    LANE_TAPS,
    LEAST_AXIS_CELLS,
    LEAST_AXIS_TAPS,
    LEAST_AXIS_WORK,
    TILED_CHANNELS,
)
from backstride.torch.operator.shapes import Integers

KINDS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_faster(module: nn.Module, *, winograd: bool = True) -> TypeGuard[Conv]:
    """Whether the engine computes a convolution by an algorithm that saves much of the work.

    >>> layers = (nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 3, 7),
    ...     nn.Conv2d(64, 64, 3, stride=2))
    >>> [is_faster(layer) for layer in layers]
    [True, True, False]
    >>> layers = nn.Conv1d(64, 64, 11, dilation=3), nn.Conv1d(8, 16, 11), nn.Conv3d(64, 64, 3)
    >>> [is_faster(layer) for layer in layers]
    [True, False, True]
    >>> (is_faster(nn.Conv2d(64, 64, 3), winograd=False),
    ...  is_faster(nn.Conv2d(64, 3, 7), winograd=False))
    (False, True)
    """
    return is_candidate(module) and (
        in_lanes(module) or (winograd and (on_engine(module) or in_tiles(module)))
    )


def is_candidate(module: nn.Module) -> TypeGuard[Conv]:
    """Whether it is a plain convolution of float32 that nobody has swapped.

    >>> is_candidate(nn.Conv2d(4, 4, 1)), is_candidate(nn.Linear(4, 4))
    (True, False)
    """
    if not isinstance(module, KINDS) or class_of(module) not in KINDS or "forward" in vars(module):
        return False
    return not nn.parameter.is_lazy(module.weight) and module.weight.dtype == torch.float32


def on_engine(layer: Conv) -> bool:
    """Whether the engine computes it as it is."""
    enough = min(layer.in_channels, layer.out_channels) >= TILED_CHANNELS
    winograd = enough and layer.kernel_size == (3, 3)
    return in_lanes(layer) or (winograd and {layer.groups, *layer.stride, *layer.dilation} == {1})


def in_lanes(layer: Conv) -> bool:
    """Whether it has few output channels, whose sums are computed with cells in the lanes."""
    plain = {layer.groups, *layer.stride, *layer.dilation} == {
        1
    } and layer.out_channels <= LANE_CHANNELS
    return plain and (math.prod(layer.kernel_size) >= LANE_TAPS or len(layer.kernel_size) == 3)


def in_tiles(layer: Conv) -> bool:
    """Whether it is cut into tiles along its first axis, and the engine computes what is left."""
    if {layer.groups, *layer.stride} != {1} or on_engine(layer):
        return False
    taps, rank = layer.kernel_size, len(layer.kernel_size)
    fits = (
        taps[0] >= LEAST_AXIS_TAPS
        if rank == 1
        else taps == (3, 3, 3) and set(layer.dilation) == {1}
    )
    return (
        fits
        and min(layer.in_channels, layer.out_channels) * math.prod(taps) >= LEAST_AXIS_WORK[rank]
    )


class EngineConvolution(Trained):
    """A convolution on the engine while gradients are off and nothing watches.

    At other times as it is trained.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result = self.computed(input, weight, bias, None)
        return super()._conv_forward(input, weight, bias) if result is None else result

    def computed(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        activation: str | None,
        *,
        rows: bool = False,
        norm: Norm | None = None,
    ) -> Tensor | None:
        """The layer with another weight and bias, ending in an activation.

        None where it is PyTorch's to compute. With `rows`, the result of tiles has the channels of
        a cell side by side. `norm`: in a graph, the batch norm before the activation.
        """
        tiled = in_tiles(self)
        runs = tiled or {self.groups, *self.stride, *self.dilation} == {1}
        runs = runs and (self.winograd or in_lanes(self))
        if not runs or not is_inference(input, weight, bias):
            return None
        data, padding = input, self._reversed_padding_repeated_twice
        if self.padding_mode != "zeros":
            data = functional.pad(input, padding, mode=self.padding_mode)
            padding = [0] * len(padding)
        elif not isinstance(self.padding, str):
            padding = [cells for size in reversed(self.padding) for cells in (size, size)]
        pairs = list(zip(padding[::2], padding[1::2], strict=True))[::-1]
        axes = list(zip(data.shape[2:], weight.shape[2:], self.dilation, pairs, strict=True))
        few = tiled and data.shape[0] * math.prod(data.shape[2:]) < LEAST_AXIS_CELLS
        if (
            few
            or (tiled and tiles.is_too_short(*axes[0]))
            or any(i + sum(pair) <= d * (k - 1) for i, k, d, pair in axes)
        ):
            return None
        if not is_compiling() and note_new(weight):  # packing it for one call takes longer
            return None
        if graphs.in_graph(input):
            kind = ("tile rows" if rows else "tiles") if tiled else "flipped"
            integers = Integers(
                self.stride, tuple(cells for pair in pairs for cells in pair), self.dilation, 1
            )
            # Behind tiles an activation is a pass of its own, which the compiler joins with what
            # follows.
            result = graphs.call(
                kind, data, weight, bias, integers, None if tiled else activation, norm
            )
            return activate(result, activation or "") if tiled else result
        if tiled:
            result = tiles.convolution(data, weight, bias, pairs, self.dilation[0], rows=rows)
            return None if result is None else activate(result, activation or "")
        # The kernel is flipped, but the sides are not: what is padded in front is not cropped in
        # front.
        crop = tuple(k - 1 - cells for _, k, _, pair in axes for cells in pair)
        return kernels.convolution(data, weight, bias, crop, activation or "")


def is_inference(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dtypes: tuple[torch.dtype, ...] = (torch.float32,),
) -> bool:
    """Whether a call in these dtypes, on ordinary tensors and without gradients, is unseen.

    By anybody but a compiler.
    """
    seen = graphs.in_graph(input) or (
        not torch.is_grad_enabled()
        and unwatched()
        and is_plain(input)
        and is_plain(weight)
        and (bias is None or is_plain(bias))
        and not is_overridden(input, weight, bias)
        and not torch.is_autocast_enabled("cpu")
    )
    return (
        seen
        and input.dtype == weight.dtype in dtypes
        and (bias is None or bias.dtype == weight.dtype)
        and input.dim() == weight.dim()
        and input.shape[1] == weight.shape[1]
        and input.numel() > 0
    )
