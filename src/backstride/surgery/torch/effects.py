"""Calls that change a tensor in place, in a graph of values.

What reads the tensor later reads the change.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

import torch
from torch import fx
from torch.fx.node import Target

from backstride.surgery.torch.arguments import Results

ASSIGNED: Mapping[Target, Target] = {  # what an augmented assignment gives
    getattr(operator, f"i{name}"): getattr(operator, name)
    for name in ("add", "sub", "mul", "truediv", "pow")
}


def versions(nodes: Sequence[fx.Node], results: Results) -> list[int]:
    """How often each tensor has been written to."""
    tensors = [found for node in nodes if isinstance(found := results[node], torch.Tensor)]
    return [tensor._version for tensor in tensors]  # torch has no other name for it


def settle(
    graph: fx.Graph, results: Results, writers: Sequence[fx.Node]
) -> tuple[fx.Node, fx.Node] | None:
    """Give later readers of what `writers` change in place the writers' results.

    Returns the first writer whose change is read in another view, and that view, where there is
    one: values of their own cannot say the same.
    """
    nodes = list(graph.nodes)
    places = {node: place for place, node in enumerate(nodes)}
    for writer in writers:
        changed = results[writer]
        for other in nodes[: places[writer]]:
            later = [user for user in other.users if places[user] > places[writer]]
            if not later or not _share(results[other], changed):
                continue
            if not _same(results[other], changed):
                return writer, other
            for user in later:
                user.replace_input_with(other, writer)
    for node in nodes:
        node.target = ASSIGNED.get(node.target, node.target)
    return None


def _share(first: object, second: object) -> bool:
    """Whether two results have a number in common."""
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return False
    one, other = (getattr(entry.untyped_storage(), "_cdata", None) for entry in (first, second))
    if one != other:
        return False
    if first.stride() != second.stride():
        return True
    low, high = sorted((first, second), key=torch.Tensor.storage_offset)
    rest = int(high.storage_offset() - low.storage_offset())
    for step, cells in sorted(zip(map(int, low.stride()), low.shape, strict=True), reverse=True):
        apart, rest = divmod(rest, step) if step else (0, rest)
        if apart >= cells:
            return False
    return True


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two results are the same numbers in the same places."""
    layouts = [(entry.shape, entry.stride(), entry.storage_offset()) for entry in (first, second)]
    return layouts[0] == layouts[1]
