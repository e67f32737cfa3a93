"""MLX: `mx.conv_transposeNd`, whose sizes follow PyTorch's formula.

Source: mlx/ops.cpp, conv_transpose_general, mlx 0.32.
"""

from __future__ import annotations

from dataclasses import replace

from backstride.conventions import CONVENTIONS
from backstride.port.problem import Problem
from backstride.port.rule import Ability, Fit
from backstride.port.text import Body, options, tail
from backstride.port.torch_code import candidates

ACTIVATIONS = {"relu": "mlx.nn.relu", "sigmoid": "mx.sigmoid", "tanh": "mx.tanh"}


def _groups(_: Problem) -> str:
    return "mx.conv_transpose documents no groups: one for each group"


RECORD = replace(
    CONVENTIONS["torch"],
    name="mlx",
    weight_layout=("C_big", "*k", "C_small"),
    grouped_layout=("C_big/groups", "*k", "C_small"),
    data_format="channels_last",
)
ABILITY = Ability(RECORD, candidates, _groups)


def emit(fit: Fit) -> Body:
    """The function, or one for each group, and a crop or zeros after it."""
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
    settings = options(defaults, **fit.arguments)
    function = f"mx.conv_transpose{fit.problem.rank}d"
    lines = [f"y = {function}(x, kernel{settings})"]
    if fit.split > 1:
        parts = f"zip(mx.split(x, {fit.split}, axis=-1), mx.split(kernel, {fit.split}, axis=-1))"
        lines = [
            (
                f"y = mx.concatenate([{function}(part, taps{settings}) for part, taps in {parts}], "
                "axis=-1)"
            )
        ]
    bias = "mx.array(bias)" if fit.problem.bias else ""
    after = tail(fit, "channels_last", pad="mx.pad(y, {pairs})", bias=bias, activation=ACTIVATIONS)
    imports = ("import mlx.core as mx", "import mlx.nn", "import numpy as np")
    return Body(
        imports, ("kernel = mx.array(kernel)",), (*lines, *after), "np.array(up(mx.array(x)))"
    )
