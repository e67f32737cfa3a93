"""Ordinary convolutions with large weights over few cells: oneDNN's order of the weight, remembered.

PyTorch has oneDNN put a weight into an order of its own at each call. Where few cells share a large weight, as at the
bottom of a U-Net, that is most of the time. The reordered weight is remembered as the engine's packed ones are.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from backstride.torch.convolutions import is_inference
from backstride.torch.kernels import FORMATS, keeps_channels_last
from backstride.torch.packing import Options, changes, find, make
from backstride.torch.training import Trained

LARGE_WEIGHT = 1 << 18  # entries: 1 MiB
FEW_CELLS = 512
ONEDNN: Any = torch.ops.mkldnn
REORDER: Any = getattr(importlib.import_module("torch._C")._nn, "mkldnn_reorder_conv2d_weight", None)


def has_large_weight(module: nn.Module) -> bool:
    """Whether a convolution's weight is large enough for its order to matter.

    >>> has_large_weight(nn.Conv2d(512, 512, 4, 2, 1)), has_large_weight(nn.Conv2d(16, 16, 3))
    (True, False)
    """
    if type(module) is not nn.Conv2d or "forward" in vars(module) or nn.parameter.is_lazy(module.weight):
        return False
    plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    known = REORDER is not None and hasattr(ONEDNN, "_convolution_pointwise") and torch.backends.mkldnn.is_available()
    return known and plain and module.weight.dtype == torch.float32 and module.weight.numel() >= LARGE_WEIGHT


class Prepacked(Trained):
    """A convolution by oneDNN with a remembered weight, in inference on few cells; at other times as it is trained."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result = _computed(self, input, weight, bias) if is_inference(input, weight, bias) else None
        return super()._conv_forward(input, weight, bias) if result is None else result


def _computed(layer: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    cells = input.shape[0] * math.prod(input.shape[2:]) // math.prod(layer.stride)
    fits = all(i + 2 * p > d * (k - 1) for i, k, p, d in _axes(layer, input, weight))
    if cells >= FEW_CELLS or not (fits and layer.groups == 1 and torch.backends.mkldnn.enabled):
        return None
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    words = (layer.padding, layer.stride, layer.dilation, 1)
    options = Options(f"oneDNN {layer.padding} {tuple(input.shape)}", "channels_first", layer.stride, layer.dilation, 1)
    ready = find(weight, options)
    if ready is None:
        if changes(weight):
            return None
        ready = make(weight, options, lambda weight: REORDER(weight.to_mkldnn(), *words, input.shape), remember=True)
    last = keeps_channels_last(input, weight)
    y = ONEDNN._convolution_pointwise(input, ready, bias, *words, "none", [], "")
    return y.contiguous(memory_format=FORMATS[4] if last else torch.contiguous_format)


def _axes(layer: Any, input: Tensor, weight: Tensor) -> list[tuple[int, int, int, int]]:
    return list(zip(input.shape[2:], weight.shape[2:], layer.padding, layer.dilation, strict=True))
