"""Numbers that a forward computes from the image's size.

Those of the native size, for images of every size. Law: a cell of the network is what the
classifier computes from a crop of native size, so what it multiplies with, or fills a tensor with,
is what it would there. The number of images is that of the batch which comes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import fx
from torch.fx.node import Argument

from backstride.surgery.model.graph import BATCH, Graph, Kind, Node
from backstride.surgery.torch.arguments import Results
from backstride.surgery.torch.functions import called

SIZES: Mapping[str, int] = {  # how many arguments of these are sizes, or what gets them
    **dict.fromkeys(
        ("empty", "expand", "ones", "rand", "randn", "repeat", "reshape", "view", "zeros"), 9
    ),
    **dict.fromkeys(("new_empty", "new_ones", "new_zeros"), 9),
    "full": 1,
    "new_full": 2,
}


def kind_of_number(node: fx.Node, results: Results, known: Mapping[str, Node]) -> Kind:
    """`constant` for numbers, and tuples of them, that the native size decides.

    `scalar` where images are counted.
    """
    found = results[node]
    plain = all(isinstance(entry, int | float) for entry in _entries(found))
    counts = any(
        isinstance(entry, int) and entry and entry % BATCH == 0 for entry in _entries(found)
    )
    if isinstance(found, int | float):
        counts |= _any_counts(node.all_input_nodes, results, known)
    return "constant" if plain and not counts else "scalar"


def kind_of_filled(node: fx.Node, results: Results, known: Mapping[str, Node]) -> Kind:
    """The same of a tensor without data of the image.

    `scalar` where its numbers, not its shape alone, count images.
    """
    values: list[fx.Node] = []
    _ = fx.map_arg((node.args[SIZES.get(called(node), 0) :], node.kwargs), values.append)
    tensors = [source for source in values if isinstance(results[source], torch.Tensor)]
    counts = _any_counts(values, results, known) or any(
        known[source.name].kind == "scalar" for source in tensors
    )
    return "scalar" if counts else "constant"


def _any_counts(sources: Sequence[fx.Node], results: Results, known: Mapping[str, Node]) -> bool:
    numbers = [source for source in sources if isinstance(results[source], int | float)]
    return any(known[source.name].kind == "scalar" for source in numbers)


def _entries(found: object) -> Sequence[object]:
    return cast("Sequence[object]", found) if isinstance(found, tuple | list) else (found,)


class Read(Protocol):
    """A reading, with what each node gives at native size."""

    @property
    def results(self) -> Results:
        """What each node gives."""
        ...

    @property
    def graph(self) -> Graph:
        """The plain graph."""
        ...


def with_native_numbers(
    reading: Read, find: Callable[[fx.Node], fx.Node], graph: fx.Graph
) -> Callable[[fx.Node], Argument]:
    """`find` for a node's inputs, with native numbers in place of those made from sizes."""

    def find_or_native(source: fx.Node) -> Argument:
        found = reading.results[source]
        if isinstance(found, torch.Tensor):
            return find(source)
        if reading.graph[source.name].kind == "constant":
            return found
        if not isinstance(found, torch.Size):
            return find(source)
        whole = find(source)
        return tuple(
            graph.call_function(operator.getitem, (whole, place)) if entry % BATCH == 0 else entry
            for place, entry in enumerate(found)
        )

    return find_or_native
