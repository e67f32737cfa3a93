"""Slices in the place of gathers give the same cells."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="models are ONNX")

from backstride.roads.prediction.slicing import sliced


def cropped(step: int) -> Any:
    """Rows from 2 up to `last`, then columns 4 and 1: a range that can be a slice where `step` is
    1, and a list.
    """
    helper: Any = importlib.import_module("onnx.helper")
    made, integers = importlib.import_module("onnx.numpy_helper").from_array, np.int64
    constants = [
        made(np.array(2, integers), "first"),
        made(np.array(step, integers), "step"),
        made(np.array([-1], integers), "flat"),
        made(np.array([4, 1], integers), "columns"),
    ]
    nodes = [
        helper.make_node("Range", ["first", "last", "step"], ["cells"]),
        helper.make_node("Reshape", ["cells", "flat"], ["rows"]),
        helper.make_node("Gather", ["maps", "rows"], ["fewer"], axis=1),
        helper.make_node("Gather", ["fewer", "columns"], ["result"], axis=2),
    ]
    inputs = [
        helper.make_tensor_value_info("maps", 1, [1, 9, 6]),
        helper.make_tensor_value_info("last", 7, []),
    ]
    outputs = [helper.make_tensor_value_info("result", 1, [1, None, 2])]
    graph = helper.make_graph(nodes, "cropped", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(
    ("step", "kinds"), [(1, ["Reshape", "Reshape", "Slice", "Gather"]), (2, None)]
)
def test_gives_the_same_cells(step: int, kinds: list[str] | None) -> None:
    evaluator: Any = importlib.import_module("onnx.reference").ReferenceEvaluator
    checker: Any = importlib.import_module("onnx.checker")
    maps = np.arange(54, dtype=np.float32).reshape(1, 9, 6)
    model = cropped(step)
    before = [node.op_type for node in model.graph.node]
    sliced(model)
    checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == (kinds or before)
    for last in (5, 9):
        (found,) = evaluator(model).run(None, {"maps": maps, "last": np.array(last)})
        np.testing.assert_array_equal(found, maps[:, 2:last:step][:, :, [4, 1]])
