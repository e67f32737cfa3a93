"""Times several runners of one problem against each other, interleaved, within a budget.

Everybody is called a few times; who is far behind then keeps those times, and the others go round in turns. A turn
of a fast runner is a burst of calls after some that are not timed, so that neither the caches nor the threads of
the one before decide. A runner whose first call takes far too long is dropped, and the reason is kept.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from problem import Problem, Runner

Maker = Callable[[Problem], Runner | None]
BURST = 2e-3  # seconds of a turn at least
CHUNK = 5e-5  # seconds that are read from the clock at least
WARM = 1e-3  # and of the calls before it
HOPELESS = 20.0  # times as slow as the best: dropped after the first call
PATIENCE = 4.0  # seconds that a first call may take in any case; some compile
BEHIND = 2.0  # times as slow as the best peer: no more turns
LEAST_ROUNDS, MOST_ROUNDS = 5, 60
TRIAL, MOST_TRIALS = 0.02, 10  # seconds and calls that decide who is far behind
HEAVY = 2.0  # seconds of a round from which on 3 rounds are enough


@dataclass(slots=True)
class Times:
    """Seconds of a call, one number a turn; who took turns; and why somebody has no time."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    turns: list[str] = field(default_factory=list[str])
    dropped: dict[str, str] = field(default_factory=dict[str, str])


def measure(
    makers: Iterable[tuple[str, Maker]], problem: Problem, seconds: float, announce: Callable[[str, float], None]
) -> Times:
    """Time the runners that can run the problem; `announce` hears who is next and the best time so far."""
    times, runners = Times(), dict[str, Runner]()
    best = math.inf
    for name, make in makers:
        announce(name, best)
        try:
            runner = make(problem)
            first = 0.0 if runner is None else timed(runner.call)
        except Exception as error:  # noqa: BLE001  whatever it is, the others go on, and the table says so
            times.dropped[name] = " ".join(f"{type(error).__name__}: {error}".split())[:100]
            continue
        if runner is None:
            continue
        if first > max(PATIENCE, HOPELESS * best):
            times.dropped[name] = f"its first call took {first:.1f} s"
            continue
        times.seconds[name] = tried(runner.call)
        runners[name] = runner
        best = min(best, *times.seconds[name])
    announce("", best)
    times.turns = contenders(times)
    take_turns({name: runners[name].call for name in times.turns}, times, seconds)
    return times


def tried(call: Callable[[], Any]) -> list[float]:
    """A few calls, one where it is slow."""
    values = [timed(call)]
    while sum(values) < TRIAL and len(values) < MOST_TRIALS:
        values.append(timed(call))
    return values


def contenders(times: Times) -> list[str]:
    """This library, and the peers that are not far behind the best one."""
    least = {name: min(values) for name, values in times.seconds.items()}
    limit = BEHIND * min((time_ for name, time_ in least.items() if not name.startswith("ours")), default=math.inf)
    return [name for name, time_ in least.items() if name.startswith("ours") or time_ <= limit]


def take_turns(calls: dict[str, Callable[[], Any]], times: Times, seconds: float) -> None:
    """Let them run in turn until the time is spent; the numbers of the turns replace those of before."""
    single = {name: min(times.seconds[name]) for name in calls}
    least = 3 if sum(max(time_, BURST) for time_ in single.values()) > HEAVY else LEAST_ROUNDS
    for name in calls:
        times.seconds[name] = []
    started, rounds = time.perf_counter(), 0
    gc.collect()
    gc.disable()
    while rounds < least or (rounds < MOST_ROUNDS and time.perf_counter() - started < seconds * len(calls)):
        for name, call in calls.items():
            for _ in range(math.ceil(WARM / single[name]) if single[name] < WARM else 0):
                _ = call()
            times.seconds[name].append(burst(call, single[name]))
        rounds += 1
    gc.enable()


def burst(call: Callable[[], Any], single: float) -> float:
    """Seconds of a call: the median of a turn, so that what else the machine does for a moment does not count."""
    together = math.ceil(CHUNK / single)
    return statistics.median(timed(call, together) for _ in range(math.ceil(BURST / (single * together))))


def timed(call: Callable[[], Any], count: int = 1) -> float:
    """Seconds of a call, the mean of so many."""
    started = time.perf_counter()
    for _ in range(count):
        result = call()
    ended = time.perf_counter()
    del result  # freed outside of the time, as a user's next layer does
    return (ended - started) / count


def spread(values: list[float]) -> float:
    """Half the distance of the quartiles, in percent of the median; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return 50 * (high - low) / middle
