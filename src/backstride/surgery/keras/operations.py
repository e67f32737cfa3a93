"""What each Keras layer and operation is in a `Graph`: the reader's dictionary.

Maps are (N, h, w, C) in Keras and (C, h, w) in a `Graph`: axes are renamed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backstride.surgery.keras.calls import Call, is_own
from backstride.surgery.keras.sliding import OTHER, SLIDING, Meaning, slid
from backstride.surgery.model.graph import Kind, Node
from backstride.surgery.rewriting.rule import unit_window

CELLWISE = (
    *("ActivityRegularization", "AlphaDropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity", "LeakyReLU"),
    *("ReLU", "StochasticDepth"),
)
CELLWISE_OPERATIONS = (
    *("Abs", "Absolute", "Cast", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSilu", "HardSwish"),
    *("HardTanh", "LeakyRelu", "Log", "LogSigmoid", "Negative", "Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Softplus"),
    *("Softsign", "Sqrt", "Square", "Tanh", "Rsqrt", "Reciprocal", "Log1p", "Expm1", "Sin", "Cos", "Sign"),
)
REDUCING: Mapping[str, Kind] = {
    "Max": "amax",
    "Mean": "mean",
    "Min": "amin",
    "Std": "std",
    "Sum": "sum",
    "Var": "var",
    "Amax": "amax",
    "Amin": "amin",
}
TURNED = ("reshape", "permute", "slice", *REDUCING.values(), "norm1", "norm2")  # axes counted as Keras does
COMBINING = ("Add", "Average", "CustomScaleLayer", "Maximum", "Minimum", "Multiply", "Subtract")
COMBINING_OPERATIONS = (*COMBINING, "Divide", "Power", "TrueDivide")


def meaning(call: Call) -> Meaning:
    """The kind of node and its details; "other" where the dictionary lacks it."""
    layer, name = call.operation, call.kind
    if getattr(layer, "data_format", "channels_last") == "channels_first" or not is_own(layer):
        return OTHER
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return OTHER
    if _is_operation(layer):
        return _operation(call)
    if name in CELLWISE:
        return "activation", {}
    if name in COMBINING:
        return "combine", {}
    build = LAYERS.get(name)
    return OTHER if build is None else build(call)


def softmax_name(call: Call) -> str:
    """The activation of a layer where it is a softmax over the last axis, else ""."""
    function = getattr(call.operation, "activation", None)
    name = str(getattr(function, "__name__", ""))
    return name if name in ("softmax", "log_softmax") else ""


def labelled(call: Call) -> str:
    """How the user knows a call."""
    return f"{call.name} ({call.kind})"


def plain_shape(shape: tuple[int | None, ...], spatial: int) -> tuple[int, ...]:
    """A shape without its batch axis, the channels of a map (of `spatial` axes) first."""
    sizes = tuple(size or 0 for size in shape[1:])
    return (sizes[-1], *sizes[:-1]) if len(sizes) == spatial + 1 else sizes


def _is_operation(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.src.ops.")


def _rank(call: Call) -> int:
    return len(call.sources[0].shape)


def _listed(axes: Any) -> tuple[int, ...]:
    return tuple(int(axis) for axis in axes) if hasattr(axes, "__iter__") else (int(axes),)


def _is_map(call: Call) -> bool:
    return _rank(call) == call.spatial + 2


def _axis(call: Call, axis: int) -> int:
    axis %= _rank(call)
    if not _is_map(call) or axis == 0:
        return axis
    return 1 if axis == _rank(call) - 1 else axis + 1


def _operation(call: Call) -> Meaning:  # noqa: PLR0911  one return for each family
    name = call.kind
    if name in CELLWISE_OPERATIONS:
        return "activation", {}
    if name in COMBINING_OPERATIONS:
        arguments = [entry for entry in (*call.args, *call.kwargs.values()) if entry is not None]
        plain = all(isinstance(entry, int | float) or entry in call.sources for entry in arguments)
        return ("combine", {}) if plain else OTHER
    axis = getattr(call.operation, "axis", None)
    if name in (*REDUCING, "Norm") and axis is not None:
        axes = tuple(sorted(entry % _rank(call) for entry in _listed(axis)))
        return (REDUCING[name], {"axes": axes}) if name in REDUCING else _norm(call.operation.ord, axes)
    if name == "Normalize" and isinstance(axis, int):
        return "channelwise", {"axes": (_axis(call, axis),)}
    if name == "Transpose":
        axes = call.operation.axes or range(_rank(call) - 1, -1, -1)
        return "permute", {"axes": tuple(entry % _rank(call) for entry in axes)}
    if name in SLIDING:
        return slid(call)
    if name == "GetItem":
        return _slice(call)
    if name in ("Softmax", "LogSoftmax") and isinstance(axis, int):
        return "softmax", {"axes": (_axis(call, axis),)}
    if name == "Concatenate":
        return "concat", {"axes": (_axis(call, int(axis or 0)),)}
    return ("reshape", {}) if name in ("Reshape", "Squeeze", "ExpandDims") else OTHER


def _norm(order: Any, axes: tuple[int, ...]) -> Meaning:
    """Of two axes, the orders 1 and 2 are norms of matrices; the root of all squares has none, or "fro"."""
    kinds: Mapping[Any, Kind] = {1: "norm1", 2: "norm2", None: "norm2", "fro": "norm2"}
    if len(axes) == 2 and order in (1, 2):
        return "other", {"why": f"is a norm of matrices (ord={order}), which no pooling gives"}
    return (kinds[order], {"axes": axes}) if order in kinds else OTHER


def _slice(call: Call) -> Meaning:
    """What an index with constant slices and numbers takes; files hold a list in place of the tuple."""
    key: Any = call.args[1] if len(call.args) > 1 else call.kwargs.get("key")
    shape = [size or 0 for size in call.sources[0].shape]
    entries: list[Any] = [*key] if type(key) in (tuple, list) else [key]
    if any(not isinstance(entry, slice | int) and entry is not ... for entry in entries):
        return OTHER
    if ... in entries:
        at = entries.index(...)
        entries[at : at + 1] = [slice(None)] * (len(shape) + 1 - len(entries))
    entries += [slice(None)] * (len(shape) - len(entries))
    places = [
        range(cells)[entry] if isinstance(entry, slice) else range(entry % cells, entry % cells + 1)
        for entry, cells in zip(entries[1:], shape[1:], strict=True)
    ]
    if entries[0] != slice(None) or any(not taken or taken.step < 1 for taken in places):
        return OTHER
    dropped = tuple(axis for axis, entry in enumerate(entries) if not isinstance(entry, slice))
    return "slice", {"axes": dropped, "cuts": tuple((taken.start, len(taken), taken.step) for taken in places)}


def _rescaling(call: Call) -> Meaning:
    """One factor, or one for each channel."""
    numbers = (call.operation.scale, call.operation.offset)
    shapes = [np.shape(entry) for entry in numbers]
    most = 1 if _is_map(call) else 0  # axes that may have several numbers
    return ("activation", {}) if all(math.prod(shape[: len(shape) - most]) == 1 for shape in shapes) else OTHER


def _dense(call: Call) -> Meaning:
    if _is_map(call):
        return "conv", {"window": unit_window((1,) * call.spatial)}
    return "dense", {}


def _batch_norm(call: Call) -> Meaning:
    last = _rank(call) - 1
    return ("batch_norm", {"axes": (1 if _is_map(call) else last,)}) if call.operation.axis in (-1, last) else OTHER


def _layer_norm(call: Call) -> Meaning:
    axes = call.operation.axis
    if _listed(axes) not in ((-1,), (_rank(call) - 1,)):
        return "layer_norm", {}
    if _is_map(call):
        return "activation", {}
    return "layer_norm", {"features": call.sources[0].shape[-1]}


def _group_norm(call: Call) -> Meaning:
    layer = call.operation
    if layer.axis not in (-1, _rank(call) - 1):
        return OTHER
    return "whole_norm", {"factors": (max(int(layer.groups), 0),)}


def _per_channel(call: Call) -> Meaning:
    """Weights on the last axis of a map."""
    return ("activation", {}) if _is_map(call) else OTHER


def _normalization(call: Call) -> Meaning:
    axis = getattr(call.operation, "axis", None)
    channels = not axis or tuple(axis) in ((-1,), (_rank(call) - 1,))
    return ("activation", {}) if _is_map(call) and channels else OTHER


def _prelu(call: Call) -> Meaning:
    shared = tuple(call.operation.shared_axes or ())
    if _is_map(call):
        return ("activation", {}) if shared == tuple(range(1, call.spatial + 1)) else OTHER
    return "activation", {"features": call.sources[0].shape[-1]}


def _activation(call: Call) -> Meaning:
    return ("softmax", {"axes": (_axis(call, -1),)}) if softmax_name(call) else ("activation", {})


def _softmax(call: Call) -> Meaning:
    axis = call.operation.axis
    return ("softmax", {"axes": (_axis(call, axis),)}) if isinstance(axis, int) else OTHER


def _concat(call: Call) -> Meaning:
    return "concat", {"axes": (_axis(call, call.operation.axis),)}


def _whole(kind: Kind) -> Callable[[Call], Meaning]:
    """Pooling of a whole map, or of all positions of a sequence, which a map was reshaped to."""

    def build(call: Call) -> Meaning:
        if _is_map(call):
            return kind, {"axes": tuple(range(2, call.spatial + 2))}
        return (kind, {"axes": (1,)}) if _rank(call) == 3 else OTHER

    return build


def _permute(call: Call) -> Meaning:
    return "permute", {"axes": (0, *call.operation.dims)}


def _unit(call: Call) -> Meaning:
    axes = _listed(call.operation.axis)
    return ("channelwise", {"axes": (_axis(call, axes[0]),)}) if len(axes) == 1 else OTHER


def _plain(kind: Kind) -> Callable[[Call], Meaning]:
    return lambda _: (kind, {})


LAYERS: Mapping[str, Callable[[Call], Meaning]] = {
    **dict.fromkeys(SLIDING, slid),
    "Activation": _activation,
    **{f"AdaptiveAveragePooling{rank}D": _plain("adaptive_avg_pool") for rank in (1, 2, 3)},
    **{f"AdaptiveMaxPooling{rank}D": _plain("adaptive_max_pool") for rank in (1, 2, 3)},
    "BatchNormalization": _batch_norm,
    "Concatenate": _concat,
    "Dense": _dense,
    "Dropout": _plain("dropout"),
    "Flatten": _plain("reshape"),
    **{f"GlobalAveragePooling{rank}D": _whole("mean") for rank in (1, 2, 3)},
    **{f"GlobalMaxPooling{rank}D": _whole("amax") for rank in (1, 2, 3)},
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "LayerScale": _per_channel,
    "Normalization": _normalization,
    "PReLU": _prelu,
    "Permute": _permute,
    "RMSNormalization": _layer_norm,
    "Rescaling": _rescaling,
    "Reshape": _plain("reshape"),
    "Softmax": _softmax,
    **{f"SpatialDropout{rank}D": _per_channel for rank in (1, 2, 3)},
    "UnitNormalization": _unit,
}


def nodes_of(call: Call) -> tuple[Node, ...]:
    """The plain nodes that a call is; the last has its name.

    What counts axes as Keras does takes a map that is turned to channels last first, and a map that it gives is turned
    back; a softmax inside a layer stands behind it.
    """
    kind, details = meaning(call)
    shape, label, whole = plain_shape(call.result.shape, call.spatial), labelled(call), call.spatial + 1
    sources = tuple(dict.fromkeys(ref.name for ref in call.sources))
    first = tuple(size or 0 for size in call.sources[0].shape[1:]) if call.sources else ()
    if kind in TURNED and not ("axes" in details and call.kind.startswith("Global") and len(first) == whole):
        return _turned(call, kind, details, first)
    if kind in ("conv", "dense") and softmax_name(call):
        inner = _with(Node(f"{call.name}/scores", kind, sources, shape, label), **details)
        axes = (1,) if len(shape) in (1, whole) else (len(shape),)
        return inner, Node(call.name, "softmax", (inner.name,), shape, label, axes=axes)
    return (_with(Node(call.name, kind, sources, shape, label), **details),)


def _turned(call: Call, kind: Kind, details: dict[str, Any], first: tuple[int, ...]) -> tuple[Node, ...]:
    """A node whose axes are Keras's own, between permutations where maps go in or come out."""
    sources, label = tuple(dict.fromkeys(ref.name for ref in call.sources)), labelled(call)
    shape = tuple(size or 0 for size in call.result.shape[1:])
    nodes: list[Node] = []
    whole = call.spatial + 1
    if len(first) == whole:
        last = (0, *range(2, whole + 1), 1)
        nodes.append(_with(Node(f"{call.name}/last", "permute", sources, first, label), axes=last))
        sources = (nodes[-1].name,)
    name = f"{call.name}/itself" if len(shape) == whole else call.name
    nodes.append(_with(Node(name, kind, sources, shape, label), **details))
    if len(shape) == whole:
        turned = Node(call.name, "permute", (name,), plain_shape(call.result.shape, call.spatial), label)
        nodes.append(_with(turned, axes=(0, whole, *range(1, whole))))
    return tuple(nodes)


def _with(node: Node, **details: Any) -> Node:
    fields = {name: getattr(node, name) for name in ("name", "kind", "inputs", "shape", "label")}
    return Node(**{**fields, **details})
