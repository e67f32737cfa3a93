"""`tf.layers`: layers that make their own variables, `<layer>/kernel` and `<layer>/bias`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from backstride.integers import as_sizes
from backstride.tf1 import arithmetic
from backstride.tf1.creation import glorot_uniform, zeros
from backstride.tf1.graph import (
    Compute,
    Shape,
    Tensor,
    Variable,
    default_graph,
    float32,
    show_shape,
    to_tensor,
)
from backstride.tf1.shapes import (
    after_conv,
    after_conv_transpose,
    check_data_format,
    images,
    padding_rule,
    pair,
)

Activation: TypeAlias = Callable[[Tensor], Tensor]
InitialValue: TypeAlias = Callable[..., object]


def dense(  # noqa: PLR0917  TensorFlow's order
    inputs: object,
    units: int,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: InitialValue | None = None,
    bias_initializer: InitialValue | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """A dense layer on the last axis: `activation(inputs @ kernel + bias)`.

    `inputs`: (N, ..., in), at least 2-D, its last size known. `units`: the last size of the result.
    `activation`: a function of a tensor, such as `tf.nn.relu`. `kernel_initializer`,
    `bias_initializer`: called as `initializer(shape, dtype=..., partition_info=None)`; None is
    Glorot's uniform for the kernel, zero for the bias. `name`: must be new in this graph. Raises
    `ValueError` for shapes that do not fit.
    """
    source, (outgoing,) = to_tensor("inputs", inputs), as_sizes("units", units, 1)
    shape = source.shape
    if shape is None or len(shape) < 2 or shape[-1] is None:
        message = (
            f"`inputs` has shape {show_shape(shape)}; it must be (batch, ..., in), with a known "
            "last size"
        )
        raise ValueError(message)
    layer = _Layer("dense", name, (shape[-1], outgoing), kernel_initializer)
    bias = layer.bias(outgoing, use_bias, bias_initializer)
    return layer.output(
        source,
        bias,
        (*shape[:-1], outgoing),
        activation,
        lambda _, values: arithmetic.dense(*values),
    )


def conv2d(  # noqa: PLR0917  TensorFlow's order
    inputs: object,
    filters: int,
    kernel_size: Sequence[int] | int,
    strides: Sequence[int] | int = (1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Sequence[int] | int = (1, 1),
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: InitialValue | None = None,
    bias_initializer: InitialValue | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """A layer of strided convolution; its kernel is (height, width, in, filters).

    `inputs`: (N, height, width, in). `padding`: "valid" or "same". Other parameters and errors as
    in `dense`.
    """
    check_data_format(data_format, "channels_last")
    source, (outgoing,) = to_tensor("inputs", inputs), as_sizes("filters", filters, 1)
    batch, sizes, incoming = images("inputs", source)
    kernel, steps = pair("kernel_size", kernel_size), pair("strides", strides)
    spread, rule = pair("dilation_rate", dilation_rate), padding_rule(padding)
    shape = (batch, *after_conv(sizes, kernel, steps, rule, spread), outgoing)
    layer = _Layer("conv2d", name, (*kernel, incoming, outgoing), kernel_initializer)
    bias = layer.bias(outgoing, use_bias, bias_initializer)
    return layer.output(
        source,
        bias,
        shape,
        activation,
        lambda _, values: arithmetic.conv(*values, strides=steps, padding=rule, dilation=spread),
    )


def conv2d_transpose(  # noqa: PLR0917  TensorFlow's order
    inputs: object,
    filters: int,
    kernel_size: Sequence[int] | int,
    strides: Sequence[int] | int = (1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: InitialValue | None = None,
    bias_initializer: InitialValue | None = None,
    *,
    name: str | None = None,
) -> Tensor:
    """A layer of transposed convolution; its kernel is (height, width, filters, in).

    >>> from backstride.tf1 import ones
    >>> conv2d_transpose(ones([64, 7, 7, 256]), 128, 3, strides=2, padding="SAME").shape
    (64, 14, 14, 128)

    The output size is `size * stride` for "same" and `size * stride + max(kernel - stride, 0)` for
    "valid". Parameters and errors as in `conv2d`.
    """
    check_data_format(data_format, "channels_last")
    source, (outgoing,) = to_tensor("inputs", inputs), as_sizes("filters", filters, 1)
    batch, sizes, incoming = images("inputs", source)
    kernel, steps = pair("kernel_size", kernel_size), pair("strides", strides)
    rule = padding_rule(padding)
    shape = (batch, *after_conv_transpose(sizes, kernel, steps, rule), outgoing)
    layer = _Layer("conv2d_transpose", name, (*kernel, outgoing, incoming), kernel_initializer)
    bias = layer.bias(outgoing, use_bias, bias_initializer)
    return layer.output(
        source,
        bias,
        shape,
        activation,
        lambda _, values: arithmetic.conv_transpose(*values, strides=steps, padding=rule),
    )


class _Layer:
    """A layer's name and kernel; then its bias, then its output."""

    def __init__(
        self, kind: str, name: str | None, kernel: tuple[int, ...], initializer: InitialValue | None
    ) -> None:
        unique = default_graph().unique_name(name or kind)
        self.name = name or unique
        self.kernel = self._variable("kernel", kernel, initializer or _glorot)

    def bias(
        self, channels: int, use_bias: bool, initializer: InitialValue | None
    ) -> tuple[Variable, ...]:
        return (self._variable("bias", (channels,), initializer or _zeros),) if use_bias else ()

    def output(
        self,
        source: Tensor,
        bias: tuple[Variable, ...],
        shape: Shape,
        activation: Activation | None,
        compute: Compute,
    ) -> Tensor:
        name = f"{self.name}/BiasAdd" if bias else f"{self.name}/output"
        result = default_graph().add(name, shape, (source, self.kernel, *bias), compute)
        return result if activation is None else activation(result)

    def _variable(self, name: str, shape: tuple[int, ...], initializer: InitialValue) -> Variable:
        made = initializer(list(shape), dtype=float32, partition_info=None)
        initial = to_tensor(f"{name}_initializer", made)
        if initial.shape != shape:
            message = (
                f"`{name}_initializer` gave shape {show_shape(initial.shape)}; {self.name}/{name} "
                f"must have {shape}"
            )
            raise ValueError(message)
        return default_graph().add_variable(f"{self.name}/{name}", shape, initial)


def _glorot(shape: Sequence[int], **_options: object) -> Tensor:
    return glorot_uniform(shape)


def _zeros(shape: Sequence[int], **_options: object) -> Tensor:
    return zeros(shape)
