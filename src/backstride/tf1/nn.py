"""`tf.nn`: operations on tensors; their filters are given, not made."""

from __future__ import annotations

from collections.abc import Sequence

from backstride import ops
from backstride.integers import as_sizes
from backstride.tf1 import arithmetic
from backstride.tf1.graph import Tensor, default_graph, to_tensor
from backstride.tf1.shapes import (
    after_conv,
    after_conv_transpose,
    check_channels,
    check_data_format,
    filter_sizes,
    images,
    padding_rule,
    spatial_pair,
)


def relu(features: object, name: str | None = None) -> Tensor:
    """max(features, 0)."""
    source = to_tensor("features", features)
    return default_graph().add(
        name or "Relu", source.shape, (source,), lambda _, values: ops.relu(values[0])
    )


def conv2d(
    input: object,
    filter: object,
    strides: Sequence[int] | int,
    padding: str,
    *,
    data_format: str = "NHWC",
    dilations: Sequence[int] | int = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """Strided convolution of images (N, height, width, in) with a filter (height, width, in, out).

    >>> from backstride.tf1 import ones
    >>> conv2d(ones([64, 14, 14, 128]), ones([3, 3, 128, 256]), [1, 2, 2, 1], "SAME").shape
    (64, 7, 7, 256)

    `strides`, `dilations`: [1, height, width, 1], an integer or a pair. `padding`: "SAME" or
    "VALID". Raises `ValueError` for shapes that do not fit, while the graph is built.
    """
    check_data_format(data_format, "NHWC")
    source, weights = to_tensor("input", input), to_tensor("filter", filter)
    batch, sizes, channels = images("input", source)
    kernel, incoming, outgoing = filter_sizes("filter", weights)
    check_channels("input", source, channels, incoming, (*kernel, incoming, outgoing))
    steps, spread = spatial_pair("strides", strides), spatial_pair("dilations", dilations)
    rule = padding_rule(padding)
    shape = (batch, *after_conv(sizes, kernel, steps, rule, spread), outgoing)
    return default_graph().add(
        name or "Conv2D",
        shape,
        (source, weights),
        lambda _, values: arithmetic.conv(
            values[0], values[1], strides=steps, padding=rule, dilation=spread
        ),
    )


def conv2d_transpose(  # noqa: PLR0917  TensorFlow's order
    value: object,
    filter: object,
    output_shape: Sequence[int],
    strides: Sequence[int] | int,
    padding: str = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
    *,
    dilations: Sequence[int] | int = (1, 1, 1, 1),
) -> Tensor:
    """Transposed convolution of images (N, height, width, in).

    The filter is (height, width, out, in).

    >>> from backstride.tf1 import ones
    >>> x, w = ones([64, 4, 4, 256]), ones([3, 3, 128, 256])
    >>> conv2d_transpose(x, w, [64, 14, 14, 128], [1, 3, 3, 1], "VALID").shape
    (64, 14, 14, 128)

    `output_shape`: [N, height, width, out]; of the sizes, those that `conv2d` maps back to `value`.
    Other parameters as in `conv2d`. Raises `ValueError` for shapes that do not fit, while the graph
    is built.
    """
    check_data_format(data_format, "NHWC")
    source, weights = to_tensor("value", value), to_tensor("filter", filter)
    batch, sizes, channels = images("value", source)
    kernel, outgoing, incoming = filter_sizes("filter", weights)
    check_channels("value", source, channels, incoming, (*kernel, outgoing, incoming))
    steps, spread = spatial_pair("strides", strides), spatial_pair("dilations", dilations)
    rule = padding_rule(padding)
    wanted = as_sizes("output_shape", output_shape, 4)
    size = (wanted[1], wanted[2])
    if wanted[0] != (wanted[0] if batch is None else batch) or wanted[3] != outgoing:
        nearest = [wanted[0] if batch is None else batch, *size, outgoing]
        message = (
            f"`output_shape` (={list(wanted)}) must have the batch of `value` and the output "
            f"channels of `filter`; the nearest legal value is {nearest}"
        )
        raise ValueError(message)
    _ = after_conv_transpose(sizes, kernel, steps, rule, output_shape=size, dilation=spread)
    return default_graph().add(
        name or "conv2d_transpose",
        wanted,
        (source, weights),
        lambda _, values: arithmetic.conv_transpose(
            values[0], values[1], strides=steps, padding=rule, output_shape=size, dilation=spread
        ),
    )
