"""What plan.explain says: one function of layer and sizes; no choice or result follows a
measurement.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import backstride as bs
from backstride import predictions
from backstride.implementation import Call
from backstride.machine import VARIABLE
from backstride.plans import REASONS
from implementations import COMPILED

# Kernel (*k, big, small), strides, padding, input, groups.
LAYERS: dict[str, tuple[Any, ...]] = {
    "few cells, large weights": ((4, 4, 256, 512), 2, 1, (2, 2), 1),
    "many cells": ((4, 4, 64, 64), 2, 1, (40, 40), 1),
    "3x3 s2": ((3, 3, 64, 48), 2, 1, (20, 21), 1),
    "k = s": ((2, 2, 64, 64), 2, 0, (24, 24), 1),
    "few outputs": ((4, 4, 3, 64), 2, 1, (32, 32), 1),
    "1-D": ((16, 64, 128), 8, 4, (100,), 1),
    "iSTFT": ((64, 1, 130), 16, 0, (40,), 1),
    "depthwise": ((4, 4, 1, 32), 2, 1, (20, 20), 32),
    "3-D": ((3, 3, 3, 32, 32), 2, 1, (6, 7, 8), 1),
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != VARIABLE}
compiled = pytest.mark.skipif(not COMPILED, reason="this installation is pure Python")


def layer(kind: str, **options: Any) -> tuple[Any, tuple[int, ...]]:
    shape, strides, padding, size, groups = LAYERS[kind]
    random: Any = np.random.default_rng(0)
    kernel = random.standard_normal(shape, np.float32)
    return bs.plan(kernel, strides=strides, padding=padding, groups=groups, **options), (
        2,
        *size,
        shape[-1],
    )


def cycles(kind: str, target: str, batch: int = 2) -> dict[str, float]:
    """By nominal rates."""
    plan, shape = layer(kind)
    call = Call(plan.geometry(shape[1:-1]), LAYERS[kind][4], "channels_last")
    packed = SimpleNamespace(
        dtype="float32", forced=False, outputs=LAYERS[kind][0][-2] * LAYERS[kind][4]
    )
    rates, shape = predictions.nominal_rates(target), (batch, *shape[1:])
    rows = predictions.predictions(packed, shape, call, target=target, rates=rates, threads=1)
    return {row.algorithm: row.milliseconds for row in rows}


@pytest.mark.parametrize("kind", LAYERS)
def test_the_parts_of_each_prediction_are_its_whole(kind: str) -> None:
    plan, shape = layer(kind)
    explained = plan.explain(shape)
    assert explained.chosen == plan.algorithm
    assert plan.algorithm in str(explained)
    for row in explained.predictions:
        assert row.algorithm in str(explained)
        assert sum(row.parts.values()) == pytest.approx(row.milliseconds)
        assert (
            row.parts[row.limit]
            == max(row.parts.values())
            == pytest.approx(row.share * row.milliseconds)
        )
        assert min(row.parts.values()) >= 0


@compiled
@pytest.mark.parametrize("target", COMPILED)
@pytest.mark.parametrize("kind", LAYERS)
def test_tiles_run_where_they_are_cheaper_than_plain_products(kind: str, target: str) -> None:
    """Plain products of the cells that they stack themselves, or of none."""
    found = cycles(kind, target)
    if "winograd" in found:
        assert found["winograd"] <= 1.04 * max(found.get("stacked", 0), found["phases"])


@compiled
@pytest.mark.parametrize("target", COMPILED)
@pytest.mark.parametrize("kind", LAYERS)
def test_the_algorithm_is_the_cheapest_by_nominal_rates(
    kind: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a typical call: large enough that sizes do not matter."""
    monkeypatch.setenv("BACKSTRIDE_IMPLEMENTATION", target)
    shape, strides, _, size, groups = LAYERS[kind]
    plan = bs.plan(np.ones(shape, np.float32), strides=strides, groups=groups)
    cells = ({1: 4096, 2: 64, 3: 16}[len(size)],) * len(size)
    call = Call(bs.geometry(cells, shape[: len(size)], strides=strides), groups, "channels_last")
    packed = SimpleNamespace(dtype="float32", forced=False, outputs=shape[-2] * groups)
    rates, x_shape = predictions.nominal_rates(target), (1, *cells, shape[-1])
    rows = predictions.predictions(packed, x_shape, call, target=target, rates=rates, threads=1)
    found = {row.algorithm: row.milliseconds for row in rows}
    assert found[plan.algorithm] <= 1.1 * min(found.values())


@compiled
@pytest.mark.parametrize("target", COMPILED)
@pytest.mark.parametrize("kind", LAYERS)
def test_predictions_grow_with_the_batch(kind: str, target: str) -> None:
    one, many = cycles(kind, target, 6), cycles(kind, target, 24)
    assert one.keys() == many.keys()
    assert all(one[name] < many[name] < 5 * one[name] for name in one)
    assert cycles(kind, target, 6) == one


@compiled
def test_large_weights_meet_few_cells_without_tiles() -> None:
    """Transformed weights are 2.25 times as many bytes."""
    kernel = np.ones((4, 4, 512, 1024), np.float32)
    explained = bs.plan(kernel, strides=2, padding=1).explain((1, 2, 2, 1024))
    assert {row.limit.partition(" from ")[0] for row in explained.predictions[:2]} == {"weights"}
    assert explained.predictions[1].parts["tile transforms"] == 0


@compiled
def test_no_bit_follows_what_was_measured() -> None:
    """Neither which algorithm runs, nor its result, on whatever machine this process takes itself
    to be on.
    """
    code = (
        "import sys, hashlib, numpy as np, backstride as bs; sys.path.insert(0, 'tests');"
        "from test_predictions import LAYERS, layer; found = [];"
        "[found.append((p.algorithm, p.explain(s).chosen, hashlib.sha256(p(np.random.default_rng(1)"
        ".standard_normal(s, np.float32)).tobytes()).hexdigest())) for p, s in map(layer, LAYERS)];"
        "print(found)"
    )
    said: set[str] = set()
    for text in (
        "measure=no",
        "measure=no, fma_units=1, L2=256K, L2.read=5, memory.read=1000",
        "measure=no, peak=9000",
    ):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**ENVIRONMENT, VARIABLE: text},
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(done.stdout)
    assert len(said) == 1


@compiled
def test_what_is_shown_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "measure=no, gigahertz=1")
    slow = layer("many cells")[0].explain((1, 40, 40, 64))
    monkeypatch.setenv(VARIABLE, "measure=no, gigahertz=4")
    fast = layer("many cells")[0].explain((1, 40, 40, 64))
    assert slow.chosen == fast.chosen
    assert all(
        a.milliseconds > 2 * b.milliseconds
        for a, b in zip(slow.predictions, fast.predictions, strict=True)
    )


@pytest.mark.parametrize("implementation", ["numpy", "reference"])
def test_other_implementations_have_no_model(
    monkeypatch: pytest.MonkeyPatch, implementation: str
) -> None:
    monkeypatch.setenv("BACKSTRIDE_IMPLEMENTATION", implementation)
    explained = layer("many cells")[0].explain((1, 9, 9, 64))
    assert explained.predictions == ()
    assert str(explained).endswith("there is no model of what it takes")


def test_a_forced_algorithm_says_so() -> None:
    plan, shape = layer("many cells", algorithm=layer("many cells")[0].algorithm)
    assert plan.explain(shape).reason == f'algorithm="{plan.algorithm}" was asked for'


@pytest.mark.parametrize("shape", [(1, 9, 64), (1, 9, 9, 63), (1, 0, 9, 64), (1, 9, 9, 64, 1)])
def test_a_shape_that_a_call_refuses_is_refused_in_the_same_words(shape: tuple[int, ...]) -> None:
    plan, _ = layer("many cells")
    with pytest.raises(ValueError, match="x") as called:
        plan(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="x") as explained:
        plan.explain(shape)
    assert str(explained.value) == str(called.value)


def test_a_shape_is_made_of_integers() -> None:
    with pytest.raises(TypeError, match=r"`x_shape\[1\]` \(=9.5\)"):
        layer("many cells")[0].explain((1, 9.5, 9, 64))


@compiled
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e13])
@pytest.mark.parametrize("forced", [None, "winograd"])
def test_what_a_kernels_numbers_rule_out_is_not_said_to_run(
    value: float, forced: str | None
) -> None:
    """NaN and infinity leave the loops of the definition; numbers that transforms could push to
    infinity, no tiles.
    """
    kernel = np.ones(LAYERS["many cells"][0], np.float32)
    assert bs.plan(kernel, strides=2, padding=1).algorithm == "winograd"
    kernel[1, 2, 3, 4] = value
    plan = bs.plan(kernel, strides=2, padding=1, algorithm=forced)
    explained = plan.explain((1, 40, 40, 64))
    without = bs.plan(np.ones_like(kernel), strides=2, padding=1, winograd=False).algorithm
    assert explained.chosen == plan.algorithm == (without if np.isfinite(value) else "definition")
    assert "asked for" not in explained.reason
    x = np.random.default_rng(0).standard_normal((1, 5, 6, 64), np.float32)
    with np.errstate(invalid="ignore"):
        same = bs.plan(kernel, strides=2, padding=1, algorithm=plan.algorithm)(x)
        assert plan(x).tobytes() == same.tobytes()


@compiled
def test_the_page_names_every_algorithm_in_the_order_in_which_the_simpler_one_wins() -> None:
    page = Path(__file__).parents[1].joinpath("docs", "engine.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert named == list(REASONS)
    for kind in LAYERS:
        plan, shape = layer(kind)
        rows = [row.algorithm for row in plan.explain(shape).predictions]
        assert rows == [name for name in named if name in rows]
