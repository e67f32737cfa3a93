"""Packed weights, remembered for as long as they are right.

The engine reads a kernel in an order of its own. Packing costs about as much as reading the weights twice, so
the packed form of a weight is kept beside it, in one table for modules, functions and compiled graphs alike.

An entry is used only for the very tensor it was made from, at the same address, with the same version counter:
that is proof against everything that PyTorch tracks (optimizer steps, load_state_dict, `copy_`, every in-place
operation). Writes that PyTorch does not track, through `.data`, NumPy views or another process, leave the counter
as it is. Against those the bytes are compared: all of them up to 16 KiB, above that 512 cells spread over every
tap and channel, which an update of the whole tensor cannot miss. What is trusted, then, is that nobody edits a
few single cells of a large weight behind PyTorch's back; whoever does calls `forget`.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from backstride.implementation import Implementation
from backstride.layout import AnyArray, DataFormat

EXACT_BYTES = 16384
CELLS = 512

Stamp = tuple[int, int, bytes]
Options = tuple[str, DataFormat, tuple[int, ...], tuple[int, ...], int]


class _Entry(NamedTuple):
    owner: weakref.ref[Tensor]
    stamp: Stamp
    options: Options
    packed: Any


_entries: dict[int, _Entry] = {}


def stamp(tensor: Tensor) -> Stamp:
    """What changes when a tensor's contents do: its address, its version, and bytes of it."""
    version = -1 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, sample(array_of(tensor))


def sample(array: AnyArray) -> bytes:
    """All bytes of a small array; of a large one, cells at an odd distance, so that every tap has its turn."""
    if not array.flags.c_contiguous:
        array = array.transpose(np.argsort(array.strides)[::-1])
    flat = array.reshape(-1)
    return flat.tobytes() if flat.nbytes <= EXACT_BYTES else flat[:: flat.size // CELLS | 1].tobytes()


def packed(weight: Tensor, implementation: Implementation, options: Options, *, remember: bool) -> Any:
    """The packed form of a weight (C_small, C_big // groups, *k), from the table where it is still right."""
    now = stamp(weight)
    found = _entries.get(id(weight))
    if found is not None and found.stamp == now and found.options == options and found.owner() is weight:
        return found.packed
    _, data_format, strides, dilation, groups = options
    kernel = kernel_of(array_of(weight), data_format)
    result = implementation.pack(kernel, groups, data_format, strides, dilation)
    if remember:
        key = id(weight)
        _entries[key] = _Entry(weakref.ref(weight, lambda _: _entries.pop(key, None)), now, options, result)
    return result


def clear() -> None:
    """Drop all packed weights."""
    _entries.clear()


def array_of(tensor: Tensor) -> AnyArray:
    """The tensor's memory as a NumPy array; nothing is copied."""
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def kernel_of(array: AnyArray, data_format: DataFormat) -> AnyArray:
    """(C_small, C_big // groups, *k) as a view in the engine's order for the format."""
    return array if data_format == "channels_first" else array.transpose(*range(2, array.ndim), 1, 0)
