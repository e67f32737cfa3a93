"""Core ML: MIL's `conv_transpose` with custom pads, which the text of its operation defines.

Its "same" is not used: which end loses the odd cell is not documented. Core ML runs on Apple's
systems only. Source: coremltools/converters/mil/mil/ops/defs/iOS15/conv.py, coremltools 9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.rule import Ability, Arguments, Fit
from backstride.port.text import Body, zeros

NODES = {"relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh"}


def candidates(where: Geometry) -> Iterator[Arguments]:
    """Pads of both ends; there is no output padding."""
    pads = [max(before, 0) for before, _ in where.crop] + [max(after, 0) for _, after in where.crop]
    yield {"strides": where.strides, "dilations": where.dilation, "pads": tuple(pads)}


# The rule of the explicit pads, the layout and the groups are those of ONNX.
ABILITY = Ability(replace(CONVENTIONS["onnx"], name="coreml"), candidates)


def emit(fit: Fit) -> Body:
    """An MIL program, converted and saved."""
    problem, rank = fit.problem, fit.problem.rank
    flat = fit.arguments["pads"]
    # Core ML lists both ends of each axis together; ONNX lists all begins first.
    pads = [cells for axis in range(rank) for cells in (flat[axis], flat[axis + rank])]
    bias = ", bias=bias" if fit.early_bias else ""
    settings = (
        f"strides={list(fit.where.strides)}, dilations={list(fit.where.dilation)}, "
        f"groups={problem.groups}"
    )
    lines = [
        (
            f'y = mb.conv_transpose(x=x, weight=kernel{bias}, pad_type="custom", pad={pads}, '
            f"{settings})"
        )
    ]
    if fit.pads:
        ends = [0, 0, 0, 0, *(cells for pair in zeros(fit) for cells in pair)]
        lines.append(f'y = mb.pad(x=y, pad={ends}, mode="constant", constant_val=0.0)')
    if fit.late_bias:
        lines.append(f"y = mb.add(x=y, y=bias.reshape({[1, -1, *[1] * rank]}))")
    if problem.activation in NODES:
        lines.append(f"y = mb.{NODES[problem.activation]}(x=y)")
    setup = [
        f"@mb.program(input_specs=[mb.TensorSpec(shape={problem.shape('channels_first')})])",
        "def program(x):",
        *(f"    {line}" for line in lines),
        "    return y",
        "",
        "",
        (
            'model = coremltools.convert(program, convert_to="mlprogram", '
            "compute_precision=coremltools.precision.FLOAT32)"
        ),
    ]
    imports = (
        "import coremltools",
        "import numpy as np",
        "from coremltools.converters.mil import Builder as mb",
    )
    return Body(
        imports, tuple(setup), ('return next(iter(model.predict({"x": x}).values()))',), "up(x)"
    )
