"""This library, in both layouts.

A plan, or the plain function, which packs the weights with each call.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from problem import Problem, Runner, first, last

import backstride as bs


def channels_last(problem: Problem) -> Runner:
    """NumPy arrays, channels last."""
    return _run(problem, problem.x, problem.kernel, "channels_last")


def channels_first(problem: Problem) -> Runner:
    """NumPy arrays, channels first."""
    return _run(problem, problem.x_first, problem.kernel_first, "channels_first")


def algorithm(problem: Problem) -> str:
    """How a plan of the layer computes it."""
    layer = problem.layer
    return bs.plan(
        problem.kernel, strides=layer.strides, padding=layer.crop, groups=layer.groups
    ).algorithm


def _run(problem: Problem, x: Any, kernel: Any, data_format: Any) -> Runner:
    bs.set_num_threads(problem.threads)
    layer, variant = problem.layer, problem.variant
    rank = len(layer.input)
    back = np.asarray if data_format == "channels_last" else last
    sizes: dict[str, Any] = {
        "strides": layer.strides,
        "padding": layer.crop,
        "groups": layer.groups,
    }
    sizes["data_format"] = data_format
    if variant.gradient is not None:
        image = problem.image if data_format == "channels_last" else first(problem.image)
        if variant.gradient == "input":
            return Runner(lambda: bs.conv(image, kernel, **sizes), back)
        axes = range(rank + 2) if data_format == "channels_last" else (*range(2, rank + 2), 1, 0)
        gradient, shape = bs.conv_kernel_gradient, kernel.shape
        return Runner(lambda: gradient(image, x, shape, **sizes), partial(np.transpose, axes=axes))
    bias, activation = problem.bias, "relu" if variant.fused else None
    if variant.packed:
        plan = bs.plan(kernel, bias, activation=activation, **sizes)
        return Runner(lambda: plan(x), back)
    return Runner(lambda: bs.conv_transpose(x, kernel, bias, activation=activation, **sizes), back)
