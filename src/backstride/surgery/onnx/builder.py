"""A new ONNX graph, node by node: fresh names, stored numbers, dynamic sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import helper, numpy_helper

from backstride.layout import AnyArray
from backstride.surgery.model.names import free_name

LEAST_IR_VERSION = 4  # from here on, initializers need not be inputs


class Builder:
    """Collects the nodes and stored tensors of one graph."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, onnx.TensorProto] = {}

    def fresh(self, name: str) -> str:
        """A name that nothing has."""
        return free_name(name, self._taken)

    def add(self, operator: str, inputs: Sequence[str], output: str = "", **options: Any) -> str:
        """Add a node; returns the name of its result, a fresh one unless `output` is given."""
        output = output or self.fresh(operator.lower())
        self._nodes.append(
            helper.make_node(operator, list(inputs), [output], name=self.fresh(output), **options)
        )
        return output

    def copy(self, node: onnx.NodeProto, inputs: Sequence[str]) -> None:
        """Add a copy of a node with other inputs."""
        made = onnx.NodeProto()
        made.CopyFrom(node)
        del made.input[:]
        made.input.extend(inputs)
        self._nodes.append(made)

    def renamed(self, name: str) -> str:
        """Give what the nodes so far call `name` a fresh name, so that another may have it."""
        fresh = self.fresh(name)
        for node in self._nodes:
            for names in (node.input, node.output):
                kept = [fresh if entry == name else entry for entry in names]
                del names[:]
                names.extend(kept)
        return fresh

    def store(self, name: str, tensor: onnx.TensorProto | AnyArray) -> str:
        """Keep a tensor under its own name, once."""
        if name not in self._stored:
            if isinstance(tensor, onnx.TensorProto):
                kept = onnx.TensorProto()
                kept.CopyFrom(tensor)
            else:
                kept = numpy_helper.from_array(np.ascontiguousarray(tensor))
            kept.name = name
            self._stored[name] = kept
        return name

    def numbers(self, name: str, values: ArrayLike, dtype: DTypeLike = np.int64) -> str:
        """Keep new numbers under a fresh name."""
        return self.store(self.fresh(name), np.asarray(values, dtype))

    def has(self, name: str) -> bool:
        """Whether a tensor is stored under this name."""
        return name in self._stored

    def model(
        self,
        like: onnx.ModelProto,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """The graph as a model with the operator sets of another."""
        made = onnx.ModelProto(
            ir_version=max(like.ir_version, LEAST_IR_VERSION),
            producer_name=like.producer_name,
            producer_version=like.producer_version,
            domain=like.domain,
            model_version=like.model_version,
            doc_string=like.doc_string,
        )
        made.opset_import.extend(like.opset_import)
        made.metadata_props.extend(like.metadata_props)
        made.graph.name = like.graph.name or "network"
        made.graph.input.extend(inputs)
        made.graph.output.extend(outputs)
        made.graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        self._stored = {name: tensor for name, tensor in self._stored.items() if name in used}
        for name in tuple(self._stored):  # moved one by one: the weights are never there twice
            made.graph.initializer.append(self._stored.pop(name))
        return made
