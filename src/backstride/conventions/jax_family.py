"""The rules of JAX, Flax and Equinox.

All run `lax.conv_general_dilated`, whose padding pads the dilated input. Padding the dilated input
with K - 1 - c cells at an end crops c cells off the output there.
"""

from __future__ import annotations

from collections.abc import Sequence

from backstride.conventions.frame import Frame, choose, read, require, spread
from backstride.geometry import Geometry, output_range, same_padding
from backstride.integers import LARGEST, PaddingRule, Pair, Size, as_pairs, as_sizes, illegal

Pads = Sequence[int] | Sequence[Pair]


def jax(
    input: Size,
    kernel: Size,
    *,
    strides: Size,
    padding: str | Sequence[Pair],
    rhs_dilation: Size | None = None,
    use_consistent_padding: bool = False,
) -> Geometry:
    """`jax.lax.conv_transpose`.

    By its `padding`::

        "SAME":  o = i*s,                before = max(L-o, 0)//2
        "VALID": o = (i-1)s + max(K, s), before = 0
        pairs:   before = K-1-low, after = K-1-high: they pad the dilated input
        pairs with use_consistent_padding=True: before = low, after = high: they crop the output

    >>> jax(5, 3, strides=2, padding="SAME").crop
    ((0, 1),)
    >>> jax(5, 3, strides=2, padding=[(1, 2)]).crop
    ((1, 0),)
    >>> jax(5, 3, strides=2, padding=[(1, 2)], use_consistent_padding=True).crop
    ((1, 2),)

    Only these two strings, so written, mean the padding of the forward convolution. Others that
    `lax.conv_general_dilated` knows in any case ("same", "SAME_LOWER", ...) pad the input itself,
    and are refused where a stride is above 1. `transpose_kernel` flips and swaps, and changes no
    size.

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        strides: An integer, or one per axis.
        padding: "SAME", "VALID", or `[(low, high), ...]` per axis.
        rhs_dilation: An integer, or one per axis.
        use_consistent_padding: Whether pairs crop the output instead of padding the input.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: Where JAX refuses, and where JAX returns an empty array.

    Source: jax/_src/lax/convolution.py, jax 0.10.
    """
    pairs = None if isinstance(padding, str) else padding
    dilation = 1 if rhs_dilation is None else rhs_dilation
    frame = read(input, kernel, ("strides", strides), ("rhs_dilation", dilation), padding=pairs)
    if not isinstance(padding, str):
        pads = as_pairs("padding", padding, frame.rank)
        if use_consistent_padding:
            return frame.cropped(pads, "padding", padding, lambda crops: {"padding": crops})
        return frame.cropped(
            _inverse(frame, pads),
            "padding",
            padding,
            lambda crops: {"padding": _inverse(frame, crops)},
        )
    if padding in ("SAME", "VALID") or use_consistent_padding or max(frame.strides) > 1:
        return _by_name(frame, choose("padding", padding, ("SAME", "VALID")))
    rule = choose("padding", padding.upper(), ("SAME", "SAME_LOWER", "VALID"))
    named = [(0, 0)] * frame.rank
    if rule != "VALID":
        split = "same_lower" if rule == "SAME_LOWER" else "same"
        named = [
            same_padding(i, k, 1, split) for i, k in zip(frame.input, frame.spans, strict=True)
        ]
    return frame.cropped(_inverse(frame, named), "padding", padding, lambda _: {})


def flax(
    input: Size,
    kernel: Size,
    *,
    strides: Size | None = None,
    padding: str | int | Pads = "SAME",
    kernel_dilation: Size | None = None,
) -> Geometry:
    """`flax.nnx.ConvTranspose`: JAX's rule, with JAX's inconsistent meaning of pairs.

    >>> flax(5, 3, strides=2).crop
    ((0, 1),)
    >>> flax(5, 3, strides=2, padding=1).crop
    ((1, 1),)
    >>> flax(5, 3, strides=2, padding=2).crop
    ((0, 0),)

    "CIRCULAR" adds the cells that "VALID" has beyond i*s to the other end: that is no crop, and
    refused unless no axis has any (K <= s). "CAUSAL", which Flax's documentation lists, is refused
    by JAX.

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        strides: An integer, or one per axis.
        padding: "SAME", "VALID", "CIRCULAR", or numbers; an integer stands for both ends, of all
            axes or of its own.
        kernel_dilation: An integer, or one per axis.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: Where Flax refuses, for "CIRCULAR" that wraps, and where JAX returns an empty
            array.

    Source: flax/nnx/nn/linear.py, flax 0.12.
    """
    steps, dilation = (
        1 if strides is None else strides,
        1 if kernel_dilation is None else kernel_dilation,
    )
    others = {"padding": None if isinstance(padding, str | int) else padding}
    frame = read(input, kernel, ("strides", steps), ("kernel_dilation", dilation), **others)
    if padding == "CIRCULAR":
        _refuse_wrapping("padding", frame)
        return _by_name(frame, "VALID")
    if padding == "CAUSAL":
        _ = choose("padding", padding, ("SAME", "VALID", "CIRCULAR"))
    pads = padding if isinstance(padding, str) else spread("padding", padding, frame.rank)
    return jax(
        frame.input, frame.kernel, strides=frame.strides, padding=pads, rhs_dilation=frame.dilation
    )


def equinox(
    input: Size,
    kernel: Size,
    *,
    stride: Size = 1,
    padding: str | int | Pads = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
    padding_mode: str = "ZEROS",
) -> Geometry:
    """`equinox.nn.ConvTranspose`.

    By its `padding`::

        explicit, "VALID":    before = p0, after = p1 - output_padding
        "SAME", "SAME_LOWER": o = i*s - output_padding, of the total crop P = L - o the floor half
                              first, or with SAME_LOWER the ceil half; a negative P is zeros at the
                              end

    >>> equinox(5, 3, stride=2, padding=1, output_padding=1).crop
    ((1, 0),)
    >>> equinox(5, 3, stride=2, padding="SAME", output_padding=1).output
    (9,)
    >>> equinox(5, 4, stride=3, padding="SAME_LOWER").crop
    ((1, 0),)

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        stride: An integer, or one per axis.
        padding: "SAME", "SAME_LOWER", "VALID", an integer, or pairs.
        output_padding: Takes away from the size under "SAME" and adds to it elsewhere; below the
            stride, and may be negative.
        dilation: An integer, or one per axis.
        padding_mode: "ZEROS", or "CIRCULAR" with "SAME" and "SAME_LOWER" and without
            `output_padding`; where it wraps around (K > s) it is no crop, and refused.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: Where Equinox refuses, for a "CIRCULAR" that wraps, and where JAX returns an
            empty array.

    Source: equinox/nn/_conv.py, `_padding_transpose`, equinox 0.13.
    """
    others = {
        "padding": None if isinstance(padding, str | int) else padding,
        "output_padding": output_padding,
    }
    frame = read(input, kernel, ("stride", stride), ("dilation", dilation), **others)
    extra = as_sizes("output_padding", output_padding, frame.rank, least=-LARGEST)
    require("output_padding", extra, [(-LARGEST, s - 1) for s in frame.strides], "below the stride")
    name = padding.upper() if isinstance(padding, str) else None
    if name is not None:
        _ = choose("padding", name, ("SAME", "SAME_LOWER", "VALID"))
    if choose("padding_mode", padding_mode.upper(), ("ZEROS", "CIRCULAR")) == "CIRCULAR":
        _ = choose("padding", name or padding, ("SAME", "SAME_LOWER"))
        require("output_padding", extra, [(0, 0)] * frame.rank, 'with padding_mode="CIRCULAR"')
        _refuse_wrapping("padding_mode", frame)
    if name in ("SAME", "SAME_LOWER"):
        rule: PaddingRule = "same" if name == "SAME" else "same_lower"
        largest = [(-LARGEST, i * s - 1) for i, s in zip(frame.input, frame.strides, strict=True)]
        require(
            "output_padding",
            extra,
            largest,
            "it takes away from the size, of which a cell must be left",
        )
        sizes = [
            i * s - cells for i, s, cells in zip(frame.input, frame.strides, extra, strict=True)
        ]
        return frame.sized(sizes, (rule,) * frame.rank, "output_padding", output_padding)
    pads = spread("padding", 0 if name == "VALID" else padding, frame.rank)
    crops = [(before, after - cells) for (before, after), cells in zip(pads, extra, strict=True)]
    return frame.cropped(
        crops,
        "padding",
        padding,
        lambda legal: {
            "padding": [
                (before, after + cells) for (before, after), cells in zip(legal, extra, strict=True)
            ]
        },
    )


def _by_name(frame: Frame, padding: str) -> Geometry:
    rule: PaddingRule = "same" if padding == "SAME" else "valid"
    sizes = [
        output_range(i, span, s, rule)[1]
        for i, span, s in zip(frame.input, frame.spans, frame.strides, strict=True)
    ]
    return frame.sized(sizes, (rule,) * frame.rank, "padding", padding)


def _inverse(frame: Frame, pads: Sequence[Pair]) -> list[Pair]:
    return [
        (span - 1 - low, span - 1 - high)
        for span, (low, high) in zip(frame.spans, pads, strict=True)
    ]


def _refuse_wrapping(name: str, frame: Frame) -> None:
    for axis, (span, s) in enumerate(zip(frame.spans, frame.strides, strict=True)):
        if span > s:
            what = (
                f'`{name}` (="CIRCULAR") wraps {span - s} cells around axis {axis}, where the '
                f"kernel spans {span} and "
                f"the stride is {s}: that is no crop of the full output; legal with strides from "
                f"{span} on"
            )
            raise illegal(what, **{name: "SAME" if name == "padding" else "ZEROS"})
