"""Plans of recent calls of `conv_transpose`, for the next call with the same kernel.

Geometries and checks of others. Nothing is trusted but contents: a plan is used again only where
kernel and bias hold the very bytes that it was made from, and all options are equal. So a kernel
that was changed in place is packed anew, and an equal one in another place is not. What that costs
is one reading of the kernel. At most 16 plans are kept, of 64 MiB of kernels in all.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeGuard, TypeVar, cast

import numpy as np

from backstride.arrays import ForeignArray
from backstride.checks import spatial_of
from backstride.engine import VARIABLE, forced
from backstride.geometry import Geometry, convolution_of
from backstride.implementation import Call, Implementation
from backstride.integers import PLAIN
from backstride.layout import AnyArray
from backstride.native import same_bytes
from backstride.options import CallOptions, FittedOptions
from backstride.plans import Plan

MOST_PLANS = 16
MOST_BYTES = 64 << 20
MOST_GEOMETRIES = 256
Key: TypeAlias = tuple[object, ...]
Value = TypeVar("Value")

_lock = threading.RLock()  # a signal's handler may call in the midst of a call


def _renew_lock() -> None:
    """In a forked child, where the thread that holds the lock may not be."""
    global _lock  # noqa: PLW0603  there is one for all
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Cache(OrderedDict[Key, Value]):
    """The last values that were kept; the oldest make room for new ones.

    >>> cache = Cache[str](2)
    >>> for number in (1, 2, 3):
    ...     cache.keep((number,), "value")
    >>> list(cache)
    [(2,), (3,)]

    Args:
        most: how many there may be.
        most_bytes: how many bytes they may have in all.
        bytes_of: the bytes of a value; none have any unless it says so.
    """

    def __init__(
        self, most: int, most_bytes: int = 0, bytes_of: Callable[[Value], int] | None = None
    ) -> None:
        super().__init__()
        self._most, self._most_bytes, self._bytes_of = most, most_bytes, bytes_of

    def keep(self, key: Key, value: Value) -> None:
        """Keep a value, which is now the newest."""
        with _lock:
            _ = self.pop(key, None)
            self[key] = value
            while len(self) > self._most or self._bytes() > self._most_bytes:
                _ = self.popitem(last=False)

    def _bytes(self) -> int:
        return 0 if self._bytes_of is None else sum(map(self._bytes_of, tuple(self.values())))


class _Kept(NamedTuple):
    kernel: AnyArray
    bias: AnyArray | None
    plan: Plan


_plans: Cache[_Kept] = Cache(MOST_PLANS, MOST_BYTES, lambda kept: kept.kernel.nbytes)
_fitted: Cache[tuple[FittedOptions, Geometry]] = Cache(MOST_GEOMETRIES)
_checked: Cache[tuple[Implementation, Call]] = Cache(MOST_GEOMETRIES)


def find(kernel: ForeignArray, bias: ForeignArray | None, options: Key) -> Plan | None:
    """The plan of an earlier call with the same bytes and options, or None."""
    if not keeps(kernel) or not (bias is None or _readable(bias)):
        return None
    key = _key(kernel, bias, options)
    kept = None if key is None else _plans.get(key)
    if kept is None:
        return None
    return kept.plan if same_bytes(kernel, kept.kernel) and _same(bias, kept.bias) else None


def keeps(kernel: ForeignArray) -> TypeGuard[AnyArray]:
    """Whether plans of such a kernel are kept.

    NumPy's, of a dtype that is computed as it is, and not too large.
    """
    return _readable(kernel) and kernel.flags.c_contiguous and kernel.nbytes <= MOST_BYTES


def add(kernel: AnyArray, bias: ForeignArray | None, options: Key, plan: Plan) -> None:
    """Keep the plan of a kernel that `keeps` accepts, unless bias or options are not plain."""
    if not (bias is None or _readable(bias)):
        return
    key = _key(kernel, bias, options)
    if key is not None:
        offset = None if bias is None else np.array(bias)
        _plans.keep(key, _Kept(kernel.copy(), offset, plan))


def fit(
    options: CallOptions, name: str, kernel: AnyArray | tuple[int, ...], x: AnyArray
) -> tuple[FittedOptions, Geometry]:
    """Options checked against a kernel, or its shape, and the larger side of a convolution.

    Its adjoint. Remembered.
    """
    shape, dtype = (kernel, x.dtype) if isinstance(kernel, tuple) else (kernel.shape, kernel.dtype)
    sizes = (
        options.strides,
        options.padding,
        options.output_padding,
        options.output_shape,
        options.dilation,
    )
    asked = *map(_frozen, sizes), options.groups, options.data_format, options.activation
    key = (name, shape, dtype.char, x.shape, *asked)
    fit_and_adjoint = _fitted.get(key) if _plain(key) else None
    if fit_and_adjoint is None:
        fitted = options.fit(name, shape, dtype, x_shape=x.shape)
        fit_and_adjoint = (
            fitted,
            convolution_of(fitted.steps, spatial_of(x.shape, fitted.data_format)).adjoint,
        )
        if _plain(key):
            _fitted.keep(key, fit_and_adjoint)
    return fit_and_adjoint


def shapes_of_call(
    one: ForeignArray, other: ForeignArray, winograd: bool, *options: object
) -> Key | None:
    """What decides how two arrays are convolved, beside their numbers.

    None unless both are NumPy's, of one dtype.
    """
    if (
        not _readable(one)
        or not _readable(other)
        or one.dtype != other.dtype
        or not all(map(_plain, options))
    ):
        return None
    return (one.shape, other.shape, one.dtype.char, _forced(), winograd, *options)


def checked(key: Key | None) -> tuple[Implementation, Call] | None:
    """What an earlier call of these shapes and options was found to be."""
    return None if key is None else _checked.get(key)


def keep(key: Key | None, implementation: Implementation, call: Call) -> None:
    """Remember what a call was found to be."""
    if key is not None:
        _checked.keep(key, (implementation, call))


def _readable(array: ForeignArray) -> TypeGuard[AnyArray]:
    """Whether it is NumPy's and the engine takes its numbers where they are.

    Their bytes alone say little.
    """
    return (
        type(array) is np.ndarray
        and array.dtype.char in "fd"
        and array.dtype.isnative
        and array.flags.aligned
    )


def _frozen(value: object) -> object:
    return (
        tuple(map(_frozen, cast("list[object]", value)))
        if isinstance(value, list | tuple)
        else value
    )


def _key(kernel: AnyArray, bias: AnyArray | None, options: Key) -> Key | None:
    """What must be equal beside the bytes.

    None where equal options could mean something else, as True and 1.
    """
    if not all(map(_plain, options)):
        return None
    return (
        kernel.shape,
        kernel.dtype.char,
        None if bias is None else bias.shape,
        _forced(),
        *options,
    )


def _forced() -> str | None:
    return os.environ.get(VARIABLE) if forced() else None


def _plain(value: object) -> bool:
    return type(value) in PLAIN or (type(value) is tuple and all(map(_plain, cast("Key", value))))


def _same(bias: AnyArray | None, offset: AnyArray | None) -> bool:
    if bias is None or offset is None:
        return bias is offset
    return bias.dtype == offset.dtype and bias.flags.c_contiguous and same_bytes(bias, offset)
