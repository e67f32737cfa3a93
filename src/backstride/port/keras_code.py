"""Keras 3: `keras.layers.ConvNDTranspose`, on any backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backstride.conventions import CONVENTIONS, keras
from backstride.geometry import Geometry
from backstride.port.problem import Problem
from backstride.port.rule import PER_GROUP, Ability, Arguments, Fit
from backstride.port.text import Body, one, options, stuffing, tail

ACTIVATIONS = {name: f"keras.ops.{name}" for name in ("relu", "sigmoid", "tanh")}


def candidates(where: Geometry) -> Iterator[Arguments]:
    """Both rules, with the size they choose and with the nearest that an output padding gives."""
    base: Arguments = {"strides": where.strides, "dilation_rate": where.dilation}
    for padding in ("same", "valid"):
        yield {**base, "padding": padding}
    for padding in ("same", "valid"):
        largest = [s - 1 for s in where.strides]
        try:
            reached = keras(
                where.input, where.kernel, padding=padding, output_padding=largest, **base
            ).output
        except ValueError:  # dilation beside strides, or no cell left
            continue
        extra: list[int] = []
        for want, size, s, span in zip(
            where.output, reached, where.strides, where.effective_kernel, strict=True
        ):
            # TensorFlow's SAME has no size of (i-1)s, so that backend refuses it.
            least = (span + 1) % 2 if padding == "same" else 0
            extra.append(max(least, min(want - size + s - 1, s - 1)))
        yield {**base, "padding": padding, "output_padding": tuple(extra)}


def _groups(_: Problem) -> str:
    return "Keras's transposed layers take no groups: one layer for each group"


def _dilation(problem: Problem) -> str | None:
    if max(problem.where.strides) == 1:
        return None
    return "Keras refuses dilation beside strides: the kernel is written out with its zeros"


ABILITY = Ability(
    replace(CONVENTIONS["keras"], grouped_layout=PER_GROUP), candidates, _groups, _dilation
)


def emit(fit: Fit) -> Body:
    """A layer, or one for each group, and a crop or zeros after it."""
    problem, rank = fit.problem, fit.problem.rank
    sizes = {name: value for name, value in fit.arguments.items() if name != "padding"}
    settings = options({"strides": 1, "dilation_rate": 1}, **sizes)
    early = fit.early_bias and fit.split == 1
    layer = (
        f"keras.layers.Conv{rank}DTranspose({problem.big // fit.split}, "
        f"{one(fit.where.kernel)}{settings}, "
        f'padding="{fit.arguments["padding"]}", '
        f'data_format="channels_last"{"" if early else ", use_bias=False"})'
    )
    weights = "[kernel, bias]" if early else "[kernel]"
    if fit.split == 1:
        setup = [
            f"layer = {layer}",
            f"layer.build({problem.shape('channels_last')})",
            f"layer.set_weights({weights})",
        ]
        first = "y = layer(x)"
    else:
        part = (*problem.shape("channels_last")[:-1], problem.small // fit.split)
        setup = [
            f"layers = [{layer} for _ in range({fit.split})]",
            f"for layer, part in zip(layers, np.split(kernel, {fit.split}, axis=-1)):",
            f"    layer.build({part})",
            "    layer.set_weights([part])",
        ]
        parts = f"zip(layers, keras.ops.split(x, {fit.split}, axis=-1))"
        first = f"y = keras.ops.concatenate([layer(part) for layer, part in {parts}], axis=-1)"
    bias = "bias" if problem.bias and not early else ""
    after = tail(
        fit, "channels_last", pad="keras.ops.pad(y, {pairs})", bias=bias, activation=ACTIVATIONS
    )
    return Body(
        ("import keras", "import numpy as np"),
        (*stuffing(fit, 0), *setup),
        (first, *after),
        "keras.ops.convert_to_numpy(up(keras.ops.convert_to_tensor(x)))",
    )
