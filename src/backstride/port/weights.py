"""Kernels from one framework's layout to another's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from backstride import arrays
from backstride.calls import parse
from backstride.calls.arguments import nearest
from backstride.calls.kernels import from_shape
from backstride.calls.onnx_node import file_and_node
from backstride.calls.record import OWN, convention_of
from backstride.conventions import CONVENTIONS, Convention, convert_kernel
from backstride.layout import AnyArray
from backstride.port.targets import ALIASES, TARGETS, target_of


def port_weights(kernel: object, source: str, to: str, /, *, groups: int = 1) -> Any:
    """Lay a kernel out as another framework takes it, flipped where one of the two flips.

    >>> kernel = np.arange(24.0).reshape(2, 3, 2, 2)  # PyTorch: (C_small, C_big, *k)
    >>> port_weights(kernel, "torch", "keras").shape
    (2, 2, 3, 2)
    >>> np.array_equal(port_weights(port_weights(kernel, "torch", "flax"), "flax", "torch"), kernel)
    True

    Args:
        kernel: An array of any library, in the layout of `source`.
        source: torch, keras, tf, jax, flax, equinox, onnx, openvino, coreml, tflite or mlx; a call,
            or a node as model.onnx:name, stands for its framework and its own layout.
        to: One of the same names.
        groups: With more than 1, a target without groups gets the kernel of the program that
            `backstride port` prints.

    Returns:
        The same kind of array, in the layout of `to`.

    Raises:
        ValueError: For unknown names and for shapes that do not fit.
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
        message = (
            f"`kernel` has shape {kernel.shape}; {convention.name} has ({words}) with "
            f"groups={groups}"
        )
        raise ValueError(message)
    found = from_shape(kernel.shape, convention, groups)
    assert found.small is not None
    assert found.big is not None
    assert isinstance(found.size, tuple)
    if found.small % groups or found.big % groups or 0 in kernel.shape:
        message = (
            f"`groups` (={groups}) must divide the channels of `kernel` {kernel.shape}, "
            f"C_small={found.small}"
        )
        raise ValueError(message)
    shape = (*found.size, found.big // groups, found.small)
    # Where every one of our cells goes, by the one rule that knows.
    places = convert_kernel(np.arange(math.prod(shape)).reshape(shape), convention, groups=groups)
    ours = np.empty(math.prod(shape), kernel.dtype)
    ours[places.ravel()] = kernel.ravel()
    return ours.reshape(shape)


def _convention(name: str, value: str, groups: int) -> tuple[Convention, int]:
    """The record of a target's or a rule's name, or of a call."""
    if value in TARGETS or value.lower() in ALIASES:
        return target_of(name, value).ability.convention, groups
    if value in CONVENTIONS or value == OWN.name:
        return convention_of(value), groups
    if "(" not in value and "=" not in value and file_and_node(value) is None:
        message = (
            f"`{name}` (={value!r}) is not known; "
            f"{nearest(value, dict.fromkeys([*TARGETS, *CONVENTIONS, OWN.name]))}"
        )
        raise ValueError(message)
    call = parse(value)
    return call.convention, max(groups, call.groups)
