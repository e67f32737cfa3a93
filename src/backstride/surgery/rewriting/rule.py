"""What every rule is made of.

Its name and function, its inputs, refusals, and the nodes that it writes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backstride.surgery.model.graph import Kind, Node, Window
from backstride.surgery.model.values import Axes, Outcome, Refusal, Value

Inputs = Sequence[Value | Node]
MAPS = ("map", "map_last")
APART = ("split", "parts", "grouped", "binned")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's name, as the report shows it, and its function."""

    name: str
    apply: Callable[[Node, Inputs], Outcome | None]


def only(inputs: Inputs) -> Value | None:
    """The one value that a node takes, else None."""
    values = [value for value in inputs if isinstance(value, Value)]
    return values[0] if len(values) == len(inputs) == 1 else None


def refuse(node: Node, inputs: Inputs, reason: str) -> Refusal:
    """A refusal that says what the node meets."""
    values = [value for value in inputs if isinstance(value, Value)]
    met = f" (it meets {listed(values)})" if values and node.kind != "output" else ""
    return Refusal(node.label, f"{reason}{met}")


def listed(values: Sequence[Value]) -> str:
    """Values in words."""
    return " and ".join(value.described() for value in values)


def unit_window(kernel: tuple[int, ...]) -> Window:
    """A window at every cell, without padding."""
    ones = (1,) * len(kernel)
    return Window(kernel, ones, ((0, 0),) * len(kernel), ones)


def plain(node: Node, kind: Kind) -> Node:
    """A node of another kind in this one's place, with nothing of it but its names."""
    return Node(node.name, kind, node.inputs, node.shape, node.label)


def pool_reason(kernel: tuple[int, ...]) -> str:
    """Why a sliding pooling is the classifier's."""
    return f"each {' x '.join(map(str, kernel))} window is what the classifier pools"


def to_channels_first(node: Node, value: Value) -> tuple[Node, ...]:
    """What brings a channels-last map into the network's order, or joins split channels."""
    if value.form == "split":
        return (replace(plain(node, "join"), factors=value.factors),)
    if value.form != "map_last":
        return ()
    rank = len(value.size)
    return (
        replace(
            plain(node, "permute"), axes=(0, rank + 1, *range(1, rank + 1)), shape=value.written
        ),
    )


def to_channels_last(node: Node, value: Value) -> tuple[Node, ...]:
    """What brings the network's map back to channels last, where the classifier has them."""
    if value.form != "map_last":
        return ()
    rank = len(value.size)
    channels, *cells = value.written
    return (
        replace(plain(node, "permute"), axes=(0, *range(2, rank + 2), 1), shape=(*cells, channels)),
    )


def letter_of(value: Value, axis: int) -> str:
    """The letters that an axis of the classifier's tensor runs over; the batch axis is 0."""
    layout = value.layout
    return layout[axis - 1] if 0 < axis <= len(layout) else "batch"


def regrouped(value: Value, shape: tuple[int, ...]) -> Axes | None:
    """The axes that a tensor of this layout has once it is reshaped.

    None where an axis would be cut.

    >>> value = Value("map", 8, (4, 5))
    >>> (regrouped(value, (8, 20)), regrouped(value, (160,)), regrouped(value, (1, 32, 5)),
    ...  regrouped(value, (16, 10)))
    (('c', 'hw'), ('chw',), ('', 'ch', 'w'), None)
    """
    left = list("".join(value.layout))
    axes: list[str] = []
    for cells in shape:
        axis = ""
        while left and math.prod(map(value.length, axis)) < cells:
            axis += left.pop(0)
        if math.prod(map(value.length, axis)) != cells:
            return None
        axes.append(axis)
    return None if left else tuple(axes)
