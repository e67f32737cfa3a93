"""PyTorch's rule: symmetric padding, and cells added at the end."""

from __future__ import annotations

from collections.abc import Sequence

from backstride.conventions.frame import read, require
from backstride.geometry import Geometry
from backstride.integers import Size, as_sizes


def torch(
    input: Size,
    kernel: Size,
    *,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
    output_size: Size | None = None,
) -> Geometry:
    """`torch.nn.ConvTranspose1d/2d/3d`: before = p, after = p - output_padding.

    >>> torch(5, 3, stride=2, padding=1, output_padding=1).crop
    ((1, 0),)
    >>> torch(5, 3, stride=2, padding=1, output_size=10).output
    (10,)
    >>> torch(5, 3, dilation=3, output_padding=2).output
    (13,)

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        stride: An integer, or one per axis.
        padding: What the crop starts from; an integer, or one per axis.
        output_padding: Below the larger of stride and dilation, so it may reach the stride where
            the dilation is larger.
        dilation: An integer, or one per axis.
        output_size: The spatial size given at call time, one of `stride` sizes from L - 2p on; it
            takes the place of `output_padding`.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: Where PyTorch refuses.

    Source: torch/nn/modules/conv.py, `_output_padding`, and aten/src/ATen/native/Convolution.cpp,
    torch 2.13.
    """
    others = {"padding": padding, "output_padding": output_padding, "output_size": output_size}
    frame = read(input, kernel, ("stride", stride), ("dilation", dilation), **others)
    pads = as_sizes("padding", padding, frame.rank, least=0)
    smallest = [length - 2 * pad for length, pad in zip(frame.lengths, pads, strict=True)]
    if output_size is not None:
        sizes = as_sizes("output_size", output_size, frame.rank)
        ranges = [
            (max(low, 1), low + s - 1) for low, s in zip(smallest, frame.strides, strict=True)
        ]
        require(
            "output_size",
            sizes,
            ranges,
            "the sizes that a convolution with this stride and padding maps to `input`",
        )
    else:
        extra = as_sizes("output_padding", output_padding, frame.rank, least=0)
        ranges = [(0, max(s, d) - 1) for s, d in zip(frame.strides, frame.dilation, strict=True)]
        require("output_padding", extra, ranges, "below the larger of stride and dilation")
        sizes = tuple(low + cells for low, cells in zip(smallest, extra, strict=True))
    totals = [length - size for length, size in zip(frame.lengths, sizes, strict=True)]
    crops = [(pad, total - pad) for pad, total in zip(pads, totals, strict=True)]
    return frame.cropped(crops, "padding", padding, lambda _: {"padding": symmetric(sizes, pads)})


def symmetric(sizes: Sequence[int], pads: Sequence[int]) -> tuple[int, ...]:
    """The paddings nearest to these, the same at both ends, that leave a cell.

    Each takes two off the size.
    """
    return tuple(pad - max(0, -(-(1 - size) // 2)) for size, pad in zip(sizes, pads, strict=True))
