"""Kernels from one framework's layout to another's, and the file they come in."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np

from backstride import arrays
from backstride.calls import parse
from backstride.calls.arguments import nearest
from backstride.calls.kernels import from_shape
from backstride.calls.record import OWN, convention_of
from backstride.conventions import CONVENTIONS, Convention, convert_kernel
from backstride.files import write_beside
from backstride.layout import AnyArray
from backstride.port.targets import TARGETS

LARGEST_FILE = 8 * 2**30


def port_weights(kernel: Any, source: str, to: str, /, *, groups: int = 1) -> Any:
    """Lay a kernel out as another framework takes it, flipped where one of the two flips.

    >>> kernel = np.arange(24.0).reshape(2, 3, 2, 2)  # PyTorch: (C_small, C_big, *k)
    >>> port_weights(kernel, "torch", "keras").shape
    (2, 2, 3, 2)
    >>> np.array_equal(port_weights(port_weights(kernel, "torch", "flax"), "flax", "torch"), kernel)
    True

    `kernel`: an array of any library, in the layout of `source`. `source`, `to`: torch, keras, tf, jax, flax,
    equinox, onnx, openvino, coreml, tflite or mlx; a call stands for its framework and its own layout.
    With `groups` > 1 a target without groups gets the kernel of the program that `backstride port` prints.
    Returns the same kind of array. Raises `ValueError` for unknown names and for shapes that do not fit.
    """
    weights = arrays.to_numpy("kernel", kernel)
    origin, count = _convention("source", source, groups)
    goal, _ = _convention("to", to, count)
    return arrays.back(convert_kernel(to_ours(weights, origin, count), goal, groups=count), kernel)


def to_ours(kernel: AnyArray, convention: Convention, groups: int = 1) -> AnyArray:
    """The inverse of `convert_kernel`: from a framework's layout to (*k, C_big/groups, C_small)."""
    layout = convention.weight_layout if groups == 1 else convention.grouped_layout
    if layout is None or not 1 <= kernel.ndim - len(layout) + 1 <= 3:
        words = ", ".join(layout or convention.weight_layout)
        message = f"`kernel` has shape {kernel.shape}; {convention.name} has ({words}) with groups={groups}"
        raise ValueError(message)
    found = from_shape(kernel.shape, convention, groups)
    assert found.small is not None
    assert found.big is not None
    assert isinstance(found.size, tuple)
    if found.small % groups or found.big % groups or 0 in kernel.shape:
        message = f"`groups` (={groups}) must divide the channels of `kernel` {kernel.shape}, C_small={found.small}"
        raise ValueError(message)
    shape = (*found.size, found.big // groups, found.small)
    # Where every one of our cells goes, by the one rule that knows.
    places = convert_kernel(np.arange(math.prod(shape)).reshape(shape), convention, groups=groups)
    ours = np.empty(math.prod(shape), kernel.dtype)
    ours[places.ravel()] = kernel.ravel()
    return ours.reshape(shape)


def read_file(path: Path, shape: tuple[int, ...], big: int, tensor: str | None = None) -> dict[str, AnyArray]:
    """The kernel of a call, and its bias if there is one, from a safetensors file.

    `shape` is the kernel's in the call's own layout. Without `tensor` the file must hold one such array. The bias
    is the array of `big` numbers whose name begins alike. Raises `ValueError` for what does not fit, and
    `ImportError` where safetensors is not installed.
    """
    if not path.is_file():
        message = f"`weights` (={str(path)!r}) is no file; give a .safetensors file"
        raise ValueError(message)
    if path.stat().st_size > LARGEST_FILE:
        message = f"`weights` (={str(path)!r}) has {path.stat().st_size} bytes; at most {LARGEST_FILE} are read"
        raise ValueError(message)
    library: Any = importlib.import_module("safetensors")
    try:
        with library.safe_open(str(path), framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  no mapping
            name = _pick(shapes, shape, tensor, path)
            found = {"kernel": file.get_tensor(name)}
            bias = f"{name.rpartition('.')[0]}.bias".removeprefix(".")
            if shapes.get(bias) == (big,):
                found["bias"] = file.get_tensor(bias)
    except library.SafetensorError as error:
        message = f"`weights` (={str(path)!r}) is no safetensors file: {error}"
        raise ValueError(message) from None
    return {name: np.asarray(array, np.float32) for name, array in found.items()}


def write_file(path: Path, found: dict[str, AnyArray]) -> None:
    """Write arrays as safetensors, whole or not at all."""
    library: Any = importlib.import_module("safetensors.numpy")
    write_beside(path, library.save({name: np.ascontiguousarray(array) for name, array in found.items()}))


def _pick(shapes: dict[str, tuple[int, ...]], shape: tuple[int, ...], tensor: str | None, path: Path) -> str:
    if tensor is not None and tensor not in shapes:
        message = f"`tensor` (={tensor!r}) is not in {str(path)!r}; {nearest(tensor, list(shapes)[:50])}"
        raise ValueError(message)
    fitting = [name for name in ([tensor] if tensor else shapes) if shapes[name] == shape]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        sizes = [f"{name} {found}" for name, found in shapes.items() if len(found) == len(shape)][:5]
        message = (
            f"`weights` (={str(path)!r}) has no array of shape {shape}, the call's kernel; it has {', '.join(sizes)}"
        )
    else:
        message = (
            f"`weights` (={str(path)!r}) has several kernels of shape {shape}; name one with tensor={fitting[0]!r}"
        )
    raise ValueError(message)


def _convention(name: str, value: str, groups: int) -> tuple[Convention, int]:
    """The record of a target's or a rule's name, or of a call."""
    if value in TARGETS:
        return TARGETS[value].ability.convention, groups
    if value in CONVENTIONS or value == OWN.name:
        return convention_of(value), groups
    if "(" not in value and "=" not in value:
        message = (
            f"`{name}` (={value!r}) is not known; {nearest(value, dict.fromkeys([*TARGETS, *CONVENTIONS, OWN.name]))}"
        )
        raise ValueError(message)
    call = parse(value)
    return call.convention, max(groups, call.groups)
