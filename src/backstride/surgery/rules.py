"""The rules that make a classifier fully convolutional: pattern, check with a reason, rewrite as data.

A rule takes a node and the values of its inputs, and answers with what becomes of it, a refusal, or
None where its pattern does not fit. The law that makes the rewrite right stands in its docstring.
The first rule that answers decides; a node that no rule knows is refused, never guessed. All rules stand in this one
file, each with its law: their order is part of what they say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from backstride.surgery.graph import WINDOWED, Kind, Node, Window
from backstride.surgery.values import Form, Kept, Outcome, Refusal, Replaced, Value

Inputs = Sequence[Value | Node]
MAPS = ("map", "map_last")
FLAT = ("flat", "flat_last")
TURNS: Mapping[tuple[Form, tuple[int, ...]], Form] = {
    ("map", (0, 1, 2, 3)): "map",
    ("map_last", (0, 1, 2, 3)): "map_last",
    ("map", (0, 2, 3, 1)): "map_last",
    ("map_last", (0, 3, 1, 2)): "map",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's name, as the report shows it, and its function."""

    name: str
    apply: Callable[[Node, Inputs], Outcome | None]


def sliding(node: Node, inputs: Inputs) -> Outcome | None:
    """Convolutions and poolings slide over a map of any size.

    Law: cell i of the output is one function of the cells `i*s - before ... + K - 1` of the input. Padding
    "same" at a stride above 1 moves with the map's size; it becomes the numbers that it is at native size.
    """
    if node.kind not in WINDOWED:
        return None
    value = _only(inputs)
    if value is None or value.form != "map" or len(node.shape) != len(value.size) + 1:
        return _refuse(node, inputs, "slides over a map (N, C, h, w) only")
    if value.gate is not None:
        if node.window is None or set(node.window.kernel) != {1} or node.shape[1:] != value.size:
            return _refuse(node, inputs, "slides over the cell that weighs a whole map (squeeze and excitation)")
        return Kept(replace(value, channels=node.shape[0]))
    result = Value("map", node.shape[0], node.shape[1:])
    if node.window is not None and node.window.same:
        fixed = replace(node, window=replace(node.window, same=False))
        return Replaced(result, (fixed,), "padded as at native size on images of every size")
    return Kept(result)


def whole_pooling(node: Node, inputs: Inputs) -> Outcome | None:
    """A pooling whose one window covers the map is global pooling, whatever stride and overhang it has.

    Law: there is one window, clipped to the map, of which torch and ONNX count the cells inside alone.
    """
    value = _only(inputs)
    if node.kind not in ("avg_pool", "max_pool") or value is None or value.form != "map" or value.gate is not None:
        return None
    window = node.window
    if window is None or len(node.shape) != len(value.size) + 1 or any(cells != 1 for cells in node.shape[1:]):
        return None
    if any(sum(pads) for pads in window.padding) or any(d > 1 for d in window.dilation):
        return None
    if any(k < cells for k, cells in zip(window.kernel, value.size, strict=True)):
        return None
    result = Value("map", value.channels, node.shape[1:])
    sliding = _window(value.size)
    if replace(window, ceil_mode=False) == sliding:
        return Kept(result)
    return Replaced(result, (replace(node, window=sliding),), _pool_reason(value.size))


def gating(node: Node, inputs: Inputs) -> Outcome | None:
    """A pooling of the whole map that weighs its channels, by the choice that was made for it.

    Law: at native size both choices are the classifier's vector. `global` pools whatever image comes.
    `local` pools windows of native size, one for each cell: the window around it, at the border the
    last one that fits; its map is extended by its own border, h - 1 cells in all. A window's mean is that of its
    rows' means, its maximum that of their maxima: h + w numbers for each cell, not h * w, and less rounding.
    """
    if node.gate is None:
        return None
    value = _only(inputs)
    if value is None or value.form != "map" or value.gate is not None:
        return _refuse(node, inputs, "pools what is no map (N, C, h, w)")
    kind = "max" if "max" in node.kind else "avg"
    form: Form = "map" if len(node.shape) == 3 else "cells"
    result = Value(form, value.channels, (1,) * len(value.size), gate=node.gate, over=value.size)
    if node.gate == "global":
        reason = "pools the whole image, however large, so every cell depends on all of it"
        return Replaced(result, (_plain(node, "global_max_pool" if kind == "max" else "global_avg_pool"),), reason)
    pads = tuple(((cells - 1) // 2, cells // 2) for cells in value.size)
    rows, columns = value.size
    pool = _plain(node, "max_pool" if kind == "max" else "avg_pool")
    pools = tuple(replace(pool, window=_window(kernel)) for kernel in ((rows, 1), (1, columns)))
    edges = replace(_plain(node, "edge_pad"), window=replace(_window(result.size), padding=pads))
    return Replaced(result, (*pools, edges), "pools the window of native size around each cell")


def expansion(node: Node, inputs: Inputs) -> Outcome | None:
    """A vector that is repeated over a map before it weighs it is not: the product repeats it.

    Law: broadcasting is repetition.
    """
    if node.kind != "expand":
        return None
    value = next((value for value in inputs if isinstance(value, Value)), None)
    if value is not None and node.shape == value.shape:
        return Replaced(value, (), "it has this size already")
    if value is None or value.gate is None or value.form != "map" or node.shape[1:] != value.over:
        return _refuse(node, inputs, "repeats a cell over positions of a fixed number")
    return Replaced(value, (), "the product repeats it")


def cellwise(node: Node, inputs: Inputs) -> Outcome | None:
    """Activations and dropout act number by number.

    Law: f(flatten(x)) = flatten(f(x)). Weights per feature (PReLU) act per channel, axis 1 of both a
    vector and a map; a flattened map's would be one per position.
    """
    if node.kind not in ("activation", "dropout"):
        return None
    value = _only(inputs)
    if value is None:
        return _refuse(node, inputs, "acts on one map or vector")
    if (node.features or 1) > 1 and value.form in ("flat", "flat_last", "map_last") and not value.is_single:
        return _refuse(node, inputs, "has one weight for each position of the map, whose number is fixed")
    return Kept(value)


def normalisation(node: Node, inputs: Inputs) -> Outcome | None:
    """Batch normalisation of vectors becomes batch normalisation of maps.

    Law: both subtract, divide, scale and shift per channel; with one cell per image, the statistics
    over (N, h, w) are the statistics over N. On a flattened map there are statistics per position.
    """
    if node.kind != "batch_norm":
        return None
    value = _only(inputs)
    if value is not None and value.form == "map":
        return Kept(value)
    if value is None or value.form != "cells":
        reason = "has its own statistics for each position of the flattened map, whose number is fixed"
        return _refuse(node, inputs, reason)
    return Replaced(value, (node,), "the same statistics per channel, over all cells")


def channel_layer_norm(node: Node, inputs: Inputs) -> Outcome | None:
    """Layer normalisation over the features of a vector acts on each cell's channels.

    Law: a cell of the network holds the vector of its crop; normalising over its channels is
    normalising that vector. Over the positions of a map it would depend on the image's size.
    """
    if node.kind != "layer_norm":
        return None
    value = _only(inputs)
    last = value is not None and value.form == "map_last"
    if value is None or not (last or value.form == "cells") or node.features != value.channels:
        return _refuse(node, inputs, "normalises over positions, so its result depends on the image's size")
    if last:
        return Kept(value)
    return Replaced(value, (node,), "normalises the channels of each cell")


def dense_over_flat(node: Node, inputs: Inputs) -> Outcome | None:
    """Flatten and dense become one convolution whose kernel covers the flattened map.

    Law: sum_j W[o, j] flatten(x)[j] = sum_{c,u,v} K[o, c, u, v] x[c, u, v], where K is W read in the
    order of the flattening: CHW (PyTorch) or HWC (TensorFlow). `backstride.dense_to_conv` makes K.
    """
    if node.kind != "dense":
        return None
    value = _only(inputs)
    if value is None or value.form not in FLAT:
        return None
    order = "channels_first" if value.form == "flat" else "channels_last"
    conv = replace(node, kind="conv", window=_window(value.size), order=order)
    size = " x ".join(map(str, value.size))
    reason = f"its kernel is the flattened {size} map, read {'C, h, w' if value.form == 'flat' else 'h, w, C'}"
    return Replaced(Value("cells", node.shape[-1], (1,) * len(value.size)), (conv,), reason)


def dense_over_cells(node: Node, inputs: Inputs) -> Outcome | None:
    """A dense layer on vectors becomes a 1x1 convolution; on the last axis of a channels-last map it stays.

    Law: a 1x1 convolution is the same matrix on every cell. On the last axis of (N, C, h, w) a dense
    layer mixes the columns of the map, whose number it fixes.
    """
    if node.kind != "dense":
        return None
    value = _only(inputs)
    if value is not None and value.form == "map_last":
        return Kept(replace(value, channels=node.shape[-1]))
    if value is None or value.form != "cells":
        return _refuse(node, inputs, "mixes the columns of the map, whose number is fixed")
    conv = replace(node, kind="conv", window=_window((1,) * len(value.size)), order="channels_first")
    return Replaced(replace(value, channels=node.shape[-1]), (conv,), "the same matrix on every cell")


def pooled_mean(node: Node, inputs: Inputs) -> Outcome | None:
    """A mean over the whole map becomes average pooling with the native map's size, stride 1.

    Law: at native size the one window is the whole map; on a larger one each window is a crop's map.
    """
    if node.kind != "mean":
        return None
    value = _only(inputs)
    spatial = None if value is None else {"map": (2, 3), "map_last": (1, 2)}.get(value.form)
    if value is None or spatial is None or tuple(sorted(node.axes)) != spatial:
        return _refuse(node, inputs, "takes the mean over other axes than the two of the map")
    form = value.form if len(node.shape) == 3 else "cells"
    result = Value("map" if form == "map" else "cells", value.channels, (1, 1))
    if form == "map_last":
        return _refuse(node, inputs, "keeps the axes of a channels-last map")
    pool = replace(node, kind="avg_pool", window=_window(value.size), axes=())
    return Replaced(result, (*_turned_back(node, value), pool), _pool_reason(value.size))


def adaptive_pooling(node: Node, inputs: Inputs) -> Outcome | None:
    """Pooling to a fixed size: nothing where the map has it already, else a window that does the same.

    Law: to size 1 the window is the whole map (stride 1 on larger ones); to size n that divides the
    map's size m, the windows are m/n cells, m/n apart. Other windows have different sizes.
    """
    if node.kind not in ("adaptive_avg_pool", "adaptive_max_pool"):
        return None
    value = _only(inputs)
    if value is None or value.form != "map":
        return _refuse(node, inputs, "slides over a map (N, C, h, w) only")
    target = node.shape[1:]
    result = Value("map", value.channels, target)
    if target == value.size:
        return Replaced(result, (), "the map has this size already")
    if any(cells % wanted for cells, wanted in zip(value.size, target, strict=True)):
        size, wanted = " x ".join(map(str, value.size)), " x ".join(map(str, target))
        return _refuse(node, inputs, f"pools {size} to {wanted} with windows of different sizes")
    kernel = tuple(cells // wanted for cells, wanted in zip(value.size, target, strict=True))
    strides = tuple(1 if wanted == 1 else k for k, wanted in zip(kernel, target, strict=True))
    kind = "avg_pool" if node.kind == "adaptive_avg_pool" else "max_pool"
    pool = replace(node, kind=kind, window=replace(_window(kernel), strides=strides))
    return Replaced(result, (pool,), _pool_reason(kernel))


def flattening(node: Node, inputs: Inputs) -> Outcome | None:
    """Flatten, view, reshape and squeeze from a map to its vector are dropped.

    Law: they move no number. The network keeps the map; the next dense layer takes its size from it.
    A channels-last map is turned back first.
    """
    value = _only(inputs)
    if node.kind != "reshape" or value is None or node.shape != (value.channels * math.prod(value.size),):
        return None
    form: Form = "flat_last" if value.form in ("map_last", "flat_last") else "flat"
    result = replace(value, form="cells" if value.is_single else form)
    return Replaced(result, _turned_back(node, value), "the network keeps the map that this flattens")


def reshaping(node: Node, inputs: Inputs) -> Outcome | None:
    """Other shapes: back to the map, or with axes of length 1 put in and taken out.

    Law: they move no number either. What splits or joins the positions of a map makes tokens of a
    fixed number.
    """
    if node.kind != "reshape":
        return None
    value = _only(inputs)
    if value is None:
        return _refuse(node, inputs, "reshapes what is no map or vector")
    if value.form == "map_last" and node.shape == (*value.size, value.channels):
        return Kept(value)
    if value.form == "split" or (value.form == "map" and node.shape[-len(value.size) :] == value.size):
        return _regrouping(node, value)
    if node.shape == value.shape and (value.form in ("map", "flat") or value.is_single):
        form: Form = "map"
    elif value.is_single and math.prod(node.shape) == node.shape[0]:
        form = "squeezed"
    else:
        shape = ", ".join(map(str, ("N", *node.shape)))
        return _refuse(node, inputs, f"makes ({shape}) of it, whose positions are tokens of a fixed number")
    return Replaced(
        replace(value, form=form), _turned_back(node, value), "the network keeps the map that this reshapes"
    )


def _regrouping(node: Node, value: Value) -> Outcome:
    """Channels split into factors, or joined again; the positions stay as they are."""
    factors = node.shape[: -len(value.size)]
    if node.shape == value.shape and value.form == "map":
        return Replaced(value, (), "it has this shape already")
    if node.shape[-len(value.size) :] != value.size or math.prod(factors) != value.channels:
        return _refuse(node, (value,), "moves numbers between channels and positions, whose number is fixed")
    if value.form == "map":
        step = replace(_plain(node, "split"), factors=factors)
        return Replaced(replace(value, form="split", factors=factors), (step,), "for maps of any size")
    if len(factors) > 1:
        return _refuse(node, (value,), "splits channels that are split already")
    step = replace(_plain(node, "join"), factors=value.factors)
    return Replaced(replace(value, form="map", factors=()), (step,), "for maps of any size")


def division(node: Node, inputs: Inputs) -> Outcome | None:
    """Maps cut along the channels, and each of the parts.

    Law: a part's cell is some of the channels of the map's cell.
    """
    if node.kind not in ("parts", "part"):
        return None
    value = _only(inputs)
    if value is None or value.form not in ("map", "parts") or node.axes not in ((), (1,)):
        return _refuse(node, inputs, "cuts positions, whose number is fixed")
    if node.kind == "parts":
        return Kept(replace(value, form="parts"))
    if node.shape[1:] != value.size:
        return _refuse(node, inputs, "cuts positions, whose number is fixed")
    return Kept(replace(value, form="map", channels=node.shape[0]))


def permutation(node: Node, inputs: Inputs) -> Outcome | None:
    """Moving the channels of a map to the end or back is carried over.

    Law: it names the axes, not their lengths, so it fits every size.
    """
    if node.kind != "permute":
        return None
    value = _only(inputs)
    if value is not None and value.form == "split":
        return _reordering(node, value)
    turned = None if value is None else TURNS.get((value.form, node.axes))
    if value is None or turned is None:
        reason = f"permutes the axes {node.axes}, which mixes rows, columns or tokens with channels"
        return _refuse(node, inputs, reason)
    return Kept(replace(value, form=turned))


def _reordering(node: Node, value: Value) -> Outcome:
    """The factors of the channels in another order."""
    count = len(value.factors)
    channels, positions = node.axes[1 : count + 1], node.axes[count + 1 :]
    if sorted(channels) != list(range(1, count + 1)) or list(positions) != sorted(positions):
        return _refuse(node, (value,), "mixes rows or columns with channels")
    return Kept(replace(value, factors=tuple(value.factors[axis - 1] for axis in channels)))


def softmax(node: Node, inputs: Inputs) -> Outcome | None:
    """Softmax over the classes acts on each cell's channels.

    Law: axis 1 of (N, classes) is axis 1 of (N, classes, h, w). Over positions the sum would grow
    with the image.
    """
    if node.kind != "softmax":
        return None
    value = _only(inputs)
    channels = None if value is None else {"map": (1,), "map_last": (3,), "cells": (1,)}.get(value.form)
    if value is None or channels != node.axes:
        return _refuse(node, inputs, "sums over positions, so its result depends on the image's size")
    if value.form != "cells":
        return Kept(value)
    return Replaced(value, (node,), "over the channels of each cell")


def combination(node: Node, inputs: Inputs) -> Outcome | None:  # noqa: PLR0911  each return is one refusal
    """Sums, products and the like of maps of one size act cell by cell.

    Law: cell i of the result depends on cell i of each input. A map times its own global pooling
    (squeeze-and-excitation) is no such thing: a larger image has many poolings, not one.
    """
    if node.kind != "combine":
        return None
    values = [value for value in inputs if isinstance(value, Value)]
    constants = [constant for constant in inputs if isinstance(constant, Node)]
    if not values:
        return _refuse(node, inputs, "combines nothing that is computed from the image")
    gates = [value for value in values if value.gate is not None]
    maps = [value for value in values if value.gate is None]
    if maps and gates:
        values = maps
        if any(gate.form != "map" or gate.over != maps[0].size for gate in gates) or maps[0].form != "map":
            return _refuse(node, inputs, "weighs another map than the one that its vector was pooled from")
    first = values[0]
    if any(value.size != first.size for value in values):
        reason = (
            "joins a map with one pooled over the whole image (squeeze and excitation), of which a larger has many; "
            'state se="global" or se="local"'
        )
        return _refuse(node, inputs, reason)
    if any((value.form, value.over) != (first.form, first.over) for value in values):
        return _refuse(node, inputs, "joins values of different forms: " + _listed(values))
    for constant in constants:
        if not _broadcasts(constant.shape, first):
            return _refuse(node, inputs, f"adds weights of shape {constant.shape}, which fix the number of positions")
    channels = {"map": node.shape[0], "map_last": node.shape[-1], "cells": node.shape[-1]}.get(first.form)
    return Kept(replace(first, channels=channels or first.channels))


def concatenation(node: Node, inputs: Inputs) -> Outcome | None:
    """Concatenation along the channels.

    Law: cell i of the result is cell i of all inputs, side by side.
    """
    if node.kind != "concat":
        return None
    values = [value for value in inputs if isinstance(value, Value)]
    if len(values) != len(inputs) or any(
        (value.form, value.size) != (values[0].form, values[0].size) for value in values
    ):
        return _refuse(node, inputs, "joins values of different forms or sizes: " + _listed(values))
    channels = {"map": (1,), "map_last": (3,), "cells": (1,)}.get(values[0].form)
    if channels != node.axes:
        return _refuse(node, inputs, "joins positions, whose number is fixed")
    result = replace(values[0], channels=sum(value.channels for value in values))
    if result.form != "cells":
        return Kept(result)
    return Replaced(result, (node,), "along the channels of each cell")


def result(node: Node, inputs: Inputs) -> Outcome | None:
    """A classifier gives one vector per image; the network gives one per cell.

    Law: at native size there is one cell.
    """
    if node.kind != "output":
        return None
    for value in inputs:
        if not isinstance(value, Value):
            return _refuse(node, inputs, "gives what is not computed from the image alone")
        if value.form in MAPS and not value.is_single:
            return _refuse(node, inputs, f"gives {value.described()}: the model is no classifier of whole images")
        if value.form in FLAT:
            return _refuse(node, inputs, f"gives {value.described()}: no dense layer or pooling follows it")
        if value.gate is not None:
            return _refuse(node, inputs, "gives a vector that weighs a map, too")
    first = inputs[0]
    assert isinstance(first, Value)
    return Kept(first)


RULES = (
    Rule("squeeze and excitation", gating),
    Rule("pooling of the whole map", whole_pooling),
    Rule("sliding window", sliding),
    Rule("cell by cell", cellwise),
    Rule("batch normalisation of vectors", normalisation),
    Rule("layer normalisation of vectors", channel_layer_norm),
    Rule("dense over a flattened map", dense_over_flat),
    Rule("dense over a vector", dense_over_cells),
    Rule("global pooling", pooled_mean),
    Rule("pooling to a fixed size", adaptive_pooling),
    Rule("flattening", flattening),
    Rule("reshaping", reshaping),
    Rule("permutation", permutation),
    Rule("repetition", expansion),
    Rule("parts of the channels", division),
    Rule("softmax over the classes", softmax),
    Rule("combination", combination),
    Rule("concatenation", concatenation),
    Rule("result", result),
)


def _only(inputs: Inputs) -> Value | None:
    values = [value for value in inputs if isinstance(value, Value)]
    return values[0] if len(values) == len(inputs) == 1 else None


def _refuse(node: Node, inputs: Inputs, reason: str) -> Refusal:
    values = [value for value in inputs if isinstance(value, Value)]
    met = f" (it meets {_listed(values)})" if values and node.kind != "output" else ""
    return Refusal(node.label, f"{reason}{met}")


def _listed(values: Sequence[Value]) -> str:
    return " and ".join(value.described() for value in values)


def _window(kernel: tuple[int, ...]) -> Window:
    ones = (1,) * len(kernel)
    return Window(kernel, ones, ((0, 0),) * len(kernel), ones)


def _plain(node: Node, kind: Kind) -> Node:
    """A node of another kind in this one's place, with nothing of it but its names."""
    return Node(node.name, kind, node.inputs, node.shape, node.label)


def _pool_reason(kernel: tuple[int, ...]) -> str:
    return f"each {' x '.join(map(str, kernel))} window is what the classifier pools"


def _turned_back(node: Node, value: Value) -> tuple[Node, ...]:
    """What brings a channels-last map into the network's order."""
    if value.form != "map_last":
        return ()
    return (replace(node, kind="permute", axes=(0, 3, 1, 2), shape=value.shape),)


def _broadcasts(shape: tuple[int, ...], value: Value) -> bool:
    """Whether weights of this shape meet every position alike, in the classifier and in the network."""
    if math.prod(shape) == 1:
        return True
    match value.form:
        case "map":
            return len(shape) >= 3 and math.prod(shape[-2:]) == 1
        case "map_last":
            return math.prod(shape[:-1]) == 1
        case _:
            return False
