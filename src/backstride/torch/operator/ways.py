"""Which of three ways computes an operator whose weight changes from call to call.

It is chosen by rules, or as it was measured. The engine, PyTorch's own kernel, and a product with
the weight as it lies (`columns.py`) each are the fastest one somewhere, and seldom for all three
operators of a layer. Layers of an accelerated model time them, one by one, in the first step of
training on a new kind of shape (`measured.py` opens and closes `MeasuredWays`); all others follow
`policy.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, get_num_threads

from backstride.machine import caches
from backstride.torch.operator import columns
from backstride.torch.operator.policy import engine_is_faster
from backstride.torch.operator.shapes import Integers, Slot

Way: TypeAlias = Literal["engine", "stock", "columns"]
Run: TypeAlias = Callable[[], object]
Form: TypeAlias = Callable[[], Tensor]
LEAST_ROUNDS, FEW_ROUNDS, MOST_ROUNDS = 2, 3, 7
CLEAR = 1.25  # times so far apart need no further round
LONG = 0.25  # seconds after which no further round begins
HOPELESS = 4  # times as long as the best in its first run, and
# seconds more than that takes: a way that is not tried again where runs have no weights to keep
PREPARING = 0.01
MOST_WAYS = 4096  # kinds of calls that are remembered
STEPS = 4  # kinds of sizes between a number and its double

_ways: dict[Hashable, Way] = {}
_state = threading.local()


class MeasuredWays:
    """While it is open, operators go the way measured for their kind, or else not.

    With `trying`, the way is measured where it is not known.
    """

    def __init__(self, *, measured: bool, trying: bool = False) -> None:
        self.measured, self.trying = measured, trying

    def __enter__(self) -> None:
        self.before = _state_now()
        _state.now = self.measured, self.trying or self.before[1]

    def __exit__(self, *error: object) -> None:
        _ = error
        _state.now = self.before


def are_measured() -> bool:
    """Whether operators go the measured way at present."""
    return _state_now()[0]


def _state_now() -> tuple[bool, bool]:
    return getattr(_state, "now", (False, False))


def way_of(
    slot: Slot,
    a: Tensor,
    b: Tensor,
    integers: Integers,
    runs: dict[Way, Form],
    *,
    last: bool,
    rule: Way | None = None,
) -> Way:
    """The way of an operator, of those that `runs` has, as measured for its kind, or by a rule."""
    measured, trying = _state_now()
    if measured and not torch.are_deterministic_algorithms_enabled():
        formats = a.is_contiguous(), b.is_contiguous(), last, a.dtype, get_num_threads()
        key = (slot, *map(step_of, a.shape), *map(step_of, b.shape), integers, formats)
        way = _ways.get(key)
        if way is None and trying:
            names = list(runs)
            seconds = race(list(runs.values()), a, keeps=False)
            if len(_ways) >= MOST_WAYS:
                _ways.clear()
            way = _ways[key] = names[seconds.index(min(seconds))]
        if way is not None:
            return way
    if rule is not None:
        return rule
    if "columns" in runs and columns.is_preferred(slot, a, b, integers):
        return "columns"
    return "engine" if engine_is_faster(slot, a, b, integers, last=last) else "stock"


def race(runs: Sequence[Run], input: Tensor, *, keeps: bool = True) -> list[float]:
    """Seconds of each.

    Run in turn, the least time of each, as what disturbs a run makes it longer, never shorter. The
    input is in the caches, as what was computed last is, and nothing else. `keeps`: first runs may
    put weights in order for all others; else each run does so, and a way that is far behind in its
    first one is left at that.
    """
    first = [_timed(run) for run in runs]
    near = [keeps or one <= max(HOPELESS * min(first), min(first) + PREPARING) for one in first]
    if near.count(True) == 1:
        return first
    best = [float("inf") if tried else one for tried, one in zip(near, first, strict=True)]
    other = torch.ones(2 * caches()["L2"] * get_num_threads(), dtype=torch.uint8)
    data = input.detach()
    begun = time.perf_counter()
    for number in range(1, (MOST_ROUNDS if keeps else FEW_ROUNDS) + 1):
        for which in (which for which, tried in enumerate(near) if tried):
            _ = other.max(), data.sum()
            best[which] = min(best[which], _timed(runs[which]))
        if number >= LEAST_ROUNDS:
            near = [one <= CLEAR * min(best) for one in best]
            if near.count(True) == 1 or time.perf_counter() - begun > LONG:
                break
    return best


def _timed(run: Run) -> float:
    before = time.perf_counter()
    _ = run()
    return time.perf_counter() - before


def step_of(size: int) -> int:
    """A number for all sizes within a fifth of each other; small ones have their own.

    >>> step_of(3), step_of(8), step_of(9), step_of(100) == step_of(102), step_of(100) == step_of(200)
    (3, 8, 16, True, False)
    """  # noqa: E501
    if size <= 2 * STEPS:
        return size
    bits = size.bit_length() - 1
    return STEPS * bits + (size * STEPS >> bits)
