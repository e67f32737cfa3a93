"""Kernels between layouts: there and back, equal to each framework's own meaning, and from
files.
"""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backstride as bs
from backstride.conventions import convert_kernel
from backstride.port import convert_file, port, port_weights, weight_files
from backstride.port.targets import TARGETS


def kernel_of(name: str, groups: int) -> Any:
    """A kernel (3, 2; C_big 4, C_small 6) in a layout."""
    ours = np.arange(3 * 2 * (4 // groups) * 6.0).reshape(3, 2, 4 // groups, 6)
    return convert_kernel(ours, TARGETS[name].ability.convention, groups=groups)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("source", "to"), list(itertools.permutations(TARGETS, 2)))
def test_there_and_back(source: str, to: str, groups: int) -> None:
    kernel = kernel_of(source, groups)
    there = port_weights(kernel, source, to, groups=groups)
    assert np.array_equal(there, kernel_of(to, groups))
    assert np.array_equal(port_weights(there, to, source, groups=groups), kernel)


def test_known_layouts() -> None:
    torch = np.arange(24.0).reshape(2, 3, 2, 2)
    assert np.array_equal(port_weights(torch, "torch", "keras"), torch.transpose(2, 3, 1, 0))
    assert np.array_equal(
        port_weights(torch, "torch", "jax"), torch[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
    )
    call = (
        'jax.lax.conv_transpose(x, w, (2, 2), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))'
    )
    assert np.array_equal(
        bs.port_weights(torch, "torch", call), torch[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    )
    assert np.array_equal(
        port_weights(torch, "torch", "backstride"), port_weights(torch, "torch", "tensorflow")
    )


def test_the_kind_of_array_stays() -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    kernel = torch.zeros(2, 3, 4, 4)
    assert isinstance(port_weights(kernel, "torch", "keras"), torch.Tensor)


def test_messages() -> None:
    with pytest.raises(
        ValueError, match=r"^`source` \(='torhc'\) is not known; the nearest are torch$"
    ):
        _ = port_weights(np.ones((2, 2, 2)), "torhc", "keras")
    with pytest.raises(
        ValueError,
        match=r"^`kernel` has shape \(2, 2\); torch has \(C_small, C_big, \*k\) with groups=1$",
    ):
        _ = port_weights(np.ones((2, 2)), "torch", "keras")
    with pytest.raises(
        ValueError,
        match=r"^`groups` \(=3\) must divide the channels of `kernel` \(4, 1, 2\), C_small=4$",
    ):
        _ = port_weights(np.ones((4, 1, 2)), "torch", "onnx", groups=3)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Any, Any]:
    library: Any = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((4, 3, 3, 3), np.float32), rng.standard_normal(3, np.float32)
    path = tmp_path / "model.safetensors"
    library.save_file(
        {"up.weight": kernel, "up.bias": bias, "head.weight": np.ones((3, 2), np.float32)},
        str(path),
    )
    return path, kernel, bias


def test_a_program_runs_on_the_weights_of_a_file(
    saved: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kernel, bias = saved
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    result = convert_file(port("nn.ConvTranspose2d(4, 3, 3, 2, 1)", to="torch", input=(5, 6)), path)
    monkeypatch.chdir(path.parent)
    space: dict[str, Any] = {}
    exec(result.code, space)  # noqa: S102  the printed program, as a user runs it
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(space["x"]), torch.from_numpy(kernel), torch.from_numpy(bias), 2, 1
    )
    assert np.array_equal(space["y"], expected.numpy())


def test_the_file_holds_the_target_s_layout(saved: tuple[Path, Any, Any]) -> None:
    path, kernel, bias = saved
    out = path.parent / "converted" / "k.safetensors"
    out.parent.mkdir()
    _ = convert_file(port("nn.ConvTranspose2d(4, 3, 3, 2, 1)", to="keras"), path, out=out)
    library: Any = importlib.import_module("safetensors.numpy")
    found = library.load_file(str(out))
    assert np.array_equal(found["kernel"], port_weights(kernel, "torch", "keras"))
    assert np.array_equal(found["bias"], bias)


def test_files_that_do_not_fit(
    saved: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kernel, _ = saved
    library: Any = importlib.import_module("safetensors.numpy")
    with pytest.raises(
        ValueError,
        match=r"has no array of shape \(4, 3, 5, 5\), the call's kernel; it has up.weight \(4, 3, 3, 3\)$",
    ):
        _ = convert_file(port("nn.ConvTranspose2d(4, 3, 5)", to="keras"), path)
    result = port("nn.ConvTranspose2d(4, 3, 3)", to="keras")
    with pytest.raises(
        ValueError, match=r"^`tensor` \(='up.wieght'\) is not in .*; the nearest are up.weight"
    ):
        _ = convert_file(result, path, tensor="up.wieght")
    two = path.with_name("two.safetensors")
    library.save_file({"a.weight": kernel, "b.weight": kernel}, str(two))
    with pytest.raises(
        ValueError,
        match=r"has several kernels of shape \(4, 3, 3, 3\); name one with tensor='a.weight'$",
    ):
        _ = convert_file(result, two)
    assert convert_file(result, two, tensor="b.weight").verdict == "exact"
    _ = two.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match=r"is no safetensors file: "):
        _ = convert_file(result, two)
    monkeypatch.setattr(weight_files, "LARGEST_FILE", 10)
    with pytest.raises(ValueError, match=r"bytes; at most 10 are read$"):
        _ = convert_file(result, path)
    with pytest.raises(ValueError, match=r"is no file; give a .safetensors or .onnx file$"):
        _ = convert_file(result, path.parent)


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, Any, Any]:
    """A file with two ConvTranspose nodes whose kernels have one shape."""
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    helper: Any = importlib.import_module("onnx.helper")
    rng = np.random.default_rng(1)
    kernel, bias = rng.standard_normal((4, 2, 3, 2), np.float32), rng.standard_normal(4, np.float32)
    arrays = {"w": kernel, "b": bias, "v": rng.standard_normal((4, 2, 3, 2), np.float32)}
    nodes = [
        helper.make_node(
            "ConvTranspose",
            ["x", "w", "b"],
            ["h"],
            "up",
            strides=[2, 2],
            pads=[1, 0, 0, 0],
            group=2,
        ),
        helper.make_node("ConvTranspose", ["h", "v"], ["y"], "up2", group=2),
        helper.make_node("ConvTranspose", ["h", "x"], ["z"], "computed", kernel_shape=[3, 3]),
    ]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xyz"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    path = tmp_path / "model.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10),
        str(path),
    )
    return path, kernel, bias


@pytest.mark.frameworks
@pytest.mark.parametrize("to", ["torch", "equinox"])
def test_the_weights_of_an_onnx_node(model: tuple[Path, Any, Any], to: str) -> None:
    path, kernel, bias = model
    library: Any = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    result = convert_file(port(f"{path}:up", to=to, input=(3, 4)), path)
    found = library.load_file(str(path.with_suffix(f".{to}.safetensors")))
    assert np.array_equal(found["bias"], bias)
    assert np.array_equal(found["kernel"], port_weights(kernel, f"{path}:up", to))
    assert np.array_equal(port_weights(found["kernel"], to, "onnx", groups=2), kernel)
    space: dict[str, Any] = {}
    exec(result.code, space)  # noqa: S102  the printed program, as a user runs it
    expected = run_onnx(path, space["x"])
    assert space["y"].shape == expected.shape
    assert np.allclose(space["y"], expected, rtol=0, atol=1e-5)


def run_onnx(path: Path, x: Any) -> Any:
    runtime: Any = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx: Any = importlib.import_module("onnx")
    graph = onnx.load(str(path))
    del graph.graph.node[1:]
    del graph.graph.output[:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, None))
    session = runtime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.frameworks
def test_onnx_files_without_the_weights(model: tuple[Path, Any, Any]) -> None:
    path, _, _ = model
    onnx: Any = importlib.import_module("onnx")
    with pytest.raises(
        ValueError,
        match=r"is an ONNX file, and the call none of its nodes; call it .*model.onnx:node$",
    ):
        _ = convert_file(port("nn.ConvTranspose2d(4, 4, (3, 2))", to="keras"), path)
    with pytest.raises(
        ValueError,
        match=r"^`weights` has no stored tensor 'x': it is computed in it, by a |it is an input of the graph",
    ):
        _ = convert_file(port(f"{path}:computed", to="keras"), path)
    outside = path.with_name("outside.onnx")
    loaded = onnx.load(str(path))
    onnx.save_model(
        loaded, str(outside), save_as_external_data=True, size_threshold=0, location="passwd.bin"
    )
    with pytest.raises(
        ValueError,
        match=r"^`weights` has the numbers of 'w' outside the file, and other files are n",
    ):
        _ = convert_file(port(f"{outside}:up", to="keras"), outside)
    lying = path.with_name("lying.onnx")
    loaded = onnx.load(str(path))
    loaded.graph.initializer[0].raw_data = b"123"
    _ = lying.write_bytes(loaded.SerializeToString())
    with pytest.raises(ValueError, match=r"^`weights` has a tensor 'w' that cannot be read: "):
        _ = convert_file(port(f"{lying}:up", to="keras"), lying)
