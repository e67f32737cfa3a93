"""Times several runners of one problem against each other, interleaved, within a budget.

Everybody is called a few times; who is far behind then keeps those times, and the others go round
in turns. A turn of a fast runner is a burst of calls after some that are not timed, so that neither
the caches nor the threads of the one before decide. A runner whose first call takes far too long is
dropped, and the reason is kept.

Threads that wait for the next call of their library look for it on a processor of their own:
OpenMP's of PyTorch and ncnn for 7 ms, ONNX Runtime's for 40 ms. A turn begins when all threads of
the process sleep, and with a call that is not timed, for everybody alike. What other processes take
meanwhile is kept with the times.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from problem import Problem, Runner

Maker = Callable[[Problem], Runner | None]
BURST = 2e-3  # seconds of a turn at least
CHUNK = 5e-5  # seconds that are read from the clock at least
WARM, MOST_WARM = 1e-3, 0.05  # and of the calls before it; slower ones begin without
SETTLED = 0.3  # seconds that threads may take to fall asleep
HOPELESS = 20.0  # times as slow as the best: dropped after the first call
PATIENCE = 4.0  # seconds that a first call may take in any case; some compile
BEHIND = 2.0  # times as slow as the best peer: no more turns
LEAST_ROUNDS, MOST_ROUNDS = 5, 40
TRIAL, MOST_TRIALS = 0.02, 10  # seconds and calls that decide who is far behind
HEAVY = 2.0  # seconds of a round from which on 3 rounds are enough
IDLE = (3, 4)  # columns of /proc/stat that are not work


@dataclass(slots=True)
class Times:
    """Seconds of a call, one number a turn; who took turns; and why somebody has no time.

    `foreign` is how many processors' worth of time other processes took during the turns.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    turns: list[str] = field(default_factory=list[str])
    dropped: dict[str, str] = field(default_factory=dict[str, str])
    foreign: float = 0.0


def measure(
    makers: Iterable[tuple[str, Maker]],
    problem: Problem,
    seconds: float,
    announce: Callable[[str, float], None],
) -> Times:
    """Time the runners that can run the problem.

    `announce` hears who is next and the best time so far.
    """
    times, runners = Times(), dict[str, Runner]()
    best = math.inf
    for name, make in makers:
        announce(name, best)
        try:
            runner = make(problem)
            _ = settle()
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
    limit = BEHIND * min(
        (time_ for name, time_ in least.items() if not name.startswith("ours")), default=math.inf
    )
    return [name for name, time_ in least.items() if name.startswith("ours") or time_ <= limit]


def take_turns(calls: dict[str, Callable[[], Any]], times: Times, seconds: float) -> None:
    """Let them run in turn until the time is spent.

    The numbers of the turns replace those of before.
    """
    single = {name: min(times.seconds[name]) for name in calls}
    least = 3 if sum(max(time_, BURST) for time_ in single.values()) > HEAVY else LEAST_ROUNDS
    for name in calls:
        times.seconds[name] = []
    others, started, waited, rounds = foreign(), time.perf_counter(), 0.0, 0
    _ = gc.collect()
    gc.disable()
    while rounds < least or (
        rounds < MOST_ROUNDS and time.perf_counter() - started - waited < seconds * len(calls)
    ):
        for name, call in calls.items():
            waited += settle()
            if single[name] < MOST_WARM:
                _ = timed(call, math.ceil(WARM / single[name]))
            times.seconds[name].append(burst(call, single[name]))
        rounds += 1
    gc.enable()
    times.foreign = max(0.0, foreign() - others) / (time.perf_counter() - started)


def settle() -> float:
    """Wait until all other threads of this process sleep, or as long as they may take.

    The seconds that it took.
    """
    started, tasks = time.perf_counter(), Path("/proc/self/task")
    if not tasks.is_dir():
        time.sleep(SETTLED)
    own = str(threading.get_native_id())
    while time.perf_counter() - started < SETTLED and any(
        _runs(task) for task in tasks.iterdir() if task.name != own
    ):
        time.sleep(5e-4)
    return time.perf_counter() - started


def _runs(task: Path) -> bool:
    try:
        return (task / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"R"
    except OSError:  # it has ended
        return False


def foreign() -> float:
    """Seconds that others than this process have had of its processors, from some time on.

    0 without /proc.
    """
    path = Path("/proc/stat")
    if not path.is_file():
        return 0.0
    mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    ticks = sum(
        int(word)
        for line in lines
        if line[0] in mine
        for n, word in enumerate(line[1:9])
        if n not in IDLE
    )
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def burst(call: Callable[[], Any], single: float) -> float:
    """Seconds of a call.

    The median of a turn, so that what else the machine does for a moment does not count.
    """
    together = math.ceil(CHUNK / single)
    return statistics.median(
        timed(call, together) for _ in range(math.ceil(BURST / (single * together)))
    )


def timed(call: Callable[[], Any], count: int = 1) -> float:
    """Seconds of a call, the mean of so many."""
    result: Any = None
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
