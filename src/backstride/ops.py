"""The public functions: arguments to `Geometry` to the engine.

Kernels serve both directions. channels_last (TensorFlow, Keras): `(*k, C_big // groups, C_small)`;
channels_first (torch, ONNX): `(C_small, C_big // groups, *k)`. `conv` maps C_big to C_small,
`conv_transpose` maps C_small to C_big, and sum(conv(x) * y) == sum(x * conv_transpose(y)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar, cast

import numpy as np

from backstride import arrays, recent
from backstride.activations import activate, check_activation
from backstride.checks import (
    bias_values,
    check_data,
    check_matrix,
    check_result,
    entries,
    named,
    same_kind,
    spatial_of,
)
from backstride.engine import select
from backstride.implementation import Call
from backstride.integers import Padding, Size
from backstride.layout import AnyArray, DataFormat, check_data_format
from backstride.options import CallOptions
from backstride.plans import Plan
from backstride.precision import exact_integers, largest, narrow, read, widen

Array = TypeVar("Array")


@named
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
    winograd: bool = True,
) -> Array:
    """Transposed convolution.

    Every input cell stamps the weighted kernel, and the result is cropped.

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

    Dumoulin & Visin, arXiv 1603.07285, section 4.

    Args:
        x: `(N, *input, C_small)`, 1 to 3 spatial axes; channels first: `(N, C_small, *input)`.
        kernel: `(*k, C_big // groups, C_small)`; channels first: `(C_small, C_big // groups, *k)`.
        bias: `(C_big,)`. All arrays are of one library and dtype: float16 and bfloat16 accumulate
            in float32, integers are exact.
        strides: as in `geometry`, like the next four.
        padding: of the convolution that this transposes.
        output_padding: cells added at the end.
        output_shape: the wanted spatial size.
        dilation: the distance of neighbouring taps.
        groups: divides C_small.
        data_format: "channels_last" or "channels_first".
        activation: None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu" or "silu".
        winograd: False keeps to sums of the products themselves, as in `plan`.

    Returns:
        `(N, *output, C_big)`, or `(N, C_big, *output)`; the same kind of array.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a value or a shape is not legal.
    """
    options = (
        strides,
        padding,
        output_padding,
        output_shape,
        dilation,
        groups,
        data_format,
        activation,
    )
    key = (int(bool(winograd)), *options)  # plain: not True, which could be an option in place of 1
    plan = recent.find(kernel, bias, key) if type(x) is np.ndarray else None
    if plan is not None:
        return plan(x)
    _ = arrays.same_library(x=x, kernel=kernel, bias=bias)
    kept = recent.keeps(kernel)
    plan = Plan(kernel, bias, CallOptions(*options, bool(winograd)), once=not kept)
    if kept:
        recent.add(kernel, bias, key, plan)
    return plan(x)


@named
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
    winograd: bool = True,
) -> Array:
    """Strided convolution (without a flip, as in every deep learning framework).

    The adjoint of `conv_transpose`.

    >>> import numpy as np
    >>> y, kernel = np.array([[[1.0], [2.0], [3.0], [4.0]]]), np.array([[[1.0]], [[2.0]], [[3.0]]])
    >>> conv(y, kernel, strides=2, padding="same")[0, :, 0]
    array([14., 11.])

    It is also the derivative of `conv_transpose` by its input.

    Args:
        x: `(N, *size, C_big)`, or `(N, C_big, *size)`.
        kernel: the array that `conv_transpose` takes.
        bias: `(C_small,)`.
        strides: as in `conv_transpose`, like all that follow.
        padding: cells read beyond the input.
        dilation: the distance of neighbouring taps.
        groups: divides C_small.
        data_format: "channels_last" or "channels_first".
        activation: by name.
        winograd: False keeps to sums of the products themselves, as in `plan`.

    Returns:
        `(N, *smaller, C_small)`, or `(N, C_small, *smaller)`; the same kind of array.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a value or a shape is not legal.
    """
    key = None
    if bias is None and activation is None:
        key = recent.shapes_of_call(
            x, kernel, bool(winograd), "conv", strides, padding, dilation, groups, data_format
        )
        if (earlier := recent.checked(key)) is not None:
            return cast(
                "Array",
                earlier[0].conv(
                    cast("AnyArray", x), cast("AnyArray", kernel), None, None, earlier[1]
                ),
            )
    _ = arrays.same_library(x=x, kernel=kernel, bias=bias)
    kind = arrays.dtype_name("kernel", kernel)
    same_kind(kind, "kernel", x=x, bias=bias)
    (data, storage), weights = read("x", x, kind), arrays.to_numpy("kernel", kernel)
    options = CallOptions(
        strides,
        padding,
        dilation=dilation,
        groups=groups,
        data_format=data_format,
        activation=activation,
    )
    fitted, where = recent.fit(options, "kernel", weights, data)
    check_result("output", data.shape[0], where.input, fitted.small)
    offset = None if bias is None else widen(bias_values(bias, fitted.small))
    call = Call(where, fitted.groups, fitted.data_format, bool(winograd))
    activation, implementation = fitted.activation, select(weights.dtype)
    if storage is not None:
        if implementation.takes_bits:
            bits = implementation.conv(
                data, widen(weights), offset, activation, call, storage=storage
            )
            return arrays.from_bits(bits, x)
        data = arrays.to_numpy("x", x)
    terms = math.prod(where.kernel) * fitted.big // fitted.groups * largest(weights)
    source, wide, offset = exact_integers(data, widen(weights), offset, terms)
    recent.keep(key, implementation, call)
    return narrow(implementation.conv(source, wide, offset, activation, call), x, data.dtype)


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
    winograd: bool = True,
) -> Array:
    """The derivative of `sum(conv(x, kernel) * y)` by the kernel, summed over the batch.

    >>> import numpy as np
    >>> x, y = np.arange(4.0).reshape(1, 4, 1), np.array([[[1.0], [10.0]]])
    >>> conv_kernel_gradient(x, y, (2, 1, 1), strides=2)[:, 0, 0]
    array([20., 31.])

    It serves both directions: for `conv_transpose`, pass the gradient of its output as `x` and its
    input as `y`.

    Args:
        x: `(N, *size, C_big)`, or `(N, C_big, *size)`.
        y: `(N, *smaller, C_small)`, or `(N, C_small, *smaller)`.
        kernel_shape: the shape of the kernel array, channels included.
        strides: as in `conv`, like all that follow.
        padding: cells read beyond the input.
        dilation: the distance of neighbouring taps.
        groups: divides C_small.
        data_format: "channels_last" or "channels_first".
        winograd: False keeps to sums of the products themselves, as in `plan`.

    Returns:
        An array of `kernel_shape`, the same kind as `x`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a value or a shape is not legal.
    """
    asked = kernel_shape, strides, padding, dilation, groups, data_format
    key = recent.shapes_of_call(x, y, bool(winograd), "gradient", *asked)
    if (earlier := recent.checked(key)) is not None:
        return cast(
            "Array",
            earlier[0].conv_kernel_gradient(cast("AnyArray", y), cast("AnyArray", x), earlier[1]),
        )
    _ = arrays.same_library(x=x, y=y)
    kind = arrays.dtype_name("x", x)
    same_kind(kind, "x", y=y)
    (data, storage), (gradient, other) = read("x", x, kind), read("y", y, kind)
    if storage is not other:  # one of them shares no memory
        data, gradient, storage = arrays.to_numpy("x", x), arrays.to_numpy("y", y), None
    shape = entries("kernel_shape", kernel_shape)
    if not 3 <= len(shape) <= 5:
        message = (
            f"`kernel_shape` (={shape}) must have 1 to 3 spatial entries and 2 for the channels"
        )
        raise ValueError(message)
    options = CallOptions(
        strides, padding, dilation=dilation, groups=groups, data_format=data_format
    )
    fitted, where = recent.fit(options, "kernel_shape", shape, data)
    layout = fitted.data_format
    check_data("y", gradient.shape, fitted.rank, fitted.small, layout)
    expected = (data.shape[0], *where.input)
    if (gradient.shape[0], *spatial_of(gradient.shape, layout)) != expected:
        message = (
            f"`y` has batch and size {(gradient.shape[0], *spatial_of(gradient.shape, layout))}; "
            f"the convolution of `x` gives {expected}"
        )
        raise ValueError(message)
    call = Call(where, fitted.groups, layout, bool(winograd))
    if storage is not None:
        implementation = select(np.dtype(np.float32))
        if implementation.takes_bits:
            bits = implementation.conv_kernel_gradient(gradient, data, call, storage=storage)
            return arrays.from_bits(bits, x)
        data, gradient = arrays.to_numpy("x", x), arrays.to_numpy("y", y)
    terms = data.shape[0] * math.prod(where.input) * largest(data)
    source, image, _ = exact_integers(gradient, widen(data), None, terms)
    implementation = select(data.dtype)
    recent.keep(key, implementation, call)
    return narrow(implementation.conv_kernel_gradient(source, image, call), x, data.dtype)


@named
def dense(
    x: Array, kernel: Array, bias: Array | None = None, /, *, activation: str | None = None
) -> Array:
    """Dense layer on the last axis: `x @ kernel + bias`. Equal to a 1x1 convolution on every pixel.

    >>> import numpy as np
    >>> x, kernel = np.ones((1, 4, 4, 3)), np.arange(6.0).reshape(3, 2)
    >>> np.array_equal(dense(x, kernel), conv(x, dense_to_conv(kernel)))
    True

    Args:
        x: `(..., C_in)`.
        kernel: `(C_in, C_out)`.
        bias: `(C_out,)`.
        activation: as in `conv_transpose`.

    Returns:
        `(..., C_out)`, the same kind of array.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: a value or a shape is not legal.
    """
    _ = arrays.same_library(x=x, kernel=kernel, bias=bias)
    same_kind(arrays.dtype_name("kernel", kernel), "kernel", x=x, bias=bias)
    data, weights = arrays.to_numpy("x", x), arrays.to_numpy("kernel", kernel)
    activation = check_activation(activation, weights.dtype)
    check_matrix(weights.shape)
    if data.ndim < 1 or data.shape[-1] != weights.shape[0]:
        message = (
            f"`x` has shape {data.shape}; its last axis must have {weights.shape[0]} entries, "
            f"as `kernel` {weights.shape} takes"
        )
        raise ValueError(message)
    offset = None if bias is None else widen(bias_values(bias, weights.shape[1]))
    source, wide, offset = exact_integers(
        data, widen(weights), offset, weights.shape[0] * largest(weights)
    )
    result = source @ wide
    return narrow(
        activate(result if offset is None else result + offset, activation), x, data.dtype
    )


def relu(x: Array, /) -> Array:
    """max(x, 0), cell by cell.

    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])

    Args:
        x: any shape, any real dtype.

    Returns:
        An array of this shape, the same kind.

    Raises:
        TypeError: `x` is no array, or its numbers are complex.
    """
    _ = arrays.dtype_name("x", x)
    data = arrays.to_numpy("x", x)
    if data.dtype.kind == "c":
        message = f"`x` has dtype {data.dtype}; relu needs an order, which complex numbers have not"
        raise TypeError(message)
    return arrays.back(np.asarray(activate(data, "relu")), x)


def flatten(x: Array, /) -> Array:
    """`(N, ...)` to (N, everything else), in the order in which the cells lie.

    >>> import numpy as np
    >>> flatten(np.ones((2, 4, 4, 3))).shape
    (2, 48)

    Args:
        x: `(N, ...)`.

    Returns:
        (N, everything else), the same kind of array.

    Raises:
        ValueError: `x` has no axes.
    """
    _ = arrays.dtype_name("x", x)
    data = arrays.to_numpy("x", x)
    if data.ndim < 1:
        message = (
            "`x` has shape (); it must have a batch axis; the nearest legal call is x.reshape(1)"
        )
        raise ValueError(message)
    return arrays.back(
        np.ascontiguousarray(data.reshape(data.shape[0], math.prod(data.shape[1:]))), x
    )


def dense_to_conv(
    kernel: Array,
    spatial: Sequence[int] | None = None,
    /,
    *,
    data_format: DataFormat = "channels_last",
) -> Array:
    """The kernel of the convolution that a dense layer is.

    On single pixels, a 1x1 one; after a `flatten` of a map, one that covers the map:

    >>> import numpy as np
    >>> x, kernel = np.random.rand(2, 4, 5, 3), np.random.rand(60, 7)
    >>> over_map = conv(x, dense_to_conv(kernel, (4, 5)))
    >>> np.allclose(over_map[:, 0, 0], dense(flatten(x), kernel))
    True

    Args:
        kernel: `(C_in, C_out)`; PyTorch's Linear.weight is its transpose.
        spatial: the flattened map's size, 1 to 3 axes; None for 1x1.
        data_format: "channels_last" or "channels_first".

    Returns:
        `(*spatial, C, C_out)`, where C_in = C * product(spatial), or `(C_out, C, *spatial)` for
        channels_first, whose flatten order puts the channels first; the same kind of array.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: C_in is not divisible by the map's cells.
    """
    layout = check_data_format(data_format)
    _ = arrays.dtype_name("kernel", kernel)
    weights = arrays.to_numpy("kernel", kernel)
    check_matrix(weights.shape)
    size = (1, 1) if spatial is None else entries("spatial", spatial)
    inputs, outputs = weights.shape
    if not 1 <= len(size) <= 3 or inputs % math.prod(size):
        message = (
            f"`spatial` (={size}) must have 1 to 3 axes and a number of cells that divides the "
            f"{inputs} rows of `kernel`"
        )
        raise ValueError(message)
    channels = inputs // math.prod(size)
    if layout == "channels_last":
        result = weights.reshape(*size, channels, outputs)
    else:
        result = np.moveaxis(weights.reshape(channels, *size, outputs), -1, 0)
    return arrays.back(np.array(result, order="C"), kernel)
