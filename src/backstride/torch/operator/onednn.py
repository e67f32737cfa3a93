"""Convolutions, transposed or not, by oneDNN with a remembered weight.

PyTorch has oneDNN put a weight into an order of its own at each call. Where few cells share a large
weight, as at the bottom of a U-Net, that is most of the time, and in bfloat16 it is more than that:
by AMX, 512 to 512 channels over 4x4 cells take a twelfth. The reordered weight is remembered as the
engine's packed ones are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from backstride.torch.operator.internals import reorder_conv2d_weight
from backstride.torch.operator.packing import Options, find, make, note_change, note_new
from backstride.torch.operator.shapes import Integers

Form = Callable[..., Tensor]
CONVOLUTION: Form | None = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
CONV_TRANSPOSE: Form | None = getattr(torch.ops.mkldnn, "_convolution_transpose_pointwise", None)
REORDER_TRANSPOSED: Form | None = getattr(
    torch.ops.mkldnn, "_reorder_convolution_transpose_weight", None
)
SUPPORTS_BFLOAT16: Callable[[], bool] | None = getattr(
    torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None
)
HAS_BFLOAT16 = SUPPORTS_BFLOAT16 is not None and SUPPORTS_BFLOAT16()


def is_there() -> bool:
    """Whether this PyTorch has the operators."""
    return (
        reorder_conv2d_weight is not None
        and CONVOLUTION is not None
        and torch.backends.mkldnn.is_available()
    )


def supports(dtype: torch.dtype) -> bool:
    """Whether oneDNN has fast kernels for a dtype on this processor."""
    return dtype == torch.float32 or (dtype == torch.bfloat16 and HAS_BFLOAT16)


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Tensor | None:
    """A convolution of two axes and one group, its result in any memory format.

    None where oneDNN is switched off, or the weight keeps changing.
    """
    sizes = (tuple(padding), tuple(stride), tuple(dilation), 1)
    name = f"oneDNN {sizes[0]} {tuple(input.shape)}"
    options = Options(name, "channels_first", sizes[1], sizes[2], 1)
    reorder, run = reorder_conv2d_weight, CONVOLUTION
    if reorder is None or run is None:
        return None
    packed = _ordered(
        weight, options, lambda weight: reorder(weight.to_mkldnn(), *sizes, input.shape)
    )
    if packed is None:
        return None
    return run(input, packed, _vector(bias, input.dtype), *sizes, "none", [], "")


def conv_transpose(
    input: Tensor, weight: Tensor, bias: Tensor | None, integers: Integers
) -> Tensor | None:
    """The same for a transposed one, whose weight and bias may be wider than its input.

    None also where oneDNN has no such options.
    """
    stride, crop, dilation, groups, _ = integers
    before, extra = (
        crop[::2],
        tuple(front - back for front, back in zip(crop[::2], crop[1::2], strict=True)),
    )
    within = all(
        cells >= 0 and 0 <= more < step
        for cells, more, step in zip(before, extra, stride, strict=True)
    )
    plain = len(stride) == 2 and {groups, *dilation} == {1} and within
    reorder, run = REORDER_TRANSPOSED, CONV_TRANSPOSE
    if not plain or reorder is None or run is None or not (is_there() and supports(input.dtype)):
        return None
    sizes = (before, extra, stride, dilation, 1)
    options = Options(
        f"oneDNN {crop} {tuple(input.shape)}",
        "channels_first",
        stride,
        dilation,
        1,
        rounded=input.dtype,
    )
    packed = _ordered(
        weight, options, lambda weight: reorder(weight.to(input.dtype), *sizes, input.shape)
    )
    if packed is None:
        return None
    return run(input, packed, _vector(bias, input.dtype), *sizes, "none", [], "")


def _vector(bias: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A bias as these operators read it: number after number, whatever its strides say."""
    return None if bias is None else bias.to(dtype).contiguous()


def _ordered(weight: Tensor, options: Options, order: Callable[[Tensor], Tensor]) -> Tensor | None:
    if not torch.backends.mkldnn.enabled:
        return None
    packed = find(weight, options)
    if packed is None and not (note_new(weight) or note_change(weight)):
        packed = make(weight, options, lambda weight: order(weight.detach()), remember=True)
    return packed
