"""The rules of ONNX's text and of the two engines that run it.

Pads at both ends, or a size to reach.
"""

from __future__ import annotations

from collections.abc import Sequence

from backstride.conventions.frame import Frame, choose, no_negative, read, require, said
from backstride.geometry import Geometry
from backstride.integers import LARGEST, PaddingRule, Pair, Size, as_pairs, as_sizes, illegal

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def onnx(
    input: Size,
    kernel: Size,
    *,
    auto_pad: str = "NOTSET",
    dilations: Size | None = None,
    output_padding: Size | None = None,
    output_shape: Size | None = None,
    pads: Sequence[int] | None = None,
    strides: Size | None = None,
) -> Geometry:
    """ONNX ConvTranspose since opset 11, by the text of the standard.

    By `pads`, `auto_pad` and `output_shape`::

        pads:                     before = pads[begin], after = pads[end] - output_padding
        SAME_UPPER, SAME_LOWER:   o = i*s, unless `output_shape` names another size
        size o, with T = L + output_padding - o:
            SAME_UPPER            before = T//2
            any other auto_pad    before = T - T//2, the larger half

    >>> onnx(5, 3, strides=2, pads=[1, 1], output_padding=1).crop
    ((1, 0),)
    >>> onnx(5, 3, strides=2, auto_pad="SAME_UPPER").crop
    ((0, 1),)
    >>> onnx(5, 3, strides=2, output_shape=10).crop
    ((1, 0),)
    >>> onnx((5, 5), (3, 1), pads=[1, 0, 0, 0]).crop
    ((1, 0), (0, 0))

    A negative T is refused: pads must not be negative, and the text does not say where the zeros
    would go. "Less than the corresponding stride/dilation" is read as less than the larger of the
    two.

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        auto_pad: "NOTSET", "SAME_UPPER", "SAME_LOWER" or "VALID".
        dilations: An integer, or one per axis.
        output_padding: An integer, or one per axis.
        output_shape: The wanted spatial size, or None.
        pads: All begins, then all ends.
        strides: An integer, or one per axis.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: For what the text excludes.

    Source: docs/Operators.md, ConvTranspose-22, and onnx/defs/nn/defs.cc, onnx 1.23.
    """
    frame, ends, extra, sizes = _read(
        input,
        kernel,
        auto_pad=auto_pad,
        dilations=dilations,
        output_padding=output_padding,
        output_shape=output_shape,
        pads=pads,
        strides=strides,
    )
    if sizes is None and not auto_pad.startswith("SAME"):
        return _explicit(frame, ends, extra, pads)
    name = "auto_pad" if sizes is None else "output_shape"
    sizes = sizes or tuple(i * s for i, s in zip(frame.input, frame.strides, strict=True))
    for axis, (size, length, cells) in enumerate(zip(sizes, frame.lengths, extra, strict=True)):
        if size > length + cells:
            what = (
                f"`{name}` (={output_shape or auto_pad!r}) asks for {size} cells on axis {axis}, "
                f"of {length + cells}: a negative total_padding, which the text does not split"
            )
            # The size that `auto_pad` stands for is reached with cells added; another is cut to
            # what there is.
            missing = tuple(max(a - b, 0) for a, b in zip(sizes, frame.lengths, strict=True))
            there = tuple(
                min(a, b + c) for a, b, c in zip(sizes, frame.lengths, extra, strict=True)
            )
            legal = {"output_padding": missing} if name == "auto_pad" else {"output_shape": there}
            raise illegal(what, said(legal), **legal)
    split: PaddingRule = "same" if auto_pad == "SAME_UPPER" else "same_lower"
    return frame.sized(sizes, (split,) * frame.rank, name, output_shape, extra)


def onnxruntime(
    input: Size,
    kernel: Size,
    *,
    auto_pad: str = "NOTSET",
    dilations: Size | None = None,
    output_padding: Size | None = None,
    output_shape: Size | None = None,
    pads: Sequence[int] | None = None,
    strides: Size | None = None,
) -> Geometry:
    """ONNX Runtime's ConvTranspose on the CPU.

    `onnx`, with totals cut at zero and sizes that map back. T = max(L + output_padding - o, 0),
    split as in `onnx`. Under SAME without `output_shape` the size is then L + output_padding - T,
    so `i*s` only where T is not cut. Beyond the full length come zeros, of which the strided
    convolution may see less than one stride.

    >>> onnxruntime(5, 2, strides=3, auto_pad="SAME_UPPER").output
    (14,)
    >>> onnxruntime(5, 2, strides=3, output_shape=15).crop
    ((0, -1),)

    Args:
        input: As in `onnx`.
        kernel: As in `onnx`.
        auto_pad: As in `onnx`.
        dilations: As in `onnx`.
        output_padding: As in `onnx`, but below the stride.
        output_shape: As in `onnx`.
        pads: As in `onnx`.
        strides: As in `onnx`.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: Where ONNX Runtime refuses.

    Source: onnxruntime/core/providers/cpu/nn/conv_transpose_attributes.h, onnxruntime 1.32.
    """
    frame, ends, extra, sizes = _read(
        input,
        kernel,
        auto_pad=auto_pad,
        dilations=dilations,
        output_padding=output_padding,
        output_shape=output_shape,
        pads=pads,
        strides=strides,
    )
    require(
        "output_padding",
        extra,
        [(0, s - 1) for s in frame.strides],
        "the sizes that map back to `input`",
    )
    rule: PaddingRule = "same" if auto_pad == "SAME_UPPER" else "same_lower"
    if sizes is not None:
        highest = [length + s - 1 for length, s in zip(frame.lengths, frame.strides, strict=True)]
        require(
            "output_shape",
            sizes,
            [(1, most) for most in highest],
            "the sizes that map back to `input`",
        )
        return frame.sized(sizes, (rule,) * frame.rank, "output_shape", output_shape, extra)
    if not auto_pad.startswith("SAME"):
        return _explicit(frame, ends, extra, pads)
    reached = [
        min(i * s, length + cells)
        for i, s, length, cells in zip(
            frame.input, frame.strides, frame.lengths, extra, strict=True
        )
    ]
    return frame.sized(reached, (rule,) * frame.rank, "auto_pad", auto_pad, extra)


def openvino(
    input: Size,
    kernel: Size,
    *,
    strides: Size,
    pads_begin: Size = 0,
    pads_end: Size = 0,
    dilations: Size = 1,
    auto_pad: str = "EXPLICIT",
    output_padding: Size = 0,
    output_shape: Size | None = None,
) -> Geometry:
    """OpenVINO's ConvolutionBackpropData-1 and GroupConvolutionBackpropData-1.

    By `output_shape` and `auto_pad`::

        without output_shape: before = pads_begin, after = pads_end - output_padding;
                              pads are 0 under any other auto_pad than EXPLICIT, so SAME
                              does not give i*s
        with size o, T = max(L + output_padding - o, 0), after = L - o - before:
            SAME_UPPER before = T - T//2; SAME_LOWER before = T//2; VALID before = 0;
            EXPLICIT before = pads_begin

    >>> openvino(3, 3, strides=2, auto_pad="SAME_UPPER").output
    (7,)
    >>> openvino(3, 3, strides=2, auto_pad="SAME_UPPER", output_shape=6).crop
    ((1, 0),)
    >>> openvino(3, 3, strides=2, auto_pad="SAME_LOWER", output_shape=6).crop
    ((0, 1),)

    UPPER and LOWER are the reverse of ONNX's. The specification lets EXPLICIT and VALID split a
    given size like SAME_LOWER; the CPU plugin, followed here, does not. Any size and any
    `output_padding` is legal.

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        strides: An integer, or one per axis.
        pads_begin: An integer, or one per axis.
        pads_end: An integer, or one per axis.
        dilations: An integer, or one per axis.
        auto_pad: "EXPLICIT", "SAME_UPPER", "SAME_LOWER" or "VALID".
        output_padding: An integer, or one per axis.
        output_shape: The wanted spatial size, or None.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: For what the specification excludes.

    Source: docs convolution-backprop-data-1.rst and convolution_backprop_shape_inference_util.hpp,
    openvino 2026.4.
    """
    name = choose(
        "auto_pad", str(auto_pad).upper(), ("EXPLICIT", "SAME_UPPER", "SAME_LOWER", "VALID")
    )
    ends = {"pads_begin": pads_begin, "pads_end": pads_end}
    others = {**ends, "output_padding": output_padding, "output_shape": output_shape}
    frame = read(input, kernel, ("strides", strides), ("dilations", dilations), **others)
    least = 0 if name == "EXPLICIT" else -LARGEST
    begin, end = (
        as_sizes(argument, value, frame.rank, least=least) for argument, value in ends.items()
    )
    pads = list(zip(begin, end, strict=True)) if name == "EXPLICIT" else [(0, 0)] * frame.rank
    extra = as_sizes("output_padding", output_padding, frame.rank, least=0)
    if output_shape is None:
        crops = [
            (before, after - cells) for (before, after), cells in zip(pads, extra, strict=True)
        ]
        return frame.cropped(
            crops, "pads_end", pads_end, lambda legal: _both_ends(_with(legal, extra))
        )
    sizes = as_sizes("output_shape", output_shape, frame.rank)
    if name.startswith("SAME"):
        rule: PaddingRule = "same_lower" if name == "SAME_UPPER" else "same"
        return frame.sized(sizes, (rule,) * frame.rank, "output_shape", output_shape, extra)
    return frame.sized(sizes, pads, "output_shape", output_shape)


def _read(
    input: Size,
    kernel: Size,
    *,
    auto_pad: str,
    dilations: Size | None,
    output_padding: Size | None,
    output_shape: Size | None,
    pads: Sequence[int] | None,
    strides: Size | None,
) -> tuple[Frame, Sequence[Pair], tuple[int, ...], tuple[int, ...] | None]:
    """What both ONNX rules check alike.

    The frame, the pads, `output_padding` and `output_shape`.
    """
    half = None if pads is None else [0] * (len(pads) // 2)
    others = {"pads": half, "output_padding": output_padding, "output_shape": output_shape}
    steps, spacing = 1 if strides is None else strides, 1 if dilations is None else dilations
    frame = read(input, kernel, ("strides", steps), ("dilations", spacing), **others)
    name = choose("auto_pad", auto_pad, AUTO_PADS)
    if pads is not None and name != "NOTSET":
        what = f'`pads` (={pads!r}) cannot be used with `auto_pad` (="{name}")'
        raise illegal(what, 'call leaves `pads` out, or auto_pad="NOTSET"', auto_pad="NOTSET")
    flat = [0] * (2 * frame.rank) if pads is None else pads
    if len(flat) != 2 * frame.rank:
        message = (
            f"`pads` (={pads!r}) must list all begins, then all ends: {2 * frame.rank} entries"
        )
        raise ValueError(message)
    ends = as_pairs(
        "pads", list(zip(flat[: frame.rank], flat[frame.rank :], strict=True)), frame.rank
    )
    no_negative("pads", pads, ends, _flat)
    extra = as_sizes(
        "output_padding", 0 if output_padding is None else output_padding, frame.rank, least=0
    )
    ranges = [(0, max(s, d) - 1) for s, d in zip(frame.strides, frame.dilation, strict=True)]
    require("output_padding", extra, ranges, "below the larger of stride and dilation")
    return (
        frame,
        ends,
        extra,
        None if output_shape is None else as_sizes("output_shape", output_shape, frame.rank),
    )


def _explicit(frame: Frame, ends: Sequence[Pair], extra: Sequence[int], pads: object) -> Geometry:
    crops = [(before, after - cells) for (before, after), cells in zip(ends, extra, strict=True)]
    return frame.cropped(crops, "pads", pads, lambda legal: {"pads": _flat(_with(legal, extra))})


def _both_ends(pairs: Sequence[Pair]) -> dict[str, object]:
    """OpenVINO's pads."""
    return {
        "pads_begin": [before for before, _ in pairs],
        "pads_end": [after for _, after in pairs],
    }


def _with(crops: Sequence[Pair], extra: Sequence[int]) -> list[Pair]:
    """The pads that crop so much beside an `output_padding`."""
    return [(before, after + cells) for (before, after), cells in zip(crops, extra, strict=True)]


def _flat(pairs: Sequence[Pair]) -> list[int]:
    """All begins, then all ends."""
    return [pair[end] for end in (0, 1) for pair in pairs]
