"""Convolutions of stride 1 by tiles of four outputs along one axis, for inference: fewer products, pointwise.

Outputs 4t to 4t + 3 of a kernel of r taps are `A ((G w) * (B x))` over the r + 3 inputs that they see: the scheme of
Toom and Cook, turned around (Winograd, Arithmetic Complexity of Computations, 1980; Lavin & Gray, arXiv 1509.09308,
section 4).
A longer kernel is blocks of four taps, four cells apart, so all blocks read the same tiles: on every point the
layer is a convolution of as many taps as there are blocks, and all points together are one of as many groups,
which the engine computes. 11 taps take 21 products for four outputs in place of 44, and fewer where the engine uses
Winograd's tiles for the blocks once more.

A dilation d cuts an axis into d lines, and the first of three axes into as many as a plane has cells: both only
change the distance of the cells that a tile reads. The two transforms are small matrix products over
rows of channels, strip by strip, so that what lies between stays in the cache.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from backstride.geometry import Geometry
from backstride.implementation import Call, Layer
from backstride.layout import AnyArray
from backstride.torch.kernels import from_numpy, keeps_channels_last, setting
from backstride.torch.packing import array_of, changes, find, make

OUTPUTS = 4
POINTS: dict[int, tuple[Fraction | int, ...]] = {  # and infinity
    3: (0, 1, -1, Fraction(1, 2), -2),
    4: (0, 1, -1, 2, -2, Fraction(1, 2)),
}
ONE = 1  # where the point 1 stands: every output takes it once, so the bias is added there
STRIP = 1 << 18  # entries of a strip of the transformed input: 1 MiB
native: Any = importlib.import_module("backstride.native")
Pairs = Sequence[tuple[int, int]]


class Transforms(NamedTuple):
    """The matrices of a tile: of the kernel (points, taps), the input (points, points) and the output (4, points)."""

    kernel: Tensor
    input: Tensor
    output: Tensor


@lru_cache(maxsize=4)
def transforms(taps: int) -> Transforms:
    """The matrices for four outputs and 3 or 4 taps, rounded from exact ones.

    >>> kernel, input, output = transforms(3)
    >>> x, w = torch.arange(6.0) ** 2, torch.tensor([1.0, 10.0, 100.0])
    >>> output @ ((kernel.float() @ w) * (input @ x))
    tensor([ 410.,  941., 1694., 2669.])
    """
    points = POINTS[taps]
    size = len(points) + 1
    inverse = _inverse(_powers(points, size))
    columns = [[inverse[row][column] for row in range(size)] for column in range(size)]
    # A power of two goes from the input's matrix to the kernel's, so that the entries of both are around 1.
    scales = [Fraction(2) ** round(math.log2(max(abs(value) for value in column))) for column in columns]
    rows = _powers(points, taps)
    kernel = [[value * scale for value in row] for row, scale in zip(rows, scales, strict=True)]
    data = [[value / scale for value in row] for row, scale in zip(columns, scales, strict=True)]
    outputs = zip(*_powers(points, OUTPUTS), strict=True)
    return Transforms(_matrix(kernel, torch.float64), _matrix(data), _matrix(outputs))


class Plan(NamedTuple):
    """A kernel by its points, packed for the engine, and the sizes that it came from."""

    implementation: Any
    packed: Any
    taps: int
    blocks: int
    pointwise: tuple[int, ...]  # the kernel on every point


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: Pairs, dilation: int, *, rows: bool = False
) -> Tensor | None:
    """Map x (N, C_in, *input) and weight (C_out, C_in, *k) of one or three axes by a convolution of stride 1.

    `padding`: (before, after) zeros for each axis. `dilation`: that of one axis; three have none. The result has the
    memory format of `x`; or, with `rows`, the channels of a cell side by side, as is fastest. None where
    there is nothing to gain: the weight keeps changing, or there is no compiled kernel; and where the result
    holds NaN or infinity: those of `x` must reach only the outputs that read them.
    """
    batch, _, length, *plane = x.shape
    kernel = weight.shape[3:]
    planes = [size + sum(pair) - k + 1 for size, k, pair in zip(plane, kernel, padding[1:], strict=True)]
    count = length + sum(padding[0]) - dilation * (weight.shape[2] - 1)
    plan = _plan(x, weight) if min(count, *planes, batch) > 0 else None
    if plan is None:
        return None
    last = keeps_channels_last(x, weight)
    result = _rows((batch, count * math.prod(planes), weight.shape[0]))
    lines = Lines(plan, _offset(plan, weight, bias), tuple(plane), tuple(padding[1:]), dilation)
    for one, target in zip(x, result, strict=True):
        if not lines.run(_padded(one, padding[0][0], lines.needed(count)), target, count):
            return None
    if not (rows or last):
        result = _turned(result)
        return result.view(batch, weight.shape[0], count, *planes)
    return result.view(batch, count, *planes, weight.shape[0]).movedim(-1, 1)


class Lines(NamedTuple):
    """The lines that tiles are cut from: the cells of one line are `distance` rows apart."""

    plan: Plan
    offset: AnyArray
    plane: tuple[int, ...]
    padding: Pairs
    dilation: int

    def tiles(self, count: int) -> int:
        """How many tiles give `count` outputs."""
        return -(-count // (OUTPUTS * self.dilation))

    def needed(self, count: int) -> int:
        """How many cells along the axis the tiles of `count` outputs read."""
        return (OUTPUTS * (self.tiles(count) + self.plan.blocks - 1) + self.plan.taps - 1) * self.dilation

    def run(self, source: Tensor, target: Tensor, count: int) -> bool:
        """Compute `target` (rows, C_out) from `source` (rows, C_in); whether all of it is finite."""
        matrices, distance, channels = (
            transforms(self.plan.taps),
            self.dilation * math.prod(self.plane),
            source.shape[1],
        )
        points, halo = len(matrices.input), self.plan.blocks - 1
        strides = (OUTPUTS * distance * channels, channels, distance * channels, 1)
        total = self.tiles(count)
        strip = max(1, STRIP // (distance * points * channels) - halo)
        for first in range(0, total, strip):
            tiles = min(strip, total - first)
            where = source.storage_offset() + first * strides[0]
            cells = source.as_strided((tiles + halo, distance, points, channels), strides, where)
            products = self._products(torch.matmul(matrices.input, cells))
            found = torch.matmul(matrices.output, products.view(tiles, -1, points, target.shape[1]))
            if not math.isfinite(float(found.sum())):
                return False
            _store(found.transpose(1, 2), target, first)
        return True

    def _products(self, cells: Tensor) -> Tensor:
        """The convolution on every point, of (tiles, distance, points, C_in)."""
        tiles, distance, points, channels = cells.shape
        axes = self.plan.pointwise
        if self.plane:
            shape = (tiles, *self.plane, points * channels)
            crop = tuple((k - 1 - before, k - 1 - after) for k, (before, after) in zip(axes, self.padding, strict=True))
        else:
            crop = ((self.plan.blocks - 1, self.plan.blocks - 1), (0, 0))
            shape = (1, tiles, distance, points * channels)
        unit = (1,) * len(axes)
        call = Call(Geometry(shape[1:-1], axes, unit, unit, crop), points, "channels_last")
        data = array_of(cells).reshape(shape)
        return from_numpy(self.plan.implementation.conv_transpose(data, self.plan.packed, self.offset, None, call))


def _store(found: Tensor, target: Tensor, first: int) -> None:
    """Write a strip (tiles, 4, distance, C) into rows; the last tile may reach beyond their end."""
    tiles, _, distance, channels = found.shape
    size = OUTPUTS * distance
    target = target[first * size :]
    whole = min(tiles, len(target) // size)
    _ = target[: whole * size].view(whole, OUTPUTS, distance, channels).copy_(found[:whole])
    if whole < tiles:
        rest = target[whole * size :]
        _ = rest.copy_(found[whole].reshape(-1, channels)[: len(rest)])


def _plan(x: Tensor, weight: Tensor) -> Plan | None:
    taps = 3 if weight.shape[2] == 3 else OUTPUTS
    implementation, options = setting(x, "channels_last", ((1,), (), (1,), 1))
    if not isinstance(implementation, native.Compiled):
        return None
    options = options._replace(implementation=f"{implementation.name}, tiles of {taps} taps")
    ready = find(weight, options)
    if ready is None and not changes(weight):
        ready = make(weight, options, lambda weight: _packed(implementation, weight, taps), remember=True)
    return ready


def _packed(implementation: Any, weight: Tensor, taps: int) -> Plan:
    out, channels, length, *plane = weight.shape
    blocks = -(-length // taps)
    padded = weight.new_zeros((out, channels, blocks * taps, *plane), dtype=torch.float64)
    padded[:, :, :length] = weight.detach()
    split = padded.view(out, channels, blocks, taps, -1)
    points = torch.einsum("qt,ocbti->bioqc", transforms(taps).kernel, split)
    pointwise = tuple(plane) if plane else (blocks, 1)
    # The kernel of the transposed convolution that this is: turned around, (*k, C_out, points * C_in).
    kernel = array_of(points.flip(0, 1).float().reshape(*pointwise, out, -1).contiguous())
    unit = (1,) * len(pointwise)
    packed = implementation.pack(kernel, Layer(points.shape[3], "channels_last", unit, unit))
    return Plan(implementation, packed, taps, blocks, pointwise)


def _offset(plan: Plan, weight: Tensor, bias: Tensor | None) -> AnyArray:
    offset = np.zeros((len(POINTS[plan.taps]) + 1, weight.shape[0]), np.float32)
    if bias is not None:
        offset[ONE] = array_of(bias)
    return offset.reshape(-1)


def _padded(one: Tensor, before: int, cells: int) -> Tensor:
    """An image (C, length, *plane) as rows (cells * plane, C): zeros before it and behind it."""
    channels, length, *plane = one.shape
    inner = math.prod(plane)
    kept = min(length, cells - before)
    source = _rows((1, cells * inner, channels))[0]
    middle = source[before * inner : (before + kept) * inner]
    _ = source[: before * inner].zero_(), source[(before + kept) * inner :].zero_()
    if one.is_contiguous() and kept == length:
        _turn(one.view(1, channels, -1), middle.unsqueeze(0))
    else:
        _ = middle.view(kept, *plane, channels).copy_(one[:, :kept].movedim(0, -1))
    return source


def _rows(shape: tuple[int, int, int]) -> Tensor:
    return from_numpy(native._empty(shape[0], shape[1:2], shape[2], np.dtype(np.float32), "channels_last"))


def _turn(source: Tensor, target: Tensor) -> None:
    native._native.turn(array_of(source), array_of(target), native._native.instruction_sets()[-1])


def _turned(rows: Tensor) -> Tensor:
    result = _rows((rows.shape[0], rows.shape[2], rows.shape[1]))
    _turn(rows, result)
    return result


def _powers(points: Sequence[Fraction | int], size: int) -> list[list[Fraction]]:
    """Rows of powers of each point, and infinity's, which sees the highest alone."""
    rows = [[Fraction(point) ** power for power in range(size)] for point in points]
    return [*rows, [Fraction(0)] * (size - 1) + [Fraction(1)]]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """By Gauss and Jordan, exactly."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(one == other)) for other in range(size))] for one, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(row for row in range(column, size) if rows[row][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for row in range(size):
            if row != column:
                factor = rows[row][column]
                rows[row] = [value - factor * other for value, other in zip(rows[row], rows[column], strict=True)]
    return [row[size:] for row in rows]


def _matrix(rows: Iterable[Iterable[Fraction]], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=dtype)
