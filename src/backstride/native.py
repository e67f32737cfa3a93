"""The compiled implementation: C++ kernels from `native/`, where this installation has them."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import numpy as np

from backstride.geometry import Geometry
from backstride.implementation import Call, Implementation, finish
from backstride.layout import AnyArray, DataFormat, data_unview, data_view, kernel_unview, kernel_view

_native: Any
try:
    _native = importlib.import_module("backstride._native")
except ImportError:
    _native = None


class Native(Implementation):
    """Direct C++ loops over taps and phases, channels last, float32 and float64."""

    name: ClassVar[str] = "native"

    def obstacle(self) -> str | None:
        return None if _native is not None else "this installation is pure Python; the compiled part was not built"

    def takes(self, dtype: np.dtype[Any]) -> bool:
        return dtype.name in ("float32", "float64")

    def pack(self, kernel: AnyArray, groups: int, data_format: DataFormat) -> AnyArray:
        """(k0, k1, k2, C_small, C_big/groups), so that the innermost loop runs over output channels."""
        view = kernel_view(kernel, data_format)
        return _three_axes(np.swapaxes(view, -1, -2), 0).copy()

    def conv_transpose(
        self, x: AnyArray, packed: AnyArray, bias: AnyArray | None, activation: str | None, call: Call
    ) -> AnyArray:
        assert _native is not None
        geometry, big = call.geometry, packed.shape[-1] * call.groups
        y = np.empty((x.shape[0], *geometry.output, big), x.dtype)
        source = _three_axes(data_view(x, call.data_format), 1)
        _native.conv_transpose(source, packed, _three_axes(y, 1), *_integers(geometry), call.groups)
        return np.ascontiguousarray(finish(data_unview(y, call.data_format), bias, activation, call.data_format))

    def conv(
        self, y: AnyArray, kernel: AnyArray, bias: AnyArray | None, activation: str | None, call: Call
    ) -> AnyArray:
        assert _native is not None
        geometry, view = call.geometry, kernel_view(kernel, call.data_format)
        x = np.empty((y.shape[0], *geometry.input, view.shape[-1]), y.dtype)
        source = _three_axes(data_view(y, call.data_format), 1)
        _native.conv(source, _three_axes(view, 0), _three_axes(x, 1), *_integers(geometry), call.groups)
        return np.ascontiguousarray(finish(data_unview(x, call.data_format), bias, activation, call.data_format))

    def conv_kernel_gradient(self, x: AnyArray, y: AnyArray, call: Call) -> AnyArray:
        assert _native is not None
        geometry = call.geometry
        small, big = data_view(x, call.data_format), data_view(y, call.data_format)
        kernel = np.empty((*geometry.kernel, big.shape[-1] // call.groups, small.shape[-1]), x.dtype)
        _native.conv_kernel_gradient(
            _three_axes(small, 1), _three_axes(big, 1), _three_axes(kernel, 0), *_integers(geometry), call.groups
        )
        return np.ascontiguousarray(kernel_unview(kernel, call.data_format))


def _three_axes(view: AnyArray, position: int) -> AnyArray:
    """A contiguous array with axes of size 1 put in, so that there are three spatial ones."""
    shape = (*view.shape[:position], *(1,) * (5 - view.ndim), *view.shape[position:])
    return np.ascontiguousarray(view).reshape(shape)


def _integers(geometry: Geometry) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Strides, dilation and leading crop for three axes; the sizes stand in the arrays."""
    ones, zeros = (1,) * (3 - len(geometry.input)), (0,) * (3 - len(geometry.input))
    before = tuple(pair[0] for pair in geometry.crop)
    return (*ones, *geometry.strides), (*ones, *geometry.dilation), (*zeros, *before)
