"""What the nodes of a traced graph give, and the arguments of their calls by name.

Both may be whatever PyTorch's functions take and give: who reads one says of which type it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import fx
from torch.fx.node import Argument

Results: TypeAlias = Mapping[fx.Node, Any]
Given: TypeAlias = Mapping[str, Any]


def named(node: fx.Node, names: str) -> dict[str, Argument]:
    """The arguments of a call by name, as the graph holds them.

    `names`: those that may be given by position.
    """
    return {**dict(zip(names.split(), node.args, strict=False)), **node.kwargs}


def bound(node: fx.Node, results: Results, names: str) -> Given:
    """The same with what other nodes give in their place."""
    given = named(node, names).items()
    return {name: fx.map_arg(value, lambda source: results[source]) for name, value in given}
