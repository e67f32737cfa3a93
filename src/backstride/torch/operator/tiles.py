"""Convolutions of stride 1 by tiles of four outputs along one axis, for inference.

They take fewer products, pointwise. Outputs 4t to 4t + 3 of a kernel of r taps are `A ((G w) * (B
x))` over the r + 3 inputs that they see: the scheme of Toom and Cook, transposed (Winograd,
Arithmetic Complexity of Computations, 1980; Lavin & Gray, arXiv 1509.09308, section 4). A longer
kernel is blocks of four taps, four cells apart, so all blocks read the same tiles: on every point
the layer is a convolution of as many taps as there are blocks, and all points together are one of
as many groups, which the engine computes. 11 taps take 21 products for four outputs in place of 44,
and fewer where the engine uses Winograd's tiles for the blocks once more.

A dilation d cuts an axis into d lines, and the first of three axes into as many as a plane has
cells: both only change the distance of the cells that a tile reads. A strip of tiles goes through
all steps in one thread (`native/axis_tiles.cpp`), so what lies between stays in its cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backstride import native
from backstride.implementation import AxisConvolution, Implementation, Layer, Packed
from backstride.layout import AnyArray
from backstride.torch.operator.internals import from_numpy
from backstride.torch.operator.kernels import keeps_channels_last, setting
from backstride.torch.operator.packing import array_of, find, make, note_change
from backstride.torch.operator.shapes import Integers

OUTPUTS = 4
POINTS: dict[int, tuple[Fraction | int, ...]] = {  # and infinity
    3: (0, 1, -1, Fraction(1, 2), -2),
    4: (0, 1, -1, 2, -2, Fraction(1, 2)),
}
ONE = 1  # where the point 1 stands: every output takes it once, so the bias is added there
STRIP = 1 << 17  # entries of a strip of the transformed input, which one thread computes: 512 KiB
NO_PLANE = (0, 0)
Pairs = Sequence[tuple[int, int]]


class Transforms(NamedTuple):
    """The matrices of a tile.

    Of the kernel (points, taps), the input (points, points) and the output (4, points).
    """

    kernel: Tensor
    input: Tensor
    output: Tensor


@lru_cache(maxsize=4)
def transforms(taps: int) -> Transforms:
    """The matrices for four outputs and 3 or 4 taps, rounded from exact ones.

    >>> kernel, input, output = transforms(3)
    >>> x, w = torch.arange(6.0) ** 2, torch.tensor([1.0, 10.0, 100.0])
    >>> (output @ ((kernel.float() @ w) * (input @ x))).round()
    tensor([ 410.,  941., 1694., 2669.])
    """
    points = POINTS[taps]
    size = len(points) + 1
    inverse = _inverse(_powers(points, size))
    columns = [[inverse[row][column] for row in range(size)] for column in range(size)]
    # A power of two goes from the input's matrix to the kernel's, so that the entries of both are
    # around 1.
    scales = [
        Fraction(2) ** round(math.log2(max(abs(value) for value in column))) for column in columns
    ]
    rows = _powers(points, taps)
    kernel = [[value * scale for value in row] for row, scale in zip(rows, scales, strict=True)]
    data = [[value / scale for value in row] for row, scale in zip(columns, scales, strict=True)]
    outputs = zip(*_powers(points, OUTPUTS), strict=True)
    return Transforms(_matrix(kernel, torch.float64), _matrix(data), _matrix(outputs))


class TiledKernel(NamedTuple):
    """A kernel by its points, packed for the engine, and the taps of a block."""

    implementation: Implementation
    packed: Packed
    taps: int


def is_too_short(length: int, taps: int, dilation: int, padding: tuple[int, int]) -> bool:
    """Whether an axis is so short that the last tiles' empty part takes what tiles save.

    >>> [is_too_short(length, 3, 1, (1, 1)) for length in (400, 1)]
    [False, True]
    >>> [is_too_short(length, 3, 30, (30, 30)) for length in (130, 230)]
    [True, False]
    """
    count, block = length + sum(padding) - dilation * (taps - 1), _block(taps)
    products = (
        -(-count // (OUTPUTS * dilation)) * dilation * (block + OUTPUTS - 1) * -(-taps // block)
    )
    return products > count * taps if dilation == 1 else products * 5 > count * taps * 4


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Pairs,
    dilation: int,
    *,
    rows: bool = False,
) -> Tensor | None:
    """Map x (N, C_in, *input) of one or three axes by a convolution of stride 1.

    The weight is (C_out, C_in, *k). `padding`: (before, after) zeros for each axis. `dilation`:
    that of one axis; three have none. The result has the memory format of `x`; or, with `rows`, the
    channels of a cell side by side, as is fastest. None where there is nothing to gain: the weight
    keeps changing, or there is no compiled kernel; and where `x` or the weight holds NaN, infinity
    or very large numbers: those of `x` must reach only the outputs that read them.
    """
    batch, _, length, *plane = x.shape
    kernel = weight.shape[3:]
    planes = [
        size + sum(pair) - k + 1 for size, k, pair in zip(plane, kernel, padding[1:], strict=True)
    ]
    count = length + sum(padding[0]) - dilation * (weight.shape[2] - 1)
    tiled = _tiled_kernel(x, weight, dilation) if min(count, *planes, batch) > 0 else None
    if tiled is None:
        return None
    first = not (rows or keeps_channels_last(x, weight))
    lines = x if x.is_contiguous() else x.movedim(1, -1)
    sizes = (
        (batch, weight.shape[0], count * math.prod(planes)),
        (batch, count * math.prod(planes), weight.shape[0]),
    )
    result = _empty(sizes[0] if first else sizes[1])
    matrices = transforms(tiled.taps)
    crop = [k - 1 - before for k, (before, _) in zip(kernel, padding[1:], strict=True)]
    call = AxisConvolution(
        source=array_of(lines.contiguous()).reshape(
            batch, *((-1, x.shape[1]) if lines is not x else (x.shape[1], -1))
        ),
        source_first=lines is x,
        target=array_of(result),
        target_first=first,
        offset=_offset(tiled, weight, bias),
        input=array_of(matrices.input).reshape(-1),
        output=array_of(matrices.output).reshape(-1),
        before=padding[0][0],
        count=count,
        dilation=dilation,
        taps=weight.shape[2],
        plane=_plane(plane),
        target_plane=_plane(planes),
        crop=_plane(crop),
        strip=STRIP,
    )
    if not tiled.implementation.axis_convolution(tiled.packed, call):
        return None
    if first:
        return result.view(batch, weight.shape[0], count, *planes)
    return result.view(batch, count, *planes, weight.shape[0]).movedim(-1, 1)


def _plane(values: Sequence[int]) -> tuple[int, int]:
    """What is said of the second and third axis; of one axis alone, nothing."""
    if not values:
        return NO_PLANE
    second, third = values
    return second, third


def _block(taps: int) -> int:
    return 3 if taps == 3 else 4


def _tiled_kernel(x: Tensor, weight: Tensor, dilation: int) -> TiledKernel | None:
    taps = _block(weight.shape[2])
    implementation, options = setting(x, "channels_last", Integers((1,), (), (1,), 1))
    if not implementation.tiles_axes:
        return None
    line = dilation == 1  # where the tiles of a line stand side by side
    options = options._replace(
        implementation=f"{implementation.name}, {taps} taps{', in a line' if line else ''}"
    )
    tiled = find(weight, options)
    if tiled is None and not note_change(weight):
        tiled = make(
            weight,
            options,
            lambda weight: _packed(implementation, weight, taps, line),
            remember=True,
        )
    return tiled


def _packed(implementation: Implementation, weight: Tensor, taps: int, line: bool) -> TiledKernel:
    out, channels, length, *plane = weight.shape
    blocks = -(-length // taps)
    padded = weight.new_zeros((out, channels, blocks * taps, *plane), dtype=torch.float64)
    padded[:, :, :length] = weight.detach()
    split = padded.view(out, channels, blocks, taps, -1)
    points = torch.einsum("qt,ocbti->bioqc", transforms(taps).kernel, split)
    pointwise = tuple(plane) or ((1, blocks) if line else (blocks, 1))
    # The kernel of the transposed convolution that this is: flipped, (*k, C_out, points * C_in).
    kernel = array_of(points.flip(0, 1).float().reshape(*pointwise, out, -1).contiguous())
    unit = (1,) * len(pointwise)
    packed = implementation.pack(kernel, Layer(points.shape[3], "channels_last", unit, unit))
    return TiledKernel(implementation, packed, taps)


def _offset(tiled: TiledKernel, weight: Tensor, bias: Tensor | None) -> AnyArray:
    offset = np.zeros((len(POINTS[tiled.taps]) + 1, weight.shape[0]), np.float32)
    if bias is not None:
        offset[ONE] = array_of(bias)
    return offset.reshape(-1)


def _empty(shape: tuple[int, int, int]) -> Tensor:
    return from_numpy(native.recycled(shape))


def _powers(points: Sequence[Fraction | int], size: int) -> list[list[Fraction]]:
    """Rows of powers of each point, and infinity's, which sees the highest alone."""
    rows = [[Fraction(point) ** power for power in range(size)] for point in points]
    return [*rows, [Fraction(0)] * (size - 1) + [Fraction(1)]]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """By Gauss and Jordan, exactly."""
    size = len(matrix)
    rows = [
        [*row, *(Fraction(int(one == other)) for other in range(size))]
        for one, row in enumerate(matrix)
    ]
    for column in range(size):
        pivot = next(row for row in range(column, size) if rows[row][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for row in range(size):
            if row != column:
                factor = rows[row][column]
                rows[row] = [
                    value - factor * other
                    for value, other in zip(rows[row], rows[column], strict=True)
                ]
    return [row[size:] for row in rows]


def _matrix(rows: Iterable[Iterable[Fraction]], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=dtype)
