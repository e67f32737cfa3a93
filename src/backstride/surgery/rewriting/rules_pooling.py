"""The rules of poolings.

Of the whole map, in one step or several, to a fixed size, and those that weigh a map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from backstride.geometry import same_padding
from backstride.surgery.model.graph import Kind, Node
from backstride.surgery.model.values import Kept, Outcome, Replaced, Value
from backstride.surgery.rewriting.rule import (
    APART,
    MAPS,
    Inputs,
    letter_of,
    only,
    plain,
    pool_reason,
    refuse,
    to_channels_first,
    to_channels_last,
    unit_window,
)

Kinds = tuple[Kind, ...]
STEPS: Mapping[
    str, tuple[Kinds, Kind, Kinds]
] = {  # what a reduction over positions is: before, pooling, behind
    "mean": ((), "avg_pool", ()),
    "sum": ((), "avg_pool", ("scaled",)),
    "amax": ((), "max_pool", ()),
    "amin": (("negative",), "max_pool", ("negative",)),
    "norm1": (("absolute",), "avg_pool", ("scaled",)),
    "norm2": (("square",), "avg_pool", ("scaled", "sqrt")),
}
UNSTATED = (
    "pooled over the whole image (squeeze and excitation), of which a larger has many; state "
    'se="global" or se="local"'
)
REDUCTIONS = (*STEPS, "var", "std")
WHOLE: Mapping[Kind, Kind] = {"avg_pool": "global_avg_pool", "max_pool": "global_max_pool"}


def whole_pooling(node: Node, inputs: Inputs) -> Outcome | None:
    """A pooling whose one window covers the map is global, whatever its stride and overhang.

    Law: there is one window, clipped to the map, of which torch and ONNX count the cells inside
    alone.
    """
    value = only(inputs)
    if (
        node.kind not in ("avg_pool", "max_pool")
        or value is None
        or value.form != "map"
        or value.gate is not None
    ):
        return None
    window = node.window
    if (
        window is None
        or len(node.shape) != len(value.size) + 1
        or any(cells != 1 for cells in node.shape[1:])
    ):
        return None
    if any(sum(pads) for pads in window.padding) or any(d > 1 for d in window.dilation):
        return None
    if any(k < cells for k, cells in zip(window.kernel, value.size, strict=True)):
        return None
    result = Value("map", value.channels, node.shape[1:])
    sliding = unit_window(value.size)
    if replace(window, ceil_mode=False) == sliding:
        return Kept(result)
    return Replaced(result, (replace(node, window=sliding),), pool_reason(value.size))


def gating(node: Node, inputs: Inputs) -> Outcome | None:
    """A pooling of the whole map that weighs its channels, by the choice that was made for it.

    Law: at native size both choices are the classifier's vector. `global` pools whatever image
    comes; a sum is its mean times the native number of cells. `local` pools windows of native size,
    one for each cell: the window around it, at the border the last one that fits; its map is
    extended by its own border, h - 1 cells in all. A window's mean is that of its rows' means, its
    maximum that of their maxima: h + w numbers for each cell, not h * w, and less rounding. With
    the channels among what is pooled, they are reduced behind.
    """
    if node.gate is None or node.kind == "whole_norm":
        return None
    value = only(inputs)
    letters = None if value is None or value.gate is not None else _whole(node, value)
    if value is None or letters is None:
        return refuse(node, inputs, "pools what is no map (N, C, h, w)")
    result = replace(_remaining(node, value, letters), gate=node.gate, over=value.size)
    if value.form in MAPS and len(node.shape) == len(value.layout):
        result = replace(result, form=value.form, axes=())
    _, pool, _ = STEPS[_reduction(node)]
    shape = (value.channels, *result.size)
    first, last = to_channels_first(node, value), to_channels_last(node, result)
    if "c" in letters:
        last = (replace(plain(node, node.kind), axes=(1,), shape=result.written), *last)
    if node.gate == "global":
        reason = "pools the whole image, however large, so every cell depends on all of it"
        steps = _reduced(
            node, value, (replace(plain(node, WHOLE[pool]), shape=shape),), math.prod(value.size)
        )
        return Replaced(result, (*first, *steps, *last), reason)
    pads = tuple(same_padding(cells, cells, 1) for cells in value.size)
    kernels = [
        tuple(cells if at == axis else 1 for at, cells in enumerate(value.size))
        for axis in range(len(value.size))
    ]
    pools = [
        replace(plain(node, pool), window=unit_window(kernel), shape=shape) for kernel in kernels
    ]
    edges = replace(plain(node, "edge_pad"), window=replace(unit_window(result.size), padding=pads))
    steps = _reduced(node, value, (*pools, edges), math.prod(value.size))
    return Replaced(
        result, (*first, *steps, *last), "pools the window of native size around each cell"
    )


def whole_norm(node: Node, inputs: Inputs) -> Outcome | None:
    """Normalisation by the mean and variance of a whole map (instance and group norm).

    By the choice that was made. Law: at native size both choices are the classifier's. `global`
    takes the statistics of whatever image comes, as the layer's text says. `local` takes those of
    the window of native size around each cell, at the border the last one that fits, as the
    classifier took them on a crop. On a vector there is one cell, and nothing to choose.
    """
    if node.kind != "whole_norm":
        return None
    value = only(inputs)
    if (
        value is None
        or value.gate is not None
        or not (value.form in ("map", "grouped") or value.layout == ("c",))
    ):
        return refuse(node, inputs, "normalises what is no map (N, C, h, w)")
    if value.form == "grouped":
        node = replace(node, factors=value.factors)
    if value.is_single:
        window = unit_window(value.size)
        return Replaced(
            value,
            (replace(node, kind="local_norm", window=window),),
            "normalises each cell by itself",
        )
    if node.gate is None:
        reason = (
            "normalises over positions, so its result depends on the image's size; state "
            'se="global" or se="local"'
        )
        return refuse(node, inputs, reason)
    if node.gate == "global":
        reason = "takes mean and variance of the whole image, however large"
        return Kept(value) if value.form == "map" else Replaced(value, (node,), reason)
    pads = tuple(same_padding(cells, cells, 1) for cells in value.size)
    window = replace(unit_window(value.size), padding=pads)
    reason = "takes mean and variance of the window of native size around each cell"
    return Replaced(value, (replace(node, kind="local_norm", window=window),), reason)


def reduction(node: Node, inputs: Inputs) -> Outcome | None:  # noqa: PLR0911  each return is one refusal
    """A mean, sum, maximum, minimum or norm over rows, columns or channels.

    Of all axes at once, or one after the other. Law: over positions it is a pooling with the native
    map's size on these axes, stride 1: at native size the one window is the whole map, on a larger
    one each window is a crop's map. A sum is the mean times the number of cells, a norm the root of
    the sum of squares. Over the channels it acts on each cell.
    """
    if node.kind not in REDUCTIONS:
        return None
    value = only(inputs)
    if value is None or value.form in APART:
        return refuse(node, inputs, "reduces what is no map or vector")
    letters = "".join(letter_of(value, axis) for axis in node.axes)
    if not node.axes or 0 in node.axes:
        return refuse(node, inputs, "reduces over the images of the batch")
    positions = letters.replace("c", "")
    if value.gate is not None and positions:
        return refuse(node, inputs, "pools the vector that weighs a map")
    if (
        letters == "c"
        and len(node.axes) == 1
        and value.form in MAPS
        and len(node.shape) == len(value.layout)
    ):
        return Kept(replace(value, channels=1))
    if node.kind not in STEPS and letters != "c":
        return refuse(node, inputs, "is a spread over positions, which no pooling of them gives")
    result = _remaining(node, value, letters)
    steps, reason = to_channels_first(node, value), "over the channels of each cell"
    if positions or "c" not in letters:
        kernel = tuple(
            value.length(letter) if letter in positions else 1 for letter in value.spatial
        )
        reason = pool_reason(kernel)
        shape = (value.channels, *result.size)
        pool = replace(plain(node, STEPS[node.kind][1]), window=unit_window(kernel), shape=shape)
        steps += _reduced(node, value, (pool,) if positions else (), math.prod(kernel))
    if "c" in letters:
        steps += (replace(plain(node, node.kind), axes=(1,), shape=result.shape),)
    return Replaced(result, steps, reason)


def _whole(node: Node, value: Value) -> str | None:
    """The letters that go where a reduction takes all positions, alone or with the channels.

    None for others.
    """
    positions = "".join(letter for letter in value.spatial if value.length(letter) > 1)
    if node.kind not in STEPS:
        return positions if value.form in MAPS else None
    if value.form in APART or not node.axes or 0 in node.axes:
        return None
    letters = "".join(letter_of(value, axis) for axis in node.axes)
    return letters if set(positions) <= set(letters) else None


def _remaining(node: Node, value: Value, letters: str) -> Value:
    """What is left of a value once these letters are reduced."""
    size = tuple(1 if letter in letters else value.length(letter) for letter in value.spatial)
    kept = len(node.shape) == len(value.layout)
    axes = tuple(
        "" if axis in node.axes else left
        for axis, left in enumerate(value.layout, 1)
        if kept or axis not in node.axes
    )
    return replace(value, channels=1 if "c" in letters else value.channels, size=size).laid(axes)


def _reduction(node: Node) -> str:
    """The reduction that a pooling of the whole map is."""
    if node.kind in STEPS:
        return node.kind
    return "amax" if "max" in node.kind else "mean"


def _reduced(node: Node, value: Value, pools: Sequence[Node], cells: int) -> tuple[Node, ...]:
    """The pooling of a reduction with what stands before and behind it.

    A sum is the mean of `cells`, times them.
    """
    before, _, behind = STEPS[_reduction(node)]
    shape = pools[-1].shape if pools else value.shape
    after = [replace(plain(node, kind), shape=shape) for kind in behind]
    scaled = [
        replace(step, factor=float(cells)) if step.kind == "scaled" else step for step in after
    ]
    return (*(replace(plain(node, kind), shape=value.shape) for kind in before), *pools, *scaled)


def adaptive_pooling(node: Node, inputs: Inputs) -> Outcome | None:
    """Pooling to a fixed size.

    Nothing where the map has it already, else a window that does the same. Law: to size 1 the
    window is the whole map (stride 1 on larger ones); to size n that divides the map's size m, the
    windows are m/n cells, m/n apart. Else bin i is what lies from floor(i*m/n) to ceil((i+1)*m/n):
    bins of a crop are no other crop's, so each cell of the network has all of its crop's, beside
    each other in the order in which they are flattened.
    """
    if node.kind not in ("adaptive_avg_pool", "adaptive_max_pool"):
        return None
    value = only(inputs)
    if value is None or value.form != "map":
        return refuse(node, inputs, "slides over a map (N, C, h, w) only")
    target = node.shape[1:]
    result = Value("map", value.channels, target)
    if target == value.size:
        return Replaced(result, (), "the map has this size already")
    if any(cells % wanted for cells, wanted in zip(value.size, target, strict=True)):
        kind: Kind = "avg_bins" if node.kind == "adaptive_avg_pool" else "max_bins"
        binned = Value("binned", math.prod(node.shape), (1,) * len(target), factors=node.shape)
        step = replace(
            plain(node, kind),
            window=unit_window(value.size),
            factors=node.shape,
            shape=binned.shape,
        )
        size, wanted = " x ".join(map(str, value.size)), " x ".join(map(str, target))
        return Replaced(
            binned, (step,), f"each cell has the {wanted} bins of its crop's {size} map"
        )
    kernel = tuple(cells // wanted for cells, wanted in zip(value.size, target, strict=True))
    strides = tuple(1 if wanted == 1 else k for k, wanted in zip(kernel, target, strict=True))
    kind = "avg_pool" if node.kind == "adaptive_avg_pool" else "max_pool"
    pool = replace(node, kind=kind, window=replace(unit_window(kernel), strides=strides))
    return Replaced(result, (pool,), pool_reason(kernel))
