"""TensorFlow: `tf.nn.convNd_transpose`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.problem import Problem
from backstride.port.rule import PER_GROUP, Ability, Arguments, Fit
from backstride.port.text import Body, options, stuffing, tail

ACTIVATIONS = {name: f"tf.nn.{name}" for name in ("relu", "sigmoid", "tanh")}


def candidates(where: Geometry) -> Iterator[Arguments]:
    """Both rules with the wanted size, pairs in 2-D, and the full output."""
    yield from by_name(where)
    if len(where.input) == 2 and max(where.dilation) == 1:
        base = {"strides": where.strides, "dilations": where.dilation}
        pairs = tuple((max(before, 0), max(after, 0)) for before, after in where.crop)
        yield {**base, "padding": pairs, "output_shape": where.output}
    yield whole(where)


def by_name(where: Geometry) -> Iterator[Arguments]:
    """SAME and VALID with the wanted size."""
    base = {"strides": where.strides, "dilations": where.dilation}
    for padding in ("SAME", "VALID"):
        yield {**base, "padding": padding, "output_shape": where.output}


def whole(where: Geometry) -> Arguments:
    """Nothing cropped."""
    return {
        "strides": where.strides,
        "dilations": where.dilation,
        "padding": "VALID",
        "output_shape": where.full,
    }


def groups_refused(_: Problem) -> str:
    """Why there are none."""
    return "tf.nn's transposed convolutions take no groups on the CPU: one for each group"


ABILITY = Ability(
    replace(CONVENTIONS["tensorflow"], grouped_layout=PER_GROUP), candidates, groups_refused
)


def emit(fit: Fit) -> Body:
    """The function, or one for each group, and a crop or zeros after it."""
    return Body(
        ("import numpy as np", "import tensorflow as tf"),
        tuple(stuffing(fit, 0)),
        (
            *operation(fit),
            *tail(fit, "channels_last", pad=PAD, bias=bias_name(fit), activation=ACTIVATIONS),
        ),
        "up(tf.constant(x)).numpy()",
    )


PAD = "tf.pad(y, {pairs})"


def bias_name(fit: Fit) -> str:
    """The bias is always added after the function, which takes none."""
    return "bias" if fit.problem.bias else ""


def operation(fit: Fit, batch: str = "x.shape[0]") -> list[str]:
    """The lines that make y from x and `kernel`, by group where there are some."""
    settings = options(
        {"dilations": 1}, strides=fit.arguments["strides"], dilations=fit.arguments["dilations"]
    )
    padding = fit.arguments["padding"]
    pads = (
        f'"{padding}"' if isinstance(padding, str) else str([[0, 0], *map(list, padding), [0, 0]])
    )
    shape = ", ".join(
        [batch, *map(str, fit.arguments["output_shape"]), str(fit.problem.big // fit.split)]
    )
    function = f"tf.nn.conv{fit.problem.rank}d_transpose"
    end = f"[{shape}]{settings}, padding={pads})"
    if fit.split == 1:
        return [f"y = {function}(x, kernel, {end}"]
    pairs = f"zip(tf.split(x, {fit.split}, axis=-1), np.split(kernel, {fit.split}, axis=-1))"
    return [
        f"parts = [{function}(part, taps, {end} for part, taps in {pairs}]",
        "y = tf.concat(parts, axis=-1)",
    ]
