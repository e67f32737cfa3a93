"""TensorFlow: tf.function around tf.nn.conv2d_transpose or conv3d_transpose, channels last."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

from layers import Layer
from problem import Problem, Runner, flat, is_same, slices


def run(problem: Problem) -> Runner | None:
    """1-D as 2-D with a height of 1, as tf.nn.conv1d_transpose does.

    Groups as calls side by side, or depthwise.
    """
    if importlib.util.find_spec("tensorflow") is None or any(
        min(pair) < 0 for pair in problem.layer.crop
    ):
        return None
    tf: Any = importlib.import_module("tensorflow")
    with contextlib.suppress(RuntimeError):  # they are set once in a process, before the first call
        tf.config.threading.set_intra_op_parallelism_threads(problem.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    layer = flat(problem.layer)
    apply, cuts = operation(tf, layer)
    x = tf.constant(problem.x.reshape(layer.batch, *layer.input, layer.small))
    weights = tf.constant(kernel_of(problem))
    bias = None if problem.bias is None else tf.constant(problem.bias)

    def forward(x: Any, weights: Any) -> Any:
        y = apply(x, weights)
        return y if bias is None else tf.nn.relu(tf.nn.bias_add(y, bias))

    compiled = tf.function(forward)
    shape = (layer.batch, *problem.layer.output, layer.big)

    def result(y: Any) -> Any:
        array = y.numpy()
        return (array if cuts is None else array[:, *cuts]).reshape(shape)

    return Runner(lambda: compiled(x, weights), result)


def kernel_of(problem: Problem) -> Any:
    """The kernel for `operation`.

    (h, w, C_big / groups, C_small), or (h, w, C, 1) for a depthwise layer.
    """
    layer = flat(problem.layer)
    kernel = problem.kernel.reshape(*layer.kernel, layer.big // layer.groups, layer.small)
    return kernel.swapaxes(-1, -2) if is_depthwise(layer) else kernel


def is_depthwise(layer: Layer) -> bool:
    """One channel in, one out, for each group, in 2-D.

    TensorFlow has an operation for its adjoint.
    """
    return layer.groups == layer.small == layer.big and len(layer.input) == 2 and layer.groups > 1


def operation(tf: Any, layer: Layer) -> tuple[Callable[[Any, Any], Any], Any]:
    """(x, kernel) to y in TensorFlow's words, and what of y has to be sliced off after it."""
    size, strides, padding, cuts = (
        list(layer.output),
        list(layer.strides),
        "SAME" if is_same(layer) else "VALID",
        None,
    )
    if padding == "VALID" and any(pair != (0, 0) for pair in layer.crop):
        if len(size) == 2:
            padding = [[0, 0], *([before, after] for before, after in layer.crop), [0, 0]]
        else:
            size = [n + sum(pair) for n, pair in zip(size, layer.crop, strict=True)]
            cuts = slices(layer.crop)
    if is_depthwise(layer):
        steps = [
            1,
            max(strides),
            max(strides),
            1,
        ]  # it wants equal ones; a height of 1 does not mind
        sizes = [layer.batch, *size, layer.big]
        return lambda x, w: tf.nn.depthwise_conv2d_backprop_input(sizes, w, x, steps, padding), cuts
    function = tf.nn.conv2d_transpose if len(size) == 2 else tf.nn.conv3d_transpose
    shape = [layer.batch, *size, layer.big // layer.groups]
    if layer.groups == 1:
        return lambda x, w: function(x, w, shape, strides, padding), cuts

    def grouped(x: Any, w: Any) -> Any:
        parts = zip(tf.split(x, layer.groups, -1), tf.split(w, layer.groups, -1), strict=True)
        return tf.concat(
            [function(own, kernel, shape, strides, padding) for own, kernel in parts], -1
        )

    return grouped, cuts
