"""Small ONNX classifiers written in ONNX's own text form, with random weights, for many operator
sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("onnx", reason="these are ONNX models")

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Weights = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """A graph as (operator, inputs, output, attributes), its weights' shapes, input and outputs.

    `exact`: whether every cell on larger images is exact. `last`: the image has its channels last.
    """

    name: str
    shape: tuple[int, int, int]
    nodes: tuple[tuple[str, str, str, dict[str, Any]], ...]
    weights: Weights
    outputs: dict[str, int]
    exact: bool
    least: int = 11
    batch: int | None = None
    last: bool = False
    numbers: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def build(self, opset: int) -> onnx.ModelProto:
        """The model, its weights always the same."""
        generator = np.random.default_rng(len(self.name))
        stored: list[TensorProto] = []
        for name, shape in self.weights.items():
            drawn = (
                generator.uniform(0.5, 1.5, shape)
                if name.startswith("var")
                else generator.normal(size=shape)
            )
            scale = 1 / np.sqrt(np.prod(shape[1:]) or 1) if len(shape) > 1 else 1
            stored.append(numpy_helper.from_array((drawn * scale).astype(np.float32), name))
        stored += [
            numpy_helper.from_array(np.array(values, np.int64), name)
            for name, values in self.numbers
        ]
        nodes = [
            helper.make_node(operator, inputs.split(), output.split(), name=f"n{place}", **options)
            for place, (operator, inputs, output, options) in enumerate(self.nodes)
        ]
        channels, rows, columns = self.shape
        sizes = [rows, columns, channels] if self.last else [channels, rows, columns]
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [self.batch or "n", *sizes])
        results = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [self.batch or "n", classes])
            for name, classes in self.outputs.items()
        ]
        graph = helper.make_graph(nodes, self.name, [image], results, stored)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", opset)],
            ir_version=10 if opset > 21 else 8,
        )


LENET = Case(
    "lenet",
    (1, 20, 24),
    (
        ("Conv", "x k1 b1", "c1", {}),
        ("Relu", "c1", "r1", {}),
        ("MaxPool", "r1", "p1", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", "p1 k2", "c2", {}),
        ("PRelu", "c2 slope", "r2", {}),
        ("AveragePool", "r2", "p2", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", "p2", "f", {}),
        ("Gemm", "f w1 d1", "g1", {"transB": 1, "alpha": 0.5, "beta": 2.0}),
        ("BatchNormalization", "g1 scale shift mean var", "n1", {}),
        ("PRelu", "n1 slopes", "r3", {}),
        ("MatMul", "r3 w2", "m", {}),
        ("Add", "d2 m", "a", {}),
        ("Mul", "a factors", "z", {}),
        ("Softmax", "z", "y", {"axis": 1}),
    ),
    {
        "k1": (4, 1, 5, 5),
        "b1": (4,),
        "k2": (6, 4, 3, 3),
        "slope": (6, 1, 1),
        "w1": (12, 6 * 3 * 4),
        "d1": (12,),
        "scale": (12,),
        "shift": (12,),
        "mean": (12,),
        "var": (12,),
        "slopes": (12,),
        "w2": (12, 5),
        "d2": (5,),
        "factors": (5,),
    },
    {"y": 5},
    exact=True,
)
HWC = Case(
    "hwc",
    (3, 18, 14),
    (
        ("Transpose", "x", "t", {"perm": [0, 3, 1, 2]}),
        ("Conv", "t k1 b1", "c1", {"auto_pad": b"SAME_UPPER", "strides": [2, 2]}),
        ("Relu", "c1", "r1", {}),
        ("MaxPool", "r1", "p1", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Transpose", "p1", "u", {"perm": [0, 2, 3, 1]}),
        ("Reshape", "u flat", "f", {}),
        ("MatMul", "f w", "m", {}),
        ("Add", "m d", "y", {}),
    ),
    {"k1": (6, 3, 3, 3), "b1": (6,), "w": (6 * 4 * 3, 7), "d": (7,)},
    {"y": 7},
    exact=True,
    last=True,
    numbers=(("flat", (-1, 6 * 4 * 3)),),
)
POOLED = Case(
    "pooled",
    (2, 15, 13),
    (
        ("Conv", "x k1", "c1", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("HardSigmoid", "c1", "h", {}),
        ("MaxPool", "x", "q", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Concat", "h q", "j", {"axis": 1}),
        ("GlobalAveragePool", "j", "g", {}),
        ("Reshape", "g shape", "f", {}),
        ("Gemm", "f w d", "y", {}),
    ),
    {"k1": (5, 2, 3, 3), "w": (7, 4), "d": (4,)},
    {"y": 4},
    exact=False,
    batch=1,
    numbers=(("shape", (1, 7)),),
)
HEADS = Case(
    "heads",
    (1, 12, 11),
    (
        ("Conv", "x k1", "c1", {}),
        ("Shape", "c1", "s", {}),
        ("Gather", "s zero", "n", {"axis": 0}),
        ("Concat", "n rest", "to", {"axis": 0}),
        ("Reshape", "c1 to", "f", {}),
        ("Gemm", "f w1", "kind", {}),
        ("LogSoftmax", "kind", "log", {"axis": -1}),
        ("Gemm", "f w2", "colour", {}),
    ),
    {"k1": (3, 1, 3, 3), "w1": (3 * 10 * 9, 4), "w2": (3 * 10 * 9, 2)},
    {"log": 4, "colour": 2},
    exact=True,
    numbers=(("zero", (0,)), ("rest", (-1,))),
)
SHUFFLED = Case(
    "shuffled",
    (4, 10, 10),
    (
        ("Conv", "x k1", "c1", {"group": 2}),
        ("Reshape", "c1 apart", "a", {}),
        ("Transpose", "a", "b", {"perm": [0, 2, 1, 3, 4]}),
        ("Reshape", "b together", "c", {}),
        ("Slice", "c first last axes", "d", {}),
        ("Conv", "d k2", "e", {}),
        ("GlobalMaxPool", "e", "g", {}),
        ("Flatten", "g", "f", {}),
        ("Gemm", "f w", "y", {}),
    ),
    {"k1": (8, 2, 3, 3), "k2": (5, 6, 1, 1), "w": (5, 3)},
    {"y": 3},
    exact=True,
    numbers=(
        ("apart", (-1, 2, 4, 8, 8)),
        ("together", (-1, 8, 8, 8)),
        *(("first", (2,)), ("last", (8,)), ("axes", (1,))),
    ),
)
# every second cell beside means of pairs: on images of odd sizes the first branch has a cell more
UNEVEN = Case(
    "uneven",
    (2, 6, 8),
    (
        ("Conv", "x k1", "a", {"strides": [2, 2]}),
        ("AveragePool", "x", "b", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Concat", "a b", "c", {"axis": 1}),
        ("Flatten", "c", "f", {}),
        ("Gemm", "f w", "y", {}),
    ),
    {"k1": (3, 2, 1, 1), "w": (60, 4)},
    {"y": 4},
    exact=True,
)
CASES = (LENET, HWC, POOLED, HEADS, SHUFFLED, UNEVEN)
