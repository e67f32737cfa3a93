"""What every tensor of an ONNX graph is at native size.

Its shape, and its numbers where they are few and known. Node by node with ONNX's own shape
inference, so no map is computed and no weight is copied. What is made of constants and sizes alone
is computed, up to 4096 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from backstride.layout import AnyArray

SMALL = 4096
GROWS = 4  # so many numbers for each byte of the file may be computed from constants
COMPUTED = (
    *(
        "Abs",
        "Add",
        "Cast",
        "CastLike",
        "Clip",
        "Concat",
        "ConstantOfShape",
        "DequantizeLinear",
        "Div",
        "Exp",
        "Expand",
    ),
    *(
        "Flatten",
        "Gather",
        "Identity",
        "Log",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pad",
        "Pow",
        "QuantizeLinear",
    ),
    *(
        "Range",
        "Reciprocal",
        "ReduceL2",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Reshape",
        "Sigmoid",
    ),
    *(
        "Slice",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ),
)  # from constants of any size: others run on few numbers only
Origin: TypeAlias = Literal["image", "constant", "size"]


class UnshapedError(Exception):
    """A node gives what has no fixed shape."""


class ImmenseError(Exception):
    """A node claims more numbers than the file could hold."""


@dataclass(frozen=True, eq=False)
class OnnxTensor:
    """A tensor of the graph. `shape`: with the batch axis. `origin`: what it is computed from.

    `stored`: the initializer or constant it is; `value`: its numbers, where they are known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: int
    origin: Origin
    stored: onnx.TensorProto | None = None
    computed: AnyArray | None = None

    @cached_property
    def value(self) -> AnyArray | None:
        """The numbers: of a weight as it is stored, of a computed tensor where they are few."""
        return self.computed if self.stored is None else numpy_helper.to_array(self.stored)

    @property
    def is_small(self) -> bool:
        """Whether it has few numbers."""
        return math.prod(self.shape) <= SMALL


class ShapeInference:
    """Runs a graph on shapes.

    `tensors` has what is known of each name; `current` is the node at work.
    """

    def __init__(
        self, model: onnx.ModelProto, image: onnx.ValueInfoProto, shape: tuple[int, ...]
    ) -> None:
        self._opsets = list(model.opset_import)
        self._versions = {
            "" if entry.domain == "ai.onnx" else entry.domain: entry.version
            for entry in self._opsets
        }
        self._ir_version = model.ir_version
        stored = sum(len(entry.raw_data) or entry.ByteSize() for entry in model.graph.initializer)
        self._most = GROWS * (stored + sum(node.ByteSize() for node in model.graph.node)) + SMALL
        self.current: onnx.NodeProto | None = None
        self.tensors: dict[str, OnnxTensor] = {
            entry.name: OnnxTensor(
                entry.name, tuple(entry.dims), entry.data_type, "constant", entry
            )
            for entry in model.graph.initializer
        }
        self.tensors[image.name] = OnnxTensor(
            image.name, shape, image.type.tensor_type.elem_type, "image"
        )

    def run(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Go through the nodes in order."""
        for node in nodes:
            self.current = node
            self._run(node)

    def _run(self, node: onnx.NodeProto) -> None:
        sources = [self.tensors[name] for name in node.input if name]
        origin = _origin(node, sources)
        if node.op_type == "Constant" and not sources:
            stored = next((entry.t for entry in node.attribute if entry.HasField("t")), None)
            if stored is not None:
                self._give(
                    node, [(tuple(stored.dims), stored.data_type)], "constant", stored=stored
                )
                return
        given = self._inferred(node, sources)
        claimed = max((math.prod(shape) for shape, _ in given), default=0)
        if origin != "image" and claimed > self._most:
            message = (
                f"computes {claimed} numbers from constants, more than a file of this size may"
            )
            raise ImmenseError(message)
        computed = self._computed(node, sources, given) if origin != "image" else None
        if computed is not None:
            given = [
                (result.shape, helper.np_dtype_to_tensor_dtype(result.dtype)) for result in computed
            ]
        self._give(node, given, origin, computed)

    def _give(
        self,
        node: onnx.NodeProto,
        given: Sequence[tuple[tuple[int, ...], int]],
        origin: Origin,
        computed: Sequence[AnyArray] | None = None,
        stored: onnx.TensorProto | None = None,
    ) -> None:
        names = [name for name in node.output if name]
        for place, (name, (shape, dtype)) in enumerate(zip(names, given, strict=False)):
            number = None if computed is None else computed[place]
            self.tensors[name] = OnnxTensor(name, shape, dtype, origin, stored, number)

    def _inferred(
        self, node: onnx.NodeProto, sources: Sequence[OnnxTensor]
    ) -> list[tuple[tuple[int, ...], int]]:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if node.op_type == "Shape":
            return [((len(sources[0].shape),), onnx.TensorProto.INT64)]
        if node.op_type == "GroupNormalization":  # a function, which ONNX does not infer by itself
            return [(sources[0].shape, sources[0].dtype)]
        schema = onnx.defs.get_schema(node.op_type, self._versions.get(domain, 1), domain)
        types = {
            source.name: helper.make_tensor_type_proto(source.dtype, source.shape)
            for source in sources
        }
        known = {
            source.name: value for source in sources if (value := _as_data(source)) is not None
        }
        found: Mapping[str, onnx.TypeProto] = shape_inference.infer_node_outputs(
            schema, node, types, known, opset_imports=self._opsets, ir_version=self._ir_version
        )
        given: list[tuple[tuple[int, ...], int]] = []
        for name in filter(None, node.output):
            tensor = found[name].tensor_type
            if not tensor.HasField("shape") or any(
                not entry.HasField("dim_value") for entry in tensor.shape.dim
            ):
                raise UnshapedError
            shape = tuple(entry.dim_value for entry in tensor.shape.dim)
            if any(cells < 1 for cells in shape) and _origin(node, sources) == "image":
                message = f"leaves nothing of its input: {shape}"
                raise ValueError(message)
            given.append((shape, tensor.elem_type))
        return given

    def _computed(
        self,
        node: onnx.NodeProto,
        sources: Sequence[OnnxTensor],
        given: Sequence[tuple[tuple[int, ...], int]],
    ) -> list[AnyArray] | None:
        """The numbers of a node of constants and sizes alone, where they are few."""
        if node.op_type == "Shape":
            place = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            return [np.array(sources[0].shape[place.get("start", 0) : place.get("end")], np.int64)]
        if any(math.prod(shape) > SMALL for shape, _ in given) or not all(
            source.is_small for source in sources
        ):
            return None
        if node.op_type in ("If", "Loop", "Scan") or any(
            source.value is None for source in sources
        ):
            return None
        return evaluated(node, sources, self._opsets)


def evaluated(
    node: onnx.NodeProto, sources: Sequence[OnnxTensor], opsets: Sequence[onnx.OperatorSetIdProto]
) -> list[AnyArray]:
    """Run one node on known numbers."""
    names = {source.name: source for source in sources}
    inputs = [
        helper.make_tensor_value_info(name, entry.dtype, entry.shape)
        for name, entry in names.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", inputs, results)
    if node.op_type in (
        "DequantizeLinear",
        "QuantizeLinear",
    ):  # older ones mean the same, and have no reference
        opsets = [
            helper.make_opsetid(entry.domain, max(entry.version, 19))
            for entry in opsets
            if not entry.domain
        ]
    run: Any = ReferenceEvaluator(helper.make_model(graph, opset_imports=list(opsets)))
    return [
        np.asarray(result)
        for result in run.run(None, {name: entry.value for name, entry in names.items()})
    ]


def _origin(node: onnx.NodeProto, sources: Sequence[OnnxTensor]) -> Origin:
    origins = {source.origin for source in sources}
    if node.op_type in ("Shape", "Size"):
        return "constant" if origins == {"constant"} else "size"
    if "image" in origins:
        return "image"
    return "size" if "size" in origins else "constant"


def _as_data(source: OnnxTensor) -> onnx.TensorProto | None:
    if not source.is_small or source.origin == "image":
        return None
    if source.stored is not None:
        return source.stored
    return None if source.computed is None else numpy_helper.from_array(source.computed)
