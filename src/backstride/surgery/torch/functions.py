"""What each PyTorch function and tensor method is in a `Graph`.

The reader's dictionary of calls. Longer than other files: it is one table of many short rules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import fx, nn

from backstride.surgery.model.graph import BORDERS, Cut, Kind
from backstride.surgery.model.meaning import Meaning
from backstride.surgery.model.slicing import full_index, taken
from backstride.surgery.torch.arguments import Given, Results, bound, named
from backstride.surgery.torch.modules import (
    Sizes,
    conv_window,
    pad_window,
    pool_window,
    resized,
    shuffled,
    softmax_axis,
    transposed_window,
    unshuffled,
)

NAMES: dict[object, str] = {  # these hide behind a dispatching function without a name
    F.max_pool1d: "max_pool1d",
    F.max_pool2d: "max_pool2d",
    F.max_pool3d: "max_pool3d",
    F.adaptive_max_pool1d: "adaptive_max_pool1d",
    F.adaptive_max_pool2d: "adaptive_max_pool2d",
    F.adaptive_max_pool3d: "adaptive_max_pool3d",
}
DROPOUTS: Mapping[str, type[nn.Module]] = {
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "alpha_dropout": nn.AlphaDropout,
    "feature_alpha_dropout": nn.FeatureAlphaDropout,
}
PARTS = ("chunk", "split", "tensor_split")
ALIASES = {
    "log_softmax": "softmax",
    "concat": "cat",
    "concatenate": "cat",
    "iadd": "add",
    "imul": "mul",
    "mm": "matmul",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "swapaxes": "transpose",
}
CASTS = ("to", "float", "type_as")  # their other arguments say which numbers, not how many
CELLWISE = (
    *(
        "abs",
        "celu",
        "clamp",
        "clamp_max",
        "clamp_min",
        "clip",
        "clone",
        "contiguous",
        "cos",
        "detach",
        "elu",
        "erf",
    ),
    *("exp", "expm1", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu"),
    *(
        "local_response_norm",
        "log",
        "log1p",
        "log_sigmoid",
        "logsigmoid",
        "mish",
        "neg",
        "nan_to_num",
        "reciprocal",
    ),
    *(
        "relu",
        "relu6",
        "rsqrt",
        "selu",
        "sigmoid",
        "sign",
        "silu",
        "sin",
        "softplus",
        "softshrink",
        "softsign",
        "sqrt",
    ),
    *("square", "tanh", "tanhshrink", "threshold"),
)
BINARY = (
    "add",
    "sub",
    "rsub",
    "mul",
    "truediv",
    "div",
    "maximum",
    "minimum",
    "pow",
    "addcmul",
    "lerp",
)
RESHAPING = ("view", "reshape", "flatten", "squeeze", "unsqueeze", "getitem", "unflatten", "ravel")
SLICING = ("getitem", "narrow", "select")
EXPANDING = ("expand", "expand_as")
FILLED = (  # with numbers that are none of the tensor's own
    *("new_tensor", "new_full", "new_zeros", "new_ones", "new_empty"),
    *("empty_like", "full_like", "ones_like", "zeros_like"),
)
REDUCTIONS: Mapping[str, Kind] = {
    "amax": "amax",
    "amin": "amin",
    "max": "amax",
    "mean": "mean",
    "min": "amin",
    "std": "std",
    "sum": "sum",
    "var": "var",
}
NORMS: Mapping[object, Kind] = {
    1: "norm1",
    2: "norm2",
    "fro": "norm2",
    None: "norm2",
}  # by their order
REDUCING: Mapping[str, str] = {  # with the names of their arguments
    **dict.fromkeys(("amax", "amin", "max", "mean", "min", "sum"), "input dim keepdim"),
    **dict.fromkeys(("std", "var"), "input dim unbiased keepdim"),
    **dict.fromkeys(("linalg_vector_norm", "vector_norm"), "input ord dim keepdim"),
    "norm": "input p dim keepdim",
}
CHANNELWISE: Mapping[
    str, tuple[str, int]
] = {  # with the names of their arguments and the usual axis
    "glu": ("input dim", -1),
    "normalize": ("input p dim eps out", 1),
}
SIMPLE: Mapping[str, Meaning] = {
    **dict.fromkeys(CELLWISE, Meaning("activation")),
    **dict.fromkeys(CASTS, Meaning("activation", data=1)),
    **dict.fromkeys(EXPANDING, Meaning("expand", data=1)),
    **dict.fromkeys(BINARY, Meaning("combine")),
    **{f"adaptive_avg_pool{rank}d": Meaning("adaptive_avg_pool", data=1) for rank in (1, 2, 3)},
    **{f"adaptive_max_pool{rank}d": Meaning("adaptive_max_pool", data=1) for rank in (1, 2, 3)},
    "batch_norm": Meaning("batch_norm", data=1),
    **dict.fromkeys(DROPOUTS, Meaning("dropout")),
}


def function_operation(node: fx.Node, results: Results) -> Meaning:
    """What a call does; "other" where the dictionary lacks it."""
    name = called(node)
    name = ALIASES.get(name, name)
    if name in ("getitem", "getattr") and isinstance(
        results[node.all_input_nodes[0]], tuple | list
    ):
        if called(node.all_input_nodes[0]) not in ("max", "min"):
            return Meaning("part", data=1)
        return Meaning("reshape" if node.args[1] in (0, "values") else "other", data=1)
    if name in SLICING and (found := _slice(node, results)) is not None:
        return found
    if name in RESHAPING:
        return Meaning(
            "reshape" if results[node].numel() == fed(node, results).numel() else "other"
        )
    if name in SIMPLE:
        return SIMPLE[name]
    build = FUNCTIONS.get(name)
    return Meaning("other") if build is None else build(node, results)


def called(node: fx.Node) -> str:
    """The name of torch's function, operator or method, an in-place one as its plain form.

    "" for other functions.
    """
    target = node.target
    if node.op == "call_method":
        return str(target).rstrip("_")
    if target in NAMES:
        return NAMES[target]
    if target is getattr:
        return "getattr"
    home = str(getattr(target, "__module__", None))
    known = home.partition(".")[0] in ("torch", "_operator")
    return str(getattr(target, "__name__", "")).rstrip("_") if known else ""


def fed(node: fx.Node, results: Results) -> torch.Tensor:
    """The first tensor that a node gets."""
    return next(
        results[source]
        for source in node.all_input_nodes
        if isinstance(results[source], torch.Tensor)
    )


def parts_axis(node: fx.Node, results: Results) -> tuple[int, ...] | None:
    """The axis along which a call cuts its input into parts; None for other calls."""
    if called(node) not in PARTS:
        return None
    axis: int = bound(node, results, "input parts dim").get("dim", 0)
    return (axis % fed(node, results).ndim,)


def _slice(node: fx.Node, results: Results) -> Meaning | None:
    """What an index with constant slices and numbers takes.

    None for others, and where nothing is left out.
    """
    source = fed(node, results)
    result: torch.Tensor = results[node]
    index = _index(node, results, source.ndim)
    if index is None or source.numel() == result.numel():
        return None
    cuts: list[Cut] = []
    dropped: list[int] = []
    for axis, (entry, cells) in enumerate(zip(index, source.shape, strict=True)):
        places = taken(entry, cells)
        cuts.append((places.start, len(places), places.step))
        if not isinstance(entry, slice):
            dropped.append(axis)
    if cuts[0] != (0, source.shape[0], 1) or any(step < 1 for _, _, step in cuts):
        return None
    whole = [cut == (0, cells, 1) for cut, cells in zip(cuts, source.shape, strict=True)]
    if (
        not dropped
        and cuts[1][2] == 1
        and all(full for axis, full in enumerate(whole) if axis != 1)
    ):
        return Meaning("part", axes=(1,), data=1)
    return Meaning("slice", axes=tuple(dropped), data=1, cuts=tuple(cuts[1:]))


def _index(node: fx.Node, results: Results, rank: int) -> list[slice | int] | None:
    """An entry for each axis: a slice or a number."""
    if called(node) in ("narrow", "select"):
        given = bound(
            node,
            results,
            "input dim start length" if called(node) == "narrow" else "input dim index",
        )
        first: int = given.get("start", given.get("index"))
        entry = slice(first, first + given["length"]) if "length" in given else first
        axis: int = given["dim"] % rank
        return [entry if at == axis else slice(None) for at in range(rank)]
    return full_index(bound(node, results, "input index")["index"], rank)


def _conv(node: fx.Node, results: Results) -> Meaning:
    given = bound(node, results, "input weight bias stride padding dilation groups")
    weight: torch.Tensor = given["weight"]
    options = (given.get("stride", 1), given.get("padding", 0), given.get("dilation", 1))
    return Meaning("conv", conv_window(weight.shape[2:], *options), data=1)


def _conv_transpose(node: fx.Node, results: Results) -> Meaning:
    given = bound(node, results, "input weight bias stride padding output_padding groups dilation")
    weight: torch.Tensor = given["weight"]
    options = (given.get("stride", 1), given.get("padding", 0), given.get("output_padding", 0))
    window = transposed_window(weight.shape[2:], *options, given.get("dilation", 1))
    return Meaning("conv_transpose", window, data=1)


RESIZING = "input size scale_factor mode align_corners recompute_scale_factor antialias"


def _interpolate(node: fx.Node, results: Results) -> Meaning:
    result: torch.Tensor = results[node]
    return resized(bound(node, results, RESIZING), fed(node, results).shape[2:], result.shape[2:])


def _shuffle(build: Callable[[int], Meaning]) -> Callable[[fx.Node, Results], Meaning]:
    return lambda node, results: build(
        next(value for key, value in bound(node, results, "input factor").items() if key != "input")
    )


def _max_pool(node: fx.Node, results: Results) -> Meaning:
    given = bound(
        node, results, "input kernel_size stride padding dilation ceil_mode return_indices"
    )
    if given.get("return_indices"):
        return Meaning("other")
    options = (
        given["kernel_size"],
        given.get("stride"),
        given.get("padding", 0),
        given.get("dilation", 1),
    )
    rank = fed(node, results).ndim - 2
    return Meaning(
        "max_pool", pool_window(*options, rank, ceil_mode=bool(given.get("ceil_mode"))), data=1
    )


def _avg_pool(node: fx.Node, results: Results) -> Meaning:
    given = bound(
        node,
        results,
        "input kernel_size stride padding ceil_mode count_include_pad divisor_override",
    )
    if given.get("divisor_override") is not None:
        return Meaning("other")
    options = (given["kernel_size"], given.get("stride"), given.get("padding", 0))
    rank = fed(node, results).ndim - 2
    return Meaning(
        "avg_pool", pool_window(*options, 1, rank, ceil_mode=bool(given.get("ceil_mode"))), data=1
    )


def _pad(node: fx.Node, results: Results) -> Meaning:
    given = bound(node, results, "input pad mode value")
    cells = list(map(int, given["pad"]))
    rank = fed(node, results).ndim - 2
    if any(cells[2 * rank + 2 :]):
        return Meaning("other")
    border = BORDERS[given.get("mode", "constant")]
    return Meaning("pad", replace(pad_window(cells, rank), border=border), data=1)


def _group_norm(node: fx.Node, results: Results) -> Meaning:
    return Meaning(
        "whole_norm", data=1, factors=(bound(node, results, "input num_groups")["num_groups"],)
    )


def _instance_norm(node: fx.Node, results: Results) -> Meaning:
    given = bound(node, results, "input running_mean running_var weight bias use_input_stats")
    used = given.get("use_input_stats", True)
    return Meaning("whole_norm", data=1, factors=(0,)) if used else Meaning("activation", data=1)


def _layer_norm(node: fx.Node, results: Results) -> Meaning:
    shape = bound(node, results, "input normalized_shape").get("normalized_shape", ())
    return Meaning("layer_norm", features=math.prod(shape), data=1)


def is_stored(node: fx.Node) -> bool:
    """Whether a node is a weight or computed from weights alone."""
    return node.op == "get_attr" or (
        bool(node.all_input_nodes) and all(map(is_stored, node.all_input_nodes))
    )


def is_plain(node: fx.Node) -> bool:
    """Whether a functional dense layer takes stored weights as they are."""
    return called(node) == "linear" and all(
        source.op == "get_attr" for source in node.all_input_nodes[1:]
    )


def _linear(node: fx.Node, results: Results) -> Meaning:
    _ = results
    return Meaning("dense" if all(map(is_stored, node.all_input_nodes[1:])) else "other", data=1)


def _matmul(node: fx.Node, results: Results) -> Meaning:
    """A product with a stored matrix on the right."""
    given = named(node, "input other")
    right = given.get("other", given.get("mat2"))
    stored = isinstance(right, fx.Node) and is_stored(right) and results[right].ndim == 2
    return Meaning(
        "dense" if stored and not is_stored(node.all_input_nodes[0]) else "other", data=1
    )


def reduced(node: fx.Node, results: Results) -> tuple[int, ...]:
    """The axes that a reduction takes together, all of them where it names none."""
    given = bound(node, results, REDUCING[called(node)])
    axes: Sizes | None = given.get("dim", given.get("axis"))
    rank = fed(node, results).ndim
    if axes is None or axes == ():
        axes = range(rank)
    return tuple(axis % rank for axis in ((axes,) if isinstance(axes, int) else axes))


def _reduce(node: fx.Node, results: Results) -> Meaning:
    name = called(node)
    others = bound(node, results, "input other")
    if name in ("max", "min") and isinstance(others.get("other"), torch.Tensor):
        return Meaning("combine")
    if name in ("norm", "vector_norm", "linalg_vector_norm"):
        given = bound(node, results, REDUCING[name])
        order = given.get("ord", given.get("p", 2))
        return (
            Meaning(NORMS[order], axes=reduced(node, results))
            if order in NORMS
            else Meaning("other")
        )
    return Meaning(REDUCTIONS[name], axes=reduced(node, results), data=1)


def _permute(node: fx.Node, results: Results) -> Meaning:
    rank = fed(node, results).ndim
    given: Given = {"dims": node.args[1:], **node.kwargs}
    first, *others = given["dims"]
    axes: Sequence[int] = (first, *others) if isinstance(first, int) else first
    return Meaning("permute", axes=tuple(axis % rank for axis in axes))


def _transpose(node: fx.Node, results: Results) -> Meaning:
    given = bound(node, results, "input dim0 dim1")
    axes = list(range(fed(node, results).ndim))
    first: int = given["dim0"]
    second: int = given["dim1"]
    axes[first], axes[second] = axes[second], axes[first]
    return Meaning("permute", axes=tuple(axes))


def _softmax(node: fx.Node, results: Results) -> Meaning:
    dim: int | None = bound(node, results, "input dim").get("dim")
    return Meaning("softmax", axes=softmax_axis(dim, fed(node, results).ndim))


def _channelwise(node: fx.Node, results: Results) -> Meaning:
    """What takes the numbers along one axis together.

    1 of a normalisation, the last of a gated linear unit.
    """
    names, usual = CHANNELWISE[called(node)]
    given = bound(node, results, names)
    plain = isinstance(axis := given.get("dim", usual), int) and given.get("out") is None
    return (
        Meaning("channelwise", axes=(axis % fed(node, results).ndim,), data=1)
        if plain
        else Meaning("other")
    )


def _cat(node: fx.Node, results: Results) -> Meaning:
    given = bound(node, results, "tensors dim")
    axis: int = given.get("dim", given.get("axis", 0))
    return Meaning("concat", axes=(axis % results[node].ndim,))


def _repeat(node: fx.Node, results: Results) -> Meaning:
    """One cell all over a map, as `expand` does."""
    before, after = fed(node, results).shape, results[node].shape
    alike = before[:2] == after[:2] and math.prod(before[2:]) == 1
    return Meaning("expand" if alike else "other", data=1)


FUNCTIONS: dict[str, Callable[[fx.Node, Results], Meaning]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
    "interpolate": _interpolate,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _avg_pool),
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "pad": _pad,
    **dict.fromkeys(("repeat", "tile"), _repeat),
    "pixel_shuffle": _shuffle(shuffled),
    "pixel_unshuffle": _shuffle(unshuffled),
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "linear": _linear,
    "matmul": _matmul,
    **dict.fromkeys(REDUCING, _reduce),
    **dict.fromkeys(CHANNELWISE, _channelwise),
    "permute": _permute,
    "transpose": _transpose,
    "softmax": _softmax,
    "cat": _cat,
}
