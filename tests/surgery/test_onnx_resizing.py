"""Interpolation inside ONNX classifiers: exact but where a crop's border stands for what the image
has there.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from backstride.surgery import RefusedError, convolutionalize, prove

loose: Any = onnx  # some of it is untyped
pytestmark = pytest.mark.frameworks
SIDE, CELLS = 17, 8
PLACES = ("asymmetric", "half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
FORMS = [
    *((mode, place, "floor") for mode in ("linear", "cubic") for place in PLACES),
    *(("nearest", place, rounding) for place in PLACES for rounding in ROUNDINGS),
    ("nearest", "tf_half_pixel_for_nn", "floor"),
]


def classifier(factor: int, form: tuple[str, str, str], *, sizes: bool = False) -> onnx.ModelProto:
    """Half the cells, so many times as many again, those at the border left out, then a dense
    layer.
    """
    draw = np.random.default_rng(0)
    names = ("mode", "coordinate_transformation_mode", "nearest_mode")
    options: dict[str, Any] = dict(zip(names, form, strict=True))
    stored: dict[str, Any] = {
        "k": draw.normal(size=(4, 1, 2, 2)).astype(np.float32),
        "roi": np.zeros(0, np.float32),
        "none": np.zeros(0, np.float32),
        "scales": np.array([1, 1, factor, factor], np.float32),
        "sizes": np.array([1, 4, CELLS * factor, CELLS * factor]),
        "starts": np.array([2 * factor] * 2),
        "ends": np.array([-2 * factor] * 2),
        "axes": np.array([2, 3]),
        "w": draw.normal(size=(4 * (4 * factor) ** 2, 3)).astype(np.float32) / factor,
    }
    inputs = "c roi none sizes" if sizes else "c roi scales"
    nodes: list[tuple[str, str, str, dict[str, Any]]] = [
        ("Conv", "x k", "c", {"strides": [2, 2]}),
        ("Resize", inputs, "r", options),
        *(
            ("Slice", "r starts ends axes", "s", {}),
            ("Relu", "s", "t", {}),
            ("Flatten", "t", "f", {}),
        ),
        ("MatMul", "f w", "y", {}),
    ]
    made = [
        helper.make_node(operator, given.split(), [result], name=f"n{at}", **more)
        for at, (operator, given, result, more) in enumerate(nodes)
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    numbers = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(
        made, "grown", [image], [helper.make_empty_tensor_value_info("y")], numbers
    )
    opset = 11 if form[1].startswith("tf") else 19
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


@pytest.mark.parametrize(("factor", "form"), list(itertools.product((2, 3, 4), FORMS)))
def test_exactly_the_cells_that_must_be_equal_are(factor: int, form: tuple[str, str, str]) -> None:
    model = classifier(factor, form, sizes=factor == 2)
    network, report = convolutionalize(model, (1, SIDE, SIDE))
    loose.checker.check_model(network, full_check=True)
    image = np.random.default_rng(1).normal(size=(1, SIDE + 6, SIDE + 7)).astype(np.float32)
    proof = prove(model, network, report, image)
    compared = ~np.isnan(proof.deviation)
    assert proof.holds
    assert np.array_equal(proof.expected[compared], proof.exact[compared])
    assert proof.expected.sum() == 4 * 4  # shifts by two pixels, whatever the factor


def test_the_window_is_as_narrow_as_the_interpolation() -> None:
    """Without the rows at the border left out, linear interpolation reads beyond it by half a cell,
    a nearest not.
    """
    forms = {"nearest": "asymmetric", "linear": "asymmetric", "cubic": "half_pixel"}
    found = {
        mode: [
            node.window
            for node in convolutionalize(classifier(2, (mode, place, "floor")), (1, SIDE, SIDE))[
                1
            ].graph
            if node.kind == "conv_transpose"
        ]
        for mode, place in forms.items()
    }
    shown = {
        mode: (window.kernel[0], window.padding[0])
        for mode, (window,) in found.items()
        if window is not None
    }
    assert shown == {"nearest": (2, (0, 0)), "linear": (3, (1, 0)), "cubic": (8, (3, 3))}


def test_aligned_corners_are_refused_with_the_reason() -> None:
    with pytest.raises(
        RefusedError, match=r"n1 \(Resize\): resizes to 16 x 16, by no whole factor that all sizes"
    ):
        _ = convolutionalize(classifier(2, ("linear", "align_corners", "floor")), (1, SIDE, SIDE))
