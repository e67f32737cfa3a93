"""The rules that make a classifier fully convolutional.

Pattern, check with a reason, rewrite as data. A rule takes a node and the values of its inputs, and
answers with what becomes of it, a refusal, or None where its pattern does not fit. The law that
makes the rewrite right stands in its docstring. The first rule that answers decides; a node that no
rule knows is refused, never guessed. `RULES` has all of them in their order, which is part of what
they say.
"""

from __future__ import annotations

import math
from dataclasses import replace

from backstride.surgery.model.graph import BATCH, WINDOWED, Node
from backstride.surgery.model.values import Kept, Outcome, Replaced, Value
from backstride.surgery.rewriting.rule import (
    APART,
    MAPS,
    Inputs,
    Rule,
    letter_of,
    listed,
    only,
    refuse,
    unit_window,
)
from backstride.surgery.rewriting.rules_layout import (
    concatenation,
    division,
    expansion,
    flattening,
    permutation,
    reshaping,
    slicing,
)
from backstride.surgery.rewriting.rules_pooling import (
    UNSTATED,
    adaptive_pooling,
    gating,
    reduction,
    whole_norm,
    whole_pooling,
)


def sliding(node: Node, inputs: Inputs) -> Outcome | None:  # noqa: PLR0911  one return for each kind of window
    """Convolutions and poolings slide over a map of any size.

    Law: cell i of the output is one function of the cells `i*s - before ... + K - 1` of the input.
    Padding "same" at a stride above 1 moves with the map's size; it becomes the numbers that it is
    at native size.
    """
    if node.kind not in WINDOWED:
        return None
    value = only(inputs)
    if value is None or value.form != "map" or len(node.shape) != len(value.size) + 1:
        return refuse(node, inputs, "slides over a map (N, C, h, w) only")
    if value.gate is not None:
        if node.window is None or set(node.window.kernel) != {1} or node.shape[1:] != value.size:
            return refuse(
                node,
                inputs,
                "slides over the cell that weighs a whole map (squeeze and excitation)",
            )
        return Kept(replace(value, channels=node.shape[0]))
    result = Value("map", node.shape[0], node.shape[1:])
    if node.kind == "unshuffle":
        return Replaced(
            result, (node,), "without the last rows and columns where they fill no window"
        )
    if node.kind == "conv_transpose" and node.window is not None and node.window.same:
        fixed = replace(node, window=replace(node.window, same=False))
        return Replaced(result, (fixed,), "grows as at native size on images of every size")
    if node.window is not None and node.window.same:
        fixed = replace(node, window=replace(node.window, same=False))
        return Replaced(result, (fixed,), "padded as at native size on images of every size")
    return Kept(result)


def cellwise(node: Node, inputs: Inputs) -> Outcome | None:
    """Activations and dropout act number by number.

    Law: f(flatten(x)) = flatten(f(x)). Weights per feature (PReLU) act per channel, axis 1 of both
    a vector and a map; a flattened map's would be one per position.
    """
    if node.kind not in ("activation", "dropout"):
        return None
    value = only(inputs)
    if value is None:
        return refuse(node, inputs, "acts on one map or vector")
    if (node.features or 1) > 1 and (value.form == "binned" or value.layout[0] != "c"):
        return refuse(
            node, inputs, "has one weight for each position of the map, whose number is fixed"
        )
    return Kept(value)


def normalisation(node: Node, inputs: Inputs) -> Outcome | None:
    """Batch normalisation of vectors becomes batch normalisation of maps.

    Law: both subtract, divide, scale and shift per channel; with one cell per image, the statistics
    over (N, h, w) are the statistics over N. On a flattened map there are statistics per position.
    """
    if node.kind != "batch_norm":
        return None
    value = only(inputs)
    if value is not None and value.form == "map":
        return Kept(value)
    axis = node.axes[0] if node.axes else 1
    if (
        value is None
        or value.form != "view"
        or (letter_of(value, axis) != "c" and value.channels > 1)
    ):
        reason = (
            "has its own statistics for each position of the flattened map, whose number is fixed"
        )
        return refuse(node, inputs, reason)
    return Replaced(value, (node,), "the same statistics per channel, over all cells")


def channel_layer_norm(node: Node, inputs: Inputs) -> Outcome | None:
    """Layer normalisation over the features of a vector acts on each cell's channels.

    Law: a cell of the network holds the vector of its crop; normalising over its channels is
    normalising that vector. Over the positions of a map it would depend on the image's size.
    """
    if node.kind != "layer_norm":
        return None
    value = only(inputs)
    known = (
        value is not None and value.form in ("map_last", "view") and value.layout[-1] in ("c", "")
    )
    if value is None or not known or node.features != value.channels:
        return refuse(
            node, inputs, "normalises over positions, so its result depends on the image's size"
        )
    if value.form == "map_last":
        return Kept(value)
    return Replaced(value, (node,), "normalises the channels of each cell")


def dense_over_flat(node: Node, inputs: Inputs) -> Outcome | None:
    """Flatten and dense become one convolution whose kernel covers what was flattened.

    Law: sum_j W[o, j] flatten(x)[j] = sum_{c,u,v} K[o, c, u, v] x[c, u, v], where K is W read in
    the order of the flattening: CHW (PyTorch), HWC (TensorFlow), or that of a transposed map.
    """
    if node.kind != "dense":
        return None
    value = only(inputs)
    if value is None or value.form != "view" or not value.layout or set(value.layout[-1]) <= {"c"}:
        return None
    order = value.layout[-1]
    if "c" not in order and value.channels > 1:
        return refuse(node, inputs, "mixes positions of the map, whose number is fixed")
    kernel = tuple(value.length(letter) if letter in order else 1 for letter in value.spatial)
    conv = replace(node, kind="conv", window=unit_window(kernel), order=order)
    reason = (
        f"its kernel is the flattened {' x '.join(map(str, kernel))} map, read "
        f"{', '.join(order.replace('c', 'C'))}"
    )
    rest = tuple(1 if letter in order else value.length(letter) for letter in value.spatial)
    return Replaced(_scored(node, replace(value, size=rest)), (conv,), reason)


def dense_over_cells(node: Node, inputs: Inputs) -> Outcome | None:
    """A dense layer on vectors becomes a 1x1 convolution.

    On the last axis of a channels-last map it stays. Law: a 1x1 convolution is the same matrix on
    every cell. On the last axis of (N, C, h, w) a dense layer mixes the columns of the map, whose
    number it fixes.
    """
    if node.kind != "dense":
        return None
    value = only(inputs)
    if value is not None and value.form == "map_last":
        return Kept(replace(value, channels=node.shape[-1]))
    if (
        value is None
        or value.form != "view"
        or not value.layout
        or (value.layout[-1] != "c" and value.channels > 1)
    ):
        return refuse(node, inputs, "mixes the columns of the map, whose number is fixed")
    conv = replace(node, kind="conv", window=unit_window((1,) * len(value.size)), order="c")
    return Replaced(_scored(node, value), (conv,), "the same matrix on every cell")


def _scored(node: Node, value: Value) -> Value:
    """A value with a dense layer's outputs on its last axis."""
    made = replace(value, form="view", channels=node.shape[-1])
    return made.laid(
        (*replace(made, axes=value.axes[:-1]).layout, "c" if made.channels > 1 else "")
    )


def softmax(node: Node, inputs: Inputs) -> Outcome | None:
    """Softmax over the classes, and all else on a cell's channels together, act on each cell.

    Law: axis 1 of (N, classes) is axis 1 of (N, classes, h, w), and the last axis is axis 1 where
    the channels stand last: a cell's vector divided by its length, or half of it weighed by the
    other (GLU). Over positions the sum would grow with the image.
    """
    if node.kind not in ("softmax", "channelwise"):
        return None
    value = only(inputs)
    if (
        value is None
        or value.form in APART
        or len(node.axes) != 1
        or not _is_channels(value, *node.axes)
    ):
        return refuse(
            node, inputs, "sums over positions, so its result depends on the image's size"
        )
    channels = node.shape[node.axes[0] - 1]
    if value.form != "view":
        return Kept(replace(value, channels=channels))
    made = replace(value, channels=channels)
    return Replaced(
        made.laid(made.layout), (replace(node, axes=(1,)),), "over the channels of each cell"
    )


def _is_channels(value: Value, axis: int) -> bool:
    """Whether an axis holds the channels; where there is one, an axis of length 1."""
    if value.form != "view":
        return axis == (1 if value.form == "map" else len(value.size) + 1)
    return letter_of(value, axis) == ("c" if value.channels > 1 else "")


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
        return refuse(node, inputs, "combines nothing that is computed from the image")
    gates = [value for value in values if value.gate is not None]
    maps = [value for value in values if value.gate is None]
    if maps and gates:
        values = maps
        if maps[0].form not in MAPS or any(
            (gate.form, gate.over) != (maps[0].form, maps[0].size) for gate in gates
        ):
            return refuse(
                node, inputs, "weighs another map than the one that its vector was pooled from"
            )
    first = max(values, key=lambda value: value.channels)
    if any(value.size != first.size for value in values):
        return refuse(node, inputs, "joins a map with one " + UNSTATED)
    if any(value.over != first.over or not _alike(value, first) for value in values):
        return refuse(node, inputs, "joins values of different forms: " + listed(values))
    for constant in constants:
        if not _broadcasts(constant.shape, first):
            shown = str(constant.shape).replace(str(BATCH), "N")
            return refuse(
                node, inputs, f"adds weights of shape {shown}, which fix the number of positions"
            )
    result = _combined(node, first)
    if result.form == "view" and any(math.prod(constant.shape) > 1 for constant in constants):
        return Replaced(result, (node,), "its weights are those of the channels of each cell")
    return Kept(result)


def _alike(value: Value, other: Value) -> bool:
    """Whether two values stand on the same axes, but for channels where one has a single one."""
    if other.form != "view" or value.form not in ("map", "view"):
        return (value.form, value.factors) == (other.form, other.factors)
    if len(value.layout) != len(other.layout):
        return False
    pairs = zip(value.layout, other.layout, strict=True)
    return all(
        mine == its or (mine == "" and its == "c" and value.channels == 1) for mine, its in pairs
    )


def _combined(node: Node, first: Value) -> Value:
    """The result of a combination, whose weights may have more channels than its maps."""
    match first.form:
        case "map":
            return replace(first, channels=node.shape[0])
        case "map_last":
            return replace(first, channels=node.shape[-1])
        case _:
            return first


def result(node: Node, inputs: Inputs) -> Outcome | None:  # noqa: PLR0911  one return for each refusal
    """A classifier gives one vector per image; the network gives one per cell.

    Law: at native size there is one cell.
    """
    if node.kind != "output":
        return None
    if not inputs:
        return refuse(node, inputs, "gives nothing that is computed from the image")
    for value in inputs:
        if not isinstance(value, Value):
            return refuse(node, inputs, "gives what is not computed from the image alone")
        if value.form in MAPS and not value.is_single:
            return refuse(
                node,
                inputs,
                f"gives {value.described()}: the model is no classifier of whole images",
            )
        if not value.is_single:
            return refuse(
                node, inputs, f"gives {value.described()}: no dense layer or pooling follows it"
            )
        if value.gate is not None:
            return refuse(node, inputs, "gives a vector that weighs a map, too")
    first = inputs[0]
    assert isinstance(first, Value)
    return Kept(first)


def measured_only(node: Node, inputs: Inputs) -> Outcome | None:
    """What slides at native size, to say what a cell sees there, if not on larger images.

    Law: a receptive field is a property of the network at one size. What was pooled from all of the
    image, and is resized or repeated to a map again, sees all at every cell.
    """
    value = only(inputs)
    if (
        value is not None
        and value.gate == "global"
        and node.kind in ("resize", "conv_transpose", "expand")
    ):
        positions = node.shape[:-1] if value.form == "map_last" else node.shape[1:]
        return Kept(Value(value.form, value.channels, positions)) if value.form in MAPS else None
    if (
        value is None
        or value.form not in MAPS
        or node.kind not in ("resize", "whole_norm")
        or node.gate == "local"
    ):
        return None
    return Kept(replace(value, size=node.shape[1:] if node.kind == "resize" else value.size))


def resizing(node: Node, inputs: Inputs) -> Outcome | None:
    """A map resized by no whole factor has no cells of its own on a larger image.

    Law: with aligned corners, or to a size that is no multiple, where cell i lies depends on the
    image's size.
    """
    if node.kind != "resize":
        return None
    return refuse(
        node,
        inputs,
        f"resizes to {' x '.join(map(str, node.shape[1:]))}, by no whole factor that all sizes "
        "have",
    )


RULES = (
    Rule("squeeze and excitation", gating),
    Rule("pooling of the whole map", whole_pooling),
    Rule("sliding window", sliding),
    Rule("resizing", resizing),
    Rule("cell by cell", cellwise),
    Rule("normalisation of whole maps", whole_norm),
    Rule("batch normalisation of vectors", normalisation),
    Rule("layer normalisation of vectors", channel_layer_norm),
    Rule("dense over a flattened map", dense_over_flat),
    Rule("dense over a vector", dense_over_cells),
    Rule("global pooling", reduction),
    Rule("pooling to a fixed size", adaptive_pooling),
    Rule("flattening", flattening),
    Rule("reshaping", reshaping),
    Rule("permutation", permutation),
    Rule("repetition", expansion),
    Rule("parts of the channels", division),
    Rule("constant crops and strides", slicing),
    Rule("softmax over the classes", softmax),
    Rule("combination", combination),
    Rule("concatenation", concatenation),
    Rule("result", result),
)
MEASURING = (Rule("at native size alone", measured_only), *RULES)


def _broadcasts(shape: tuple[int, ...], value: Value) -> bool:
    """Whether weights of this shape meet every position alike, before and after.

    That is, in the classifier and in the network.
    """
    if math.prod(shape) == 1:
        return True
    match value.form:
        case "map":
            cells = len(value.size)
            return len(shape) > cells and math.prod(shape[-cells:]) == 1
        case "map_last":
            return math.prod(shape[:-1]) == 1
        case "view":
            behind = len(value.layout) - 1 - value.layout.index("c") if "c" in value.layout else 0
            return len(shape) > behind and shape[-1 - behind] == math.prod(shape) == value.channels
        case _:
            return False
