"""The functions that steps without weights are in PyTorch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch.fx.node import Argument

from backstride.surgery.model.graph import Node
from backstride.surgery.torch.layers import reordered, some_channels, subsampled, unshuffled

WeightlessCall: TypeAlias = tuple[
    Callable[..., object] | str, tuple[Argument, ...], dict[str, Argument]
]
POOLS: Mapping[str, Callable[..., object]] = {
    "avg_pool": F.avg_pool2d,
    "max_pool": F.max_pool2d,
    "global_avg_pool": F.adaptive_avg_pool2d,
    "global_max_pool": F.adaptive_max_pool2d,
}
CELLWISE: Mapping[str, Callable[..., object]] = {
    "square": torch.square,
    "sqrt": torch.sqrt,
    "absolute": torch.abs,
    "negative": torch.neg,
}


def weightless(step: Node) -> WeightlessCall:  # noqa: C901, PLR0911  one return for each kind
    """The function or method of a step, and its arguments beside the data."""
    match step.kind:
        case "global_avg_pool" | "global_max_pool":
            return POOLS[step.kind], (1,), {}
        case "square" | "sqrt" | "absolute" | "negative":
            return CELLWISE[step.kind], (), {}
        case "scaled":
            return operator.mul, (step.factor,), {}
        case "edge_pad":
            (top, bottom), (left, right) = step.sliding.padding
            return F.pad, ((left, right, top, bottom),), {"mode": "replicate"}
        case "pad":
            return subsampled, (step.sliding.padding, step.sliding.strides), {}
        case "unshuffle":
            return unshuffled, (step.sliding.strides[0],), {}
        case "some":
            return some_channels, step.cuts[0], {}
        case "split":
            return "unflatten", (1, step.factors), {}
        case "reorder":
            return reordered, (step.factors, step.axes), {}
        case "join":
            return "flatten", (1, len(step.factors)), {}
        case "permute":
            return "permute", step.axes, {}
        case _:
            assert step.kind == "concat"
            return torch.cat, (), {"dim": 1}
