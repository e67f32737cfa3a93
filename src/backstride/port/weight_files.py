"""The file that a call's weights come in, and the file that the program loads them from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backstride.calls.arguments import nearest
from backstride.calls.onnx_node import file_and_node, read_tensors
from backstride.conventions import convert_kernel
from backstride.files import check_file, write_beside
from backstride.layout import AnyArray
from backstride.port.api import Port, kernel_shape, port
from backstride.port.weights import to_ours

LARGEST_FILE = 8 * 2**30


def convert_file(
    result: Port, weights: Path, /, *, tensor: str | None = None, out: Path | None = None
) -> Port:
    """The same program on weights of a file.

    They are converted, written beside it, and loaded by the program.

    Args:
        result: What `port` gave.
        weights: A safetensors file, or an ONNX file with the node that the call is.
        tensor: The kernel's name in a safetensors file, where several have its shape.
        out: The file to write; model.safetensors becomes model.torch.safetensors without it.

    Returns:
        The program that loads the converted weights. A bias that the call has and the file has not
        is 0.

    Raises:
        ValueError: Where the file cannot be read or written, or its tensors do not fit.
    """
    problem, call = result.problem, result.call
    path = weights.with_suffix(f".{result.target.name}.safetensors") if out is None else out
    check_file("out", path, endings=(".safetensors",), inputs={"weights": weights})
    shape = kernel_shape(problem, call.convention)
    if weights.suffix == ".onnx":
        found = _of_node(weights, result, shape)
    else:
        found = read_file(weights, shape, problem.big, tensor)
    ours = to_ours(found["kernel"], call.convention, problem.groups)
    arrays = {"kernel": convert_kernel(ours, result.convention, groups=problem.groups)}
    if problem.bias:
        arrays["bias"] = found.get("bias", np.zeros(problem.big, np.float32))
    write_file(path, arrays)
    return port(result.call.at(result.geometry.input), to=result.target.name, weights=path)


def _of_node(path: Path, result: Port, shape: tuple[int, ...]) -> dict[str, AnyArray]:
    node = file_and_node(result.call.text)
    if node is None:
        message = (
            f"`weights` (={str(path)!r}) is an ONNX file, and the call none of its nodes; call it "
            f"{path}:node"
        )
        raise ValueError(message)
    found = read_tensors(path, node[1])
    if found["kernel"].shape != shape:
        there = found["kernel"].shape
        message = (
            f"`weights` (={str(path)!r}) has a kernel of shape {there} in that node; the call has "
            f"{shape}"
        )
        raise ValueError(message)
    return found


def read_file(
    path: Path, shape: tuple[int, ...], big: int, tensor: str | None = None
) -> dict[str, AnyArray]:
    """The kernel of a call, and its bias if there is one, from a safetensors file.

    `shape` is the kernel's in the call's own layout. Without `tensor` the file must hold one such
    array. The bias is the array of `big` numbers whose name begins alike. Raises `ValueError` for
    what does not fit, and `ImportError` where safetensors is not installed.
    """
    if not path.is_file():
        message = f"`weights` (={str(path)!r}) is no file; give a .safetensors or .onnx file"
        raise ValueError(message)
    if path.stat().st_size > LARGEST_FILE:
        message = (
            f"`weights` (={str(path)!r}) has {path.stat().st_size} bytes; at most {LARGEST_FILE} "
            "are read"
        )
        raise ValueError(message)
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415  an extra

    try:
        opened: Any = safe_open(str(path), framework="numpy")  # untyped
        with opened as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
            name = _pick(shapes, shape, tensor, path)
            found = {"kernel": file.get_tensor(name)}
            bias = f"{name.rpartition('.')[0]}.bias".removeprefix(".")
            if shapes.get(bias) == (big,):
                found["bias"] = file.get_tensor(bias)
    except SafetensorError as error:
        message = f"`weights` (={str(path)!r}) is no safetensors file: {error}"
        raise ValueError(message) from None
    return {name: np.asarray(array, np.float32) for name, array in found.items()}


def write_file(path: Path, found: dict[str, AnyArray]) -> None:
    """Write arrays as safetensors, whole or not at all."""
    from safetensors.numpy import save  # noqa: PLC0415  an extra

    write_beside(path, save({name: np.ascontiguousarray(array) for name, array in found.items()}))


def _pick(
    shapes: dict[str, tuple[int, ...]], shape: tuple[int, ...], tensor: str | None, path: Path
) -> str:
    if tensor is not None and tensor not in shapes:
        message = (
            f"`tensor` (={tensor!r}) is not in {str(path)!r}; {nearest(tensor, list(shapes)[:50])}"
        )
        raise ValueError(message)
    fitting = [name for name in ([tensor] if tensor else shapes) if shapes[name] == shape]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        sizes = [f"{name} {found}" for name, found in shapes.items() if len(found) == len(shape)][
            :5
        ]
        message = (
            f"`weights` (={str(path)!r}) has no array of shape {shape}, the call's kernel; it has "
            f"{', '.join(sizes)}"
        )
    else:
        message = (
            f"`weights` (={str(path)!r}) has several kernels of shape {shape}; name one with "
            f"tensor={fitting[0]!r}"
        )
    raise ValueError(message)
