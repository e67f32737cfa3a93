"""LiteRT (TensorFlow Lite) with XNNPACK.

The model is made by TensorFlow's converter, one TRANSPOSE_CONV.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

from layers import Layer
from problem import Problem, Runner, flat, is_same, slices

MOST_MEGABYTES = 1900  # of weights: a flatbuffer ends at 2 GiB


def run(problem: Problem) -> Runner | None:
    """2-D, 1-D as 2-D with a height of 1, and 3-D, which XNNPACK leaves to the plain kernel."""
    layer = flat(problem.layer)
    installed = all(
        importlib.util.find_spec(name) is not None for name in ("tensorflow", "ai_edge_litert")
    )
    negative = any(min(pair) < 0 for pair in layer.crop)
    if (
        not installed
        or layer.groups > 1
        or negative
        or problem.kernel.nbytes > MOST_MEGABYTES * 10**6
    ):
        return None
    litert: Any = importlib.import_module("ai_edge_litert.interpreter")
    model, cuts = _model(problem, layer)
    interpreter = litert.Interpreter(model_content=model, num_threads=problem.threads)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(
        source["index"], problem.x.reshape(layer.batch, *layer.input, layer.small)
    )
    shape = (layer.batch, *problem.layer.output, layer.big)

    def result(_: object) -> Any:
        array = interpreter.get_tensor(target["index"])
        return (array if cuts is None else array[:, *cuts]).reshape(shape)

    return Runner(interpreter.invoke, result)


def _model(problem: Problem, layer: Layer) -> tuple[bytes, Any]:
    tf: Any = importlib.import_module("tensorflow")
    function = tf.nn.conv2d_transpose if len(layer.input) == 2 else tf.nn.conv3d_transpose
    same = is_same(layer)
    cut = [(0, 0)] * len(layer.input) if same else layer.crop
    shape = [
        layer.batch,
        *(n + sum(pair) for n, pair in zip(layer.output, cut, strict=True)),
        layer.big,
    ]
    kernel = problem.kernel.reshape(*layer.kernel, layer.big, layer.small)

    def forward(x: Any) -> Any:
        y = function(x, kernel, shape, layer.strides, "SAME" if same else "VALID")
        return y if problem.bias is None else tf.nn.relu(tf.nn.bias_add(y, problem.bias))

    spec = tf.TensorSpec([layer.batch, *layer.input, layer.small], tf.float32)
    module = tf.Module()
    module.forward = tf.function(forward, input_signature=[spec])
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.forward.get_concrete_function()], module
    )
    return converter.convert(), slices(cut)
