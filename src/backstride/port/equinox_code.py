"""Equinox: `equinox.nn.ConvTranspose`, which takes one sample."""

from __future__ import annotations

from collections.abc import Iterator

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.jax_code import ACTIVATIONS, PAD
from backstride.port.rule import Ability, Arguments, Fit
from backstride.port.text import Body, one, options, tail


def candidates(where: Geometry) -> Iterator[Arguments]:
    """The named rules, then pairs, which can say every crop."""
    base = {"stride": where.strides, "dilation": where.dilation}
    for padding in ("SAME", "SAME_LOWER", "VALID"):
        yield {**base, "padding": padding}
    yield {**base, "padding": where.crop}


ABILITY = Ability(CONVENTIONS["equinox"], candidates)


def emit(fit: Fit) -> Body:
    """A layer with its weights set; the kernel is flipped, as Equinox correlates."""
    problem = fit.problem
    padding = fit.arguments["padding"]
    pads = f'"{padding}"' if isinstance(padding, str) else str(list(padding))
    if not isinstance(padding, str) and all(before == after for before, after in padding):
        pads = one([before for before, _ in padding])
    settings = options(
        {"stride": 1, "dilation": 1, "groups": 1},
        stride=fit.where.strides,
        dilation=fit.where.dilation,
        groups=(problem.groups,),
    )
    setup = [
        "layer = equinox.nn.ConvTranspose(",
        (
            f"    {problem.rank}, {problem.small}, {problem.big}, "
            f"{one(fit.where.kernel)}{settings}, padding={pads},"
        ),
        f"    use_bias={fit.early_bias}, key=jax.random.PRNGKey(0),",
        ")",
        "layer = equinox.tree_at(lambda layer: layer.weight, layer, jax.numpy.asarray(kernel))",
    ]
    if fit.early_bias:
        value = "jax.numpy.asarray(bias).reshape(layer.bias.shape)"
        setup.append(f"layer = equinox.tree_at(lambda layer: layer.bias, layer, {value})")
    late = f"bias[{', '.join([':', *['None'] * problem.rank])}]" if fit.late_bias else ""
    after = tail(fit, "channels_first", pad=PAD, bias=late, activation=ACTIVATIONS)
    imports = ("import equinox", "import jax", "import numpy as np")
    return Body(
        imports,
        tuple(setup),
        ("y = jax.vmap(layer)(x)", *after),
        "np.asarray(up(jax.numpy.asarray(x)))",
    )
