"""The three operators by PyTorch's own kernels, with crop arithmetic around them.

Any device, any dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from backstride.torch.operator.shapes import Integers, Shape, third_shape

Form = Callable[..., Tensor]
ACTIVATIONS: dict[str, Form] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
}
TRANSPOSED: dict[int, Form] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
FORWARD: dict[int, Form] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
BACKWARD: Callable[..., tuple[Tensor, ...]] = torch.ops.aten.convolution_backward


def activate(y: Tensor, activation: str) -> Tensor:
    """Apply an activation by name; the empty name is none."""
    return ACTIVATIONS[activation](y) if activation else y


def conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None, integers: Integers, activation: str = ""
) -> Tensor:
    """Map x and weight to y.

    What PyTorch cannot express is cropped or extended with zeros behind its kernel.
    """
    stride, crop, dilation, groups, _ = integers
    rank = len(stride)
    padding, extra = [0] * rank, [0] * rank
    rest: list[int] = []
    for axis in range(rank):
        before, after = crop[2 * axis : 2 * axis + 2]
        padding[axis] = max(0, before)
        if 0 <= padding[axis] - after < max(stride[axis], dilation[axis]):
            extra[axis] = padding[axis] - after
        else:
            padding[axis] = max(0, min(before, after))
        rest += [before - padding[axis], after - padding[axis] + extra[axis]]
    if weight.device.type == "cpu" and weight.dtype.itemsize > 2:
        weight = weight.contiguous()  # the derivatives of those kernels refuse other strides
    grows = any(cells < 0 for cells in rest)
    y = TRANSPOSED[rank](
        x, weight, None if grows else bias, stride, padding, extra, groups, dilation
    )
    y = _cropped(y, rest)
    if bias is not None and grows:
        y = y + bias.reshape(-1, *(1,) * rank)
    return activate(y, activation)


def conv_input_gradient(
    x: Tensor, weight: Tensor, bias: Tensor | None, integers: Integers, activation: str = ""
) -> Tensor:
    """`conv_transpose` as the derivative of a convolution, for crops that are its padding.

    Below autograd. oneDNN has another kernel for it, which takes a third of the time on
    channels-last data.
    """
    stride, crop, dilation, groups, _ = integers
    shape = third_shape("y", x.shape, weight.shape, integers)
    form = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim(), torch.contiguous_format)
    data = torch.empty(
        shape, dtype=x.dtype, memory_format=form
    )  # only its shape and format are read
    mask, before = (True, False, False), list(crop[::2])
    y = BACKWARD(
        x, data, weight, None, stride, before, dilation, False, [0] * len(stride), groups, mask
    )[0]
    return activate(
        y if bias is None else y.add_(bias.reshape(-1, *(1,) * len(stride))), activation
    )


def conv(y: Tensor, weight: Tensor, integers: Integers, bias: Tensor | None = None) -> Tensor:
    """Map y and weight to x: a strided convolution that pads what `conv_transpose` crops."""
    stride, _, dilation, groups, _ = integers
    y, padding = _padded(y, weight.shape, integers)
    return FORWARD[len(stride)](y, weight, bias, stride, padding, dilation, groups)


def conv_kernel_gradient(x: Tensor, y: Tensor, integers: Integers) -> Tensor:
    """Map x and y to weight: the derivative of sum(conv(y, weight) * x) by the weight."""
    stride, _, dilation, groups, _ = integers
    if x.is_complex():
        return _by_parts(x, y, integers)
    shape = third_shape("weight", x.shape, y.shape, integers)
    weight = x.new_empty(1).expand(shape)
    mask = (False, True, False)
    y, padding = _padded(y, shape, integers)
    extra = [0] * len(stride)
    return BACKWARD(x, y, weight, None, stride, padding, dilation, False, extra, groups, mask)[1]


def _padded(y: Tensor, weight: Shape, integers: Integers) -> tuple[Tensor, list[int]]:
    """Data, and the padding for a convolution of it, which does as much of the padding as it can.

    A convolution pads both sides by the same. That is right, too, where the cells too many do not
    make another step.
    """
    stride, crop, dilation, _, _ = integers
    padding: list[int] = []
    rest: list[int] = []
    for axis, (before, after) in enumerate(zip(crop[::2], crop[1::2], strict=True)):
        spare = y.shape[axis + 2] + before + after - dilation[axis] * (weight[axis + 2] - 1) - 1
        enough = (
            0 <= before - after <= before
            and (spare + before - after) // stride[axis] == spare // stride[axis]
        )
        padding.append(before if enough else max(0, min(before, after)))
        rest += [0, 0] if enough else [padding[axis] - before, padding[axis] - after]
    return _cropped(y, rest), padding


def _cropped(y: Tensor, crop: list[int]) -> Tensor:
    """Cut (before, after) cells off each axis.

    A negative count appends zeros, and all cells may go.
    """
    pads: list[int] = []
    for axis in range(len(crop) // 2):
        before, after = crop[2 * axis : 2 * axis + 2]
        if before <= 0 and after <= 0:
            front, back = -before, -after
        else:
            size = y.shape[axis + 2]
            start = min(max(before, 0), size)
            kept = max(size - max(after, 0) - start, 0)
            y = y.narrow(axis + 2, start, kept)
            front = start - before if kept else 0
            back = size - before - after - front - kept
        pads = [front, back, *pads]  # functional.pad counts from the last axis
    return functional.pad(y, pads) if any(cells != 0 for cells in pads) else y


def _by_parts(x: Tensor, y: Tensor, integers: Integers) -> Tensor:
    (a, b), (c, d) = (torch.view_as_real(tensor.resolve_conj()).unbind(-1) for tensor in (x, y))
    f = conv_kernel_gradient
    return torch.complex(
        f(a, c, integers) - f(b, d, integers),
        f(a, d, integers) + f(b, c, integers),
    )
