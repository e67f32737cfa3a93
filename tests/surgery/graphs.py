"""Graphs written by hand, to test the rules without a framework."""

from __future__ import annotations

from backstride.surgery.model.graph import Graph, Kind, Node, Window


class Chain:
    """Adds one node after the other; shapes of sliding nodes follow from their windows."""

    def __init__(self, *shape: int) -> None:
        self.nodes = [Node("image", "input", (), shape, "image")]

    def slide(
        self,
        name: str,
        kind: Kind,
        kernel: int,
        stride: int = 1,
        pad: int = 0,
        *,
        channels: int = 0,
        ceil_mode: bool = False,
        source: str = "",
    ) -> Chain:
        window = Window(
            (kernel, kernel), (stride, stride), ((pad, pad), (pad, pad)), (1, 1), ceil_mode
        )
        last = (
            next(node for node in self.nodes if node.name == source) if source else self.nodes[-1]
        )
        rule = window.transposed if kind == "conv_transpose" else window.output
        size = tuple(rule(axis, cells) for axis, cells in enumerate(last.shape[1:]))
        shape = (channels or last.shape[0], *size)
        self.nodes.append(Node(name, kind, (last.name,), shape, name, window))
        return self

    def node(
        self,
        name: str,
        kind: Kind,
        *shape: int,
        inputs: tuple[str, ...] = (),
        axes: tuple[int, ...] = (),
        features: int | None = None,
    ) -> Chain:
        last = self.nodes[-1]
        sources = inputs or (last.name,)
        self.nodes.append(
            Node(name, kind, sources, shape or last.shape, name, axes=axes, features=features)
        )
        return self

    def graph(self, *outputs: str) -> Graph:
        names = outputs or (self.nodes[-1].name,)
        return Graph((*self.nodes, Node("output", "output", names, (), "the result")))
