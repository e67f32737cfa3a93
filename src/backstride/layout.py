"""Where the channels stand: one view of every array as channels last, and back. Moves no data.

- data: channels_last `(N, *size, C)`, channels_first `(N, C, *size)`
- kernel: channels_last (*k, C_big/groups, C_small), channels_first (C_small, C_big/groups, *k)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DataFormat: TypeAlias = Literal["channels_last", "channels_first"]
AnyArray: TypeAlias = "NDArray[Any]"
AnyDtype: TypeAlias = "np.dtype[Any]"
FORMATS: tuple[object, ...] = ("channels_last", "channels_first")


def check_data_format(data_format: object) -> DataFormat:
    """Check the name of a layout."""
    if data_format not in FORMATS:
        hint = "channels_first" if str(data_format).upper().startswith("NC") else "channels_last"
        message = (
            f'`data_format` (={data_format!r}) must be "channels_last" or "channels_first"; '
            f'the nearest legal value is "{hint}"'
        )
        raise ValueError(message)
    return cast("DataFormat", data_format)


def data_view(x: AnyArray, data_format: DataFormat) -> AnyArray:
    """`(N, *size, C)` view of data in either layout."""
    return x if data_format == "channels_last" else x.transpose(0, *range(2, x.ndim), 1)


def data_unview(x: AnyArray, data_format: DataFormat) -> AnyArray:
    """Undo `data_view`."""
    return x if data_format == "channels_last" else x.transpose(0, -1, *range(1, x.ndim - 1))


def kernel_view(kernel: AnyArray, data_format: DataFormat) -> AnyArray:
    """(*k, C_big/groups, C_small) view of a kernel in either layout."""
    return (
        kernel if data_format == "channels_last" else kernel.transpose(*range(2, kernel.ndim), 1, 0)
    )


def kernel_unview(kernel: AnyArray, data_format: DataFormat) -> AnyArray:
    """Undo `kernel_view`."""
    return (
        kernel
        if data_format == "channels_last"
        else kernel.transpose(-1, -2, *range(kernel.ndim - 2))
    )
