"""What each PyTorch function and tensor method is in a `Graph`: the reader's dictionary of calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import fx

from backstride.surgery.torch_modules import (
    Operation,
    conv_window,
    pad_window,
    pool_window,
    repeat_window,
    softmax_axis,
    transposed_window,
)

Results = Mapping[fx.Node, Any]
NAMES: dict[Any, str] = {  # these hide behind a dispatching function without a name
    F.max_pool2d: "max_pool2d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
}
PARTS = ("chunk", "split", "tensor_split")
ALIASES = {"log_softmax": "softmax", "concat": "cat", "concatenate": "cat", "iadd": "add", "imul": "mul"}
CASTS = ("to", "float", "type_as")  # their other arguments say which numbers, not how many
CELLWISE = (
    *("abs", "celu", "clamp", "clone", "contiguous", "elu", "exp", "gelu", "hardsigmoid", "hardswish", "hardtanh"),
    *(
        "leaky_relu",
        "local_response_norm",
        "log_sigmoid",
        "mish",
        "neg",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "softplus",
        "softsign",
    ),
    *("sqrt", "tanh"),
)
BINARY = ("add", "sub", "mul", "truediv", "div", "maximum", "minimum")
RESHAPING = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "getitem", "unflatten")
EXPANDING = ("expand", "expand_as")
SIMPLE: Mapping[str, Operation] = {
    **dict.fromkeys(CELLWISE, Operation("activation")),
    **dict.fromkeys(CASTS, Operation("activation", data=1)),
    **dict.fromkeys(EXPANDING, Operation("expand", data=1)),
    **dict.fromkeys(BINARY, Operation("combine")),
    "adaptive_avg_pool2d": Operation("adaptive_avg_pool", data=1),
    "adaptive_max_pool2d": Operation("adaptive_max_pool", data=1),
    "group_norm": Operation("layer_norm", data=1),
    "instance_norm": Operation("layer_norm", data=1),
    "batch_norm": Operation("batch_norm", data=1),
    "dropout": Operation("dropout"),
}


def function_operation(node: fx.Node, results: Results) -> Operation:
    """What a call does; "other" where the dictionary lacks it."""
    name = called(node)
    name = ALIASES.get(name, name)
    if name == "getitem" and _cuts_channels(node, results):
        return Operation("part", data=1)
    if name in RESHAPING:
        return Operation("reshape" if results[node].numel() == fed(node, results).numel() else "other")
    if name in SIMPLE:
        return SIMPLE[name]
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


def parts_axis(node: fx.Node, results: Results) -> tuple[int, ...] | None:
    """The axis along which a call cuts its input into parts; None for other calls."""
    if called(node) not in PARTS:
        return None
    return (bound(node, results, "input parts dim").get("dim", 0) % fed(node, results).ndim,)


def _cuts_channels(node: fx.Node, results: Results) -> bool:
    """Whether an index takes a tuple's entry, or a stretch of axis 1 alone."""
    source, index = bound(node, results, "input index").values()
    if isinstance(source, tuple | list):
        return True
    loose: Any = index
    entries: list[Any] = list(loose) if isinstance(index, tuple) else []
    if len(entries) < 2 or not all(isinstance(entry, slice) for entry in entries):
        return False
    return all(entry == slice(None) for axis, entry in enumerate(entries) if axis != 1)


def _conv2d(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input weight bias stride padding dilation groups")
    options = (given.get("stride", 1), given.get("padding", 0), given.get("dilation", 1))
    return Operation("conv", conv_window(given["weight"].shape[2:], *options), data=1)


def _conv_transpose2d(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input weight bias stride padding output_padding groups dilation")
    options = (given.get("stride", 1), given.get("padding", 0), given.get("output_padding", 0))
    window = transposed_window(given["weight"].shape[2:], *options, given.get("dilation", 1))
    return Operation("conv_transpose", window, data=1)


def _interpolate(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input size scale_factor mode")
    window = repeat_window(given.get("size"), given.get("scale_factor"), given.get("mode", "nearest"))
    return Operation("other") if window is None else Operation("conv_transpose", window, data=1)


def _max_pool2d(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input kernel_size stride padding dilation ceil_mode return_indices")
    if given.get("return_indices"):
        return Operation("other")
    options = (given["kernel_size"], given.get("stride"), given.get("padding", 0), given.get("dilation", 1))
    return Operation("max_pool", pool_window(*options, ceil_mode=bool(given.get("ceil_mode"))), data=1)


def _avg_pool2d(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input kernel_size stride padding ceil_mode count_include_pad divisor_override")
    if given.get("divisor_override") is not None:
        return Operation("other")
    options = (given["kernel_size"], given.get("stride"), given.get("padding", 0))
    return Operation("avg_pool", pool_window(*options, ceil_mode=bool(given.get("ceil_mode"))), data=1)


def _pad(node: fx.Node, results: Results) -> Operation:
    given = bound(node, results, "input pad mode value")
    cells = [int(count) for count in given["pad"]]
    if given.get("mode", "constant") == "circular" or len(cells) < 4 or any(cells[6:]):
        return Operation("other")
    return Operation("pad", pad_window(cells), data=1)


def _layer_norm(node: fx.Node, results: Results) -> Operation:
    shape = bound(node, results, "input normalized_shape").get("normalized_shape", ())
    return Operation("layer_norm", features=math.prod(shape), data=1)


def _norm(node: fx.Node, results: Results) -> Operation:
    """A length; over the positions of a map it is a normalisation's."""
    axes: Any = bound(node, results, "input ord dim").get("dim")
    spatial = isinstance(axes, tuple | list) and sorted(map(int, axes)) in ([1, 2], [2, 3])  # pyright: ignore[reportUnknownArgumentType]
    return Operation("layer_norm" if spatial else "other", data=1)


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


FUNCTIONS: dict[str, Callable[[fx.Node, Results], Operation]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "interpolate": _interpolate,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "pad": _pad,
    "layer_norm": _layer_norm,
    "linalg_vector_norm": _norm,
    "linear": _linear,
    "mean": _mean,
    "permute": _permute,
    "transpose": _transpose,
    "softmax": _softmax,
    "cat": _cat,
}
