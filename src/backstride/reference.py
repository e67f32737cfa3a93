"""The definition, written as a plain scatter.

The oracle that every other implementation is held to. Exact: integers of any width become Python
integers, `fractions.Fraction` stays as it is, so the results are arrays of objects without rounding
or overflow. Floating point arrays keep their dtype. One loop over all meetings of an input cell, a
tap and an output cell; slow, and meant to be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from backstride.geometry import Geometry
from backstride.layout import (
    AnyArray,
    DataFormat,
    data_unview,
    data_view,
    kernel_unview,
    kernel_view,
)

Index = tuple[int, ...]


def meetings(geometry: Geometry) -> Iterator[tuple[Index, Index, Index]]:
    """Every (input cell, tap, output cell) that meet.

    `output = input*s + tap*d - before`, uncropped.

    >>> from backstride.geometry import geometry
    >>> list(meetings(geometry(2, 2, strides=3, padding=[(1, 0)])))
    [((0,), (1,), (0,)), ((1,), (0,), (2,)), ((1,), (1,), (3,))]
    """
    for cell in product(*map(range, geometry.input)):
        for tap in product(*map(range, geometry.kernel)):
            target = tuple(
                m * s + j * d - before
                for m, s, j, d, (before, _) in zip(
                    cell, geometry.strides, tap, geometry.dilation, geometry.crop, strict=True
                )
            )
            if all(
                0 <= position < size for position, size in zip(target, geometry.output, strict=True)
            ):
                yield cell, tap, target


def conv_transpose(
    x: AnyArray,
    kernel: AnyArray,
    geometry: Geometry,
    *,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
) -> AnyArray:
    """Scatter: `y[output] += w[tap] x[input]`.

    >>> from backstride.geometry import geometry
    >>> x, kernel = np.array([[[1], [10]]]), np.array([[[1]], [[2]], [[3]]])
    >>> conv_transpose(x, kernel, geometry(2, 3, strides=2))[0, :, 0]
    array([1, 2, 13, 20, 30], dtype=object)

    `x` (N, *input, C_small), `kernel` (*k, C_big/groups, C_small), or both channels first.
    Returns (N, *output, C_big).
    """
    x, kernel = data_view(_exact(x), data_format), kernel_view(_exact(kernel), data_format)
    big, small = kernel.shape[-2], kernel.shape[-1] // groups
    y = np.zeros((x.shape[0], *geometry.output, big * groups), x.dtype)
    for cell, tap, target in meetings(geometry):
        for g in range(groups):
            own, others = slice(g * small, (g + 1) * small), slice(g * big, (g + 1) * big)
            y[:, *target, others] += x[:, *cell, own] @ kernel[*tap, :, own].T
    return data_unview(y, data_format)


def conv(
    y: AnyArray,
    kernel: AnyArray,
    geometry: Geometry,
    *,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
) -> AnyArray:
    """Gather, the adjoint: `x[input] += w[tap]^T y[output]`.

    Maps (N, *output, C_big) to (N, *input, C_small).
    """
    y, kernel = data_view(_exact(y), data_format), kernel_view(_exact(kernel), data_format)
    big, small = kernel.shape[-2], kernel.shape[-1] // groups
    x = np.zeros((y.shape[0], *geometry.input, small * groups), y.dtype)
    for cell, tap, target in meetings(geometry):
        for g in range(groups):
            own, others = slice(g * small, (g + 1) * small), slice(g * big, (g + 1) * big)
            x[:, *cell, own] += y[:, *target, others] @ kernel[*tap, :, own]
    return data_unview(x, data_format)


def conv_kernel_gradient(
    x: AnyArray,
    y: AnyArray,
    geometry: Geometry,
    *,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
) -> AnyArray:
    """The derivative of <y, conv_transpose(x, w)> by w.

    `w[tap] += y[output] x[input]^T`, summed over the batch.
    """
    x, y = data_view(_exact(x), data_format), data_view(_exact(y), data_format)
    big, small = y.shape[-1] // groups, x.shape[-1] // groups
    kernel = np.zeros((*geometry.kernel, big, small * groups), x.dtype)
    for cell, tap, target in meetings(geometry):
        for g in range(groups):
            own, others = slice(g * small, (g + 1) * small), slice(g * big, (g + 1) * big)
            kernel[*tap, :, own] += y[:, *target, others].T @ x[:, *cell, own]
    return kernel_unview(kernel, data_format)


def _exact(array: AnyArray) -> AnyArray:
    return array.astype(object) if array.dtype.kind in "biu" else array
