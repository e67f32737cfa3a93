"""OpenVINO: `convolution_backprop_data` or its grouped form, with explicit pads."""

from __future__ import annotations

from collections.abc import Iterator

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.rule import Ability, Arguments, Fit
from backstride.port.text import Body, zeros

NODES = {"relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh"}


def candidates(where: Geometry) -> Iterator[Arguments]:
    """Pads of both ends and any output padding; SAME without a size is no SAME here."""
    yield {
        "strides": where.strides,
        "pads_begin": tuple(max(before, 0) for before, _ in where.crop),
        "pads_end": tuple(max(after, 0) for _, after in where.crop),
        "dilations": where.dilation,
        "output_padding": tuple(max(-after, 0) for _, after in where.crop),
    }


ABILITY = Ability(CONVENTIONS["openvino"], candidates)


def emit(fit: Fit) -> Body:
    """A model of one operation, compiled for the CPU."""
    problem, rank = fit.problem, fit.problem.rank
    name = "convolution_backprop_data" if problem.groups == 1 else "group_convolution_backprop_data"
    arguments = ", ".join(f"{key}={list(value)}" for key, value in fit.arguments.items())
    setup = [
        f"source = ops.parameter({[-1, *problem.shape('channels_first')[1:]]}, np.float32)",
        f"node = ops.{name}(source, ops.constant(kernel), {arguments})",
    ]
    if fit.pads:
        pairs = zeros(fit)
        begin, end = (
            [0, 0, *(before for before, _ in pairs)],
            [0, 0, *(after for _, after in pairs)],
        )
        value = "ops.constant(np.float32(0))"
        setup.append(
            f'node = ops.pad(node, np.array({begin}), np.array({end}), "constant", {value})'
        )
    if problem.bias:
        setup.append(f"node = ops.add(node, ops.constant(bias.reshape({[1, -1, *[1] * rank]})))")
    if problem.activation in NODES:
        setup.append(f"node = ops.{NODES[problem.activation]}(node)")
    setup += [
        'settings = {"INFERENCE_PRECISION_HINT": "f32"}',
        'compiled = openvino.compile_model(openvino.Model([node], [source]), "CPU", settings)',
    ]
    imports = ("import numpy as np", "import openvino", "import openvino.opset13 as ops")
    return Body(imports, tuple(setup), ("return compiled([x])[0]",), "up(x)")
