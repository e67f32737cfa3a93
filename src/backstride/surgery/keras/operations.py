"""What each Keras layer and operation is in a `Graph`: the reader's dictionary.

Maps are (N, h, w, C) in Keras and (C, h, w) in a `Graph`: axes are renamed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from backstride.surgery.keras.calls import KerasCall, is_own
from backstride.surgery.keras.sliding import OTHER, SLIDING, slid
from backstride.surgery.model.graph import Kind, Node
from backstride.surgery.model.meaning import Meaning
from backstride.surgery.model.slicing import full_index, taken
from backstride.surgery.rewriting.rule import unit_window

CELLWISE = (
    *(
        "ActivityRegularization",
        "AlphaDropout",
        "ELU",
        "GaussianDropout",
        "GaussianNoise",
        "Identity",
        "LeakyReLU",
    ),
    *("ReLU", "StochasticDepth"),
)
CELLWISE_OPERATIONS = (
    *(
        "Abs",
        "Absolute",
        "Cast",
        "Celu",
        "Clip",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSilu",
        "HardSwish",
    ),
    *(
        "HardTanh",
        "LeakyRelu",
        "Log",
        "LogSigmoid",
        "Negative",
        "Relu",
        "Relu6",
        "Selu",
        "Sigmoid",
        "Silu",
        "Softplus",
    ),
    *(
        "Softsign",
        "Sqrt",
        "Square",
        "Tanh",
        "Rsqrt",
        "Reciprocal",
        "Log1p",
        "Expm1",
        "Sin",
        "Cos",
        "Sign",
    ),
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
KERAS_AXES = (
    "reshape",
    "permute",
    "slice",
    *REDUCING.values(),
    "norm1",
    "norm2",
)  # counted as Keras does
COMBINING = ("Add", "Average", "CustomScaleLayer", "Maximum", "Minimum", "Multiply", "Subtract")
COMBINING_OPERATIONS = (*COMBINING, "Divide", "Power", "TrueDivide")


def meaning(call: KerasCall) -> Meaning:
    """The kind of node and its details; "other" where the dictionary lacks it."""
    name = call.kind
    if call.option("data_format") == "channels_first" or not is_own(call.operation):
        return OTHER
    if call.option("lora_enabled") or call.option("quantization_mode"):
        return OTHER
    if _is_operation(call):
        return _operation(call)
    if name in CELLWISE:
        return Meaning("activation")
    if name in COMBINING:
        return Meaning("combine")
    build = LAYERS.get(name)
    return OTHER if build is None else build(call)


def softmax_name(call: KerasCall) -> str:
    """The activation of a layer where it is a softmax over the last axis, else ""."""
    name = str(getattr(call.option("activation"), "__name__", ""))
    return name if name in ("softmax", "log_softmax") else ""


def which_softmax(call: KerasCall) -> str:
    """The activation that a softmax is, in a layer or by itself."""
    return (
        "log_softmax"
        if softmax_name(call) == "log_softmax" or call.kind == "LogSoftmax"
        else "softmax"
    )


def labelled(call: KerasCall) -> str:
    """How the user knows a call."""
    return f"{call.name} ({call.kind})"


def plain_shape(shape: tuple[int | None, ...], spatial: int) -> tuple[int, ...]:
    """A shape without its batch axis, the channels of a map (of `spatial` axes) first."""
    sizes = tuple(size or 0 for size in shape[1:])
    return (sizes[-1], *sizes[:-1]) if len(sizes) == spatial + 1 else sizes


def _is_operation(call: KerasCall) -> bool:
    return type(call.operation).__module__.startswith("keras.src.ops.")


def _rank(call: KerasCall) -> int:
    return len(call.sources[0].shape)


def _listed(axes: int | Sequence[int]) -> tuple[int, ...]:
    return tuple(map(int, np.ravel(axes)))


def _is_map(call: KerasCall) -> bool:
    return _rank(call) == call.spatial + 2


def _axis(call: KerasCall, axis: int) -> int:
    axis %= _rank(call)
    if not _is_map(call) or axis == 0:
        return axis
    return 1 if axis == _rank(call) - 1 else axis + 1


def _operation(call: KerasCall) -> Meaning:  # noqa: PLR0911  one return for each family
    name = call.kind
    if name in CELLWISE_OPERATIONS:
        return Meaning("activation")
    if name in COMBINING_OPERATIONS:
        arguments = [entry for entry in (*call.args, *call.kwargs.values()) if entry is not None]
        plain = all(isinstance(entry, int | float) or entry in call.sources for entry in arguments)
        return Meaning("combine") if plain else OTHER
    axis: int | Sequence[int] | None = call.option("axis")
    if name in (*REDUCING, "Norm") and axis is not None:
        axes = tuple(sorted(entry % _rank(call) for entry in _listed(axis)))
        return (
            Meaning(REDUCING[name], axes=axes)
            if name in REDUCING
            else _norm(call.option("ord"), axes)
        )
    if name == "Normalize" and isinstance(axis, int):
        return Meaning("channelwise", axes=(_axis(call, axis),))
    if name == "Transpose":
        order: Sequence[int] = call.option("axes") or range(_rank(call) - 1, -1, -1)
        return Meaning("permute", axes=tuple(entry % _rank(call) for entry in order))
    if name in SLIDING:
        return slid(call)
    if name == "GetItem":
        return _slice(call)
    if name in ("Softmax", "LogSoftmax") and isinstance(axis, int):
        return Meaning("softmax", axes=(_axis(call, axis),))
    if name == "Concatenate":
        return Meaning("concat", axes=(_axis(call, int(call.option("axis") or 0)),))
    return Meaning("reshape") if name in ("Reshape", "Squeeze", "ExpandDims") else OTHER


def _norm(order: float | str | None, axes: tuple[int, ...]) -> Meaning:
    """Of two axes, the orders 1 and 2 are norms of matrices.

    The root of all squares has none, or "fro".
    """
    kinds: Mapping[float | str | None, Kind] = {
        1: "norm1",
        2: "norm2",
        None: "norm2",
        "fro": "norm2",
    }
    if len(axes) == 2 and order in (1, 2):
        return Meaning("other", why=f"is a norm of matrices (ord={order}), which no pooling gives")
    return Meaning(kinds[order], axes=axes) if order in kinds else OTHER


def _slice(call: KerasCall) -> Meaning:
    """What an index with constant slices and numbers takes.

    Files hold a list in place of the tuple.
    """
    key = call.args[1] if len(call.args) > 1 else call.kwargs.get("key")
    shape = [size or 0 for size in call.sources[0].shape]
    entries = full_index(key, len(shape), (tuple, list))
    if entries is None:
        return OTHER
    places = [taken(entry, cells) for entry, cells in zip(entries[1:], shape[1:], strict=True)]
    if entries[0] != slice(None) or any(not place or place.step < 1 for place in places):
        return OTHER
    dropped = tuple(axis for axis, entry in enumerate(entries) if not isinstance(entry, slice))
    cuts = tuple((place.start, len(place), place.step) for place in places)
    return Meaning("slice", axes=dropped, cuts=cuts)


def _rescaling(call: KerasCall) -> Meaning:
    """One factor, or one for each channel."""
    shapes = [np.shape(call.option(name)) for name in ("scale", "offset")]
    most = 1 if _is_map(call) else 0  # axes that may have several numbers
    plain = all(math.prod(shape[: len(shape) - most]) == 1 for shape in shapes)
    return Meaning("activation") if plain else OTHER


def _dense(call: KerasCall) -> Meaning:
    return Meaning("conv", unit_window((1,) * call.spatial)) if _is_map(call) else Meaning("dense")


def _batch_norm(call: KerasCall) -> Meaning:
    last = _rank(call) - 1
    plain = call.option("axis") in (-1, last)
    return Meaning("batch_norm", axes=(1 if _is_map(call) else last,)) if plain else OTHER


def _layer_norm(call: KerasCall) -> Meaning:
    if _listed(call.option("axis")) not in ((-1,), (_rank(call) - 1,)):
        return Meaning("layer_norm")
    if _is_map(call):
        return Meaning("activation")
    return Meaning("layer_norm", features=call.sources[0].shape[-1])


def _group_norm(call: KerasCall) -> Meaning:
    if call.option("axis") not in (-1, _rank(call) - 1):
        return OTHER
    return Meaning("whole_norm", factors=(max(int(call.option("groups")), 0),))


def _per_channel(call: KerasCall) -> Meaning:
    """Weights on the last axis of a map."""
    return Meaning("activation") if _is_map(call) else OTHER


def _normalization(call: KerasCall) -> Meaning:
    axis = call.option("axis")
    channels = not axis or tuple(axis) in ((-1,), (_rank(call) - 1,))
    return Meaning("activation") if _is_map(call) and channels else OTHER


def _prelu(call: KerasCall) -> Meaning:
    shared = tuple(call.option("shared_axes") or ())
    if _is_map(call):
        return Meaning("activation") if shared == tuple(range(1, call.spatial + 1)) else OTHER
    return Meaning("activation", features=call.sources[0].shape[-1])


def _activation(call: KerasCall) -> Meaning:
    return (
        Meaning("softmax", axes=(_axis(call, -1),)) if softmax_name(call) else Meaning("activation")
    )


def _softmax(call: KerasCall) -> Meaning:
    axis = call.option("axis")
    return Meaning("softmax", axes=(_axis(call, axis),)) if isinstance(axis, int) else OTHER


def _concat(call: KerasCall) -> Meaning:
    return Meaning("concat", axes=(_axis(call, call.option("axis")),))


def _whole(kind: Kind) -> Callable[[KerasCall], Meaning]:
    """Pooling of a whole map, or of all positions of a sequence, which a map was reshaped to."""

    def build(call: KerasCall) -> Meaning:
        if _is_map(call):
            return Meaning(kind, axes=tuple(range(2, call.spatial + 2)))
        return Meaning(kind, axes=(1,)) if _rank(call) == 3 else OTHER

    return build


def _permute(call: KerasCall) -> Meaning:
    return Meaning("permute", axes=(0, *call.option("dims")))


def _unit(call: KerasCall) -> Meaning:
    axes = _listed(call.option("axis"))
    return Meaning("channelwise", axes=(_axis(call, axes[0]),)) if len(axes) == 1 else OTHER


def _plain(kind: Kind) -> Callable[[KerasCall], Meaning]:
    return lambda _: Meaning(kind)


LAYERS: Mapping[str, Callable[[KerasCall], Meaning]] = {
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


def nodes_of(call: KerasCall) -> tuple[Node, ...]:
    """The plain nodes that a call is; the last has its name.

    What counts axes as Keras does takes a map that is transposed to channels last first, and a map
    that it gives is transposed back; a softmax inside a layer stands behind it.
    """
    found = meaning(call)
    shape, label, whole = (
        plain_shape(call.result.shape, call.spatial),
        labelled(call),
        call.spatial + 1,
    )
    sources = tuple(dict.fromkeys(ref.name for ref in call.sources))
    first = tuple(size or 0 for size in call.sources[0].shape[1:]) if call.sources else ()
    if found.kind in KERAS_AXES and not (call.kind.startswith("Global") and len(first) == whole):
        return _between_permutations(call, found, first)
    if found.kind in ("conv", "dense") and softmax_name(call):
        inner = found.node(f"{call.name}/scores", sources, shape, label)
        axes = (1,) if len(shape) in (1, whole) else (len(shape),)
        return inner, Node(call.name, "softmax", (inner.name,), shape, label, axes=axes)
    return (found.node(call.name, sources, shape, label),)


def _between_permutations(
    call: KerasCall, found: Meaning, first: tuple[int, ...]
) -> tuple[Node, ...]:
    """A node whose axes are Keras's own, between permutations where maps go in or come out."""
    sources, label = tuple(dict.fromkeys(ref.name for ref in call.sources)), labelled(call)
    shape = tuple(size or 0 for size in call.result.shape[1:])
    nodes: list[Node] = []
    whole = call.spatial + 1
    if len(first) == whole:
        last = (0, *range(2, whole + 1), 1)
        nodes.append(Node(f"{call.name}/last", "permute", sources, first, label, axes=last))
        sources = (nodes[-1].name,)
    name = f"{call.name}/itself" if len(shape) == whole else call.name
    nodes.append(found.node(name, sources, shape, label))
    if len(shape) == whole:
        first_again = plain_shape(call.result.shape, call.spatial)
        nodes.append(
            Node(
                call.name, "permute", (name,), first_again, label, axes=(0, whole, *range(1, whole))
            )
        )
    return tuple(nodes)
