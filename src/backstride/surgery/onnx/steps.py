"""Steps without weights as ONNX nodes, on maps of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from backstride.geometry import span
from backstride.surgery.model.graph import Node, Window
from backstride.surgery.onnx.builder import Builder

END = 2**63 - 1  # of any axis
OPERATORS = {
    "mean": "ReduceMean",
    "sum": "ReduceSum",
    "amax": "ReduceMax",
    "amin": "ReduceMin",
    "norm1": "ReduceL1",
    "norm2": "ReduceL2",
}


def reduced(builder: Builder, step: Node, source: str, output: str, opset: int) -> str:
    """A reduction over the channels of each cell; newer operator sets take the axes as an input."""
    operator = OPERATORS[step.kind]
    if opset >= (13 if operator == "ReduceSum" else 18):
        return builder.add(operator, [source, builder.numbers("axes", [1])], output, keepdims=1)
    return builder.add(operator, [source], output, keepdims=1, axes=[1])


def filled(builder: Builder, step: Node, source: str) -> str:
    """A map without the last rows and columns that fill no window."""
    factors = builder.numbers("factors", step.sliding.strides)
    size = builder.add(
        "Slice",
        [builder.add("Shape", [source]), builder.numbers("two", [2]), builder.numbers("four", [4])],
    )
    ends = builder.add("Mul", [builder.add("Div", [size, factors]), factors])
    return builder.add(
        "Slice", [source, builder.numbers("zeros", [0, 0]), ends, builder.numbers("axes", [2, 3])]
    )


def dilated_mean(  # noqa: PLR0917  what a pooling is made of
    builder: Builder, window: Window, channels: int, source: str, output: str, dtype: DTypeLike
) -> str:
    """The mean of cells that lie apart, as a convolution.

    Average pooling has no dilation before opset 19.
    """
    mean = builder.numbers(
        "mean", np.full((channels, 1, *window.kernel), 1 / math.prod(window.kernel)), dtype
    )
    inputs = [source, mean]
    return builder.add(
        "Conv",
        inputs,
        output,
        kernel_shape=window.kernel,
        dilations=window.dilation,
        group=channels,
    )


def sliced(builder: Builder, step: Node, source: str, output: str) -> str:
    """Some cells or channels of a map, counted from its end."""
    cuts = [(1, *step.cuts[0])] if step.kind == "some" else []
    rows = [(axis, first, first + span(count, apart), apart) for axis, first, count, apart in cuts]
    if step.window is not None:
        pairs = zip(step.window.padding, step.window.strides, strict=True)
        rows = [
            (axis, -before, after or END, apart)
            for axis, ((before, after), apart) in enumerate(pairs, 2)
        ]
    axes, starts, ends, steps = zip(*rows, strict=True)
    numbers = [
        builder.numbers(*entry) for entry in (("starts", starts), ("ends", ends), ("axes", axes))
    ]
    return builder.add("Slice", [source, *numbers, builder.numbers("steps", steps)], output)


def regrouped(builder: Builder, step: Node, source: str, output: str) -> str:
    """Channels split into factors or joined again, on a map of any size."""
    first = 2 if step.kind == "split" else 1 + len(step.factors)
    ends = builder.numbers("first", [first]), builder.numbers("end", [first + 2])
    size = builder.add("Slice", [builder.add("Shape", [source]), *ends])
    channels = step.factors if step.kind == "split" else (math.prod(step.factors),)
    shape = builder.add("Concat", [builder.numbers("channels", [0, *channels]), size], axis=0)
    return builder.add("Reshape", [source, shape], output)


def windows(builder: Builder, window: Window, source: str) -> str:
    """The mean of the window around each cell, at the borders of the last one that fits."""
    for axis, cells in enumerate(window.kernel):
        kernel = [cells if at == axis else 1 for at in range(len(window.kernel))]
        source = builder.add("AveragePool", [source], kernel_shape=kernel)
    before, after = zip(*window.padding, strict=True)
    pads = builder.numbers("edges", [0, 0, *before, 0, 0, *after])
    return builder.add("Pad", [source, pads], mode="edge") if any((*before, *after)) else source


def local_norm(builder: Builder, step: Node, source: str, epsilon: float, dtype: DTypeLike) -> str:
    """A map less the mean of the window around each cell, over its deviation.

    See `torch.norms.local_norm`.
    """
    window, channels = step.sliding, step.shape[0]
    groups = step.factors[0] or channels
    mean = np.full((groups, channels // groups, *(1,) * len(window.kernel)), groups / channels)
    down = builder.numbers("mean", mean, dtype)
    up = builder.numbers("groups", np.ones((channels, 1, *(1,) * len(window.kernel))), dtype)

    def averaged(maps: str) -> str:
        return builder.add("Conv", [maps, down], group=groups)

    def spread(maps: str) -> str:
        return builder.add("Conv", [maps, up], group=groups)

    def squared(maps: str) -> str:
        return builder.add("Mul", [maps, maps])

    whole = builder.add("GlobalAveragePool", [averaged(source)])
    source = builder.add("Sub", [source, spread(whole)])
    cells = averaged(source)
    inside = averaged(squared(builder.add("Sub", [source, spread(cells)])))
    middle = windows(builder, window, cells)
    between = builder.add("Sub", [windows(builder, window, squared(cells)), squared(middle)])
    variance = builder.add(
        "Add", [windows(builder, window, inside), builder.add("Relu", [between])]
    )
    deviation = builder.add(
        "Sqrt", [builder.add("Add", [variance, builder.numbers("epsilon", epsilon, dtype)])]
    )
    return builder.add("Div", [builder.add("Sub", [source, spread(middle)]), spread(deviation)])


def group_norm(
    builder: Builder, step: Node, sources: Sequence[str], output: str, epsilon: float
) -> str:
    """The normalisation of groups of channels over all of a map, with the groups' weights."""
    source, *weights = sources
    shape = builder.numbers("groups", [0, step.factors[0], -1])
    grouped = builder.add("Reshape", [source, shape])
    normed = builder.add("InstanceNormalization", [grouped, *weights], epsilon=epsilon)
    return builder.add("Reshape", [normed, builder.add("Shape", [source])], output)
