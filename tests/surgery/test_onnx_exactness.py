"""Which cells of an ONNX network are said to be exact: each is run against the classifier on its
crop, one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from backstride.surgery import convolutionalize, prove
from backstride.surgery.onnx.runner import OnnxSession

pytestmark = pytest.mark.frameworks
SIDE = 8
Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]
NONE: dict[str, Any] = {}
FIRST, LAST = (
    ("Conv", "x first", "c", NONE),
    (("Relu", "d", "r", NONE), ("Flatten", "r", "f", NONE)),
)


def numbers(**values: Any) -> dict[str, Any]:
    return {name: np.array(value, np.int64) for name, value in values.items()}


def padded(mode: str, pads: tuple[int, int, int, int], stride: int) -> tuple[Nodes, dict[str, Any]]:
    """A padding (top, left, bottom, right) in front of a convolution."""
    top, left, bottom, right = pads
    pad = ("Pad", "c pads", "p", {"mode": mode})
    return (FIRST, pad, ("Conv", "p k", "d", {"strides": [stride, stride]}), *LAST), numbers(
        pads=[0, 0, top, left, 0, 0, bottom, right]
    )


def beside(mode: str, other: str, *, far: bool = False) -> tuple[Nodes, dict[str, Any]]:
    """Two paddings of one map, whose sum the next layer reads; `far`: beyond its border alone."""
    pads = [
        ("Pad", f"c {name}", name[0], {"mode": kind})
        for name, kind in (("a2", mode), ("b2", other))
    ]
    slid = {"strides": [13, 13]} if far else NONE
    convs = ("Conv", "a k", "g", slid), ("Conv", "b k", "h", slid)
    first = ("Conv", "x wide", "c", {"pads": [0, 0, 2, 2]}) if far else FIRST
    cells = [0, 0, 7, 7, 0, 0, 0, 0] if far else [0, 0, 2, 0, 0, 0, 0, 2]
    return (first, *pads, *convs, ("Add", "g h", "d", NONE), *LAST), numbers(a2=cells, b2=cells)


PADS = {
    "none": (0, 0, 0, 0),
    "first": (1, 1, 0, 0),  # the stride leaves the last rows out
    "last": (0, 0, 1, 1),
    "rows": (2, 0, 2, 0),
    "frame": (3, 3, 3, 3),
}
CASES = {
    **{
        f"{mode} {name} {stride}": padded(mode, pads, stride)
        for mode in ("wrap", "reflect", "edge", "constant")
        for name, pads in PADS.items()
        for stride in (2, 5)
    },
    **{
        f"{mode} beside {other}": beside(mode, other)
        for mode in ("wrap", "reflect")
        for other in ("constant", "edge", "wrap", "reflect")
        if mode != other
    },
    "edge far beside reflect": beside("edge", "reflect", far=True),
    "constant far beside reflect": beside("constant", "reflect", far=True),
}


def classifier(nodes: Nodes, stored: dict[str, Any]) -> onnx.ModelProto:
    """The nodes with a dense layer behind, its weights as large as what they give."""
    draw = np.random.default_rng(5)
    weights = {
        "first": draw.normal(size=(4, 1, 1, 1)),
        "wide": draw.normal(size=(4, 1, 3, 3)),
        "k": draw.normal(size=(4, 4, 3, 3)) / 6,
    }
    held = {**stored, **{name: entry.astype(np.float32) for name, entry in weights.items()}}
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])

    def made(more: Nodes, result: str, tensors: dict[str, Any]) -> onnx.ModelProto:
        parts = [
            helper.make_node(operator, inputs.split(), [output], name=f"n{at}", **options)
            for at, (operator, inputs, output, options) in enumerate((*nodes, *more))
        ]
        ends = [image], [helper.make_empty_tensor_value_info(result)]
        graph = helper.make_graph(
            parts,
            "padded",
            *ends,
            [numpy_helper.from_array(tensors[name], name) for name in tensors],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    width = OnnxSession(made((), "f", held), "f")(np.zeros((1, 1, SIDE, SIDE), np.float32)).shape[1]
    held["w"] = (draw.normal(size=(width, 3)) / np.sqrt(width)).astype(np.float32)
    return made((("Gemm", "f w", "y", NONE),), "y", held)


@pytest.mark.parametrize("name", CASES)
def test_cells_that_are_said_to_be_exact_are_and_others_are_not(name: str) -> None:
    model = classifier(*CASES[name])
    network, report = convolutionalize(model, (1, SIDE, SIDE))
    rows, columns = SIDE + 10, SIDE + 11
    image = np.random.default_rng(1).normal(size=(1, rows, columns)).astype(np.float32)
    claimed = prove(model, network, report, image).expected
    run, crops = OnnxSession(network, "y"), OnnxSession(model, "y")
    cells = run(image[None])[0]
    stride = int(report.outputs[0].stride[0])
    found: list[bool] = []
    for row, column in np.ndindex(*claimed.shape):
        top, left = row * stride, column * stride
        if top + SIDE > rows or left + SIDE > columns:
            assert not claimed[row, column]
            continue
        alone = crops(image[None, :, top : top + SIDE, left : left + SIDE])[0].reshape(-1)
        same = bool(np.allclose(cells[:, row, column], alone, rtol=1e-5, atol=1e-5))
        assert same == claimed[row, column], (row, column)
        found.append(same)
    assert all(found) == (
        name.endswith(("none 2", "none 5", "last 5"))
    )  # where no window reaches the padding
