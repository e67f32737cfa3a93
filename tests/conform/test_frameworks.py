"""Each framework against its rule: all of its calls, no disagreement without a name."""

from __future__ import annotations

import importlib.util

import pytest

from backstride import conform
from backstride.conform.rows import ROWS, SLOW, SLOWEST

ROWS_AND_MARKS = [
    name
    if name in {"torch", "torch-gradient"}
    else pytest.param(name, marks=pytest.mark.frameworks)
    for name in ROWS
]


def installed(name: str) -> None:
    # Found, not imported: the framework runs in a process of its own, and its import may warn.
    for module in ROWS[name].needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.mark.parametrize("name", ROWS_AND_MARKS)
def test_every_disagreement_has_a_name(name: str) -> None:
    installed(name)
    (result,) = conform.run([name])
    assert result.absent is None
    row = ROWS[name]
    slow = row.gradient or name in {"tensorflow-xla", "keras-jax", "litert"}
    compiled = name in {"keras-jax-gradient", "jax-gradient", "flax-gradient", "equinox-gradient"}
    least = SLOWEST if compiled else SLOW if slow else 2000
    if row.legal:
        # Calls that the rule refuses are left out: this runtime checks nothing.
        assert row.calls * 0.75 < result.compared < row.calls
        assert result.refused == 0
    else:
        assert result.compared == row.calls >= least
        assert result.refused > 0
    assert [entry.example for entry in result.disagreements if entry.reason == "unexplained"] == []
    assert result.agreeing + sum(entry.count for entry in result.disagreements) == result.compared


@pytest.mark.parametrize("name", ROWS_AND_MARKS)
def test_a_rule_off_by_one_cell_is_caught(name: str) -> None:
    installed(name)
    (result,) = conform.run([name], limit=120, shift=1)
    assert result.absent is None
    assert result.agreeing - result.refused <= 0.05 * result.compared
    assert result.unexplained >= 0.3 * result.compared
