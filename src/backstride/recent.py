"""Plans of recent calls of `conv_transpose`, for the next call with the same kernel; geometries and checks of others.

Nothing is trusted but contents: a plan is used again only where kernel and bias hold the very bytes that it was
made from, and all options are equal. So a kernel that was changed in place is packed anew, and an equal one in another
place is not. What that costs is one reading of the kernel. At most 16 plans are kept, of 64 MiB of kernels in all.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, cast

import numpy as np

from backstride.engine import VARIABLE
from backstride.geometry import Geometry, convolution
from backstride.implementation import Call, Implementation
from backstride.native import same_bytes

MOST_PLANS = 16
MOST_BYTES = 64 << 20
MOST_GEOMETRIES = 256
PLAIN = frozenset((int, str, type(None)))

_lock = threading.RLock()  # a signal's handler may call in the midst of a call
_plans: OrderedDict[Any, tuple[Any, Any, Any]] = OrderedDict()
_geometries: dict[Any, Geometry] = {}
_checked: dict[Any, tuple[Implementation, Call]] = {}


def _renew_lock() -> None:
    """In a forked child, where the thread that holds the lock may not be."""
    global _lock  # noqa: PLW0603  there is one for all
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def find(kernel: Any, bias: Any, options: dict[str, Any]) -> Any:
    """The plan of an earlier call with the same bytes and options, or None."""
    if not keeps(kernel) or not (bias is None or _readable(bias)):
        return None
    key = _key(kernel, bias, options)
    with _lock:
        found = _plans.get(key)
    if found is None:
        return None
    weights, offset, call = found
    return call if same_bytes(kernel, weights) and _same(bias, offset) else None


def keeps(kernel: Any) -> bool:
    """Whether plans of such a kernel are kept: NumPy's, of a dtype that is computed as it is, and not too large."""
    return _readable(kernel) and kernel.flags.c_contiguous and kernel.nbytes <= MOST_BYTES


def add(kernel: Any, bias: Any, options: dict[str, Any], call: Any) -> None:
    """Keep the plan of a kernel that `keeps` accepts, unless its bias or its options are not plain."""
    key = _key(kernel, bias, options) if bias is None or _readable(bias) else None
    if key is None:
        return
    with _lock:
        _ = _plans.pop(key, None)
        _plans[key] = (kernel.copy(), None if bias is None else np.array(bias), call)
        while len(_plans) > MOST_PLANS or sum(entry[0].nbytes for entry in tuple(_plans.values())) > MOST_BYTES:
            _ = _plans.popitem(last=False)


def adjoint_of_convolution(sizes: tuple[int, ...], spatial: tuple[int, ...], **options: Any) -> Geometry:
    """`convolution(sizes, spatial, **options).adjoint`, remembered."""
    key = (sizes, spatial, *map(_frozen, options.values()))
    if not _plain(key):
        return convolution(sizes, spatial, **options).adjoint
    found = _geometries.get(key)
    if found is None:
        found = convolution(sizes, spatial, **options).adjoint
        with _lock:
            if len(_geometries) >= MOST_GEOMETRIES:
                _geometries.clear()
            _geometries[key] = found
    return found


def shapes_of_call(one: Any, other: Any, winograd: bool, *options: Any) -> Any:
    """What decides how two arrays are convolved, beside their numbers; None unless both are NumPy's, of one dtype."""
    if not _readable(one) or not _readable(other) or one.dtype != other.dtype or not all(map(_plain, options)):
        return None
    return (one.shape, other.shape, one.dtype.char, os.environ.get(VARIABLE), winograd, *options)


def checked(key: Any) -> tuple[Implementation, Call] | None:
    """What an earlier call of these shapes and options was found to be."""
    return None if key is None else _checked.get(key)


def keep(key: Any, implementation: Implementation, call: Call) -> None:
    """Remember what a call was found to be."""
    if key is None:
        return
    with _lock:
        if len(_checked) >= MOST_GEOMETRIES:
            _checked.clear()
        _checked[key] = implementation, call


def _readable(array: Any) -> bool:
    """Whether it is NumPy's and the engine takes its numbers where they are: their bytes alone say little."""
    return type(array) is np.ndarray and array.dtype.char in "fd" and array.dtype.isnative and array.flags.aligned


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, cast("list[Any]", value))) if isinstance(value, list | tuple) else value


def _key(kernel: Any, bias: Any, options: dict[str, Any]) -> Any:
    """What must be equal beside the bytes; None where equal options could mean something else, as True and 1."""
    if not all(map(_plain, options.values())):
        return None
    forced = os.environ.get(VARIABLE)
    return (kernel.shape, kernel.dtype.char, None if bias is None else bias.shape, forced, *options.values())


def _plain(value: Any) -> bool:
    return type(value) in PLAIN or (type(value) is tuple and all(map(_plain, cast("tuple[Any, ...]", value))))


def _same(bias: Any, offset: Any) -> bool:
    if bias is None:
        return True
    return bias.dtype == offset.dtype and bias.flags.c_contiguous and same_bytes(bias, offset)
