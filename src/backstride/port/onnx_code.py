"""ONNX: a model of one ConvTranspose, and a Pad where zeros are appended."""

from __future__ import annotations

from collections.abc import Iterator

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.rule import Ability, Arguments, Fit
from backstride.port.text import Body, zeros

NODES = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def candidates(where: Geometry) -> Iterator[Arguments]:
    """Explicit pads: on auto_pad the text and its engines do not agree everywhere."""
    yield {"strides": where.strides, "dilations": where.dilation, **ends(where)}


def ends(where: Geometry) -> Arguments:
    """Pads of both ends, and an output padding below the stride."""
    pads = [max(before, 0) for before, _ in where.crop] + [max(after, 0) for _, after in where.crop]
    extra = [
        min(max(-after, 0), s - 1) for (_, after), s in zip(where.crop, where.strides, strict=True)
    ]
    return {"pads": tuple(pads), "output_padding": tuple(extra)}


ABILITY = Ability(CONVENTIONS["onnx"], candidates)


def emit(fit: Fit) -> Body:
    """The model through `onnx.helper`, run by ONNX Runtime."""
    problem, rank = fit.problem, fit.problem.rank
    arguments = {name: list(value) for name, value in fit.arguments.items() if any(value)}
    attributes = ", ".join(
        f"{name}={value}" for name, value in {**arguments, "group": problem.groups}.items()
    )
    inputs, initializers = '["x", "kernel"]', ['numpy_helper.from_array(kernel, "kernel")']
    if fit.early_bias:
        inputs = '["x", "kernel", "bias"]'
        initializers.append('numpy_helper.from_array(bias, "bias")')
    nodes = [f'helper.make_node("ConvTranspose", {inputs}, ["y0"], {attributes})']
    last = "y0"
    if fit.pads:
        pairs = zeros(fit)
        flat = [0, 0, *(before for before, _ in pairs), 0, 0, *(after for _, after in pairs)]
        initializers.append(f'numpy_helper.from_array(np.array({flat}), "zeros")')
        nodes.append(f'helper.make_node("Pad", ["{last}", "zeros"], ["y1"])')
        last = "y1"
    if fit.late_bias:
        initializers.append(f'numpy_helper.from_array(bias.reshape({[-1, *[1] * rank]}), "bias")')
        nodes.append(f'helper.make_node("Add", ["{last}", "bias"], ["y2"])')
        last = "y2"
    if problem.activation in NODES:
        nodes.append(f'helper.make_node("{NODES[problem.activation]}", ["{last}"], ["y3"])')
        last = "y3"
    shapes = [
        ["N", *shape[1:]]
        for shape in (problem.shape("channels_first"), problem.result("channels_first"))
    ]
    setup = [
        "nodes = [",
        *(f"    {node}," for node in nodes),
        "]",
        "graph = helper.make_graph(",
        '    nodes, "up",',
        f'    [helper.make_tensor_value_info("x", TensorProto.FLOAT, {shapes[0]})],',
        f'    [helper.make_tensor_value_info("{last}", TensorProto.FLOAT, {shapes[1]})],',
        f"    [{', '.join(initializers)}],",
        ")",
        (
            'model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], '
            "ir_version=10)"
        ),
        "checker.check_model(model)",
    ]
    session = (
        "onnxruntime.InferenceSession(model.SerializeToString(), "
        'providers=["CPUExecutionProvider"])'
    )
    imports = (
        "import numpy as np",
        "import onnxruntime",
        "from onnx import TensorProto, checker, helper, numpy_helper",
    )
    return Body(
        imports,
        tuple(setup),
        (f"session = {session}", 'return session.run(None, {"x": x})[0]'),
        "up(x)",
    )
