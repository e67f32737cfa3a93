"""Packed weights, remembered for as long as they are right.

The engine reads a kernel in an order of its own. Packing costs about as much as reading the weights
several times, so the packed form of a weight is kept beside it, in one table for modules, functions
and compiled graphs alike.

An entry is used only for the very memory that it was made from, at the same address, with the same
version counter and the same contents. The counter tells of everything that PyTorch tracks
(optimizer steps, load_state_dict, `copy_`, every in-place operation). Writes that it does not
track, through `.data` or NumPy views, leave the counter as it is. Against those, Linux says whether
anything was written to the pages of a large weight (`native.watched`). Small weights, shared
memory, and all weights on other systems are compared with a copy at each call. Nothing is trusted.

A weight whose contents changed since the last call is not packed at once: `note_change` says so,
and a training loop that never has the same weight twice goes another way.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from backstride.implementation import Packed, Storage
from backstride.layout import AnyArray, DataFormat
from backstride.native import Watch, copied, same_bytes, watched

LEAST_WATCHED = 1 << 17  # bytes from which on the system is asked: it takes a microsecond
HALF = {torch.float16: Storage.float16, torch.bfloat16: Storage.bfloat16}
Owner: TypeAlias = "weakref.ref[torch.UntypedStorage]"
NOTHING: AnyArray = np.empty(0, np.uint8)
Place = tuple[int, int, tuple[int, ...], tuple[int, ...]]  # address, version, shape, strides


class Options(NamedTuple):
    """What a packed form depends on beside the weight."""

    implementation: str
    data_format: DataFormat
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    flipped: bool = False
    """Whether the weight is that of a convolution: to be flipped, with its channels exchanged."""
    rounded: torch.dtype | None = None
    """The half precision that the weight is rounded to, where the data has it."""
    winograd: bool = True


class Snapshot(NamedTuple):
    """A tensor at one moment: where it is, and what it holds."""

    place: Place
    contents: Watch | AnyArray | Owner = NOTHING
    """What says whether the memory stayed, a copy, or its owner if nobody else can write."""


class _Entry(NamedTuple):
    owner: Owner
    snapshot: Snapshot
    options: Options | None
    packed: Packed  # None while the weight changes from call to call


class _Derived(NamedTuple):
    snapshots: tuple[Snapshot | None, ...]
    settings: object
    tensors: tuple[Tensor, ...]


_entries: dict[int, _Entry] = {}
_derived: dict[int, tuple[Owner, _Derived]] = {}
_private: dict[int, Owner] = {}


def owner_of(tensor: Tensor, forget: Callable[[Owner], object] | None = None) -> Owner:
    """A reference to a tensor's memory that does not keep it.

    `forget` is called when the memory goes. Not one to the tensor itself: PyTorch refuses to swap
    tensors that have such (`torch.utils.swap_tensors`).
    """
    return weakref.ref(tensor.untyped_storage(), forget)


def owns(owner: Owner, tensor: Tensor) -> bool:
    """Whether it is still this tensor's memory."""
    return owner() is tensor.untyped_storage()


def snapshot(tensor: Tensor) -> Snapshot:
    """What `unchanged` compares with: the tensor's place and a copy of its memory."""
    owner = _private.get(id(tensor))
    if (
        owner is not None and owns(owner, tensor) and not tensor.is_inference()
    ):  # such tensors count no changes
        return Snapshot(_place(tensor), owner)
    return Snapshot(_place(tensor), _remembered(tensor) or _memory(tensor).copy())


def unchanged(tensor: Tensor, then: Snapshot) -> bool:
    """Whether a tensor holds what it held, to the byte."""
    if then.place != _place(tensor):
        return False
    contents = then.contents
    if isinstance(contents, np.ndarray):
        return same_bytes(_memory(tensor), contents)
    if isinstance(contents, weakref.ref):
        return owns(contents, tensor)
    return contents.stayed()


def keep_private(tensor: Tensor) -> Tensor:
    """Say that nobody but this package writes to a tensor, so that its bytes need no comparison."""
    key = id(tensor)
    _private[key] = owner_of(tensor, lambda _: _private.pop(key, None))
    return tensor


def is_private(tensor: Tensor) -> bool:
    """Whether nobody but this package writes to a tensor."""
    return id(tensor) in _private


def is_kept(weight: Tensor) -> bool:
    """Whether a weight is there in the next call, too.

    A parameter, or one that is made and kept here.
    """
    return isinstance(weight, nn.Parameter) or is_private(weight)


def make_public(tensor: Tensor) -> None:
    """Undo `keep_private`."""
    _ = _private.pop(id(tensor), None)
    _ = _entries.pop(id(tensor), None)


def find(weight: Tensor, options: Options) -> Packed:
    """The packed form of a weight, where there is one that is right; else None."""
    entry = _entries.get(id(weight))
    if (
        entry is None
        or entry.packed is None
        or entry.options != options
        or not owns(entry.owner, weight)
    ):
        return None
    return entry.packed if unchanged(weight, entry.snapshot) else None


def note_change(weight: Tensor) -> bool:
    """Note a weight that `find` did not find, and say whether it changed since the last call.

    To be asked once a call.
    """
    entry = _entries.get(id(weight))
    if entry is None or not owns(entry.owner, weight):
        return False
    place = _place(weight)
    if entry.packed is None and entry.snapshot.place == place:
        return False
    if entry.packed is not None and unchanged(weight, entry.snapshot):
        return False  # it is asked for with other options
    _entries[id(weight)] = entry._replace(snapshot=Snapshot(place), packed=None)
    return True


def note_new(weight: Tensor) -> bool:
    """Note a weight that no module owns, and say whether it is new.

    Most such weights are made for one call. The next time it is not, and its packed form is
    remembered.
    """
    key, entry = id(weight), _entries.get(id(weight))
    if is_kept(weight) or (entry is not None and owns(entry.owner, weight)):
        return False
    owner = owner_of(weight, lambda _: _entries.pop(key, None))
    _entries[key] = _Entry(owner, Snapshot(_place(weight)), None, None)
    return True


def make(
    weight: Tensor, options: Options, pack: Callable[[Tensor], Packed], *, remember: bool
) -> Packed:
    """Pack a weight, and remember the result for as long as the weight holds what it does."""
    then = snapshot(weight) if remember else None
    result = pack(weight)
    if then is not None:
        key = id(weight)
        _entries[key] = _Entry(
            owner_of(weight, lambda _: _entries.pop(key, None)), then, options, result
        )
    return result


def derived(
    sources: tuple[Tensor | None, ...], settings: object, derive: Callable[[], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """Tensors made from others, the first of which is a weight.

    Remembered for as long as those hold what they do. Where they changed since the last call, they
    may change again: then nothing is remembered until they stay.
    """
    weight = sources[0]
    assert weight is not None
    key = id(weight)
    owner, entry = _derived.get(key, (None, None))
    if owner is None or not owns(owner, weight):
        owner, entry = owner_of(weight, lambda _: _derived.pop(key, None)), None
    if (
        entry is not None
        and entry.tensors
        and entry.settings == settings
        and _same(sources, entry.snapshots)
    ):
        return entry.tensors
    places = tuple(None if source is None else _place(source) for source in sources)
    same = entry is None or (not entry.tensors and entry.settings == (settings, places))
    snapshots = (
        tuple(None if source is None else snapshot(source) for source in sources) if same else ()
    )
    with torch.inference_mode(mode=False), torch.no_grad():
        tensors = derive()
    _derived[key] = (
        owner,
        _Derived(snapshots, settings, tensors) if same else _Derived((), (settings, places), ()),
    )
    return tensors


def _same(sources: tuple[Tensor | None, ...], snapshots: tuple[Snapshot | None, ...]) -> bool:
    if len(sources) != len(snapshots):
        return False
    for source, then in zip(sources, snapshots, strict=True):
        if source is None or then is None:
            if source is not then:
                return False
        elif not unchanged(source, then):
            return False
    return True


def clear() -> None:
    """Drop all packed weights, and those made from others."""
    _entries.clear()
    _derived.clear()


def array_of(tensor: Tensor) -> AnyArray:
    """The tensor's memory as a NumPy array, that of half precision as its bits.

    Nothing is copied.
    """
    tensor = tensor.detach() if tensor.requires_grad else tensor
    return (tensor.view(torch.uint16) if tensor.dtype in HALF else tensor).numpy()


def kernel_of(array: AnyArray, data_format: DataFormat, *, flipped: bool = False) -> AnyArray:
    """(C_small, C_big // groups, *k) as a view in the engine's order for the format."""
    if flipped:
        array = np.flip(array.swapaxes(0, 1), tuple(range(2, array.ndim)))
    return (
        array if data_format == "channels_first" else array.transpose(*range(2, array.ndim), 1, 0)
    )


def _place(tensor: Tensor) -> Place:
    version = -1 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tuple(tensor.shape), tensor.stride()


def _remembered(tensor: Tensor) -> Watch | None:
    """What says whether the memory of a tensor stayed; None where it does not cover its storage.

    Others may write beside a part of a storage, which leaves marks on its pages.
    """
    address, size, storage = (
        tensor.data_ptr(),
        tensor.numel() * tensor.itemsize,
        tensor.untyped_storage(),
    )
    if size != storage.nbytes() or address != storage.data_ptr():
        return None
    return (watched(address, size) if size >= LEAST_WATCHED else None) or copied(address, size)


def _memory(tensor: Tensor) -> AnyArray:
    """The values in the order of their addresses; a copy where they do not lie side by side."""
    array = array_of(tensor)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(
            array.transpose(np.argsort(array.strides, kind="stable")[::-1])
        )
    return array
