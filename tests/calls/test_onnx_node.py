"""A ConvTranspose in an ONNX file, found by its name; hostile files are refused in one line."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from backstride.calls import onnx_node, parse

pytestmark = pytest.mark.frameworks


def write(path: Path, opset: int = 22, **attributes: Any) -> Path:
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    helper: Any = importlib.import_module("onnx.helper")
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], name="relu"),
        helper.make_node("ConvTranspose", ["h", "w", "b"], ["y"], name="decoder/up", **attributes),
        helper.make_node("ConvTranspose", ["y", "v"], ["z"]),
    ]
    kind = onnx.TensorProto.FLOAT
    tensors = [
        helper.make_tensor("w", kind, [4, 3, 3, 5], [0.0] * 180),
        helper.make_tensor("b", kind, [6], [0.0] * 6),
        helper.make_tensor("v", kind, [6, 1, 2, 2], [0.0] * 24),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, [1, 4, 7, 9])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("z", kind, None)], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), str(path))
    return path


def test_a_node_by_name_and_by_output(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", strides=[2, 2], pads=[1, 2, 0, 1], group=2)
    call = parse(f"{path}:decoder/up")
    assert (call.small, call.big, call.groups, call.kernel, call.has_bias) == (4, 6, 2, (3, 5), True)
    assert call.geometry((7, 9)).crop == ((1, 0), (2, 1))
    assert parse(f"{path}:z").kernel == (2, 2)


def test_names_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    for text, words in (
        (
            f"{path}:decoder/upp",
            f"the node 'decoder/upp', which is not there; the nearest of 2 ConvTranspose nodes are {path}:decoder/up",
        ),
        (f"{path}:relu", "names the node 'relu', which is a Relu; the nearest of 2"),
        (f"{path}", "names no node; the nearest of 2"),
    ):
        with pytest.raises(ValueError, match=r"^`call` names") as caught:
            _ = parse(text)
        assert words in str(caught.value)


def test_old_texts_are_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", opset=1, auto_pad="SAME_UPPER")
    with pytest.raises(ValueError, match=r"a node of opset 1, whose text splits"):
        _ = parse(f"{path}:decoder/up")


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    _ = path.write_bytes(b"\x08\xff" * 40)
    with pytest.raises(ValueError, match=r"which is no ONNX model: "):
        _ = parse(f"{path}:up")
    _ = write(path)
    monkeypatch.setattr(onnx_node, "LARGEST_FILE", 10)
    with pytest.raises(ValueError, match=r"bytes; at most 10 are read"):
        _ = parse(f"{path}:decoder/up")


def test_external_data_are_never_opened(tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    path = write(tmp_path / "m.onnx", group=2)
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../../secret"), ("length", "720")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    _ = path.write_bytes(model.SerializeToString())
    assert parse(f"{path}:decoder/up").kernel == (3, 5)
