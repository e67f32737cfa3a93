"""The portable implementation: vectorised NumPy by phases, no zero insertion, any numeric dtype.

A phase of the output (cells `p, p + s, ...` of every axis) is a small dense convolution: one matrix
product per tap over all inputs, added where the tap's shift puts it, then one strided store. The
workspace is one phase of the output and one product, never k*k columns.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from backstride.geometry import Geometry, Phase
from backstride.implementation import (
    Call,
    Implementation,
    Layer,
    Storage,
    finish,
    require_algorithm,
)
from backstride.layout import (
    AnyArray,
    AnyDtype,
    DataFormat,
    data_unview,
    data_view,
    kernel_unview,
    kernel_view,
)

Slices = tuple[slice, ...]


class Portable(Implementation):
    """NumPy on any machine."""

    name = "numpy"
    algorithm = "phases"

    def obstacle(self) -> str | None:
        return None

    def takes(self, dtype: AnyDtype) -> bool:
        return dtype.kind in "cO" or dtype.name in ("float32", "float64", "int64")

    def pack(
        self, kernel: AnyArray, layer: Layer, *, algorithm: str | None = None, winograd: bool = True
    ) -> AnyArray:
        require_algorithm(algorithm, self.name, (self.algorithm,))
        return _matrices(kernel, layer.groups, layer.data_format)

    def conv_transpose(
        self,
        x: AnyArray,
        packed: AnyArray,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
        *,
        storage: Storage | None = None,
    ) -> AnyArray:
        geometry, groups, big = call.geometry, call.groups, packed.shape[-1]
        inputs = _rows(
            data_view(x, call.data_format), groups
        )  # (groups, N * cells, C_small/groups)
        batch = x.shape[0]
        y = np.zeros((batch, *geometry.output, groups * big), x.dtype)
        for phases in product(*geometry.phases):
            counts = tuple(phase.count for phase in phases)
            total = np.zeros((groups, batch, *counts, big), x.dtype)
            for position in product(*(range(len(phase.taps)) for phase in phases)):
                tap = tuple(phase.taps[n] for phase, n in zip(phases, position, strict=True))
                source, target = _overlap(phases, position, geometry)
                part = np.matmul(inputs, packed[tap]).reshape(groups, batch, *geometry.input, big)
                total[:, :, *target] += part[:, :, *source]
            steps = tuple(
                slice(phase.start, None, s)
                for phase, s in zip(phases, geometry.strides, strict=True)
            )
            y[:, *steps] = np.moveaxis(total, 0, -2).reshape(batch, *counts, groups * big)
        return np.ascontiguousarray(
            finish(data_unview(y, call.data_format), bias, activation, call.data_format)
        )

    def conv(
        self,
        y: AnyArray,
        kernel: AnyArray,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
        *,
        storage: Storage | None = None,
    ) -> AnyArray:
        geometry, groups = call.geometry, call.groups
        matrices = np.swapaxes(
            _matrices(kernel, groups, call.data_format), -1, -2
        )  # (*k, groups, big, small)
        outputs, batch = data_view(y, call.data_format), y.shape[0]
        x = np.zeros((groups, batch, *geometry.input, matrices.shape[-1]), y.dtype)
        for tap in np.ndindex(*geometry.kernel):
            source, target = _meeting(geometry, tap)
            read = outputs[:, *target]
            part = np.matmul(_rows(read, groups), matrices[tap])
            x[:, :, *source] += part.reshape(groups, *read.shape[:-1], x.shape[-1])
        merged = np.moveaxis(x, 0, -2).reshape(batch, *geometry.input, groups * x.shape[-1])
        return np.ascontiguousarray(
            finish(data_unview(merged, call.data_format), bias, activation, call.data_format)
        )

    def conv_kernel_gradient(
        self, x: AnyArray, y: AnyArray, call: Call, *, storage: Storage | None = None
    ) -> AnyArray:
        geometry, groups = call.geometry, call.groups
        inputs, outputs = data_view(x, call.data_format), data_view(y, call.data_format)
        big, small = outputs.shape[-1] // groups, inputs.shape[-1] // groups
        kernel = np.zeros((*geometry.kernel, big, groups, small), x.dtype)
        for tap in np.ndindex(*geometry.kernel):
            source, target = _meeting(geometry, tap)
            grads, cells = _rows(outputs[:, *target], groups), _rows(inputs[:, *source], groups)
            kernel[tap] = np.moveaxis(np.matmul(np.swapaxes(grads, -1, -2), cells), 0, 1)
        merged = kernel.reshape(*geometry.kernel, big, groups * small)
        return np.ascontiguousarray(kernel_unview(merged, call.data_format))


def _matrices(kernel: AnyArray, groups: int, data_format: DataFormat) -> AnyArray:
    """(*k, groups, C_small/groups, C_big/groups): one contiguous matrix per tap and group."""
    view = kernel_view(kernel, data_format)
    grouped = view.reshape(*view.shape[:-1], groups, view.shape[-1] // groups)
    return np.moveaxis(grouped, -3, -1).copy()


def _rows(view: AnyArray, groups: int) -> AnyArray:
    """(N, *size, C) to contiguous matrices (groups, N * cells, C/groups)."""
    cells = math.prod(view.shape[:-1])
    return np.ascontiguousarray(
        np.moveaxis(view.reshape(cells, groups, view.shape[-1] // groups), 1, 0)
    )


def _overlap(
    phases: tuple[Phase, ...], position: tuple[int, ...], geometry: Geometry
) -> tuple[Slices, Slices]:
    """Which inputs one tap of a phase reads, and where in the phase their products go."""
    source: list[slice] = []
    target: list[slice] = []
    for phase, n, cells in zip(phases, position, geometry.input, strict=True):
        first = phase.first - phase.shifts[n]  # the input that output 0 of the phase reads
        start, stop = max(0, first), max(0, first, min(cells, first + phase.count))
        source.append(slice(start, stop))
        target.append(slice(start - first, stop - first))
    return tuple(source), tuple(target)


def _meeting(geometry: Geometry, tap: tuple[int, ...]) -> tuple[Slices, Slices]:
    """The input cells that one tap carries into the output, and the cells that they meet.

    These are strided output cells.
    """
    source: list[slice] = []
    target: list[slice] = []
    for axis, entry in enumerate(tap):
        first, stop, start = geometry.tap_range(axis, entry)
        source.append(slice(first, stop))
        target.append(
            slice(start, start + (stop - first) * geometry.strides[axis], geometry.strides[axis])
        )
    return tuple(source), tuple(target)
