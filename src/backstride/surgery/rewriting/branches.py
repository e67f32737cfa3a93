"""Branches that meet: with equal sizes at native size, but perhaps not at every larger one.

A pooling that rounds up beside one that rounds down, or a stride before an upsampling beside none,
meet with a cell's difference on most images. Cell i of the sum is cell i of each, as it is at
native size; a last cell that only some of the branches have is no crop's, and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from backstride.surgery.model.fields import Fields, fields, sizes
from backstride.surgery.model.graph import Graph, Node
from backstride.surgery.model.values import Refusal, Rewrite

JOINS = ("combine", "concat")
LARGEST = 2**16  # of a window's numbers
LONGEST = 4096  # steps of the strides taken together, beyond which no example is looked for


def fitted(graph: Graph) -> tuple[Graph, list[Rewrite], list[Refusal]]:
    """The graph with the inputs that must be cut marked, their report entries, and refusals."""
    joins = [node for node in graph if len(node.inputs) > 1 and node.kind in JOINS]
    if not joins:
        return graph, [], []
    try:
        known = fields(graph)
    except ValueError as error:
        node = next(node for node in joins if f"`{node.name}`" in str(error))
        reason = "joins branches of different strides, of which a larger image has different sizes"
        return graph, [], [Refusal(node.label, reason)]
    reasons = _reasons(graph, joins, known)
    nodes: list[Node] = []
    rewrites: list[Rewrite] = []
    for node in graph:
        if node.name not in reasons:
            nodes.append(node)
            continue
        nodes.append(
            replace(node, fits=tuple(name for name in dict.fromkeys(node.inputs) if name in known))
        )
        reason = reasons[node.name]
        rewrites.append(
            Rewrite(node.label, "branches of different sizes", "cut to the smallest branch", reason)
        )
    return Graph(tuple(nodes)), rewrites, []


def immense(graph: Graph) -> list[Refusal]:
    """Windows larger than any image, and cells farther apart.

    What is worked out size by size would not end.
    """
    refusals: list[Refusal] = []
    for node in graph:
        if node.window is not None:
            pads = (abs(cells) for pair in node.window.padding for cells in pair)
            most = max(*node.window.kernel, *node.window.strides, *node.window.dilation, *pads)
            if most > LARGEST:
                refusals.append(
                    Refusal(node.label, f"has a window of {most} cells; {LARGEST} is the most")
                )
    if refusals:
        return refusals
    known = fields(graph)
    for node in graph.outputs:
        most = max((axis.stride for axis in known.get(node.name, ())), default=0)
        if most > LONGEST:
            refusals.append(
                Refusal(node.label, f"has cells {most} pixels apart; {LONGEST} is the most")
            )
    return refusals


def _reasons(graph: Graph, joins: list[Node], known: Fields) -> Mapping[str, str]:
    """The nodes whose branches differ in size on some images, and the smallest such image."""
    native = graph.input.shape[1:]
    period = math.lcm(*(math.ceil(axis.stride) for field in known.values() for axis in field))
    if period > LONGEST:  # cutting what is equal already changes nothing
        return {node.name: "its branches may have different sizes on some images" for node in joins}
    found: dict[str, str] = {}
    for extra in range(1, period + 1):
        size = tuple(cells + extra for cells in native)
        at = sizes(graph, size)
        for node in joins:
            met = [at[name] for name in node.inputs if name in known]
            if len(set(met)) > 1 and node.name not in found:
                found[node.name] = _reason(size, met)
    return found


def _reason(size: tuple[int, ...], met: list[tuple[int, ...]]) -> str:
    shown = " and ".join(" x ".join(map(str, cells)) for cells in met)
    return (
        f"cell i is cell i of each branch; on an image of {' x '.join(map(str, size))}, {shown} "
        "meet, and the last cells, which not all of them have, are no crop's"
    )
