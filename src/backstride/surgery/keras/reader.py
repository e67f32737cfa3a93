"""A Keras model becomes a `Graph`: its calls, with shapes at native size.

No weight copied or run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backstride.surgery.keras.calls import KerasCalls, calls_of
from backstride.surgery.keras.library import Model
from backstride.surgery.keras.operations import nodes_of
from backstride.surgery.model.graph import Graph, Node
from backstride.surgery.model.heads import Choice, Head
from backstride.surgery.model.values import Refusal
from backstride.surgery.rewriting.scores import UNGROUPED


@dataclass(frozen=True)
class KerasReading:
    """A model that was read: the given `model`, its calls, and the plain graph."""

    model: Model
    calls: KerasCalls
    graph: Graph
    notes: tuple[Refusal, ...] = ()

    @property
    def heads(self) -> tuple[Head, ...]:
        """The model's results."""
        return self.calls.heads

    @property
    def head(self) -> Head | None:
        """The chosen one."""
        return self.calls.head

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def layers(self) -> Mapping[str, int]:
        """The operation that each node calls."""
        known = {call.name: id(call.operation) for call in self.calls.calls}
        return {
            node.name: known[name]
            for node in self.graph
            if (name := node.name.partition("/")[0]) in known
        }

    def obstacle(self, score: str) -> str:
        """Why the layer that gives the scores cannot give another number of them.

        "" where it can.
        """
        name = score.removesuffix("/scores")
        (call,) = (call for call in self.calls.calls if call.name == name)
        plain = call.kind in ("Conv2D", "Dense") and call.option("groups", 1) == 1
        return "" if plain else UNGROUPED


def read(model: Model, input_shape: tuple[int, ...], choice: Choice) -> KerasReading:
    """Read a model for images of `input_shape`, such as (C, H, W), with its channels last.

    All of it or a chosen head. Raises `RefusedError` for models whose calls are not known, and
    `ValueError` where a layer does not take images of this shape.
    """
    channels, *cells = input_shape
    calls = calls_of(model, (*cells, channels), choice)
    nodes = [Node(calls.image.name, "input", (), input_shape, "image")]
    for call in calls.calls:
        nodes.extend(nodes_of(call))
    names = tuple(ref.name for ref in calls.results)
    nodes.append(Node("the result", "output", names, (), "the result"))
    return KerasReading(model, calls, _needed(Graph(tuple(nodes))), calls.notes)


def _needed(graph: Graph) -> Graph:
    """The graph without calls that no result needs."""
    kept = graph.ancestors("the result")
    return Graph(tuple(node for node in graph if node.name in kept or node.kind == "input"))
