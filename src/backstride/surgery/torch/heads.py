"""The heads of a PyTorch module: the tensors among what it returns, however that packs them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import fx

from backstride.surgery.model.heads import Head
from backstride.surgery.torch.arguments import Results
from backstride.surgery.torch.functions import is_stored


def leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """What a forward returns, entry by entry, with the keys that lead there.

    A graph's output gives its nodes.

    >>> list(leaves((1, {"a": 2, "b": [3]})))
    [('0', 1), ('1.a', 2), ('1.b.0', 3)]
    """
    entries = _entries(value)
    if entries is None:
        yield ".".join(path) or "0", value
        return
    for key, entry in entries:
        yield from leaves(entry, (*path, str(key)))


def _entries(value: object) -> Iterable[tuple[object, object]] | None:
    """The keys and values of what packs others."""
    if isinstance(value, fx.Node) and packs(value):
        return [*zip(_fields(value.target), value.args, strict=False), *value.kwargs.items()]
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).items()
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        return [(name, getattr(value, name)) for name in _fields(value)]
    return enumerate(cast("Iterable[object]", value)) if isinstance(value, tuple | list) else None


def packs(value: object) -> bool:
    """Whether a node makes a named tuple or a dataclass of others."""
    made = value.target if isinstance(value, fx.Node) else None
    return inspect.isclass(made) and (dataclasses.is_dataclass(made) or hasattr(made, "_fields"))


def _fields(packing: object) -> tuple[str, ...]:
    named: tuple[str, ...] | None = getattr(packing, "_fields", None)
    if named is None and dataclasses.is_dataclass(packing):
        return tuple(field.name for field in dataclasses.fields(packing))
    return named or ()


def heads_of(
    graph: fx.Graph, results: Results, label: Callable[[fx.Node], str]
) -> Mapping[Head, fx.Node]:
    """The heads of a traced graph, and the nodes that give them.

    Tensors that are not stored ones.
    """
    return {
        Head(place, name, label(leaf)): leaf
        for place, (name, leaf) in enumerate(leaves(_output(graph).args[0]))
        if isinstance(leaf, fx.Node)
        and isinstance(results[leaf], torch.Tensor)
        and not is_stored(leaf)
    }


def keep_alone(graph: fx.Graph, result: fx.Node) -> None:
    """Have a graph give one result, without what only others need."""
    output = _output(graph)
    output.args = (result,)
    needed = {output}
    for node in reversed(list(graph.nodes)):
        if node in needed:
            needed.update(node.all_input_nodes)
        elif node.op != "placeholder":
            graph.erase_node(node)


def _output(graph: fx.Graph) -> fx.Node:
    (output,) = graph.find_nodes(op="output")
    return output
