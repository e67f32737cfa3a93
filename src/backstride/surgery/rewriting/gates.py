"""Which poolings weigh the channels of a map (squeeze and excitation).

They are found by the shapes that meet. Hu et al., "Squeeze-and-Excitation Networks" (arXiv
1709.01507): a map is multiplied by a vector that was pooled from all of it. On a larger image that
vector has two meanings, between which only the user can choose. `global`: the pooling of the whole
larger image, as the layer's text says. `local`: at each cell the pooling of the window of native
size around it, held inside the image at its borders.
"""

from __future__ import annotations

from dataclasses import replace

from backstride.surgery.model.graph import Gate, Graph, Node
from backstride.surgery.rewriting.rules_pooling import STEPS

POOLS = (*STEPS, "adaptive_avg_pool", "adaptive_max_pool", "avg_pool", "max_pool")


def gated(graph: Graph, choice: Gate, *, maps: bool = False) -> Graph:
    """The graph with `choice` on every pooling of this kind, and on norms of whole maps.

    `maps`: also on those whose result is resized to a map again, as pyramids of poolings do.
    """
    norms = {node.name for node in graph if node.kind == "whole_norm"}
    names = gate_pools(graph, maps=maps) | gates_of_one_cell(graph) | norms
    return Graph(
        tuple(replace(node, gate=choice) if node.name in names else node for node in graph)
    )


def gate_pools(graph: Graph, *, maps: bool = False) -> frozenset[str]:
    """The poolings from a map to one cell whose result meets a map of more cells."""
    found: set[str] = set()
    spread = [
        node for node in graph if node.kind in ("combine", "expand") or (maps and _is_resized(node))
    ]
    todo = [name for node in spread for name in _weighing(graph, node)]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        node = graph[name]
        if node.kind in POOLS and not all(_is_single(graph[source]) for source in node.inputs):
            found.add(name)
        elif _is_single(node):
            todo += node.inputs
    return frozenset(found)


def _is_resized(node: Node) -> bool:
    return node.kind == "resize" or (
        node.kind == "conv_transpose" and node.window is not None and node.window.same
    )


def gates_of_one_cell(graph: Graph) -> frozenset[str]:
    """The poolings of this kind whose map has one cell at native size, where no shape shows them.

    What one of them gives meets a map that does not come through it: on a larger image that map has
    many cells.
    """
    found: set[str] = set()
    for node in graph:
        if node.kind == "combine" and _is_single(node):
            reached = [
                _pools_of_one_cell(graph, name)
                for name in node.inputs
                if graph[name].kind not in ("constant", "scalar")
            ]
            found.update(*(more - less for more in reached for less in reached if less < more))
    return frozenset(found)


def _pools_of_one_cell(graph: Graph, name: str) -> frozenset[str]:
    """The poolings of a map of one cell that a value of one cell is computed from."""
    above = (graph[other] for other in graph.ancestors(name))
    pools = (
        node for node in above if node.kind in (*STEPS, "adaptive_avg_pool", "adaptive_max_pool")
    )
    return frozenset(
        node.name
        for node in pools
        if all(_pools_one(node, graph[source]) for source in node.inputs)
    )


def _pools_one(node: Node, source: Node) -> bool:
    """Whether this pools a map of one cell, (C, 1, 1) or (1, 1, C).

    What takes its channels alone pools no cells.
    """
    reduced = [source.shape[axis - 1] for axis in node.axes]
    return (
        source.kind != "input"
        and len(source.shape) > 1
        and _is_single(source)
        and (not reduced or 1 in reduced)
    )


def _weighing(graph: Graph, node: Node) -> list[str]:
    """The inputs of one cell, where the result has more."""
    inputs = [graph[name] for name in node.inputs]
    if _is_single(node):
        return []
    return [
        source.name
        for source in inputs
        if source.kind not in ("constant", "scalar") and _is_single(source)
    ]


def _is_single(node: Node) -> bool:
    return node.kind != "input" and sum(cells > 1 for cells in node.shape) < 2
