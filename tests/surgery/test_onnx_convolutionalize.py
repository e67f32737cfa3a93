"""ONNX classifiers and their networks give the same numbers, in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx
import onnxruntime
from onnx import external_data_helper

from backstride.surgery import RefusedError, convolutionalize, prove, transpose
from backstride.surgery.model.fields import sizes
from backstride.surgery.onnx.file import data_files
from surgery.onnx_models import CASES, HWC, LENET, POOLED, Case

loose: Any = onnx  # some of it is untyped
runtime: Any = onnxruntime
pytestmark = pytest.mark.frameworks
OPSETS = (11, 12, 13, 17, 18, 22, onnx.defs.onnx_opset_version())
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def run(model: onnx.ModelProto, image: Any) -> list[Any]:
    return runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    ).run(None, {"x": image})


def image_for(case: Case, batch: int = 1, more: tuple[int, int] = (0, 0)) -> Any:
    channels, rows, columns = case.shape
    size = (batch, channels, rows + more[0], columns + more[1])
    drawn = np.random.default_rng(1).normal(size=size).astype(np.float32)
    return np.ascontiguousarray(drawn.transpose(0, 2, 3, 1)) if case.last else drawn


@each
@pytest.mark.parametrize("opset", OPSETS)
def test_equals_the_classifier_at_native_size(case: Case, opset: int) -> None:
    model = case.build(opset)
    network, _ = convolutionalize(model, case.shape)
    loose.checker.check_model(network, full_check=True)
    assert {entry.name for entry in network.graph.initializer} <= {
        name for node in network.graph.node for name in node.input
    }
    image = image_for(case)
    for wanted, got in zip(run(model, image), run(network, image), strict=True):
        assert got.shape == (*wanted.shape, 1, 1)
        np.testing.assert_allclose(got[:, :, 0, 0], wanted, rtol=1e-5, atol=1e-5)


@each
def test_cells_of_larger_images_equal_the_classifier_on_their_crops(case: Case) -> None:
    model = case.build(13)
    network, report = convolutionalize(model, case.shape)
    size = (case.shape[1] + 11, case.shape[2] + 8)
    image = np.random.default_rng(0).normal(size=(case.shape[0], *size)).astype(np.float32)
    for output, node in enumerate(report.graph.outputs):
        proof = prove(model, network, report, image, head=output)
        assert proof.deviation.shape == sizes(report.graph, size)[node.name]
        assert proof.holds
        assert proof.expected[~np.isnan(proof.deviation)].all() == case.exact
    assert report.framework == "ONNX"


@each
def test_height_and_width_are_dynamic(case: Case) -> None:
    network, _ = convolutionalize(case.build(17), case.shape)
    dims = [
        entry.dim_param or entry.dim_value
        for entry in network.graph.input[0].type.tensor_type.shape.dim
    ]
    channels = case.shape[0]
    assert dims == (
        ["N", "height", "width", channels] if case.last else ["N", channels, "height", "width"]
    )
    assert [len(result) for result in run(network, image_for(case, 3, (7, 2)))] == [3] * len(
        case.outputs
    )


@pytest.mark.parametrize("case", [LENET, HWC, POOLED], ids=lambda case: case.name)
def test_a_transposed_network_gives_the_input_s_size_for_every_size(case: Case) -> None:
    model = case.build(13)
    classes = None if case is LENET else 3
    network, _ = transpose(model, case.shape, classes=classes)
    loose.checker.check_model(network, full_check=True)
    session = runtime.InferenceSession(
        network.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for more in range(17):
        image = image_for(case, 1, (more, 16 - more))
        rows, columns = image.shape[1:3] if case.last else image.shape[2:]
        (scores,) = session.run(None, {"x": image})
        assert scores.shape == (1, classes or 5, rows, columns)


@pytest.mark.parametrize("case", [LENET, HWC, POOLED], ids=lambda case: case.name)
def test_a_transposed_network_has_the_classifier_s_coarse_scores(case: Case) -> None:
    model = case.build(17)
    network, report = transpose(model, case.shape)
    image = np.random.default_rng(0).normal(
        size=(case.shape[0], case.shape[1] + 9, case.shape[2] + 9)
    )
    assert prove(model, network, report, image).holds
    (scores,) = run(network, image_for(case, 1, (9, 9)))
    if case is LENET:
        np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)


def test_weights_of_single_classes_behind_the_scores_stay() -> None:
    with pytest.raises(
        RefusedError, match=r"n12 \(Mul\): has a weight for each class behind the scores"
    ):
        _ = transpose(LENET.build(13), LENET.shape, classes=2)


def test_external_data_in_the_folder_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    loose.save_model(
        LENET.build(17), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert (tmp_path / "weights.bin").stat().st_size > 1000
    assert data_files(path) == ((tmp_path / "weights.bin").resolve(),)
    network, report = convolutionalize(path, LENET.shape)
    assert report.model == "model.onnx"
    assert not any(
        external_data_helper.uses_external_data(entry) for entry in network.graph.initializer
    )
    image = image_for(LENET)
    np.testing.assert_allclose(
        run(network, image)[0][:, :, 0, 0], run(LENET.build(17), image)[0], rtol=1e-5, atol=1e-6
    )


def test_the_given_model_stays_as_it_was() -> None:
    model = LENET.build(17)
    before = model.SerializeToString()
    network, _ = convolutionalize(model, LENET.shape)
    _ = transpose(model, LENET.shape)
    assert model.SerializeToString() == before
    assert network.SerializeToString() != before
