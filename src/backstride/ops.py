"""The public functions: arguments to `Geometry` to the engine.

Kernels serve both directions. channels_last (TensorFlow, Keras): `(*k, C_big // groups, C_small)`;
channels_first (torch, ONNX): `(C_small, C_big // groups, *k)`. `conv` maps C_big to C_small,
`conv_transpose` maps C_small to C_big, and sum(conv(x) * y) == sum(x * conv_transpose(y)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np

from backstride import arrays
from backstride.activations import activate, check_activation
from backstride.engine import select, widened
from backstride.geometry import Geometry, Padding, Size, as_integer, as_sizes, check_cells, convolution, geometry
from backstride.implementation import Call
from backstride.layout import AnyArray, DataFormat, check_data_format

Array = TypeVar("Array")


class Plan:
    """A transposed convolution with its kernel packed: call it with `x`. Made by `plan`."""

    def __init__(self, kernel: Any, bias: Any, options: dict[str, Any]) -> None:
        self._library = arrays.same_library(kernel=kernel, bias=bias)
        self._data_format = check_data_format(options.pop("data_format"))
        self._kind = arrays.dtype_name("kernel", kernel)
        _same_kind(self._kind, "kernel", bias=bias)
        weights = arrays.to_numpy("kernel", kernel)
        self._groups, self._big, self._small = _kernel_channels(weights, options.pop("groups"), self._data_format)
        self._spatial = _spatial(weights.shape, self._data_format, kernel=True)
        self._activation = check_activation(options.pop("activation"), weights.dtype)
        self._implementation = select(weights.dtype)
        self._packed = self._implementation.pack(_widen(weights), self._groups, self._data_format)
        self._bias = None if bias is None else _bias(bias, self._big).copy()
        self._options = options
        self._largest = _largest(weights)

    def geometry(self, input: Size) -> Geometry:
        """The geometry of this plan for an input of the given spatial size."""
        sizes = as_sizes("input", input, len(self._spatial))
        return geometry(sizes, self._spatial, **self._options)

    def __call__(self, x: Array, /) -> Array:
        """Transpose-convolve x (N, *input, C_small), or (N, C_small, *input) for channels_first."""
        _require_library("x", x, self._library)
        _same_kind(self._kind, "kernel", x=x)
        data = arrays.to_numpy("x", x)
        _check_data("x", data.shape, len(self._spatial), self._small, self._data_format)
        where = self.geometry(_spatial(data.shape, self._data_format))
        _check_result("output", data.shape[0], where.output, self._big)
        terms = math.prod(self._spatial) * self._small // self._groups
        source, packed, bias = _exact_integers(data, self._packed, self._bias, terms * self._largest)
        call = Call(where, self._groups, self._data_format)
        result = self._implementation.conv_transpose(source, packed, bias, self._activation, call)
        return _narrow(result, x, data.dtype)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._options.items() if value is not None)
        return f"<plan {self._small} -> {self._big} channels, kernel {self._spatial}, {settings}>"


def plan(
    kernel: Any,
    bias: Any = None,
    /,
    *,
    strides: Size = 1,
    padding: Padding = "valid",
    output_padding: Size | None = None,
    output_shape: Size | None = None,
    dilation: Size = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
    activation: str | None = None,
) -> Plan:
    """Pack the weights of a transposed convolution once, to call it many times.

    >>> import numpy as np
    >>> up = plan(np.ones((2, 2, 1, 1)), strides=2)
    >>> up(np.ones((1, 3, 5, 1))).shape
    (1, 6, 10, 1)

    The kernel is copied: later changes to it do not reach the plan. Parameters, errors and the
    result are those of `conv_transpose`.
    """
    options: dict[str, Any] = {
        "strides": strides,
        "padding": padding,
        "output_padding": output_padding,
        "output_shape": output_shape,
        "dilation": dilation,
        "groups": groups,
        "data_format": data_format,
        "activation": activation,
    }
    return Plan(kernel, bias, options)


def conv_transpose(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    /,
    *,
    strides: Size = 1,
    padding: Padding = "valid",
    output_padding: Size | None = None,
    output_shape: Size | None = None,
    dilation: Size = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
    activation: str | None = None,
) -> Array:
    """Transposed convolution: every input cell stamps the weighted kernel, and the result is cropped.

    >>> import numpy as np
    >>> x, kernel = np.array([[[1.0], [10.0]]]), np.array([[[1.0]], [[2.0]], [[3.0]]])
    >>> conv_transpose(x, kernel, strides=2)[0, :, 0]
    array([ 1.,  2., 13., 20., 30.])
    >>> conv_transpose(x, kernel, strides=2, padding="same")[0, :, 0]
    array([ 1.,  2., 13., 20.])

    TensorFlow's and PyTorch's rules, in one function:

    >>> x, kernel = np.ones((64, 7, 7, 256), np.float32), np.ones((3, 3, 128, 256), np.float32)
    >>> conv_transpose(x, kernel, strides=2, padding="same", output_shape=(14, 14)).shape
    (64, 14, 14, 128)

    `x`: (N, *input, C_small), 1 to 3 spatial axes. `kernel`: (*k, C_big // groups, C_small).
    `bias`: (C_big,). With data_format="channels_first": (N, C_small, *input) and
    (C_small, C_big // groups, *k). All of one library and dtype (float16 and bfloat16 accumulate in
    float32; integers are exact). `strides`, `padding`, `output_padding`, `output_shape`, `dilation`:
    as in `geometry`. `groups`: divides C_small. `activation`: None, "relu", "relu6", "leaky_relu",
    "sigmoid", "tanh", "gelu" or "silu". Returns (N, *output, C_big), the same kind of array.

    Raises `TypeError` for wrong kinds of argument and `ValueError` for illegal values and shapes.
    Dumoulin & Visin, arXiv 1603.07285, section 4.
    """
    _ = arrays.same_library(x=x, kernel=kernel, bias=bias)
    call = plan(
        kernel,
        bias,
        strides=strides,
        padding=padding,
        output_padding=output_padding,
        output_shape=output_shape,
        dilation=dilation,
        groups=groups,
        data_format=data_format,
        activation=activation,
    )
    return call(x)


def conv(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    /,
    *,
    strides: Size = 1,
    padding: Padding = "valid",
    dilation: Size = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
    activation: str | None = None,
) -> Array:
    """Strided convolution (without a flip, as in every deep learning framework): the adjoint of `conv_transpose`.

    >>> import numpy as np
    >>> y, kernel = np.array([[[1.0], [2.0], [3.0], [4.0]]]), np.array([[[1.0]], [[2.0]], [[3.0]]])
    >>> conv(y, kernel, strides=2, padding="same")[0, :, 0]
    array([14., 11.])

    It is also the derivative of `conv_transpose` by its input. `x`: (N, *size, C_big). `kernel`: the
    array that `conv_transpose` takes. `bias`: (C_small,). Returns (N, *smaller, C_small). Everything
    else, and the errors, as in `conv_transpose`.
    """
    _ = arrays.same_library(x=x, kernel=kernel, bias=bias)
    layout = check_data_format(data_format)
    kind = arrays.dtype_name("kernel", kernel)
    _same_kind(kind, "kernel", x=x, bias=bias)
    data, weights = arrays.to_numpy("x", x), arrays.to_numpy("kernel", kernel)
    count, big, small = _kernel_channels(weights, groups, layout)
    spatial = _spatial(weights.shape, layout, kernel=True)
    activation = check_activation(activation, weights.dtype)
    _check_data("x", data.shape, len(spatial), big, layout)
    sizes = _spatial(data.shape, layout)
    where = convolution(sizes, spatial, strides=strides, padding=padding, dilation=dilation).adjoint
    _check_result("output", data.shape[0], where.input, small)
    terms = math.prod(spatial) * big // count * _largest(weights)
    offset = None if bias is None else _bias(bias, small)
    source, wide, offset = _exact_integers(data, _widen(weights), offset, terms)
    result = select(weights.dtype).conv(source, wide, offset, activation, Call(where, count, layout))
    return _narrow(result, x, data.dtype)


def conv_kernel_gradient(
    x: Array,
    y: Array,
    kernel_shape: Sequence[int],
    /,
    *,
    strides: Size = 1,
    padding: Padding = "valid",
    dilation: Size = 1,
    groups: int = 1,
    data_format: DataFormat = "channels_last",
) -> Array:
    """The derivative of sum(conv(x, kernel) * y) by the kernel, summed over the batch.

    >>> import numpy as np
    >>> x, y = np.arange(4.0).reshape(1, 4, 1), np.array([[[1.0], [10.0]]])
    >>> conv_kernel_gradient(x, y, (2, 1, 1), strides=2)[:, 0, 0]
    array([20., 31.])

    It serves both directions: for `conv_transpose`, pass the gradient of its output as `x` and its
    input as `y`. `x`: (N, *size, C_big). `y`: (N, *smaller, C_small). `kernel_shape`: the shape of
    the kernel array, channels included. Everything else, and the errors, as in `conv`.
    """
    _ = arrays.same_library(x=x, y=y)
    layout = check_data_format(data_format)
    _same_kind(arrays.dtype_name("x", x), "x", y=y)
    data, gradient = arrays.to_numpy("x", x), arrays.to_numpy("y", y)
    shape = as_sizes("kernel_shape", kernel_shape, len(kernel_shape))
    if not 3 <= len(shape) <= 5:
        message = f"`kernel_shape` (={shape}) must have 1 to 3 spatial entries and 2 for the channels"
        raise ValueError(message)
    count, big, small = _channels("kernel_shape", shape, groups, layout)
    spatial = _spatial(shape, layout, kernel=True)
    _check_data("x", data.shape, len(spatial), big, layout)
    _check_data("y", gradient.shape, len(spatial), small, layout)
    sizes = _spatial(data.shape, layout)
    where = convolution(sizes, spatial, strides=strides, padding=padding, dilation=dilation).adjoint
    expected = (data.shape[0], *where.input)
    if (gradient.shape[0], *_spatial(gradient.shape, layout)) != expected:
        message = (
            f"`y` has batch and size {(gradient.shape[0], *_spatial(gradient.shape, layout))}; the convolution of "
            f"`x` gives {expected}"
        )
        raise ValueError(message)
    terms = data.shape[0] * math.prod(where.input) * _largest(data)
    source, image, _ = _exact_integers(gradient, _widen(data), None, terms)
    result = select(data.dtype).conv_kernel_gradient(source, image, Call(where, count, layout))
    return _narrow(result, x, data.dtype)


def dense(x: Array, kernel: Array, bias: Array | None = None, /, *, activation: str | None = None) -> Array:
    """Dense layer on the last axis: `x @ kernel + bias`. Equal to a 1x1 convolution on every pixel.

    >>> import numpy as np
    >>> x, kernel = np.ones((1, 4, 4, 3)), np.arange(6.0).reshape(3, 2)
    >>> np.array_equal(dense(x, kernel), conv(x, dense_to_conv(kernel)))
    True

    `x`: (..., C_in). `kernel`: (C_in, C_out). `bias`: (C_out,). Returns (..., C_out).
    Raises `TypeError` and `ValueError` as `conv_transpose` does.
    """
    _ = arrays.same_library(x=x, kernel=kernel, bias=bias)
    _same_kind(arrays.dtype_name("kernel", kernel), "kernel", x=x, bias=bias)
    data, weights = arrays.to_numpy("x", x), arrays.to_numpy("kernel", kernel)
    activation = check_activation(activation, weights.dtype)
    _check_matrix(weights.shape)
    if data.ndim < 1 or data.shape[-1] != weights.shape[0]:
        message = (
            f"`x` has shape {data.shape}; its last axis must have {weights.shape[0]} entries, "
            f"as `kernel` {weights.shape} takes"
        )
        raise ValueError(message)
    offset = None if bias is None else _bias(bias, weights.shape[1])
    source, wide, offset = _exact_integers(data, _widen(weights), offset, weights.shape[0] * _largest(weights))
    result = cast("Any", source) @ wide
    return _narrow(activate(result if offset is None else result + offset, activation), x, data.dtype)


def relu(x: Array, /) -> Array:
    """max(x, 0), cell by cell.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])

    `x`: any shape, any real dtype. Raises `TypeError` for complex numbers and for what is no array.
    """
    _ = arrays.dtype_name("x", x)
    data = arrays.to_numpy("x", x)
    return arrays.back(activate(data, check_activation("relu", data.dtype)), x)


def flatten(x: Array, /) -> Array:
    """(N, ...) to (N, everything else), in the order in which the cells lie.

    >>> import numpy as np
    >>> flatten(np.ones((2, 4, 4, 3))).shape
    (2, 48)

    Raises `ValueError` for an array without axes.
    """
    _ = arrays.dtype_name("x", x)
    data = arrays.to_numpy("x", x)
    if data.ndim < 1:
        message = "`x` has shape (); it must have a batch axis; the nearest legal call is x.reshape(1)"
        raise ValueError(message)
    return arrays.back(np.ascontiguousarray(data.reshape(data.shape[0], math.prod(data.shape[1:]))), x)


def dense_to_conv(
    kernel: Array, spatial: Sequence[int] | None = None, /, *, data_format: DataFormat = "channels_last"
) -> Array:
    """The kernel of the convolution that a dense layer is.

    On single pixels, a 1x1 one; after a `flatten` of a map, one that covers the map:

    >>> import numpy as np
    >>> x, kernel = np.random.rand(2, 4, 5, 3), np.random.rand(60, 7)
    >>> over_map = conv(x, dense_to_conv(kernel, (4, 5)))
    >>> np.allclose(over_map[:, 0, 0], dense(flatten(x), kernel))
    True

    `kernel`: (C_in, C_out); PyTorch's Linear.weight is its transpose. `spatial`: the flattened map's
    size, 1 to 3 axes; None for 1x1. Returns (*spatial, C, C_out), where C_in = C * product(spatial),
    or (C_out, C, *spatial) for channels_first, whose flatten order puts the channels first.
    Raises `ValueError` where C_in is not divisible by the map's cells.
    """
    layout = check_data_format(data_format)
    _ = arrays.dtype_name("kernel", kernel)
    weights = arrays.to_numpy("kernel", kernel)
    _check_matrix(weights.shape)
    size = (1, 1) if spatial is None else as_sizes("spatial", spatial, len(spatial))
    inputs, outputs = weights.shape
    if not 1 <= len(size) <= 3 or inputs % math.prod(size):
        message = (
            f"`spatial` (={size}) must have 1 to 3 axes and a number of cells that divides the {inputs} rows of `kernel`"
        )
        raise ValueError(message)
    channels = inputs // math.prod(size)
    if layout == "channels_last":
        result = weights.reshape(*size, channels, outputs)
    else:
        result = np.moveaxis(weights.reshape(channels, *size, outputs), -1, 0)
    return arrays.back(np.array(result, order="C"), kernel)


def _same_kind(kind: str, owner: str, **others: Any) -> None:
    for name, array in others.items():
        if array is not None and (other := arrays.dtype_name(name, array)) != kind:
            message = f"`{name}` has dtype {other}; it must be {kind}, as `{owner}` is; convert one of them"
            raise TypeError(message)


def _require_library(name: str, array: object, library: str) -> None:
    if (other := arrays.library_of(name, array)) != library:
        message = f"`{name}` (an array of {other}) must come from the library of `kernel`, which is {library}"
        raise TypeError(message)


def _kernel_channels(weights: AnyArray, groups: object, layout: DataFormat) -> tuple[int, int, int]:
    if not 3 <= weights.ndim <= 5:
        message = (
            f"`kernel` has shape {weights.shape}; it must have 1 to 3 spatial axes and 2 for the channels: "
            + ("(*k, C_big // groups, C_small)" if layout == "channels_last" else "(C_small, C_big // groups, *k)")
        )
        raise ValueError(message)
    if weights.size == 0:
        message = f"`kernel` has shape {weights.shape}; every axis must have at least 1 entry"
        raise ValueError(message)
    return _channels("kernel", weights.shape, groups, layout)


def _channels(name: str, shape: tuple[int, ...], groups: object, layout: DataFormat) -> tuple[int, int, int]:
    """(groups, C_big, C_small) of a kernel's shape."""
    count = as_integer("groups", groups)
    per_group, small = (shape[-2], shape[-1]) if layout == "channels_last" else (shape[1], shape[0])
    if count < 1 or small % count:
        nearest = max(divisor for divisor in range(1, small + 1) if small % divisor == 0 and divisor <= max(count, 1))
        message = (
            f"`groups` (={count}) must divide C_small (={small}) of `{name}` {shape}; "
            f"the nearest legal value is {nearest}"
        )
        raise ValueError(message)
    return count, per_group * count, small


def _spatial(shape: tuple[int, ...], layout: DataFormat, *, kernel: bool = False) -> tuple[int, ...]:
    if layout == "channels_first":
        return shape[2:]
    return shape[:-2] if kernel else shape[1:-1]


def _check_data(name: str, shape: tuple[int, ...], rank: int, channels: int, layout: DataFormat) -> None:
    axes = ["N", *(f"size{axis}" for axis in range(rank))]
    axes.insert(len(axes) if layout == "channels_last" else 1, f"{channels}")
    expected = f"({', '.join(axes)})"
    if len(shape) != rank + 2:
        message = f"`{name}` has shape {shape}; for this kernel it must have {rank + 2} axes: {expected}"
        raise ValueError(message)
    found = shape[-1] if layout == "channels_last" else shape[1]
    if found != channels:
        message = f"`{name}` has shape {shape}, {found} channels; for this kernel and `groups` it must be {expected}"
        raise ValueError(message)
    if 0 in _spatial(shape, layout):
        message = f"`{name}` has shape {shape}; every spatial axis must have at least 1 cell"
        raise ValueError(message)


def _check_result(name: str, batch: int, size: tuple[int, ...], channels: int) -> None:
    check_cells(name, batch * math.prod(size) * channels * 16, what="bytes")


def _check_matrix(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or 0 in shape:
        message = f"`kernel` has shape {shape}; a dense kernel is (C_in, C_out), both at least 1"
        raise ValueError(message)


def _bias(bias: Any, channels: int) -> AnyArray:
    values = arrays.to_numpy("bias", bias)
    if values.shape != (channels,):
        message = f"`bias` has shape {values.shape}; it must be ({channels},), one entry per output channel"
        raise ValueError(message)
    return _widen(values)


def _widen(array: AnyArray) -> AnyArray:
    if array.dtype == np.uint64 and array.size and _largest(array) >= 2**63:
        return array.astype(object)
    return array.astype(widened(array.dtype), copy=False)


def _largest(array: AnyArray) -> int:
    """The largest magnitude of an integer array, as a Python integer; 0 for other kinds."""
    if array.dtype.kind not in "iu" or not array.size:
        return 0
    return max(abs(int(array.min())), abs(int(array.max())))


def _exact_integers(
    x: AnyArray, kernel: AnyArray, bias: AnyArray | None, bound: int
) -> tuple[AnyArray, AnyArray, AnyArray | None]:
    """Widen `x`; where sums of integers could pass 64 bits, all arrays hold Python integers instead."""
    wide = _widen(x)
    offset = 0 if bias is None or bias.dtype.kind not in "iuO" else max(abs(int(value)) for value in bias)
    overflows = x.dtype.kind in "iu" and _largest(x) * bound + offset > np.iinfo(np.int64).max
    if overflows or object in (wide.dtype, kernel.dtype):
        return wide.astype(object), kernel.astype(object), None if bias is None else bias.astype(object)
    return wide, kernel, bias


def _narrow(result: AnyArray, x: Any, dtype: np.dtype[Any]) -> Any:
    """Back to the dtype and library of `x`; an integer that does not fit is an error, never a wrapped one."""
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
