"""The definition as C++ loops.

The tested baseline of the compiled kernels, channels last and three spatial axes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backstride.extension import NOT_BUILT, built, is_built
from backstride.geometry import Geometry
from backstride.implementation import (
    Call,
    Implementation,
    Layer,
    Storage,
    Three,
    finish,
    require_algorithm,
    three,
)
from backstride.layout import AnyArray, AnyDtype, data_unview, data_view, kernel_unview, kernel_view


class Direct(Implementation):
    """Direct C++ loops over the meetings of cells and taps.

    The tested baseline of the fast kernels.
    """

    name = "direct"

    def obstacle(self) -> str | None:
        return None if is_built() else NOT_BUILT

    def takes(self, dtype: AnyDtype) -> bool:
        return dtype.name in ("float32", "float64")

    def pack(
        self, kernel: AnyArray, layer: Layer, *, algorithm: str | None = None, winograd: bool = True
    ) -> AnyArray:
        require_algorithm(algorithm, self.name, (self.algorithm,))
        return kernel_axes(kernel_view(kernel, layer.data_format)).copy()

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
        y = np.empty((x.shape[0], *call.output, packed.shape[3] * call.groups), x.dtype)
        source, integers = _data_axes(data_view(x, call.data_format)), _integers(call.geometry)
        built().direct_conv_transpose(
            source, packed.reshape(-1), _data_axes(y), *integers, call.groups
        )
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
        weights = kernel_axes(kernel_view(kernel, call.data_format))
        x = np.empty((y.shape[0], *call.geometry.input, weights.shape[-1]), y.dtype)
        source, integers = _data_axes(data_view(y, call.data_format)), _integers(call.geometry)
        built().direct_conv(source, weights.reshape(-1), _data_axes(x), *integers, call.groups)
        return np.ascontiguousarray(
            finish(data_unview(x, call.data_format), bias, activation, call.data_format)
        )

    def conv_kernel_gradient(
        self, x: AnyArray, y: AnyArray, call: Call, *, storage: Storage | None = None
    ) -> AnyArray:
        return _gradient(built().direct_conv_kernel_gradient, x, y, call)


DIRECT = Direct()


def _gradient(kernel: Callable[..., None], x: AnyArray, y: AnyArray, call: Call) -> AnyArray:
    small, big = data_view(x, call.data_format), data_view(y, call.data_format)
    result = np.empty(
        (*call.geometry.kernel, big.shape[-1] // call.groups, small.shape[-1]), x.dtype
    )
    integers = _integers(call.geometry)[1:]
    kernel(_data_axes(small), _data_axes(big), kernel_axes(result), *integers, call.groups)
    return (
        result
        if call.data_format == "channels_last"
        else np.ascontiguousarray(kernel_unview(result, call.data_format))
    )


def kernel_axes(view: AnyArray) -> AnyArray:
    """(*k, C_big/groups, C_small) as a contiguous array with three spatial axes."""
    return np.ascontiguousarray(view).reshape(*(1,) * (5 - view.ndim), *view.shape)


def _data_axes(view: AnyArray) -> AnyArray:
    """(N, *size, C) as a contiguous array with three spatial axes, the missing ones of size 1."""
    return np.ascontiguousarray(view).reshape(
        view.shape[0], *(1,) * (5 - view.ndim), *view.shape[1:]
    )


def _integers(geometry: Geometry) -> tuple[Three, Three, Three, Three]:
    """Kernel, strides, dilation and leading crop for three axes.

    The other sizes stand in the arrays.
    """
    before = tuple(pair[0] for pair in geometry.crop)
    kernel, strides, dilation = geometry.kernel, geometry.strides, geometry.dilation
    return three(kernel, 1), three(strides, 1), three(dilation, 1), three(before, 0)
