"""Times of a call by each algorithm of the compiled kernels, by the model of `native/cost.h`.

Which algorithm and which tiles run follows from the nominal rates of an instruction set; what is
shown here, from those of `bs.machine()`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from backstride.extension import built
from backstride.implementation import Call, Packed, Prediction, three
from backstride.machine import machine

CALL = 0.003  # milliseconds of a call that computes nothing


class Rates(NamedTuple):
    """What the model of `native/cost.h` takes a processor for.

    Vectors and bytes a cycle, caches, clock.
    """

    multiply_adds: float
    loads: float
    second: float
    third: float
    memory: float
    first_size: float
    second_size: float
    third_size: float
    hertz: float


def nominal_rates(target: str) -> Rates:
    """What processors of an instruction set have in common.

    Choices follow from these, and never from a measurement.
    """
    return Rates(*built().nominal_rates(target), hertz=3e9)


def measured_rates(target: str) -> Rates:
    """Those of this processor, by `bs.machine()`, for predictions that are shown."""
    nominal, processor = nominal_rates(target), machine()
    levels = {level.name: level for level in processor.levels}
    memory, clock = levels["memory"], processor.gigahertz
    second, third = levels.get("L2", memory), levels.get("L3", memory)
    return nominal._replace(
        multiply_adds=min(nominal.multiply_adds, processor.peak / (2 * processor.lanes * clock)),
        second=second.read / clock,
        third=third.read / clock,
        memory=memory.read / clock,
        first_size=levels["L1d"].size if "L1d" in levels else nominal.first_size,
        second_size=second.size or nominal.second_size,
        third_size=min(third.size, nominal.third_size),  # which others share
        hertz=clock * 1e9,
    )


def predictions(
    packed: Packed, shape: tuple[int, ...], call: Call, *, target: str, rates: Rates, threads: int
) -> Iterator[Prediction]:
    """Each algorithm that may run, in the order of `algorithms`."""
    where, groups, channel = (
        call.geometry,
        call.groups,
        1 if call.data_format == "channels_first" else -1,
    )
    channels, outputs, sizes = (
        shape[channel],
        packed.outputs,
        (three(where.input, 1), three(call.output, 1)),
    )
    steps = three(where.kernel, 1), three(where.strides, 1), three(where.dilation, 1), call.before
    problem = shape[0], groups, channels // groups, outputs // groups, *sizes, *steps
    number = 8 if packed.dtype == "float64" else 4
    data = (
        number * shape[0] * (channels * math.prod(where.input) + outputs * math.prod(call.output))
    )
    weights = number * math.prod(where.kernel) * channels * outputs // groups
    words = (
        "products",
        "fixed costs",
        f"weights from {_level(weights, rates)}",
        "tile transforms",
        f"input and result from {_level(data, rates)}",
    )
    for algorithm, cycles in built().predictions(
        *problem, target, number == 8, packed.forced, rates[:8]
    ):
        scale = 1e3 / rates.hertz / threads
        parts = {word: scale * value for word, value in zip(words, cycles, strict=True)}
        parts["fixed costs"] += CALL
        total, limit = sum(parts.values()), max(parts, key=lambda word: parts[word])
        yield Prediction(algorithm, total, limit, parts[limit] / total, parts)


def _level(size: int, rates: Rates) -> str:
    return "L2" if size < rates.second_size / 2 else "L3" if size < rates.third_size else "memory"
