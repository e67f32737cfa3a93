"""PyTorch: `torch.nn.ConvTransposeNd`."""

from __future__ import annotations

from collections.abc import Iterator

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.rule import Ability, Arguments, Fit, symmetric
from backstride.port.text import Body, one, options, tail, zeros

ACTIVATIONS = {"relu": "torch.relu", "sigmoid": "torch.sigmoid", "tanh": "torch.tanh"}


def candidates(where: Geometry) -> Iterator[Arguments]:
    """One: the nearest padding and output padding of each axis."""
    limits = [max(s, d) - 1 for s, d in zip(where.strides, where.dilation, strict=True)]
    pads = [symmetric(pair, limit) for pair, limit in zip(where.crop, limits, strict=True)]
    yield {
        "stride": where.strides,
        "padding": tuple(pad for pad, _ in pads),
        "output_padding": tuple(extra for _, extra in pads),
        "dilation": where.dilation,
    }


ABILITY = Ability(CONVENTIONS["torch"], candidates)


def emit(fit: Fit) -> Body:
    """A layer, its weights, and a crop or zeros after it."""
    problem, rank = fit.problem, fit.problem.rank
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    settings = options(defaults, **fit.arguments, groups=(problem.groups,))
    bias = "" if fit.early_bias else ", bias=False"
    channels = f"{problem.small}, {problem.big}, {one(fit.where.kernel)}"
    setup = [
        f"layer = torch.nn.ConvTranspose{rank}d({channels}{settings}{bias})",
        "with torch.no_grad():",
        "    layer.weight.copy_(torch.from_numpy(kernel))",
    ]
    if fit.early_bias:
        setup.append("    layer.bias.copy_(torch.from_numpy(bias))")
    late = f"torch.from_numpy(bias)[{', '.join([':', *['None'] * rank])}]" if fit.late_bias else ""
    # torch lists the last axis first.
    flat = [cells for pair in reversed(zeros(fit)) for cells in pair]
    after = tail(
        fit,
        "channels_first",
        pad=f"torch.nn.functional.pad(y, {flat})",
        bias=late,
        activation=ACTIVATIONS,
    )
    return Body(
        ("import numpy as np", "import torch"),
        tuple(setup),
        ("y = layer(x)", *after),
        "up(torch.from_numpy(x)).detach().numpy()",
    )
