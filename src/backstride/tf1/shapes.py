"""Static shapes: what is known of sizes while the graph is built, and the rules for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

from backstride.geometry import convolution, geometry
from backstride.integers import PaddingRule, Size, as_integer, as_sizes
from backstride.tf1.graph import Shape, Tensor, show_shape

Pair: TypeAlias = tuple[int, int]


def padding_rule(padding: object) -> PaddingRule:
    """TensorFlow's two names, in any case.

    >>> padding_rule("SAME")
    'same'
    """
    match padding.lower() if isinstance(padding, str) else padding:
        case "same":
            return "same"
        case "valid":
            return "valid"
        case _:
            message = f"`padding` (={padding!r}) must be 'SAME' or 'VALID', in any case"
            raise ValueError(message)


def pair(name: str, value: Size) -> Pair:
    """An integer or two, one per spatial axis."""
    first, second = as_sizes(name, value, 2)
    return first, second


def spatial_pair(name: str, value: Size) -> Pair:
    """The middle of [1, height, width, 1]; an integer or a pair will do too.

    >>> spatial_pair("strides", [1, 2, 2, 1])
    (2, 2)
    """
    if not (isinstance(value, Sequence) and len(value) == 4):
        return pair(name, value)
    batch, height, width, channels = as_sizes(name, value, 4)
    if (batch, channels) != (1, 1):
        message = (
            f"`{name}` (={[batch, height, width, channels]}) must be 1 for batch and channels; "
            f"the nearest legal value is {[1, height, width, 1]}"
        )
        raise ValueError(message)
    return height, width


def check_data_format(data_format: object, legal: str) -> None:
    """Channels last only, as TensorFlow 1 on a CPU."""
    if data_format != legal:
        message = (
            f"`data_format` (={data_format!r}) must be {legal!r}, the only one TensorFlow 1 "
            "computes on a CPU"
        )
        raise ValueError(message)


def images(name: str, tensor: Tensor) -> tuple[int | None, list[int | None], int]:
    """(batch, [height, width], channels) of a 4-D tensor; the channels must be known."""
    batch, height, width, channels = (
        tensor.shape if tensor.shape and len(tensor.shape) == 4 else (None,) * 4
    )
    if channels is None:
        message = (
            f"`{name}` has shape {show_shape(tensor.shape)}; it must be (batch, height, width, "
            "channels), with known channels"
        )
        raise ValueError(message)
    return batch, [height, width], channels


def filter_sizes(name: str, tensor: Tensor) -> tuple[Pair, int, int]:
    """((height, width), C_big, C_small) of a filter, which must be known."""
    sizes = [size for size in tensor.shape or () if size is not None]
    if len(sizes) != 4 or len(tensor.shape or ()) != 4:
        message = f"`{name}` has shape {show_shape(tensor.shape)}; a filter has 4 known sizes"
        raise ValueError(message)
    return (sizes[0], sizes[1]), sizes[2], sizes[3]


def check_channels(
    name: str, tensor: Tensor, found: int, expected: int, filter_shape: Shape
) -> None:
    """Refuse a tensor whose channels are not those of the filter."""
    if found != expected:
        message = (
            f"`{name}` has shape {show_shape(tensor.shape)}, {found} channels; `filter` "
            f"{filter_shape} takes {expected}"
        )
        raise ValueError(message)


def after_conv(
    sizes: Sequence[int | None], kernel: Pair, strides: Pair, padding: PaddingRule, dilation: Pair
) -> Shape:
    """What a strided convolution makes of the sizes that are known.

    >>> after_conv([14, None], (3, 3), (2, 2), "same", (1, 1))
    (7, None)
    """

    def rule(known: list[int], axes: list[int]) -> tuple[int, ...]:
        kernels, steps, dilations = (
            [values[axis] for axis in axes] for values in (kernel, strides, dilation)
        )
        return convolution(
            known, kernels, strides=steps, padding=padding, dilation=dilations
        ).output

    return _where_known(sizes, rule)


def after_conv_transpose(
    sizes: Sequence[int | None],
    kernel: Pair,
    strides: Pair,
    padding: PaddingRule,
    *,
    output_shape: Pair | None = None,
    dilation: Pair = (1, 1),
) -> Shape:
    """What a transposed convolution makes of the sizes that are known.

    >>> after_conv_transpose([4, 4], (3, 3), (3, 3), "valid", output_shape=(14, 14))
    (14, 14)
    """

    def rule(known: list[int], axes: list[int]) -> tuple[int, ...]:
        kernels, steps, dilations = (
            [values[axis] for axis in axes] for values in (kernel, strides, dilation)
        )
        wanted = None if output_shape is None else [output_shape[axis] for axis in axes]
        return geometry(
            known, kernels, strides=steps, padding=padding, output_shape=wanted, dilation=dilations
        ).output

    return _where_known(sizes, rule)


def static_shape(name: str, shape: object) -> Shape:
    """Check a sequence of sizes, each None, zero or positive."""
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        message = (
            f"`{name}` (={shape!r}) must be a sequence of sizes; the nearest legal value is "
            f"[{shape}]"
        )
        raise TypeError(message)
    entries = cast("Sequence[object]", shape)
    sizes = tuple(None if size is None else as_integer(name, size) for size in entries)
    if any(size is not None and size < 0 for size in sizes):
        message = (
            f"`{name}` (={list(sizes)}) must not have negative sizes; the nearest legal value for "
            "unknown is None"
        )
        raise ValueError(message)
    return sizes


def known_shape(name: str, shape: object) -> tuple[int, ...]:
    """Check a sequence of sizes, none of which is None."""
    sizes = static_shape(name, shape)
    known = tuple(size for size in sizes if size is not None)
    if len(known) < len(sizes):
        message = f"`{name}` (={list(sizes)}) must not have unknown sizes; only a placeholder may"
        raise ValueError(message)
    return known


def _where_known(
    sizes: Sequence[int | None], rule: Callable[[list[int], list[int]], tuple[int, ...]]
) -> Shape:
    """Apply a rule to all known axes in one call, so that its messages count them rightly."""
    known = [axis for axis, size in enumerate(sizes) if size is not None]
    if not known:
        return tuple(sizes)
    results = dict(
        zip(known, rule([size for size in sizes if size is not None], known), strict=True)
    )
    return tuple(results.get(axis) for axis in range(len(sizes)))
