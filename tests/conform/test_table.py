"""The comparison itself, without frameworks: it sees what it should see."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from backstride import conform, reference
from backstride.conform import gradients
from backstride.conform.calls import Call
from backstride.conform.faults import Fault, Outcome, explain
from backstride.conform.grid import grid
from backstride.conform.runtimes import Run
from backstride.conform.table import UNEXPLAINED, compare
from backstride.conform.worker import shifted
from backstride.conventions import jax, torch
from backstride.geometry import Geometry
from backstride.layout import AnyArray

CALLS = grid("torch", 60)


def honest(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
    def run() -> AnyArray:
        geometry = torch(call.input, call.kernel, **call.arguments)
        return reference.conv_transpose(x, kernel, geometry, groups=call.groups)

    return run


def test_an_honest_runtime_agrees() -> None:
    seen: list[int] = []
    result = compare("torch", "torch", torch, honest, CALLS, progress=seen.append)
    assert (result.compared, result.agreeing, result.disagreements) == (60, 60, ())
    assert 0 < result.refused < 30
    assert seen == list(range(1, 61))


def test_what_memory_decides_never_agrees() -> None:
    """Right or not by chance, the row says the same on every machine."""

    def right(call: Call, _x: AnyArray, _kernel: AnyArray) -> Run:
        return lambda: gradients.expected(
            call, jax(call.input, call.kernel, **call.arguments), "jax"
        )

    def wrong(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        return lambda: right(call, x, kernel)() + 1

    calls = grid("jax", 120)
    for prepare in (right, wrong):
        result = compare("jax-gradient", "jax", jax, prepare, calls, gradient=True)
        (entry,) = [entry for entry in result.disagreements if entry.reason != UNEXPLAINED]
        assert (entry.kind, entry.reason.partition(" reads")[0]) == ("differs", "XLA's convolution")
        assert entry.count >= 10
        assert entry.example.endswith("the framework says what memory holds")
        assert (result.unexplained == 0) == (prepare is right)
        assert (result.agreeing == result.refused) == (prepare is wrong)


def test_one_wrong_value_is_seen() -> None:
    def off(call: Call, x: AnyArray, kernel: AnyArray) -> Run:
        def run() -> AnyArray:
            y = honest(call, x, kernel)()
            y[(0,) * y.ndim] += 1
            return y

        return run

    result = compare("torch", "torch", torch, off, CALLS)
    (entry,) = result.disagreements
    assert (entry.kind, entry.reason, entry.count) == ("differs", UNEXPLAINED, 60 - result.refused)
    assert result.unexplained == entry.count
    assert entry.example.startswith("input ")


def test_a_shifted_rule_is_seen() -> None:
    def rule(input: tuple[int, ...], kernel: tuple[int, ...], **arguments: int) -> Geometry:
        return shifted(torch(input, kernel, **arguments), 1)

    result = compare("torch", "torch", rule, honest, CALLS)
    assert result.unexplained > 0.9 * (60 - result.refused)


def test_refusals_on_one_side_are_seen() -> None:
    def never(_call: Call, _x: AnyArray, _kernel: AnyArray) -> Run:
        def run() -> AnyArray:
            message = "no"
            raise RuntimeError(message)

        return run

    def always(_call: Call, _x: AnyArray, _kernel: AnyArray) -> Run:
        return lambda: np.ones((1, 1, 1), np.float32)

    assert {
        entry.kind for entry in compare("torch", "torch", torch, never, CALLS).disagreements
    } == {"refuses"}
    kinds = {entry.kind for entry in compare("torch", "torch", torch, always, CALLS).disagreements}
    assert kinds == {"accepts", "differs"}


def test_a_fault_of_ours_in_laying_out_is_no_refusal() -> None:
    def broken(_call: Call, _x: AnyArray, _kernel: AnyArray) -> Run:
        raise AssertionError

    with pytest.raises(AssertionError):
        _ = compare("torch", "torch", torch, broken, CALLS)


def test_a_differing_result_is_explained_only_where_the_other_geometry_holds() -> None:
    call = Call((3,), (3,), {"stride": 2, "padding": 1})
    ours, theirs = (
        torch(3, 3, stride=2, padding=1),
        torch(3, 3, stride=2, padding=0, output_padding=0),
    )
    x, kernel = call.operands()
    y = reference.conv_transpose(x, kernel, theirs)

    def instead(_: Call, _ours: Geometry) -> Geometry:
        return theirs

    fault = Fault("differs", "pads are ignored", lambda _: True, instead)
    outcome = Outcome(call, ours, "", y, "")
    assert fault.explains(outcome)
    assert not fault.explains(dataclasses.replace(outcome, array=y + 1))
    assert explain("torch", "differs", outcome) is None


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown is 'tensorflow2'$"):
        _ = conform.run(["torch", "tensorflow2"])


def test_markdown_has_a_line_for_each_result() -> None:
    disagreement = conform.Disagreement(
        "differs", "reversed", 2, "input 3, kernel 3: `padding` was read backwards"
    )
    results = (
        conform.Result("torch", "torch", "torch 2", None, 10, 8, 3, (disagreement,)),
        conform.Result("jax", "jax", absent="jax is not installed"),
    )
    lines = conform.to_markdown(results).splitlines()
    assert "| PyTorch | torch 2 | `torch` | 10 | 8 | 3 | 2 differs: reversed |" in lines
    assert "| JAX | absent | `jax` | | | | jax is not installed |" in lines
    assert lines[-2:] == [
        "- differs (2): reversed.",
        "  `input 3, kernel 3: padding was read backwards`",
    ]
