"""Convolutions by oneDNN with a remembered weight.

PyTorch has oneDNN put a weight into an order of its own at each call. Where few cells share a large weight, as at the
bottom of a U-Net, that is most of the time. The reordered weight is remembered as the engine's packed ones are.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backstride.torch.kernels import FORMATS, keeps_channels_last
from backstride.torch.packing import Options, changes, find, make

ONEDNN: Any = torch.ops.mkldnn
REORDER: Any = getattr(importlib.import_module("torch._C")._nn, "mkldnn_reorder_conv2d_weight", None)


def is_there() -> bool:
    """Whether this PyTorch has the operators."""
    return REORDER is not None and hasattr(ONEDNN, "_convolution_pointwise") and torch.backends.mkldnn.is_available()


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Tensor | None:
    """A convolution of two axes and one group; None where oneDNN is switched off, or the weight keeps changing."""
    if not torch.backends.mkldnn.enabled:
        return None
    words = (tuple(padding), tuple(stride), tuple(dilation), 1)
    name = f"oneDNN {words[0]} {tuple(input.shape)}"
    options = Options(name, "channels_first", words[1], words[2], 1)
    ready = find(weight, options)
    if ready is None:
        if changes(weight):
            return None
        ready = make(weight, options, lambda weight: REORDER(weight.to_mkldnn(), *words, input.shape), remember=True)
    last = keeps_channels_last(input, weight)
    y = ONEDNN._convolution_pointwise(input, ready, bias, *words, "none", [], "")
    return y.contiguous(memory_format=FORMATS[4] if last else torch.contiguous_format)
