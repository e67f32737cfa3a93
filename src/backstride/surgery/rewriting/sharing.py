"""Layers that a model calls more than once: what stands for the calls must be one layer again.

Law: a layer has one kernel and one dilation. Two calls are two convolutions of its weights where
their maps are flattened from different sizes, or where their cells lie apart by different strides.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from backstride.surgery.model.graph import Graph
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting

SIZES = "is called on maps of different sizes, which makes different convolutions of its weights"
STRIDES = "is called at two strides, which makes different dilations of its kernel"


def check_shared(
    model: str, graph: Graph, rewriting: Rewriting, layers: Mapping[str, Hashable]
) -> None:
    """Raise `RefusedError` for each layer that would have to be two.

    `graph`: the classifier's. `layers`: what each of its nodes calls, equal where they call one
    layer.
    """
    kernels: dict[Hashable, object] = {}
    dilations: dict[Hashable, object] = {}
    refusals: dict[Hashable, Refusal] = {}
    for node in graph:
        key = (
            layers.get(node.name, node.name),
            node.kind,
        )  # other kinds are written as layers of their own
        for step in rewriting.replaced.get(node.name, ()):
            if step.kind != "conv" or step.window is None:
                continue
            kernel, apart = step.window.kernel, step.window.dilation
            dilation = tuple(d if taps > 1 else 1 for d, taps in zip(apart, kernel, strict=True))
            if kernels.setdefault(key, (kernel, step.order)) != (kernel, step.order):
                _ = refusals.setdefault(key, Refusal(node.label, SIZES))
            if dilations.setdefault(key, dilation) != dilation:
                _ = refusals.setdefault(key, Refusal(node.label, STRIDES))
    if refusals:
        raise RefusedError(model, tuple(refusals.values()))
