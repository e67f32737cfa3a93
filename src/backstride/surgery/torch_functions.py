"""What each PyTorch function and tensor method is in a `Graph`: the reader's dictionary of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import fx

from backstride.surgery.graph import Kind
from backstride.surgery.torch_modules import Operation, conv_window, pool_window, softmax_axis

Results = Mapping[fx.Node, Any]
NAMES: dict[Any, str] = {  # these hide behind a dispatching function without a name
    F.max_pool2d: "max_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
}
ALIASES = {"log_softmax": "softmax", "concat": "cat", "concatenate": "cat", "iadd": "add", "imul": "mul"}
CELLWISE = (
    *("abs", "celu", "clamp", "clone", "contiguous", "elu", "exp", "gelu", "hardsigmoid", "hardswish", "hardtanh"),
    *("leaky_relu", "log_sigmoid", "mish", "neg", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign"),
    *("sqrt", "tanh"),
)
BINARY = ("add", "sub", "mul", "truediv", "div", "maximum", "minimum")
RESHAPING = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "getitem", "unflatten")
POOLED: dict[str, Kind] = {"adaptive_avg_pool2d": "adaptive_avg_pool", "adaptive_max_pool2d": "adaptive_max_pool"}


def function_operation(node: fx.Node, results: Results) -> Operation:
    """What a call does; "other" where the dictionary lacks it."""
    name = called(node)
    name = ALIASES.get(name, name)
    if name in CELLWISE:
        return Operation("activation")
    if name in RESHAPING:
        return Operation("reshape" if results[node].numel() == fed(node, results).numel() else "other")
    if name in BINARY:
        return Operation("combine")
    if name in POOLED:
        return Operation(POOLED[name], data=1)
    build = FUNCTIONS.get(name)
    return Operation("other") if build is None else build(node, results)


def called(node: fx.Node) -> str:
    """The name of torch's function, operator or method, an in-place one as its plain form; "" for other functions."""
    target: Any = node.target
    if node.op == "call_method":
        return str(target).rstrip("_")
    if target in NAMES:
        return NAMES[target]
    home = str(getattr(target, "__module__", None))
    known = home.partition(".")[0] in ("torch", "_operator")
    return str(getattr(target, "__name__", "")).rstrip("_") if known else ""


def bound(node: fx.Node, results: Results, names: str) -> dict[str, Any]:
    """The arguments of a call by name, with other nodes' results in their place."""
    given: dict[str, Any] = dict(zip(names.split(), node.args, strict=False))
    given.update(node.kwargs)
    return {name: fx.map_arg(value, lambda source: results[source]) for name, value in given.items()}


def fed(node: fx.Node, results: Results) -> torch.Tensor:
    """The first tensor that a node gets."""
    return next(results[source] for source in node.all_input_nodes if isinstance(results[source], torch.Tensor))


def _conv2d(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input weight bias stride padding dilation groups")
    options = (given.get("stride", 1), given.get("padding", 0), given.get("dilation", 1))
    return Operation("conv", conv_window(given["weight"].shape[2:], *options), data=1)


def _max_pool2d(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input kernel_size stride padding dilation ceil_mode return_indices")
    if given.get("return_indices"):
        return Operation("other")
    options = (given["kernel_size"], given.get("stride"), given.get("padding", 0), given.get("dilation", 1))
    return Operation("max_pool", pool_window(*options, ceil_mode=bool(given.get("ceil_mode"))), data=1)


def _avg_pool2d(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input kernel_size stride padding ceil_mode count_include_pad divisor_override")
    options = (given["kernel_size"], given.get("stride"), given.get("padding", 0))
    return Operation("avg_pool", pool_window(*options, ceil_mode=bool(given.get("ceil_mode"))), data=1)


def _linear(node: fx.Node, results: Results) -> Operation:
    _ = results
    stored = all(source.op == "get_attr" for source in node.all_input_nodes[1:])
    return Operation("dense" if stored else "other", data=1)


def _mean(node: fx.Node, results: Results) -> Operation:
    axes = bound(node, results, "input dim keepdim").get("dim")
    rank = fed(node, results).ndim
    if axes is None:
        axes = range(rank)
    return Operation("mean", axes=tuple(axis % rank for axis in ((axes,) if isinstance(axes, int) else axes)))


def _permute(node: fx.Node, results: Results) -> Operation:
    rank = fed(node, results).ndim
    axes: Any = node.kwargs.get("dims", node.args[1:])
    if len(axes) == 1 and not isinstance(axes[0], int):
        axes = axes[0]
    return Operation("permute", axes=tuple(axis % rank for axis in axes))


def _transpose(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input dim0 dim1")
    axes = list(range(fed(node, results).ndim))
    first, second = given["dim0"], given["dim1"]
    axes[first], axes[second] = axes[second], axes[first]
    return Operation("permute", axes=tuple(axes))


def _softmax(node: fx.Node, results: Results) -> Operation:
    dim = bound(node, results, "input dim").get("dim")
    return Operation("softmax", axes=softmax_axis(dim, fed(node, results).ndim))


def _cat(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "tensors dim")
    return Operation("concat", axes=(given.get("dim", given.get("axis", 0)) % results[node].ndim,))


def _dropout(node: fx.Node, results: Results) -> Operation:
    _ = node, results
    return Operation("dropout")


FUNCTIONS: dict[str, Callable[[fx.Node, Results], Operation]] = {
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "linear": _linear,
    "mean": _mean,
    "permute": _permute,
    "transpose": _transpose,
    "softmax": _softmax,
    "cat": _cat,
    "dropout": _dropout,
}
