"""What bad ONNX files and models without a rule get: one whole sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")

import onnx
from onnx import TensorProto, helper, numpy_helper

from backstride.surgery import convolutionalize
from backstride.surgery.onnx.file import data_files
from surgery.onnx_models import LENET, Case

loose: Any = onnx  # some of it is untyped
pytestmark = pytest.mark.frameworks


def case(*nodes: tuple[str, str, str, dict[str, Any]], **weights: tuple[int, ...]) -> Case:
    return Case("bad", (3, 8, 8), nodes, dict(weights), {"y": 2}, exact=True)


REFUSED = {
    "an operation without a rule": (
        case(("Conv", "x k", "c", {}), ("Hardmax", "c", "y", {}), k=(8, 3, 1, 1)),
        "n1 (Hardmax): no rule knows this operation",
    ),
    "no classifier": (
        case(("Conv", "x k", "y", {}), k=(2, 3, 3, 3)),
        "the result: gives a map of 2 channels, 6 x 6: the model is no classifier of whole images",
    ),
    "a mean over the images": (
        case(("GlobalAveragePool", "x", "p", {}), ("ReduceMean", "x", "y", {"axes": [0, 1]})),
        "n1 (ReduceMean): gives (1, 1, 8, 8), which has no axis for the images of a batch",
    ),
    "squeeze and excitation": (
        case(
            ("GlobalAveragePool", "x", "p", {}),
            ("Mul", "x p", "m", {}),
            ("GlobalMaxPool", "m", "y", {}),
        ),
        (
            "n1 (Mul): joins a map with one pooled over the whole image (squeeze and excitation), "
            "of which a larger "
            'has many; state se="global" or se="local" (it meets a map of 3 channels, 8 x 8 and a '
            "map of 3 channels, "
            "1 x 1)"
        ),
    ),
}


REMEDY = (
    "which has no weights to turn; export it in QDQ form, which is folded into ordinary layers: "
    "onnxruntime.quantization.quantize_static(..., quant_format=QuantFormat.QDQ), or give the "
    "floating-point model"
)
SCALES: dict[str, Any] = {
    "s": np.array(0.1, np.float32),
    "z": np.array(0, np.uint8),
    "k": np.ones((2, 3, 8, 8), np.uint8),
}
QUANTISED: dict[str, tuple[tuple[tuple[str, str, str], ...], str]] = {
    "QOperator": (
        (
            ("QuantizeLinear", "x s z", "q"),
            ("QLinearConv", "q s z k s z s z", "c"),
            ("DequantizeLinear", "c s z", "y"),
        ),
        f"n1 (QLinearConv): is quantised in QOperator form, {REMEDY}",
    ),
    "ORT's own": (
        (("QuantizeLinear", "x s z", "q"), ("QLinearGlobalAveragePool", "q s z s z", "y")),
        f"n1 (QLinearGlobalAveragePool): is quantised in QOperator form, {REMEDY}",
    ),
    "dynamic": (
        (
            ("DynamicQuantizeLinear", "x", "q t u"),
            ("ConvInteger", "q k u", "c"),
            ("Cast", "c", "y"),
        ),
        f"n0 (DynamicQuantizeLinear): is quantised as it runs, {REMEDY}",
    ),
    "whole numbers": (
        (("QuantizeLinear", "x s z", "q"), ("ConvInteger", "q k", "c"), ("Cast", "c", "y")),
        f"n1 (ConvInteger): is quantised as it runs, {REMEDY}",
    ),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_models_that_compute_in_whole_numbers_say_which_form_is_read(name: str) -> None:
    nodes, reason = QUANTISED[name]
    made: list[onnx.NodeProto] = []
    for place, (kind, inputs, outputs) in enumerate(nodes):
        options: dict[str, Any] = {"to": 1} if kind == "Cast" else {}
        domain = "com.microsoft" if "Global" in kind else None
        made.append(
            helper.make_node(
                kind, inputs.split(), outputs.split(), name=f"n{place}", domain=domain, **options
            )
        )
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 1, 1])
    stored = [numpy_helper.from_array(value, key) for key, value in SCALES.items()]
    graph = helper.make_graph(made, "whole", [image], [result], stored)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    with pytest.raises(ValueError, match=r".") as caught:
        _ = convolutionalize(
            helper.make_model(graph, opset_imports=domains, ir_version=9), (3, 8, 8)
        )
    assert str(caught.value) == f"`model` (=whole) cannot become fully convolutional: {reason}"


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    wrong, reason = REFUSED[name]
    with pytest.raises(ValueError, match=r".") as caught:
        _ = convolutionalize(wrong.build(13), wrong.shape)
    assert str(caught.value) == f"`model` (=bad) cannot become fully convolutional: {reason}"


def test_squeeze_and_excitation_by_choice() -> None:
    model = REFUSED["squeeze and excitation"][0].build(13)
    for choice in ("global", "local"):
        network, _ = convolutionalize(model, (3, 8, 8), se=choice)
        loose.checker.check_model(network, full_check=True)


def test_a_shape_that_the_model_does_not_take() -> None:
    with pytest.raises(
        ValueError,
        match=r"^`input_shape` \(=\(3, 9, 9\)\) does not fit `model` \(=lenet\): its input x",
    ):
        _ = convolutionalize(LENET.build(13), (3, 9, 9))


def written(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "m.onnx"
    _ = path.write_bytes(model.SerializeToString())
    return path


def external(location: str, offset: str = "0", length: str = "40") -> onnx.ModelProto:
    model = LENET.build(13)
    tensor = next(entry for entry in model.graph.initializer if entry.name == "d2")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        _ = tensor.external_data.add(key=key, value=value)
    return model


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link/secret", ""])
def test_external_data_outside_its_folder_is_not_followed(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    _ = (tmp_path / "secret").write_bytes(bytes(40))
    (folder / "link").symlink_to(tmp_path)
    path = written(folder, external(location, length="20"))
    with pytest.raises(ValueError, match=r".") as caught:
        _ = convolutionalize(path, LENET.shape)
    said = (
        f"`model` (={str(path)!r}) names external data {location!r} outside its folder, which is "
        "not followed"
    )
    assert str(caught.value) == said
    assert data_files(path) == ()


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "40"), ("-4", "20"), ("4", "20"), ("99999999999999999999", "20")]
)
def test_external_data_that_is_not_there(offset: str, length: str, tmp_path: Path) -> None:
    _ = (tmp_path / "data").write_bytes(bytes(20))
    path = written(tmp_path, external("data", offset, length))
    with pytest.raises(ValueError, match="gives a place of 'd2' in 'data' that does not hold it"):
        _ = convolutionalize(path, LENET.shape)


def absurd() -> onnx.ModelProto:
    model = LENET.build(13)
    next(entry for entry in model.graph.initializer if entry.name == "w2").dims[:] = [2**40, 2**20]
    return model


def computed() -> onnx.ModelProto:
    """Weights that a node makes, 2**50 of them."""
    model = LENET.build(13)
    keep = [entry for entry in model.graph.initializer if entry.name != "w2"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(keep)
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([2**30, 2**20], np.int64), "claim")
    )
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["claim"], ["w2"]))
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            absurd,
            (
                "'w2' claims the shape (1099511627776, 1048576), but other than that many numbers "
                "follow"
            ),
        ),
        (computed, f"computes {2**50} numbers from constants, more than a file of this size may"),
    ],
)
def test_absurd_dimensions(make: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        _ = convolutionalize(written(tmp_path, make()), LENET.shape)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_truncation_is_one_sentence(tmp_path: Path) -> None:
    whole = LENET.build(13).SerializeToString()
    path = tmp_path / "m.onnx"
    for end in range(0, len(whole), 97):
        _ = path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"^[^\n]*model[^\n]*$"):
            _ = convolutionalize(path, LENET.shape)


def test_old_operator_sets() -> None:
    model = LENET.build(13)
    model.opset_import[0].version = 9
    with pytest.raises(ValueError, match=r"^`model` \(=lenet\) has opset 9; at least 11 is needed"):
        _ = convolutionalize(model, LENET.shape)
