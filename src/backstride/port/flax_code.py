"""Flax: `flax.nnx.ConvTranspose`, and `nnx.Conv` on the dilated input where there are groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.jax_code import ACTIVATIONS, GROUPED, PAD, input_pads
from backstride.port.problem import Problem
from backstride.port.rule import Ability, Arguments, Fit
from backstride.port.text import Body, options, tail


def candidates(where: Geometry) -> Iterator[Arguments]:
    """JAX's."""
    base = {"strides": where.strides, "kernel_dilation": where.dilation}
    for padding in ("SAME", "VALID"):
        yield {**base, "padding": padding}
    yield {**base, "padding": input_pads(where)}


def _groups(_: Problem) -> str:
    return "nnx.ConvTranspose takes no groups: nnx.Conv on the dilated input does"


ABILITY = Ability(replace(CONVENTIONS["flax"], grouped_layout=GROUPED), candidates, _groups)


def emit(fit: Fit) -> Body:
    """A layer with its parameters set; the kernel is flipped, as Flax correlates."""
    problem = fit.problem
    channels = f"{problem.small}, {problem.big}, {fit.where.kernel}"
    end = f"use_bias={fit.early_bias}, rngs=nnx.Rngs(0))"
    if fit.split == 1:
        padding = fit.arguments["padding"]
        pads = f'"{padding}"' if isinstance(padding, str) else str(list(padding))
        settings = options(
            {"kernel_dilation": 1, "strides": 1},
            strides=fit.where.strides,
            kernel_dilation=fit.where.dilation,
        )
        layer = f"nnx.ConvTranspose({channels}{settings}, padding={pads}, {end}"
    else:
        layer = (
            f"nnx.Conv({channels}, padding={list(input_pads(fit.where))}, "
            f"input_dilation={fit.where.strides}, kernel_dilation={fit.where.dilation}, "
            f"feature_group_count={fit.split}, {end}"
        )
    setup = [f"layer = {layer}", "layer.kernel[...] = jax.numpy.asarray(kernel)"]
    if fit.early_bias:
        setup.append("layer.bias[...] = jax.numpy.asarray(bias)")
    after = tail(
        fit, "channels_last", pad=PAD, bias="bias" if fit.late_bias else "", activation=ACTIVATIONS
    )
    imports = ("import jax", "import numpy as np", "from flax import nnx")
    return Body(
        imports, tuple(setup), ("y = layer(x)", *after), "np.asarray(up(jax.numpy.asarray(x)))"
    )
