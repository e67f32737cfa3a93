"""ONNX networks with several outputs: one of them becomes the map, and what only the others need is
left out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx
import onnxruntime

from backstride.segment.network import load_network
from backstride.surgery import RefusedError, convolutionalize, prove, receptive_field, transpose
from backstride.surgery.onnx.runner import COARSE
from surgery.onnx_models import HEADS, Case

loose: Any = onnx  # some of it is untyped
runtime: Any = onnxruntime
pytestmark = pytest.mark.frameworks
LISTED = '"log" from n6 (LogSoftmax) or "colour" from n7 (Gemm)'
UNSHAPED = replace(  # its other head gives as many rows as there are scores above zero
    HEADS,
    name="unshaped",
    nodes=(
        *HEADS.nodes[:-1],
        ("Gemm", "f w2", "before", {}),
        ("NonZero", "before", "places", {}),
        ("Cast", "places", "colour", {"to": 1}),
    ),
)
NUMBERS = replace(  # names as exporters make them
    HEADS,
    name="numbers",
    nodes=(*HEADS.nodes[:-2], ("Softmax", "kind", "495", {"axis": -1}), ("Gemm", "f w2", "0", {})),
    outputs={"495": 4, "0": 2},
)


def image_for(case: Case, more: tuple[int, int] = (7, 6)) -> Any:
    channels, rows, columns = case.shape
    return (
        np.random.default_rng(0)
        .normal(size=(channels, rows + more[0], columns + more[1]))
        .astype(np.float32)
    )


def run(model: onnx.ModelProto, image: Any) -> Any:
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": image})


@pytest.mark.parametrize(
    ("case", "head", "name"),
    [
        *((HEADS, head, "log") for head in (0, "log", "0", -2)),
        *((HEADS, head, "colour") for head in (1, "colour", "1", -1)),
        *((NUMBERS, head, "495") for head in ("495", 0)),
        *((NUMBERS, head, "0") for head in ("0", 1)),
        (UNSHAPED, "log", "log"),
    ],
)
def test_the_chosen_output_becomes_the_map(case: Case, head: str | int, name: str) -> None:
    model, image = case.build(17), image_for(case)
    before = model.SerializeToString()
    network, report = transpose(model, case.shape, head=head)
    loose.checker.check_model(network, full_check=True)
    assert report.head is not None
    assert report.head.name == name
    (scores,) = run(network, image[None])
    assert scores.shape == (1, case.outputs[name], *image.shape[1:])
    assert prove(model, network, report, image).holds
    coarse, report = convolutionalize(model, case.shape, head=head)
    assert [entry.name for entry in coarse.graph.output] == [name]
    assert prove(model, coarse, report, image, head=name, timed=True).holds
    kernels = {entry.name for entry in network.graph.initializer if entry.name.endswith("_kernel")}
    assert kernels == {"kind_kernel" if case.outputs[name] == 4 else f"{name}_kernel"}
    assert model.SerializeToString() == before


def test_without_a_choice_there_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^`head`") as caught:
        _ = transpose(HEADS.build(17), HEADS.shape)
    assert str(caught.value) == (
        f"`head` (=None) must be one of the 2 heads of heads, by name or position: {LISTED}; "
        'the nearest legal value is "log"'
    )
    for given in (7, "colours", True):
        with pytest.raises(
            (ValueError, TypeError), match=r'the nearest legal value is (1|"colour")$'
        ):
            _ = transpose(HEADS.build(17), HEADS.shape, head=given)
    with pytest.raises(RefusedError, match=r"NonZero\): gives what has no fixed shape"):
        _ = convolutionalize(UNSHAPED.build(17), UNSHAPED.shape)


def test_each_output_has_its_cells() -> None:
    both = receptive_field(HEADS.build(17), HEADS.shape)
    assert [output.head for output in both] == ["log", "colour"]
    assert receptive_field(HEADS.build(17), HEADS.shape, head="colour") == both[1:]
    (log,) = receptive_field(UNSHAPED.build(17), UNSHAPED.shape, head="log")
    assert log == both[0]


def test_score_layers_of_other_heads_keep_their_classes() -> None:
    network, _ = transpose(HEADS.build(17), HEADS.shape, head="colour", classes=5)
    (scores,) = run(network, image_for(HEADS)[None])
    assert scores.shape[1] == 5
    assert {entry.key: entry.value for entry in network.metadata_props}[COARSE] == "colour"


def test_pictures_are_labelled_by_the_chosen_output(tmp_path: Path) -> None:
    nodes = [
        loose.helper.make_node("Conv", ["x", f"w{place}"], [name], kernel_shape=[1, 1])
        for place, name in enumerate(("kinds", "depth"))
    ]
    sizes = ["n", 3, "rows", "columns"]
    outputs = [
        loose.helper.make_tensor_value_info(name, 1, ["n", count, "rows", "columns"])
        for name, count in (("kinds", 2), ("depth", 5))
    ]
    stored = [
        loose.numpy_helper.from_array(np.ones((count, 3, 1, 1), np.float32), f"w{place}")
        for place, count in enumerate((2, 5))
    ]
    image = loose.helper.make_tensor_value_info("x", 1, sizes)
    graph = loose.helper.make_graph(nodes, "pixels", [image], outputs, stored)
    path = tmp_path / "pixels.onnx"
    _ = path.write_bytes(
        loose.helper.make_model(
            graph, opset_imports=[loose.helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )
    for head, count in (("depth", 5), (0, 2), ("1", 5)):
        assert load_network(path, head).run(np.zeros((1, 3, 9, 8))).shape == (1, count, 9, 8)
    with pytest.raises(
        ValueError,
        match=r"^`head` \(=None\) must be one of the 2 heads of pixels\.onnx, by name or pos",
    ):
        _ = load_network(path)
