"""JAX: a jitted convolution with a dilated input, which is what lax.conv_transpose writes.

Channels last.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
from problem import Problem, Runner

LETTERS = "DHW"


def run(problem: Problem) -> Runner | None:
    """Packed: the kernel flipped and transposed beforehand; otherwise in the compiled function."""
    if importlib.util.find_spec("jax") is None:
        return None
    jax: Any = importlib.import_module("jax")
    layer, rank = problem.layer, len(problem.layer.input)
    axes = LETTERS[-rank:]
    small, big = layer.small // layer.groups, layer.big // layer.groups
    padding = [
        (k - 1 - before, k - 1 - after)
        for k, (before, after) in zip(layer.kernel, layer.crop, strict=True)
    ]

    def turn(library: Any, kernel: Any) -> Any:
        """(*k, C_big / groups, C_small) to (*k, C_small / groups, C_big), flipped."""
        split = library.flip(kernel, tuple(range(rank))).reshape(
            *layer.kernel, big, layer.groups, small
        )
        return (
            library.moveaxis(split, -1, -3)
            .swapaxes(-1, -2)
            .reshape(*layer.kernel, small, layer.big)
        )

    def forward(x: Any, kernel: Any, bias: Any) -> Any:
        y = jax.lax.conv_general_dilated(
            x,
            kernel if problem.variant.packed else turn(jax.numpy, kernel),
            window_strides=(1,) * rank,
            padding=padding,
            lhs_dilation=layer.strides,
            dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            feature_group_count=layer.groups,
        )
        return y if bias is None else jax.numpy.maximum(y + bias, 0)

    kernel = turn(np, problem.kernel) if problem.variant.packed else problem.kernel
    cpu = jax.local_devices(backend="cpu")[0]
    arguments = [
        None if array is None else jax.device_put(array, cpu)
        for array in (problem.x, kernel, problem.bias)
    ]
    compiled = jax.jit(forward)
    return Runner(lambda: compiled(*arguments).block_until_ready(), np.asarray)
