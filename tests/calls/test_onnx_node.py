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
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("z", kind, None)], tensors
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), str(path))
    return path


def test_a_node_by_name_and_by_output(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", strides=[2, 2], pads=[1, 2, 0, 1], group=2)
    call = parse(f"{path}:decoder/up")
    assert (call.small, call.big, call.groups, call.kernel, call.has_bias) == (
        4,
        6,
        2,
        (3, 5),
        True,
    )
    assert call.geometry((7, 9)).crop == ((1, 0), (2, 1))
    assert parse(f"{path}:z").kernel == (2, 2)


def test_names_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    for text, words in (
        (
            f"{path}:decoder/upp",
            (
                "the node 'decoder/upp', which is not there; the nearest of 2 ConvTranspose nodes "
                f"are {path}:decoder/up"
            ),
        ),
        (f"{path}:relu", "names the node 'relu', which is a Relu; the nearest of 2"),
        (f"{path}", "names no node; the nearest of 2"),
    ):
        with pytest.raises(ValueError, match=r"^`call` names") as caught:
            _ = parse(text)
        assert words in str(caught.value)


def computed(path: Path, *, stated: bool) -> Path:
    """Two nodes whose kernels the graph computes: by DequantizeLinear and Identity, and by a
    product.
    """
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    numpy: Any = pytest.importorskip("numpy")
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], axis=1),
        helper.make_node("Identity", ["dq"], ["w"]),
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2]),
        helper.make_node("Custom", ["x"], ["v"], domain="ours"),
        helper.make_node("ConvTranspose", ["x", "v"], ["z"], name="unknown", strides=[2, 2]),
    ]
    tensors = {
        "q": numpy.arange(-20, 52, dtype="i1").reshape(4, 2, 3, 3),
        "scale": numpy.array([0.5, 2.0], "f"),
        "zero": numpy.array([1, -3], "i1"),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind.FLOAT, [1, 4, 7, 9])],
        [helper.make_tensor_value_info(name, kind.FLOAT, [None] * 4) for name in "yz"],
        [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()],
        value_info=[helper.make_tensor_value_info("w", kind.FLOAT, [4, 2, 3, 3])] if stated else [],
    )
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("ours", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


@pytest.mark.parametrize("stated", [True, False])
def test_kernels_that_the_graph_computes(tmp_path: Path, stated: bool) -> None:
    path = computed(tmp_path / "m.onnx", stated=stated)
    call = parse(f"{path}:up")
    assert (call.small, call.big, call.kernel, call.input) == (4, 2, (3, 3), (7, 9))
    kernel = onnx_node.read_tensors(path, "up")["kernel"]
    numpy: Any = pytest.importorskip("numpy")
    stored = numpy.arange(-20, 52, dtype="f").reshape(4, 2, 3, 3)
    assert numpy.array_equal(kernel[:, 0], (stored[:, 0] - 1) * 0.5)
    assert numpy.array_equal(kernel[:, 1], (stored[:, 1] + 3) * 2)


def test_a_kernel_said_beside_the_node(tmp_path: Path) -> None:
    path = computed(tmp_path / "m.onnx", stated=True)
    with pytest.raises(
        ValueError, match=r"^`kernel` is not said by onnx.ConvTranspose; give its size"
    ):
        _ = parse(f"{path}:unknown").geometry()
    assert parse(f"{path}:unknown", kernel=(3, 2)).geometry().output == (15, 18)
    whole = parse(f"{path}:unknown", kernel=(4, 6, 3, 2))
    assert (whole.small, whole.big, whole.kernel) == (4, 6, (3, 2))
    assert parse(f"{path}:up", kernel=3).kernel == (3, 3)
    with pytest.raises(
        ValueError,
        match=r"^`kernel` \(=\(2, 2\)\) is not that of the node, \(4, 2, 3, 3\); leave it out$",
    ):
        _ = parse(f"{path}:up", kernel=(2, 2))


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
