"""What users complain about beside plain speed.

Inputs of varying length, the first call of a size, small calls. Each function gives rows of a
table: name to number, times in milliseconds, or microseconds where the name says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from layers import Layer, layers
from peers import torch as torch_peer
from problem import VARIANTS, Problem
from timing import timed

import backstride as bs

Row = dict[str, Any]
LENGTHS = tuple(500 * (i + 1) for i in range(10))
ALIKE = 3  # lengths for each of these
STFT = Layer(
    0, "inverse STFT", 1, 1026, 1, (500,), (1024,), (256,), ((0, 0),), 1, "pytorch/pytorch#120982"
)
FIRST_CALLS = (3, 22, 28, 45, 58, 69, 76, 97)  # of the project's own layers.csv


def varying_length(threads: int) -> list[Row]:
    """pytorch/pytorch#120982.

    An inverse STFT of 1026 channels, k 1024, s 256, on lengths that never come again.
    """
    bs.set_num_threads(threads)
    random = np.random.default_rng(0)
    kernel = random.standard_normal((*STFT.kernel, STFT.big, STFT.small), np.float32)
    plan = bs.plan(kernel, strides=STFT.strides)
    inputs = [
        random.standard_normal((1, n + more, STFT.small), np.float32)
        for n in LENGTHS
        for more in range(ALIKE)
    ]
    rows = _lengths("ours", [partial(plan, x) for x in inputs])
    torch = torch_peer.package(Problem(STFT, VARIANTS["packed"], threads))
    if torch is None:
        return rows
    weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(2, 1, 0)))
    tensors = [torch.from_numpy(np.ascontiguousarray(x.swapaxes(1, 2))) for x in inputs]

    def run(x: Any) -> Any:
        with torch.inference_mode():
            return torch.nn.functional.conv_transpose1d(x, weight, stride=STFT.strides)

    return rows + _lengths("torch", [partial(run, x) for x in tensors])


def _lengths(who: str, calls: list[Callable[[], Any]]) -> list[Row]:
    """Medians of a few lengths, one cell apart, so that brief disturbances do not count."""
    _ = calls[0]()  # the library itself warms up on the first length
    first = [timed(call) for call in calls]
    again = [statistics.median(timed(call) for _ in range(3)) for call in calls]
    rows: list[Row] = []
    for at, n in enumerate(LENGTHS):
        one, other = (
            1e3 * statistics.median(times[at * ALIKE : (at + 1) * ALIKE])
            for times in (first, again)
        )
        rows.append({"who": who, "length": n, "first ms": one, "again ms": other})
    return rows


def first_calls(threads: int) -> list[Row]:
    """A plan's first call on a size it has not met, against later ones on the same size.

    Medians of several sizes. Each call, first or later, gets numbers that were just drawn, and then
    other arrays go through the caches, so that what differs is the library's work.
    """
    bs.set_num_threads(threads)
    random = np.random.default_rng(0)
    rows: list[Row] = []
    for layer in (layer.lighter(2) for layer in layers() if layer.number in FIRST_CALLS):
        problem = Problem(layer, VARIANTS["packed"], threads)
        plan = bs.plan(
            problem.kernel, strides=layer.strides, padding=layer.crop, groups=layer.groups
        )
        for _ in range(3):
            _ = plan(problem.x)
        first: list[float] = []
        again: list[float] = []
        result = (layer.batch, *layer.output, layer.big)
        for more in range(1, 10):
            shape = (layer.batch, *layer.input[:-1], layer.input[-1] + more, layer.small)
            calls = [
                _cold(partial(plan, random.standard_normal(shape, np.float32)), result)
                for _ in range(6)
            ]
            first.append(calls[0])
            again.append(statistics.median(calls[1:]))
        pair = statistics.median(first), statistics.median(again)
        rows.append({"layer": layer.number, "first ms": 1e3 * pair[0], "again ms": 1e3 * pair[1]})
    return rows


def _cold(call: Callable[[], Any], shape: tuple[int, ...]) -> float:
    """Seconds of a call after two arrays of about the result's size were written elsewhere."""
    for _ in range(2):
        _ = np.ones(shape, np.float32)
    return timed(call)


def overhead(threads: int) -> list[Row]:
    """One cell, one channel: what a call costs beside arithmetic, in microseconds."""
    bs.set_num_threads(threads)
    x, kernel = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1, 1), np.float32)
    plan = bs.plan(kernel)
    calls = {
        "plan(x)": partial(plan, x),
        "bs.conv_transpose(x, kernel)": partial(bs.conv_transpose, x, kernel),
    }
    return [
        {"call": name, "microseconds": 1e6 * statistics.median(timed(call, 300) for _ in range(15))}
        for name, call in calls.items()
    ]


SPECIAL: dict[str, Callable[[int], list[Row]]] = {
    "varying length": varying_length,
    "first calls": first_calls,
    "overhead": overhead,
}
