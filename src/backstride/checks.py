"""What arrays must be to fit each other: library, dtype, rank, channels.

Every refusal names the legal shape.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, cast

from backstride import arrays
from backstride.arrays import ForeignArray
from backstride.integers import as_integer, as_sizes, check_cells
from backstride.layout import AnyArray, DataFormat

Options = ParamSpec("Options")
Result = TypeVar("Result")


def named(function: Callable[Options, Result]) -> Callable[Options, Result]:
    """A function that answers an argument by another library's name with its own name of it."""

    @functools.wraps(function)
    def call(*arguments: Options.args, **options: Options.kwargs) -> Result:
        try:
            return function(*arguments, **options)
        except TypeError:
            _refuse_names(function, list(options))
            raise

    return call


def _refuse_names(function: Callable[..., object], names: Sequence[str]) -> None:
    """Refuse the first name that is no option of a function."""
    parameters = inspect.signature(function).parameters
    places = [name for name, entry in parameters.items() if entry.kind is entry.POSITIONAL_ONLY]
    options = [name for name in parameters if name not in places]
    for name in names:
        if name in places:
            message = f"`{name}` is given by its place: {function.__name__}({', '.join(places)})"
            raise TypeError(message) from None
        if name not in options:
            close = difflib.get_close_matches(name, options, n=1) or options
            message = (
                f"`{name}` is no option of {function.__name__}; the nearest is {', '.join(close)}"
            )
            raise TypeError(message) from None


def same_kind(kind: str, owner: str, **others: ForeignArray | None) -> None:
    """Refuse arrays of another dtype than `owner`."""
    for name, array in others.items():
        if array is not None and (other := arrays.dtype_name(name, array)) != kind:
            message = (
                f"`{name}` has dtype {other}; it must be {kind}, as `{owner}` is; convert one of "
                "them"
            )
            raise TypeError(message)


def require_library(name: str, array: object, library: str) -> None:
    """Refuse an array of another library than the kernel's."""
    if (other := arrays.library_of(name, array)) != library:
        message = (
            f"`{name}` (an array of {other}) must come from the library of `kernel`, which is "
            f"{library}; convert one of them"
        )
        raise TypeError(message)


def kernel_channels(
    name: str, shape: tuple[int, ...], groups: object, layout: DataFormat
) -> tuple[int, int, int]:
    """`(groups, C_big, C_small)` of a kernel's shape, its rank and size checked."""
    if not 3 <= len(shape) <= 5:
        message = (
            f"`{name}` has shape {shape}; it must have 1 to 3 spatial axes and 2 for the channels: "
            + (
                "(*k, C_big // groups, C_small)"
                if layout == "channels_last"
                else "(C_small, C_big // groups, *k)"
            )
        )
        raise ValueError(message)
    if 0 in shape:
        message = f"`{name}` has shape {shape}; every axis must have at least 1 entry"
        raise ValueError(message)
    count = as_integer("groups", groups, least=1)
    per_group, small = (shape[-2], shape[-1]) if layout == "channels_last" else (shape[1], shape[0])
    if count < 1 or small % count:
        divisors = [divisor for divisor in range(1, small + 1) if small % divisor == 0]
        nearest = min(divisors, key=lambda divisor: abs(divisor - count))
        message = (
            f"`groups` (={count}) must divide C_small (={small}) of `{name}` {shape}; "
            f"the nearest legal value is {nearest}"
        )
        raise ValueError(message)
    return count, per_group * count, small


def entries(name: str, value: Sequence[int]) -> tuple[int, ...]:
    """Check a sequence of sizes of any length."""
    if not isinstance(cast("object", value), Sequence) or isinstance(value, str):
        message = (
            f"`{name}` (={value!r}) must be a sequence of integers, not {type(value).__name__}"
        )
        raise TypeError(message)
    return as_sizes(name, value, len(value))


def spatial_of(
    shape: tuple[int, ...], layout: DataFormat, *, kernel: bool = False
) -> tuple[int, ...]:
    """The spatial sizes of the shape of data, or of a kernel."""
    if layout == "channels_first":
        return shape[2:]
    return shape[:-2] if kernel else shape[1:-1]


def check_data(
    name: str, shape: tuple[int, ...], rank: int, channels: int, layout: DataFormat
) -> None:
    """Check the rank, channels and cells of data against a kernel's."""
    axes = ["N", *(f"size{axis}" for axis in range(rank))]
    axes.insert(len(axes) if layout == "channels_last" else 1, f"{channels}")
    expected = f"({', '.join(axes)})"
    if len(shape) != rank + 2:
        message = (
            f"`{name}` has shape {shape}; for this kernel it must have {rank + 2} axes: {expected}"
        )
        raise ValueError(message)
    count = shape[-1] if layout == "channels_last" else shape[1]
    if count != channels:
        message = (
            f"`{name}` has shape {shape}, {count} channels; for this kernel and `groups` it must "
            f"be {expected}"
        )
        raise ValueError(message)
    if 0 in spatial_of(shape, layout):
        message = f"`{name}` has shape {shape}; every spatial axis must have at least 1 cell"
        raise ValueError(message)


def check_result(name: str, batch: int, size: tuple[int, ...], channels: int) -> None:
    """Refuse a result of more bytes than can be counted, at 16 a number."""
    check_cells(name, batch * math.prod(size) * channels * 16, what="bytes")


def check_matrix(shape: tuple[int, ...]) -> None:
    """Check the shape of a dense kernel."""
    if len(shape) != 2 or 0 in shape:
        message = f"`kernel` has shape {shape}; a dense kernel is (C_in, C_out), both at least 1"
        raise ValueError(message)


def bias_values(bias: ForeignArray, channels: int) -> AnyArray:
    """A bias as NumPy, one entry per output channel."""
    values = arrays.to_numpy("bias", bias)
    if values.shape != (channels,):
        message = (
            f"`bias` has shape {values.shape}; it must be ({channels},), one entry per output "
            "channel"
        )
        raise ValueError(message)
    return values
