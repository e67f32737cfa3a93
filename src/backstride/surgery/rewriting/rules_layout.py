"""The rules of what moves numbers without computing.

Reshapes, permutations, repetition, parts of the channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from backstride.geometry import span
from backstride.surgery.model.graph import Cut, Node, Window
from backstride.surgery.model.values import Kept, Outcome, Replaced, Value
from backstride.surgery.rewriting.rule import (
    APART,
    MAPS,
    Inputs,
    letter_of,
    listed,
    only,
    plain,
    refuse,
    regrouped,
    to_channels_first,
    to_channels_last,
)


def flattening(node: Node, inputs: Inputs) -> Outcome | None:
    """Flatten, view, reshape and squeeze from a map to its vector are dropped.

    Law: they move no number. The network keeps the map; the next dense layer takes its size from
    it. A channels-last map is transposed first, split channels are joined.
    """
    value = only(inputs)
    if (
        node.kind != "reshape"
        or value is None
        or node.shape != (value.channels * math.prod(value.size),)
    ):
        return None
    if value.form == "binned":
        return Replaced(
            replace(value, form="map").laid(("c",)),
            (),
            "the bins are flattened in this order already",
        )
    flat = (
        value
        if value.form == "view"
        else replace(value, form="map" if value.form == "split" else value.form)
    )
    result = flat.laid(("".join(flat.layout),))
    return Replaced(
        result, to_channels_first(node, value), "the network keeps the map that this flattens"
    )


def reshaping(node: Node, inputs: Inputs) -> Outcome | None:  # noqa: PLR0911  one return for each form
    """Other shapes: positions joined in one axis or taken apart, axes of length 1.

    Law: they move no number either, so the network keeps the map, and the layers behind read it in
    the order of the axes. What cuts rows or columns, or mixes them with parts of the channels,
    makes tokens of a fixed number.
    """
    if node.kind != "reshape":
        return None
    value = only(inputs)
    if value is None or value.form in ("parts", "binned"):
        return refuse(node, inputs, "reshapes what is no map or vector")
    if value.form == "grouped" and node.shape == value.shape:
        return Replaced(
            replace(value, form="map", factors=()),
            (),
            "the network keeps the map that this reshapes",
        )
    joined = replace(value, form="map", factors=()) if value.form == "split" else value
    axes = regrouped(joined, node.shape)
    if axes is None:
        return _splitting(node, value)
    if value.form in MAPS and axes == value.layout:
        return Replaced(value, (), "it has this shape already")
    result = joined.laid(axes)
    if (
        value.gate is not None
        and result.form == "view"
        and axes == replace(joined, form="map_last").layout
    ):
        result = replace(joined, form="map_last", axes=())
        return Replaced(
            result, to_channels_last(node, result), "weighs a map whose channels stand last"
        )
    if value.form == "split":
        return Replaced(result, to_channels_first(node, value), "for maps of any size")
    return Replaced(
        result, to_channels_first(node, value), "the network keeps the map that this reshapes"
    )


def _splitting(node: Node, value: Value) -> Outcome:
    """Channels split into factors; the positions stay as they are."""
    factors, positions = node.shape[: -len(value.size)], node.shape[-len(value.size) :]
    if (
        value.form in ("map", "split")
        and positions == value.size
        and math.prod(factors) == value.channels
    ):
        if value.form == "split":
            return refuse(node, (value,), "splits channels that are split already")
        step = replace(plain(node, "split"), factors=factors)
        return Replaced(
            replace(value, form="split", factors=factors), (step,), "for maps of any size"
        )
    groups, *rest = node.shape
    if (
        value.form == "map"
        and len(rest) == 1
        and groups * rest[0] == math.prod(value.shape)
        and not value.channels % groups
    ):
        return Replaced(
            replace(value, form="grouped", factors=(groups,)),
            (),
            "the network keeps the map of these groups",
        )
    shape = ", ".join(map(str, ("N", *node.shape)))
    return refuse(
        node, (value,), f"makes ({shape}) of it, whose positions are tokens of a fixed number"
    )


def permutation(node: Node, inputs: Inputs) -> Outcome | None:  # noqa: PLR0911  three kept, one transposed, three refused
    """Moving the channels of a map to the end or back is carried over; other orders are remembered.

    Law: it names the axes, not their lengths, so it fits every size. The network keeps the map
    where the axes stand in another order; a dense layer behind reads its weights in that order.
    """
    if node.kind != "permute":
        return None
    value = only(inputs)
    if value is not None and value.form == "split":
        return _reordering(node, value)
    if value is not None and value.form == "binned":
        return _bins_reordered(node, value)
    if (
        value is None
        or value.form in APART
        or sorted(node.axes) != list(range(len(value.layout) + 1))
    ):
        return refuse(node, inputs, f"permutes the axes {node.axes}, which are not those of a map")
    if node.axes[0] != 0:
        return refuse(node, inputs, "moves the images of the batch to another axis")
    last = tuple(range(1, len(node.axes)))
    if value.form != "view":
        if node.axes == (0, *last):
            return Kept(value)
        if value.form == "map" and node.axes == (0, *last[1:], 1):
            return Kept(replace(value, form="map_last"))
        if value.form == "map_last" and node.axes == (0, last[-1], *last[:-1]):
            return Kept(replace(value, form="map"))
    result = value.laid(tuple(value.layout[axis - 1] for axis in node.axes[1:]))
    return Replaced(
        result, to_channels_first(node, value), "the layers behind read the map in this order"
    )


def _reordering(node: Node, value: Value) -> Outcome:
    """The factors of the channels in another order."""
    count = len(value.factors)
    channels, positions = node.axes[1 : count + 1], node.axes[count + 1 :]
    if sorted(channels) != list(range(1, count + 1)) or list(positions) != sorted(positions):
        return refuse(node, (value,), "mixes rows or columns with channels")
    return Kept(replace(value, factors=tuple(value.factors[axis - 1] for axis in channels)))


def _bins_reordered(node: Node, value: Value) -> Outcome:
    """Bins with their channels last, as Keras flattens them, and back."""
    rank = len(value.size)
    last, first = (0, *range(2, rank + 2), 1), (0, rank + 1, *range(1, rank + 1))
    if node.axes != (first if value.axes else last):
        return refuse(
            node, (value,), "moves the rows and columns of bins, which fixes their number"
        )
    factors = tuple(value.factors[axis - 1] for axis in node.axes[1:])
    step = replace(plain(node, "reorder"), factors=value.factors, axes=node.axes, shape=value.shape)
    result = replace(value, factors=factors, axes=() if value.axes else ("last",))
    return Replaced(result, (step,), "the channels of each cell in this order")


def expansion(node: Node, inputs: Inputs) -> Outcome | None:
    """A vector that is repeated over a map before it weighs it is not: the product repeats it.

    Law: broadcasting is repetition.
    """
    if node.kind != "expand":
        return None
    value = next((value for value in inputs if isinstance(value, Value)), None)
    if value is None or value.form in APART:
        return refuse(node, inputs, "repeats a cell over positions of a fixed number")
    if node.shape == value.original:
        return Replaced(value, (), "it has this size already")
    positions = node.shape[1:] if value.form == "map" else node.shape[:-1]
    if value.gate is None or value.form == "view" or positions != value.over:
        return refuse(node, inputs, "repeats a cell over positions of a fixed number")
    return Replaced(value, (), "the product repeats it")


def division(node: Node, inputs: Inputs) -> Outcome | None:
    """Maps cut along the channels, and each of the parts.

    Law: a part's cell is some of the channels of the map's cell.
    """
    if node.kind not in ("parts", "part"):
        return None
    value = only(inputs)
    if value is None or value.form not in ("map", "parts") or node.axes not in ((), (1,)):
        return refuse(node, inputs, "cuts positions, whose number is fixed")
    if node.kind == "parts":
        return Kept(replace(value, form="parts"))
    if node.shape[1:] != value.size:
        return refuse(node, inputs, "cuts positions, whose number is fixed")
    return Kept(replace(value, form="map", channels=node.shape[0]))


def slicing(node: Node, inputs: Inputs) -> Outcome | None:
    """Rows and columns cut off or passed over at constant places, and some channels.

    Law: cell i of the result is cell `i*step + start` of the input, on an image of any size. What
    the classifier cuts off at the end is counted from the end, so that every crop of native size
    has its cells.
    """
    if node.kind != "slice":
        return None
    value = only(inputs)
    if value is None or value.form in APART or value.gate is not None:
        return refuse(node, inputs, "takes some entries of what is no map or vector")
    axes = zip(value.layout, value.original, node.cuts, strict=True)
    taken = {letters: cut for letters, cells, cut in axes if cut != (0, cells, 1)}
    if any(len(letters) > 1 for letters in taken):
        return refuse(
            node, inputs, "takes some positions of a flattened map, whose number is fixed"
        )
    steps, result = to_channels_first(node, value), value
    ends: list[tuple[int, Cut]] = [
        (cells, taken.get(of, (0, cells, 1))) for of, cells in _positions(value)
    ]
    size = tuple(count for _, (_, count, _) in ends)
    if any(cut != (0, cells, 1) for cells, cut in ends):
        pads = tuple(
            (-first, first + span(count, step) - cells) for cells, (first, count, step) in ends
        )
        window = Window(
            (1,) * len(size), tuple(step for _, (_, _, step) in ends), pads, (1,) * len(size)
        )
        steps += (replace(plain(node, "pad"), window=window, shape=(value.channels, *size)),)
    if "c" in taken:
        result = replace(value, channels=taken["c"][1])
        steps += (replace(plain(node, "some"), cuts=(taken["c"],), shape=(result.channels, *size)),)
    result = replace(result, size=size)
    if node.axes or value.form == "view":
        left = [letters for axis, letters in enumerate(value.layout, 1) if axis not in node.axes]
        laid = replace(result, form="view", axes=tuple(left)).layout
        return Replaced(result.laid(laid), steps, "counted from the image's end")
    return Replaced(
        result, (*steps, *to_channels_last(node, result)), "counted from the image's end"
    )


def _positions(value: Value) -> list[tuple[str, int]]:
    return list(zip(value.spatial, value.size, strict=True))


def concatenation(node: Node, inputs: Inputs) -> Outcome | None:
    """Concatenation along the channels.

    Law: cell i of the result is cell i of all inputs, side by side.
    """
    if node.kind != "concat":
        return None
    values = [value for value in inputs if isinstance(value, Value)]
    same = (
        len(values) == len(inputs)
        and len({(value.form, value.size, len(value.layout)) for value in values}) == 1
    )
    if not same or values[0].form in APART:
        return refuse(node, inputs, "joins values of different forms or sizes: " + listed(values))
    if len(node.axes) != 1 or any(
        letter_of(value, node.axes[0]) not in ("c", "") for value in values
    ):
        return refuse(node, inputs, "joins positions, whose number is fixed")
    result = _widened(values, node.axes[0])
    if result is None:
        return refuse(node, inputs, "joins positions, whose number is fixed")
    if result.form != "view":
        return Kept(result)
    return Replaced(result, (replace(node, axes=(1,)),), "along the channels of each cell")


def _widened(values: Sequence[Value], axis: int) -> Value | None:
    """Values side by side on an axis that has channels, or length 1 where there is one channel."""
    channels = sum(value.channels for value in values)
    if values[0].form != "view":
        where = 1 if values[0].form == "map" else len(values[0].size) + 1
        return replace(values[0], channels=channels) if axis == where else None
    found = {
        tuple("c" if at == axis else letters for at, letters in enumerate(value.layout, 1))
        for value in values
    }
    alike = len(found) == 1 and all(
        letter_of(value, axis) == "c" or value.channels == 1 for value in values
    )
    return replace(values[0], channels=channels).laid(found.pop()) if alike else None
