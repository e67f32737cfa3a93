"""Quantised ONNX models as ones of floating-point numbers.

They have QuantizeLinear and DequantizeLinear around ordinary layers. Weights are dequantised
exactly. A place that rounds the image's maps keeps its range, into which it clips (often the only
rectifier that a quantised model has), and rounds nothing. An image of bytes becomes one of the same
numbers as float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from backstride.layout import AnyArray
from backstride.surgery.model.values import Refusal, RefusedError
from backstride.surgery.onnx.shapes import OnnxTensor, evaluated

NOTE = "backstride.unquantised"
BYTES = (TensorProto.UINT8, TensorProto.INT8)
RANGES = (np.dtype(np.int8), np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.uint16))
INTEGER = ("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")
REMEDY = (
    "export it in QDQ form, which is folded into ordinary layers: "
    "onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ), or give the "
    "floating-point model"
)
MOVING = (
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)


def refuse_whole_numbers(model: onnx.ModelProto, name: str) -> None:
    """Refuse operations that compute with whole numbers themselves.

    QOperator form and dynamic quantisation.
    """
    for node in model.graph.node:
        dynamic = node.op_type.startswith("DynamicQuantize") or node.op_type in INTEGER
        if dynamic or node.op_type.startswith(("QLinear", "QGemm", "QAttention")):
            form = "is quantised as it runs" if dynamic else "is quantised in QOperator form"
            layer = f"{node.name or next(iter(node.output), '')} ({node.op_type})"
            reason = f"{form}, which has no weights to turn; {REMEDY}"
            raise RefusedError(name, (Refusal(layer, reason),))


def unquantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without quantisation, and a note of it in its metadata.

    Itself where there is none, or one unknown.
    """
    stored = {entry.name: entry for entry in model.graph.initializer}
    stored |= {
        node.output[0]: node.attribute[0].t
        for node in model.graph.node
        if node.op_type == "Constant"
        and len(node.attribute) == 1
        and node.attribute[0].HasField("t")
    }
    inputs = [entry for entry in model.graph.input if entry.name not in stored]
    quantised = any(
        node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node
    )
    if len(inputs) != 1 or not (quantised or inputs[0].type.tensor_type.elem_type in BYTES):
        return model
    fold = _Fold(stored, inputs[0], model.opset_import)
    if not all(fold.take(node) for node in model.graph.node):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for name in ("node", "value_info", "initializer"):
        made.graph.ClearField(name)
    made.graph.node.extend(fold.nodes)
    used = {name for node in fold.nodes for name in node.input} | {
        entry.name for entry in model.graph.output
    }
    kept = (*model.graph.initializer, *fold.numbers)
    made.graph.initializer.extend(entry for entry in kept if entry.name in used)
    for entry in made.graph.input:
        if entry.name == inputs[0].name and fold.is_of_bytes:
            entry.type.tensor_type.elem_type = TensorProto.FLOAT
    _ = made.metadata_props.add(key=NOTE, value=fold.note)
    return made


class _Fold:
    """Goes through the nodes in order; `nodes` and stored `numbers` are what it makes of them."""

    def __init__(
        self,
        stored: Mapping[str, TensorProto],
        image: onnx.ValueInfoProto,
        opsets: Sequence[onnx.OperatorSetIdProto],
    ) -> None:
        self._stored = stored
        self._opsets = opsets
        self._image = image.name
        self.is_of_bytes = image.type.tensor_type.elem_type in BYTES
        self._from_image = {image.name}
        self._whole = (
            {image.name: (1.0, 0.0)} if self.is_of_bytes else {}
        )  # names that held whole numbers
        self._rounded = 0
        self.nodes: list[onnx.NodeProto] = []
        self.numbers: list[TensorProto] = []

    @property
    def note(self) -> str:
        """What was changed, in words."""
        parts: list[str] = []
        if self.is_of_bytes:
            parts.append(
                f"{self._image} holds bytes in the file, and the same numbers as float32 here"
            )
        if self._rounded:
            parts.append(
                f"rounds to whole numbers at {self._rounded} places; the network, and the "
                "classifier that it is compared with, keep their ranges and round nothing, and "
                "have the dequantised weights"
            )
        return "; ".join(parts) or "has dequantised weights"

    def take(self, node: onnx.NodeProto) -> bool:
        """Add what stands for a node.

        False where whole numbers meet an operation that is unknown for them.
        """
        inputs = list(node.input)
        if not self._from_image.intersection(inputs):
            if node.op_type == "DequantizeLinear" and all(
                name in self._stored for name in inputs if name
            ):
                self.numbers.append(
                    self._dequantised(node)
                )  # or runtimes would multiply in whole numbers again
            else:
                self.nodes.append(node)
            return True
        self._from_image.update(node.output)
        whole = [name for name in inputs if name in self._whole]
        if node.op_type == "QuantizeLinear" and not whole:
            return self._quantise(node, inputs)
        if node.op_type == "DequantizeLinear" and whole == inputs[:1]:
            return self._dequantise(node, inputs)
        self.nodes.append(node)
        if whole and node.op_type in MOVING and whole == inputs[:1] and len(node.output) == 1:
            self._whole[node.output[0]] = self._whole[whole[0]]
            return True
        return not whole or (node.op_type == "Cast" and self._is_bare(whole[0]))

    def _is_bare(self, name: str) -> bool:
        return self._whole[name] == (1.0, 0.0)

    def _quantise(self, node: onnx.NodeProto, inputs: list[str]) -> bool:
        found = self._single(inputs)
        if found is None or found[1].dtype not in RANGES:
            return False
        scale, zero = found
        span = np.iinfo(zero.dtype)
        ends = [
            self._store(node.output[0], (int(end) - int(zero)) * scale)
            for end in (span.min, span.max)
        ]
        self.nodes.append(
            helper.make_node("Clip", [inputs[0], *ends], list(node.output), name=node.name)
        )
        self._whole[node.output[0]] = (float(scale), float(zero))
        self._rounded += 1
        return True

    def _dequantise(self, node: onnx.NodeProto, inputs: list[str]) -> bool:
        found = self._single(inputs)
        if found is None:
            return False
        scale, zero = found
        given = self._whole[inputs[0]]
        if given == (float(scale), float(zero)):
            self.nodes.append(
                helper.make_node("Identity", inputs[:1], list(node.output), name=node.name)
            )
            return True
        if not self._is_bare(inputs[0]):
            return False
        shift, factor = (
            self._store(node.output[0], entry) for entry in (zero.astype(scale.dtype), scale)
        )
        middle = f"{node.output[0]}/shifted"
        self.nodes.append(helper.make_node("Sub", [inputs[0], shift], [middle], name=middle))
        self.nodes.append(
            helper.make_node("Mul", [middle, factor], list(node.output), name=node.name)
        )
        return True

    def _dequantised(self, node: onnx.NodeProto) -> TensorProto:
        names = [name for name in node.input if name]
        stored = ((name, self._stored[name]) for name in names)
        known = [
            OnnxTensor(name, tuple(entry.dims), entry.data_type, "constant", entry)
            for name, entry in stored
        ]
        return numpy_helper.from_array(evaluated(node, known, self._opsets)[0], node.output[0])

    def _single(self, inputs: list[str]) -> tuple[AnyArray, AnyArray] | None:
        """The scale and the zero point, where they are stored and single."""
        if any(name and name not in self._stored for name in inputs[1:]):
            return None
        values = [numpy_helper.to_array(self._stored[name]) for name in inputs[1:] if name]
        if not values or any(math.prod(value.shape) != 1 for value in values):
            return None
        scale, zero = (entry.reshape(()) for entry in (*values, np.array(0, np.uint8))[:2])
        return scale, zero

    def _store(self, name: str, value: ArrayLike) -> str:
        name = f"{name}/number{len(self.numbers)}"
        self.numbers.append(numpy_helper.from_array(np.asarray(value), name))
        return name
