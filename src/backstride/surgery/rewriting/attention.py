"""Whether attention follows a refused node.

The reason behind the reason for most models that are no CNN.
"""

from __future__ import annotations

from backstride.surgery.model.graph import Graph, Node

NAMED = ("attention", "attn")
PRODUCTS = ("matmul", "bmm", "einsum", "dot")
PASSING = ("dropout", "reshape", "view", "to", "cast")


def attention_behind(graph: Graph, node: Node) -> str:
    """A clause about attention at `node`, or the first that is computed from it.

    "" where there is none. Attention is an operation of that name, or a softmax whose result is
    multiplied with a matrix (Vaswani et al., "Attention Is All You Need", arXiv 1706.03762,
    equation 1).
    """
    if _is_named(node, NAMED):
        return "; attention makes every place depend on the whole image"
    behind, weights = {node.name}, set[str]()
    for other in graph:
        if behind.isdisjoint(other.inputs):
            continue
        behind.add(other.name)
        weighed = not weights.isdisjoint(other.inputs)
        if _is_named(other, NAMED) or (weighed and _is_named(other, PRODUCTS)):
            return (
                f"; attention behind it ({other.label}) makes every place depend on the whole image"
            )
        if (
            other.kind == "softmax"
            or _is_named(other, ("softmax",))
            or (weighed and _is_named(other, PASSING))
        ):
            weights.add(other.name)
    return ""


def _is_named(node: Node, words: tuple[str, ...]) -> bool:
    operation = (
        node.label.rpartition(" (")[2] if node.label.endswith(")") else node.label
    )  # a layer's name says little
    return any(word in operation.lower() for word in words)
