"""Ordinary convolutions with large weights over few cells.

oneDNN's order of the weight, remembered (`onednn.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backstride.torch.acceleration.convolutions import is_inference
from backstride.torch.acceleration.training import Trained, class_of
from backstride.torch.operator import graphs, onednn
from backstride.torch.operator.kernels import in_format, keeps_channels_last
from backstride.torch.operator.policy import ORDERED_CELLS, ORDERED_WEIGHT
from backstride.torch.operator.shapes import Integers


def has_large_weight(module: nn.Module) -> bool:
    """Whether a convolution's weight is large enough for its order to matter.

    >>> has_large_weight(nn.Conv2d(512, 512, 4, 2, 1)), has_large_weight(nn.Conv2d(16, 16, 3))
    (True, False)
    """
    if (
        not isinstance(module, nn.Conv2d)
        or class_of(module) is not nn.Conv2d
        or "forward" in vars(module)
    ):
        return False
    if nn.parameter.is_lazy(module.weight):
        return False
    plain = (
        module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )
    large = onednn.supports(module.weight.dtype) and module.weight.numel() >= ORDERED_WEIGHT
    return large and plain and onednn.is_there()


class Prepacked(Trained):
    """A convolution by oneDNN with a remembered weight, in inference on few cells.

    At other times as it is trained.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ordinary = is_inference(input, weight, bias, tuple(ORDERED_CELLS)) and onednn.supports(
            weight.dtype
        )
        result = _computed(self, input, weight, bias) if ordinary else None
        return super()._conv_forward(input, weight, bias) if result is None else result


def _computed(
    layer: Prepacked, input: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor | None:
    padding = layer.padding
    if layer.padding_mode != "zeros" or isinstance(padding, str):
        return None
    cells = input.shape[0] * math.prod(input.shape[2:]) // math.prod(layer.stride)
    axes = list(
        zip(input.shape[2:], weight.shape[2:], padding, layer.dilation, layer.stride, strict=True)
    )
    fits = all(i + 2 * p > d * (k - 1) for i, k, p, d, _ in axes)
    if cells >= ORDERED_CELLS[input.dtype] or not (fits and layer.groups == 1):
        return None
    if graphs.in_graph(input):
        if input.dtype != torch.float32:
            return None
        crop = tuple(
            cells for i, k, p, d, s in axes for cells in (p, p - (i + 2 * p - d * (k - 1) - 1) % s)
        )
        return graphs.call(
            "ordered", input, weight, bias, Integers(layer.stride, crop, layer.dilation, 1)
        )
    y = onednn.convolution(input, weight, bias, padding, layer.stride, layer.dilation)
    return None if y is None else in_format(y, keeps_channels_last(input, weight))
