"""TensorFlow's and Keras's rules.

The convolution's padding by name, the larger half cropped at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from backstride.conventions.frame import choose, no_negative, read, require
from backstride.geometry import Geometry, output_range
from backstride.integers import PaddingRule, Pair, Size, as_pairs, as_sizes, illegal


def tensorflow(
    input: Size,
    kernel: Size,
    *,
    output_shape: Size,
    strides: Size,
    padding: str | Sequence[Pair] = "SAME",
    dilations: Size = 1,
) -> Geometry:
    """`tf.nn.conv1d_transpose`, `conv2d_transpose`, `conv3d_transpose`, with o = `output_shape`.

    SAME: before = max(L-o, 0)//2. VALID: before = 0. `[(before, after), ...]`: as given. Always
    after = L - o - before, and o one of the `strides` sizes that the convolution maps to `input`.

    >>> tensorflow(5, 3, output_shape=10, strides=2).crop
    ((0, 1),)
    >>> tensorflow(5, 2, output_shape=15, strides=3, padding="VALID").crop
    ((0, -1),)
    >>> tensorflow((5, 5), 3, output_shape=(10, 9), strides=2, padding=[(1, 1), (2, 0)]).crop
    ((1, 0), (2, 0))

    Dilation is part of the rule: XLA and oneDNN's CPU kernels take it, TensorFlow's own refuse.

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        output_shape: The wanted size, spatial only, without batch and channels.
        strides: An integer, or one per axis.
        padding: "SAME", "VALID", or pairs for the spatial axes, in 2-D only, not negative.
        dilations: An integer, or one per axis.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: Where TensorFlow refuses.

    Source: tensorflow/core/kernels/conv_grad_shape_utils.cc and tensorflow/python/ops/nn_ops.py,
    tensorflow 2.21.
    """
    pairs = None if isinstance(padding, str) else padding
    others = {"output_shape": output_shape, "padding": pairs}
    frame = read(input, kernel, ("strides", strides), ("dilations", dilations), **others)
    sizes = as_sizes("output_shape", output_shape, frame.rank)
    rules: Sequence[PaddingRule | Pair]
    if isinstance(padding, str):
        rules = (
            "same" if choose("padding", padding, ("SAME", "VALID")) == "SAME" else "valid",
        ) * frame.rank
    else:
        rules = pads = as_pairs("padding", padding, frame.rank)
        if frame.rank != 2:
            what = (
                f'`padding` (={padding!r}) must be "SAME" or "VALID" in {frame.rank}-D: TensorFlow '
                "takes pairs in "
                "2-D only"
            )
            raise illegal(what, 'value is "SAME"', padding="SAME")
        no_negative("padding", padding, pads)
    ranges: list[tuple[int, int]] = []
    for i, span, s, rule in zip(frame.input, frame.spans, frame.strides, rules, strict=True):
        low, _, _ = output_range(i, span, s, rule)
        ranges.append((max(low, 1), low + s - 1))
    require(
        "output_shape",
        sizes,
        ranges,
        f"the sizes that a convolution with padding={padding!r} maps to `input`",
    )
    return frame.sized(sizes, rules, "padding", padding)


def keras(
    input: Size,
    kernel: Size,
    *,
    strides: Size = 1,
    padding: str = "valid",
    output_padding: Size | None = None,
    dilation_rate: Size = 1,
) -> Geometry:
    """`keras.layers.Conv1DTranspose`, `Conv2DTranspose`, `Conv3DTranspose` of Keras 3.

    On any backend. By its `padding`::

        same:  o = i*s, or (i-1)s + K%2 + output_padding; before = max(L-o, 0)//2
        valid: o = (i-1)s + max(K, s), or L + output_padding; before = 0

    >>> keras(5, 3, strides=2, padding="same").crop
    ((0, 1),)
    >>> keras(5, 4, strides=2, padding="same", output_padding=1).output
    (9,)
    >>> keras(5, 2, strides=3).output
    (15,)

    Args:
        input: Spatial size in cells; an integer, or one per axis.
        kernel: Taps; an integer, or one per axis.
        strides: An integer, or one per axis; above 1 only without dilation, on whichever axes.
        padding: "valid" or "same".
        output_padding: Below the stride. It does not add to the default size, it replaces the rule.
        dilation_rate: An integer, or one per axis.

    Returns:
        The geometry of the call.

    Raises:
        ValueError: Where the layer refuses.

    Source: keras/src/backend/common/backend_utils.py and
    keras/src/layers/convolutional/base_conv_transpose.py, keras 3.15.
    """
    others = {"output_padding": output_padding}
    frame = read(input, kernel, ("strides", strides), ("dilation_rate", dilation_rate), **others)
    rule: PaddingRule = (
        "same" if choose("padding", str(padding).lower(), ("valid", "same")) == "same" else "valid"
    )
    if max(frame.strides) > 1 and max(frame.dilation) > 1:
        what = (
            f"`dilation_rate` (={dilation_rate!r}) must be 1 beside `strides` (={strides!r}) above "
            "1"
        )
        raise illegal(what, "value is 1", dilation_rate=1)
    if output_padding is None:
        sizes = [
            output_range(i, span, s, rule)[1]
            for i, span, s in zip(frame.input, frame.spans, frame.strides, strict=True)
        ]
    else:
        extra = as_sizes("output_padding", output_padding, frame.rank, least=0)
        require("output_padding", extra, [(0, s - 1) for s in frame.strides], "below the stride")
        bases = [
            length if rule == "valid" else length - span + span % 2
            for length, span in zip(frame.lengths, frame.spans, strict=True)
        ]
        rule_text = "the kernel is even, so that without it no cell of a single input cell is left"
        least = [
            (max(0, 1 - base), max(s - 1, 0)) for base, s in zip(bases, frame.strides, strict=True)
        ]
        require("output_padding", extra, least, rule_text)
        sizes = [base + cells for base, cells in zip(bases, extra, strict=True)]
    return frame.sized(sizes, (rule,) * frame.rank, "output_padding", output_padding)
