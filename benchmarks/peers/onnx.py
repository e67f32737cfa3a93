"""ONNX Runtime and OpenVINO, on a model of one ConvTranspose node.

A Relu follows where there is a bias.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
from problem import Problem, Runner, last

MOST_MEGABYTES = 1900  # of weights: a protobuf message ends at 2 GiB


def runtime(problem: Problem) -> Runner | None:
    """ONNX Runtime's CPU provider."""
    if not _possible(problem, "onnxruntime"):
        return None
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = problem.threads
    options.log_severity_level = 3
    session = ort.InferenceSession(_model(problem), options, providers=["CPUExecutionProvider"])
    feed = {"x": problem.x_first}
    return Runner(lambda: session.run(None, feed), _result)


def openvino(problem: Problem) -> Runner | None:
    """OpenVINO's CPU plugin, in float32."""
    if not _possible(problem, "openvino"):
        return None
    vino: Any = importlib.import_module("openvino")
    core = vino.Core()
    settings = {"INFERENCE_NUM_THREADS": problem.threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(
        core.read_model(_model(problem)), "CPU", settings
    ).create_infer_request()
    x = problem.x_first
    return Runner(lambda: request.infer([x], share_inputs=True, share_outputs=True), _result)


def _result(found: Any) -> Any:
    return last(found[0])


def _possible(problem: Problem, package: str) -> bool:
    installed = all(importlib.util.find_spec(name) is not None for name in (package, "onnx"))
    return installed and problem.kernel.nbytes < MOST_MEGABYTES * 10**6


def _model(problem: Problem) -> bytes:
    onnx: Any = importlib.import_module("onnx")
    layer, helper, number = problem.layer, onnx.helper, onnx.TensorProto.FLOAT
    pads = [before for before, _ in layer.crop] + [max(0, after) for _, after in layer.crop]
    extra = [max(0, -after) for _, after in layer.crop]
    options = {
        "strides": layer.strides,
        "pads": pads,
        "output_padding": extra,
        "group": layer.groups,
    }
    weights = {"w": problem.kernel_first} | ({} if problem.bias is None else {"b": problem.bias})
    nodes = [helper.make_node("ConvTranspose", ["x", *weights], ["y"], **options)]
    if problem.variant.fused:
        nodes.append(helper.make_node("Relu", ["y"], ["z"]))
    shape = [layer.batch, layer.big, *layer.output]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", number, [layer.batch, layer.small, *layer.input])],
        [helper.make_tensor_value_info(nodes[-1].output[0], number, shape)],
        [
            onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()
