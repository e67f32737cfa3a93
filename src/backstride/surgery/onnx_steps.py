"""Steps without weights as ONNX nodes, on maps of any size."""

from __future__ import annotations

import math

from backstride.surgery.graph import Node
from backstride.surgery.onnx_builder import Builder

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
    assert step.window is not None
    factors = builder.numbers("factors", step.window.strides)
    size = builder.add(
        "Slice", [builder.add("Shape", [source]), builder.numbers("two", [2]), builder.numbers("four", [4])]
    )
    ends = builder.add("Mul", [builder.add("Div", [size, factors]), factors])
    return builder.add("Slice", [source, builder.numbers("zeros", [0, 0]), ends, builder.numbers("axes", [2, 3])])


def sliced(builder: Builder, step: Node, source: str, output: str) -> str:
    """Some cells or channels of a map, counted from its end."""
    cuts = [(1, *step.cuts[0])] if step.kind == "some" else []
    rows = [(axis, first, first + (count - 1) * apart + 1, apart) for axis, first, count, apart in cuts]
    if step.window is not None:
        pairs = zip(step.window.padding, step.window.strides, strict=True)
        rows = [(axis, -before, after or END, apart) for axis, ((before, after), apart) in enumerate(pairs, 2)]
    axes, starts, ends, steps = zip(*rows, strict=True)
    numbers = [builder.numbers(*entry) for entry in (("starts", starts), ("ends", ends), ("axes", axes))]
    return builder.add("Slice", [source, *numbers, builder.numbers("steps", steps)], output)


def regrouped(builder: Builder, step: Node, source: str, output: str) -> str:
    """Channels split into factors or joined again, on a map of any size."""
    first = 2 if step.kind == "split" else 1 + len(step.factors)
    ends = builder.numbers("first", [first]), builder.numbers("end", [first + 2])
    size = builder.add("Slice", [builder.add("Shape", [source]), *ends])
    channels = step.factors if step.kind == "split" else (math.prod(step.factors),)
    shape = builder.add("Concat", [builder.numbers("channels", [0, *channels]), size], axis=0)
    return builder.add("Reshape", [source, shape], output)
