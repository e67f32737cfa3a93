"""Sizes that an ONNX classifier states as constants: what they mean at native size, on images of
every size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from backstride.surgery import RefusedError, convolutionalize, prove, receptive_field

loose: Any = onnx  # some of it is untyped
pytestmark = pytest.mark.frameworks
DRAWN = np.random.default_rng(7)


def classifier(
    kind: str, inputs: str, opset: int = 18, kernel: int = 3, **options: Any
) -> onnx.ModelProto:
    """Images of 12 x 12 to a map of 3 channels, 6 x 6, which grows to 12 x 12 and is pooled to 4 x
    4.
    """
    stored = {
        "k": DRAWN.standard_normal((3, 1, 2, 2)),
        "u": DRAWN.standard_normal((3, 3, kernel, kernel)),
        "w": DRAWN.standard_normal((48, 2)),
        "by": np.array([1, 1, 2, 2]),
    }
    numbers = {name: value.astype(np.float32) for name, value in stored.items()} | {
        "to": np.array([1, 3, 12, 12])
    }
    nodes = (
        helper.make_node("Conv", ["x", "k"], ["c"], strides=[2, 2]),
        helper.make_node(
            kind, [name.strip("-") for name in inputs.split()], ["g"], name="up", **options
        ),
        helper.make_node("MaxPool", ["g"], ["p"], kernel_shape=[3, 3], strides=[3, 3]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["y"]),
    )
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 12, 12])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    tensors = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "grown", [image], [result], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


UP: dict[str, Any] = {"strides": [2, 2]}
FLOOR: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
GROWN: dict[str, onnx.ModelProto] = {
    "output_shape": classifier("ConvTranspose", "c u", **UP, output_shape=[12, 12]),
    "output_shape, even": classifier("ConvTranspose", "c u", kernel=4, **UP, output_shape=[12, 12]),
    "output_shape, two cells": classifier(
        "ConvTranspose", "c u", kernel=2, **UP, output_shape=[12, 12]
    ),
    "output_shape at the end": classifier(
        "ConvTranspose", "c u", **UP, output_shape=[12, 12], auto_pad="SAME_UPPER"
    ),
    "SAME_UPPER": classifier("ConvTranspose", "c u", **UP, auto_pad="SAME_UPPER"),
    "SAME_LOWER": classifier("ConvTranspose", "c u", **UP, auto_pad="SAME_LOWER"),
    "nearest to a size": classifier("Resize", "c - - to", **FLOOR),
    "nearest by halves": classifier("Resize", "c - - to"),
    "linear to a size": classifier("Resize", "c - - to", mode="linear"),
    "linear by a factor": classifier(
        "Resize", "c - by", 13, mode="linear", coordinate_transformation_mode="half_pixel"
    ),
    "cubic to a size": classifier("Resize", "c - - to", mode="cubic", cubic_coeff_a=-0.5),
}
BARE = ("output_shape, two cells", "nearest to a size", "nearest by halves")  # read no border


@pytest.mark.parametrize("name", GROWN)
def test_a_stated_size_means_the_same_growth_on_every_image(name: str) -> None:
    """Equal at native size, and where crops start at multiples of the strides and no border is
    read.
    """
    network, report = convolutionalize(GROWN[name], (1, 12, 12))
    loose.checker.check_model(network, full_check=True)
    for rows, columns in ((12, 12), (18, 24), (13, 19)):
        proof = prove(GROWN[name], network, report, DRAWN.random((1, rows, columns), np.float32))
        assert proof.holds
        assert proof.expected.any() or (name not in BARE and rows > 12)
    assert any("pad" in layer or "up" in layer for layer in report.padded) == (name not in BARE)


def test_sizes_without_one_meaning_are_refused_with_the_way_out() -> None:
    short = classifier("ConvTranspose", "c u", kernel=1, **UP, output_shape=[12, 12])
    message = r"up \(ConvTranspose\): has a size that ONNX and its runtimes reach by different pads; state `pads` in place"  # noqa: E501
    with pytest.raises(RefusedError, match=message):
        _ = convolutionalize(short, (1, 12, 12))
    aligned = classifier(
        "Resize", "c - - to", mode="linear", coordinate_transformation_mode="align_corners"
    )
    with pytest.raises(
        RefusedError,
        match=r"up \(Resize\): resizes to 12 x 12, by no whole factor that all sizes have",
    ):
        _ = convolutionalize(aligned, (1, 12, 12))


def test_a_resize_that_has_no_law_still_has_a_field() -> None:
    aligned = classifier(
        "Resize", "c - - to", mode="linear", coordinate_transformation_mode="align_corners"
    )
    grown = aligned.graph.node[1]
    del aligned.graph.node[2:]
    grown.output[0] = "y"
    aligned.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 12, 12])
    )
    (cells,) = receptive_field(aligned, (1, 12, 12))
    assert cells.bound
    assert cells.size == (12, 12)
