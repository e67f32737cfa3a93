"""JAX: `jax.lax.conv_transpose`, and `conv_general_dilated` where there are groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.problem import Problem
from backstride.port.rule import Ability, Arguments, Fit
from backstride.port.text import Body, tail

ACTIVATIONS = {"relu": "jax.nn.relu", "sigmoid": "jax.nn.sigmoid", "tanh": "jax.numpy.tanh"}
PAD = "jax.numpy.pad(y, {pairs})"


def candidates(where: Geometry) -> Iterator[Arguments]:
    """Both names, then pairs that pad the dilated input, which can say every crop."""
    base = {"strides": where.strides, "rhs_dilation": where.dilation}
    for padding in ("SAME", "VALID"):
        yield {**base, "padding": padding}
    yield {**base, "padding": input_pads(where)}


def input_pads(where: Geometry) -> tuple[tuple[int, int], ...]:
    """Padding of the dilated input.

    K - 1 - crop at each end, for the whole stamp to reach what is kept.
    """
    spans = where.effective_kernel
    return tuple(
        (span - 1 - before, span - 1 - after)
        for span, (before, after) in zip(spans, where.crop, strict=True)
    )


def _groups(_: Problem) -> str:
    return "jax.lax.conv_transpose takes no groups: conv_general_dilated on the dilated input does"


GROUPED = ("*k", "C_small/groups", "C_big")
ABILITY = Ability(replace(CONVENTIONS["jax"], grouped_layout=GROUPED), candidates, _groups)


def emit(fit: Fit) -> Body:
    """The function, with the layout named; the kernel is flipped, as JAX correlates."""
    axes = "DHW"[-fit.problem.rank :]
    numbers = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    padding = fit.arguments["padding"]
    pads = f'"{padding}"' if isinstance(padding, str) else str(list(padding))
    strides = f"strides={tuple(fit.where.strides)}"
    if fit.split == 1:
        dilation = (
            "" if max(fit.where.dilation) == 1 else f", rhs_dilation={tuple(fit.where.dilation)}"
        )
        lines = [
            (
                f"y = jax.lax.conv_transpose(x, kernel, {strides}, padding={pads}{dilation}, "
                f"dimension_numbers={numbers})"
            )
        ]
    else:
        dilations = f"lhs_dilation={fit.where.strides}, rhs_dilation={fit.where.dilation}"
        pads = (
            f"window_strides={(1,) * fit.problem.rank}, padding={list(input_pads(fit.where))}, "
            f"{dilations}"
        )
        groups = f"dimension_numbers={numbers}, feature_group_count={fit.split}"
        lines = [f"y = jax.lax.conv_general_dilated(x, kernel, {pads}, {groups})"]
    bias = "bias" if fit.problem.bias else ""
    after = tail(fit, "channels_last", pad=PAD, bias=bias, activation=ACTIVATIONS)
    return Body(("import jax", "import numpy as np"), (), (*lines, *after), "np.asarray(up(x))")
