"""Gathers of consecutive cells in an ONNX model as slices.

The same cells, copied by rows and not one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from backstride.layout import AnyArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def sliced(model: ModelProto) -> None:
    """Turn each Gather of a Range of step 1 (possibly reshaped) into a Slice, in place."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  loads ONNX

    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        cells = _range(node, makers, constants) if node.op_type == "Gather" else None
        if cells is None:
            nodes.append(node)
            continue
        axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
        name = node.output[0]
        vector, axes, *bounds = (f"{name}.{word}" for word in ("vector", "axes", "first", "last"))
        for constant, value in ((vector, -1), (axes, axis)):
            graph.initializer.append(helper.make_tensor(constant, TensorProto.INT64, [1], [value]))
        nodes += [
            helper.make_node("Reshape", [cell, vector], [bound])
            for cell, bound in zip(cells, bounds, strict=True)
        ]
        nodes.append(helper.make_node("Slice", [node.input[0], *bounds, axes], [name]))
    del graph.node[:]
    graph.node.extend(_needed(nodes, {entry.name for entry in graph.output}))


def _range(
    gather: NodeProto, makers: Mapping[str, NodeProto], constants: Mapping[str, AnyArray]
) -> tuple[str, str] | None:
    """The names of the first cell and of the one behind the last; None for any other Gather."""
    maker = makers.get(gather.input[1])
    while maker is not None and maker.op_type == "Reshape":
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != "Range":
        return None
    first, last, step = maker.input
    return (first, last) if step in constants and constants[step] == 1 else None


def _needed(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """Nodes, in their order, without those whose results nobody reads."""
    kept: list[NodeProto] = []
    read = set(outputs)
    for node in reversed(nodes):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    return kept[::-1]
