"""`conv_transpose1d/2d/3d`: PyTorch's functions, argument for argument, and options of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_variadic

from backstride.torch.layers.options import (
    Ints,
    Padding,
    default_crop,
    hashable,
    resolve,
    target_crop,
)
from backstride.torch.operator import fallback, graphs, kernels
from backstride.torch.operator.fallback import ACTIVATIONS
from backstride.torch.operator.fusion import Norm, Transposed
from backstride.torch.operator.internals import is_in_onnx_export, tracing_state
from backstride.torch.operator.operators import apply
from backstride.torch.operator.shapes import Integers, check_bias, check_dtypes, checked_shape

Options = tuple[Ints, Padding, Ints, int, Ints, Sequence[int] | None, str, str | None, bool]
"""What a function is called with beside its tensors, in the order of its parameters."""


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    output_size: Sequence[int] | None = None,
    padding_mode: str = "zeros",
    activation: str | None = None,
    winograd: bool = True,
) -> Tensor:
    """`torch.nn.functional.conv_transpose1d`, and what it lacks; `conv_transpose2d` says more.

    Example:
        >>> x, weight = torch.tensor([[[1.0, 10.0]]]), torch.tensor([[[1.0, 2.0, 3.0]]])
        >>> conv_transpose1d(x, weight, stride=2, padding="same")
        tensor([[[ 1.,  2., 13., 20.]]])

    Args:
        input: (N, C_in, L) or (C_in, L), in any dtype and on any device that PyTorch computes on.
        weight: (C_in, C_out // groups, kL), of the same dtype and device.
        bias: (C_out,), of the same dtype and device, or None.
        stride: cells of the output from one input cell to the next, an integer or one for each
            axis; at least 1.
        padding: cells that are cropped: an integer, one for each axis, (before, after) pairs, or
            the name of a rule.
        output_padding: cells that are appended to each axis, with explicit padding only; at least
            0.
        groups: parts that the channels are computed in; it divides C_in.
        dilation: cells of the output from one tap to the next, an integer or one for each axis; at
            least 1.
        output_size: the wanted size in cells, (L), in place of `output_padding`.
        padding_mode: "zeros", or "circular".
        activation: None or a name that `backstride.conv_transpose` takes.
        winograd: whether Winograd's tiles may compute it.

    Returns:
        (N, C_out, L) or (C_out, L), of the input's dtype, device and memory format.

    Raises:
        RuntimeError: as `conv_transpose2d`.
        TypeError: as `conv_transpose2d`.
        ValueError: as `conv_transpose2d`.
    """
    options = (
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        output_size,
        padding_mode,
        activation,
        winograd,
    )
    return _call(1, conv_transpose1d, input, weight, bias, options)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    output_size: Sequence[int] | None = None,
    padding_mode: str = "zeros",
    activation: str | None = None,
    winograd: bool = True,
) -> Tensor:
    """`torch.nn.functional.conv_transpose2d`, and what it lacks.

    CPU tensors of floating-point numbers are computed by Backstride's engine in their own memory,
    half precision in float32, rounded once; everything else by PyTorch's kernels, with the same
    result.

    Example:
        >>> x, weight = torch.ones(1, 8, 5, 5), torch.ones(8, 4, 3, 3)
        >>> conv_transpose2d(x, weight, None, 2, 1, 1).shape
        torch.Size([1, 4, 10, 10])
        >>> conv_transpose2d(x, weight, stride=2, padding="same", output_size=(9, 10)).shape
        torch.Size([1, 4, 9, 10])
        >>> conv_transpose2d(x, weight, stride=2, padding=[(0, 1), (1, 0)]).shape
        torch.Size([1, 4, 10, 10])

    Args:
        input: (N, C_in, H, W) or (C_in, H, W), in any dtype and on any device that PyTorch computes
            on.
        weight: (C_in, C_out // groups, kH, kW), of the same dtype and device.
        bias: (C_out,), of the same dtype and device, or None.
        stride: cells of the output from one input cell to the next, an integer or one for each
            axis; at least 1.
        padding: cells that are cropped. An integer or one for each axis, as in PyTorch; "same",
            "same_lower" or "valid" by TensorFlow's rules; or a (before, after) pair for each axis,
            where negative ones append zeros.
        output_padding: cells that are appended to each axis, with explicit padding only. Any number
            from 0 on: beyond the reach of the kernel they are zeros plus bias.
        groups: parts that the channels are computed in; it divides C_in.
        dilation: cells of the output from one tap to the next, an integer or one for each axis; at
            least 1.
        output_size: the wanted size in cells, (H, W), in place of `output_padding`. Any that the
            convolution with this padding maps back to the input's.
        padding_mode: "zeros", or "circular" for the exact adjoint of the circular convolution.
        activation: None or a name that `backstride.conv_transpose` takes; it is applied to the
            result.
        winograd: whether Winograd's tiles may compute it and its derivatives. False keeps to sums
            of the products themselves, as in `backstride.plan`.

    Returns:
        (N, C_out, H, W) or (C_out, H, W), of the input's dtype, device and memory format.

    Raises:
        RuntimeError: where PyTorch raises it: tensors that do not fit each other, or options out of
            range.
        TypeError: where PyTorch raises it: options that are no integers.
        ValueError: for an `output_size`, a `padding_mode` or an `activation` that is not legal.
    """
    options = (
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        output_size,
        padding_mode,
        activation,
        winograd,
    )
    return _call(2, conv_transpose2d, input, weight, bias, options)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    output_size: Sequence[int] | None = None,
    padding_mode: str = "zeros",
    activation: str | None = None,
    winograd: bool = True,
) -> Tensor:
    """`torch.nn.functional.conv_transpose3d`, and what it lacks; `conv_transpose2d` says more.

    Example:
        >>> x, weight = torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 3, 3, 3)
        >>> conv_transpose3d(x, weight, stride=2, padding="same").shape
        torch.Size([1, 1, 4, 4, 4])

    Args:
        input: (N, C_in, D, H, W) or (C_in, D, H, W), in any dtype and on any device that PyTorch
            computes on.
        weight: (C_in, C_out // groups, kD, kH, kW), of the same dtype and device.
        bias: (C_out,), of the same dtype and device, or None.
        stride: cells of the output from one input cell to the next, an integer or one for each
            axis; at least 1.
        padding: cells that are cropped: an integer, one for each axis, (before, after) pairs, or
            the name of a rule.
        output_padding: cells that are appended to each axis, with explicit padding only; at least
            0.
        groups: parts that the channels are computed in; it divides C_in.
        dilation: cells of the output from one tap to the next, an integer or one for each axis; at
            least 1.
        output_size: the wanted size in cells, (D, H, W), in place of `output_padding`.
        padding_mode: "zeros", or "circular".
        activation: None or a name that `backstride.conv_transpose` takes.
        winograd: whether Winograd's tiles may compute it.

    Returns:
        (N, C_out, D, H, W) or (C_out, D, H, W), of the input's dtype, device and memory format.

    Raises:
        RuntimeError: as `conv_transpose2d`.
        TypeError: as `conv_transpose2d`.
        ValueError: as `conv_transpose2d`.
    """
    options = (
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        output_size,
        padding_mode,
        activation,
        winograd,
    )
    return _call(3, conv_transpose3d, input, weight, bias, options)


def _call(
    rank: int,
    public: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    options: Options,
) -> Tensor:
    (
        stride,
        padding,
        output_padding,
        groups,
        dilation,
        output_size,
        padding_mode,
        activation,
        winograd,
    ) = options
    if has_torch_function_variadic(input, weight, bias):
        named = {"output_size": output_size, "padding_mode": padding_mode, "activation": activation}
        keywords = {name: value for name, value in named.items() if value not in (None, "zeros")}
        keywords |= {} if winograd else {"winograd": False}
        tensors = (input, weight, bias)
        arguments = (*tensors, stride, padding, output_padding, groups, dilation)
        return handle_torch_function(
            public, tuple(t for t in tensors if t is not None), *arguments, **keywords
        )
    check_tensors(rank, input, weight)
    geometry = (stride, padding, output_padding, dilation)
    kernel = tuple(weight.shape[2:])
    # Where a tracer is at work, sizes are tensors; those of a weight are fixed.
    if not torch.compiler.is_compiling() and tracing_state():
        kernel = tuple(int(taps) for taps in kernel)
    if torch.compiler.is_compiling():
        resolved = resolve.__wrapped__(rank, *(hashable(value) for value in geometry))
    else:
        try:
            resolved = resolve(rank, *geometry)
        except (
            TypeError
        ):  # a list, which no table can have as a key, or an error that is raised again
            resolved = resolve(rank, *(hashable(value) for value in geometry))
    if output_size is None:
        crop = default_crop(kernel, resolved)
    else:
        crop = target_crop(rank, input.shape[-rank:], kernel, resolved, output_size)
    integers = Integers(resolved[0], crop, resolved[1], groups, winograd)
    batched = input.dim() == rank + 2
    x = input if batched else input.unsqueeze(0)
    if padding_mode == "zeros" and (activation is None or activation in ACTIVATIONS):
        y = transposed(x, weight, bias, integers, activation or "")
    else:
        y = _unusual(x, weight, bias, integers, padding_mode, activation)
    return y if batched else y.squeeze(0)


def with_norm(
    layer: Transposed, input: Tensor, norm: Norm, activation: str | None, *, winograd: bool
) -> Tensor:
    """A transposed layer and the batch norm behind it, of a batch, in a graph: one operator."""
    rank = len(layer.kernel_size)
    check_tensors(rank, input, layer.weight)
    geometry = (layer.stride, layer.padding, layer.output_padding, layer.dilation)
    resolved = resolve.__wrapped__(rank, *(hashable(value) for value in geometry))
    crop = default_crop(layer.kernel_size, resolved)
    integers = Integers(resolved[0], crop, resolved[1], layer.groups, winograd)
    return graphs.call("transposed", input, layer.weight, layer.bias, integers, activation, norm)


def transposed(
    x: Tensor, weight: Tensor, bias: Tensor | None, integers: Integers, activation: str
) -> Tensor:
    """The operator where the engine computes.

    Elsewhere PyTorch's own functions, which it sees through and exports.
    """
    if kernels.engine_supports(x) and not is_in_onnx_export():
        return apply("y", x, weight, bias, integers, activation)
    tensors = {"input": x, "weight": weight, "bias": bias}
    device = x.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        check_dtypes(**tensors)
    shape = checked_shape("y", x.shape, weight.shape, integers)
    if bias is not None:
        check_bias(bias.shape, shape[1])
    return fallback.conv_transpose(x, weight, bias, integers, activation)


def _unusual(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    integers: Integers,
    padding_mode: str,
    activation: str | None,
) -> Tensor:
    if activation is not None and activation not in ACTIVATIONS:
        message = f"`activation` (={activation!r}) must be None or one of {', '.join(ACTIVATIONS)}"
        raise ValueError(message)
    if padding_mode != "circular":
        message = (
            f'`padding_mode` (={padding_mode!r}) must be "zeros" or "circular"; the nearest legal '
            'value is "zeros"'
        )
        raise ValueError(message)
    stride, crop = integers.stride, integers.crop
    appended = tuple(min(cells, 0) for cells in crop)
    y = transposed(x, weight, None, integers._replace(crop=appended), "")
    for axis in range(len(stride)):
        y = fold(y, axis + 2, max(crop[2 * axis], 0), max(crop[2 * axis + 1], 0))
    if bias is not None:
        y = y + bias.reshape(-1, *(1,) * len(stride))
    return fallback.activate(y, activation or "")


def fold(y: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Add the cells that a circular convolution reads twice to where they come from.

    The adjoint of circular padding.

    >>> fold(torch.tensor([[[1.0, 2, 3, 4, 5]]]), 2, 1, 1)
    tensor([[[7., 3., 5.]]])
    """
    size = y.shape[axis] - before - after
    if max(before, after) > size:
        message = (
            f"`padding` (={(before, after)}) wraps around more than once: the output has {size} "
            f"cells on axis {axis - 2}"
        )
        raise RuntimeError(message)
    middle = y.narrow(axis, before, size)
    ends = (
        (y.narrow(axis, 0, before), size - before, 0),
        (y.narrow(axis, before + size, after), 0, size - after),
    )
    trailing = (0, 0) * (y.dim() - 1 - axis)
    for end, front, back in ends:
        if end.shape[axis]:
            middle = middle + functional.pad(end, (*trailing, front, back))
    return middle


def check_tensors(rank: int, input: Tensor, weight: Tensor) -> None:
    """Refuse tensors of the wrong rank, in the words of a call."""
    axes = "LHWD"[:1] if rank == 1 else "DHW"[3 - rank :]
    sizes = ", ".join(axes)
    if weight.dim() != rank + 2:
        taps = ", ".join(f"k{axis}" for axis in axes)
        message = (
            f"`weight` has shape {tuple(weight.shape)}; conv_transpose{rank}d takes {rank + 2} "
            f"axes: (C_in, C_out // groups, {taps})"
        )
        raise RuntimeError(message)
    if input.dim() not in (rank + 1, rank + 2):
        channels = weight.shape[0]
        message = (
            f"`input` has shape {tuple(input.shape)}; conv_transpose{rank}d takes {rank + 1}-D "
            f"(unbatched) or {rank + 2}-D (batched) input: ({channels}, {sizes}) or (N, "
            f"{channels}, {sizes})"
        )
        raise RuntimeError(message)
