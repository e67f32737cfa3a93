"""In which numbers a call is computed.

Half precision in float32, integers in 64 bits or without limit.
"""

from __future__ import annotations

import numpy as np

from backstride import arrays
from backstride.arrays import ForeignArray
from backstride.implementation import Packed, Storage, storage_of
from backstride.layout import AnyArray, AnyDtype


def widened(dtype: AnyDtype) -> AnyDtype:
    """The dtype that narrow numbers are computed in.

    Half precision in float32, integers in int64.
    """
    if dtype.kind in "iu":
        return np.dtype(np.int64)
    if dtype.kind in "fV" and dtype.itemsize <= 2:
        return np.dtype(np.float32)
    return dtype


def read(name: str, array: ForeignArray, kind: str) -> tuple[AnyArray, Storage | None]:
    """The numbers of an array of this dtype.

    Half precision as bits where they share memory, with their storage.
    """
    storage = storage_of(kind)
    bits = None if storage is None else arrays.bits(name, array)
    return (arrays.to_numpy(name, array), None) if bits is None else (bits, storage)


def widen(array: AnyArray) -> AnyArray:
    """The array in the dtype that it is computed in; integers beyond int64 as Python integers."""
    if array.dtype == np.uint64 and array.size and largest(array) >= 2**63:
        return array.astype(object)
    return array.astype(widened(array.dtype), copy=False)


def largest(array: AnyArray) -> int:
    """The largest magnitude of an integer array, as a Python integer; 0 for other kinds."""
    if array.dtype.kind not in "iu" or not array.size:
        return 0
    return max(abs(int(array.min())), abs(int(array.max())))


def exact_integers(
    x: AnyArray, kernel: Packed, bias: AnyArray | None, bound: int
) -> tuple[AnyArray, Packed, AnyArray | None]:
    """Widen `x` for sums of integers that could pass 64 bits.

    All arrays hold Python integers then.
    """
    wide = widen(x)
    if x.dtype.kind not in "iu":
        return wide, kernel, bias
    offset = 0 if bias is None else max(abs(int(value)) for value in bias)
    overflows = largest(x) * bound + offset > np.iinfo(np.int64).max
    if overflows or object in (wide.dtype, kernel.dtype):
        return (
            wide.astype(object),
            kernel.astype(object),
            None if bias is None else bias.astype(object),
        )
    return wide, kernel, bias


def narrow(result: AnyArray, x: ForeignArray, dtype: AnyDtype) -> ForeignArray:
    """Back to the dtype and library of `x`.

    An integer that does not fit is an error, never a wrapped one.
    """
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        for value in (result.min(), result.max()) if result.size else ():
            if not limits.min <= value <= limits.max:
                message = (
                    f"`x` has dtype {dtype}, in which the result {value} does not fit; "
                    "the nearest legal call converts the arrays to a wider dtype"
                )
                raise ValueError(message)
        result = result.astype(dtype, copy=False)
    return arrays.back(result, x)
