"""The list of calls reaches the edges where frameworks have been wrong, and is the same
everywhere.
"""

from __future__ import annotations

import pytest

from backstride.conform.calls import Call
from backstride.conform.grid import WRITERS, grid
from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry

# Lists for runtimes that take part of a rule's calls, and what that part cannot reach.
RULE_OF = {"ncnn": "torch", "litert": "tensorflow"}
OUT_OF_REACH = {"litert": {"d > 1", "d > 1 and s > 1", "every rank", "output below input"}}
WITH_GROUPS = {name for name, record in CONVENTIONS.items() if record.grouped_layout is not None}


def geometries(name: str) -> list[tuple[Call, Geometry]]:
    found: list[tuple[Call, Geometry]] = []
    for call in grid(name):
        try:
            rule = CONVENTIONS[RULE_OF.get(name, name)].constructor
            found.append((call, rule(call.input, call.kernel, **call.arguments)))
        except (ValueError, TypeError):
            continue
    return found


@pytest.mark.parametrize("name", WRITERS)
def test_the_list_is_long_legal_and_illegal(name: str) -> None:
    calls = grid(name)
    assert len({str(call) for call in calls}) == len(calls) >= 2000
    assert calls == grid(name)
    assert 0.5 * len(calls) < len(geometries(name)) < 0.97 * len(calls)


@pytest.mark.parametrize("name", WRITERS)
def test_the_list_reaches_the_edges(name: str) -> None:
    legal = geometries(name)
    axes = [
        (i, k, s, d, d * (k - 1) + 1, before, after)
        for _, g in legal
        for i, k, s, d, (before, after) in zip(
            g.input, g.kernel, g.strides, g.dilation, g.crop, strict=True
        )
    ]
    edges = {
        "s > K": any(s > span for _, _, s, _, span, _, _ in axes),
        "even k": any(k % 2 == 0 for _, k, *_ in axes),
        "k = 1": any(k == 1 for _, k, *_ in axes),
        "i = 1": any(i == 1 for i, *_ in axes),
        "d > 1": any(d > 1 for _, _, _, d, *_ in axes),
        "even total crop": any((b + a) % 2 == 0 and b + a > 0 for *_, b, a in axes),
        "odd total crop": any((b + a) % 2 == 1 and b + a > 0 for *_, b, a in axes),
        "more cropped in front": any(b > a for *_, b, a in axes),
        "negative crop behind": any(a < 0 for *_, a in axes),
        "output below input": any(g.output[0] < g.input[0] for _, g in legal),
        "every rank": {len(g.input) for _, g in legal} == {1, 2, 3},
        "unequal axes": sum(
            len(set(g.input)) == len(set(g.kernel)) == len(set(g.strides)) == 2 for _, g in legal
        )
        > 50,
        "batches": any(call.batch > 1 for call, _ in legal),
        "channels": any(call.small != call.big for call, _ in legal),
    }
    if name not in {"keras", "flax", "tensorflow"}:
        edges["d > 1 and s > 1"] = any(d > 1 and s > 1 for _, _, s, d, *_ in axes)
    if name in {"jax", "flax", "equinox"}:
        edges["negative crop in front"] = any(b < 0 for *_, b, _ in axes)
    if name in WITH_GROUPS:
        edges["groups"] = any(call.groups > 1 for call, _ in legal)
        edges["depthwise"] = any(call.groups == call.small == call.big > 1 for call, _ in legal)
        edges["wide groups"] = any(
            call.groups > 1 and call.small > call.groups < call.big for call, _ in legal
        )
    if name in {"torch", "onnx", "openvino"}:
        edges["output_padding in [s, d)"] = any(
            s <= op < d
            for call, g in legal
            for op, s, d in zip(
                call.per_axis("output_padding", 0), g.strides, g.dilation, strict=True
            )
        )
    missed = {edge for edge, reached in edges.items() if not reached}
    assert missed == OUT_OF_REACH.get(name, set())


def test_operands_are_exact_and_never_zero() -> None:
    x, kernel = Call((6, 5), (5, 4), groups=2, small=4, big=4, batch=2).operands()
    assert x.shape == (2, 6, 5, 4)
    assert kernel.shape == (5, 4, 2, 4)
    assert {*x.ravel().tolist(), *kernel.ravel().tolist()} == {
        -4.0,
        -3.0,
        -2.0,
        -1.0,
        1.0,
        2.0,
        3.0,
        4.0,
    }
