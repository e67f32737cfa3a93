"""One row: a classifier is built, converted, compared with itself and timed.

Its sliding window is timed beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from backstride.layout import AnyArray
from backstride.surgery.model.values import RefusedError
from backstride.surgery.proving.proof import Run, compare
from backstride.surgery.proving.report import Report
from backstride.surgery.proving.speed import measure_speed

LEAST = 0.1  # seconds below which one call says nothing, and the best of five is taken
STRIDES = 3  # the image is so many strides larger than the native size, on each axis

Numbers: TypeAlias = dict[str, Any]  # a row without its entry, as JSON keeps it
Converted = tuple[Run, Run, Report]


@dataclass(frozen=True, slots=True)
class Entry:
    """An architecture.

    `convert` builds it with random weights and gives (classifier, network, report). The two are
    functions from images (N, C, H, W) to results as NumPy arrays: (N, classes) and (N, classes, h,
    w). `options`: what was chosen for it, such as `se="local"`.
    """

    name: str
    framework: str
    library: str
    shape: tuple[int, int, int]
    convert: Callable[[], Converted]
    options: str = ""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return " | ".join(filter(None, (self.framework, self.library, self.name, self.options)))


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured. `error`: the largest difference at native size over the largest score.

    `exact`: the share of compared cells of the larger image that are equal within 1e-5 of the
    largest score. `speed`: seconds of the classifier on all crops over seconds of the network, on
    that image, on one core. `refused`: why there is no network. `failed`: what else than a refusal
    ended it, which is a fault.
    """

    entry: Entry
    rewrites: int = 0
    seconds: float = 0.0
    error: float = 0.0
    holds: bool = False
    exact: float = 0.0
    speed: float = 0.0
    refused: str | None = None
    failed: str | None = None

    @property
    def sound(self) -> bool:
        """Whether it converts and the proof holds, or is refused."""
        return self.failed is None and (self.refused is not None or self.holds)


def measure(entry: Entry) -> Row:
    """Build, convert, prove and time one architecture.

    The two are timed in turn, in this process.
    """
    start = time.perf_counter()
    try:
        plain, whole, report = entry.convert()
    except RefusedError as refusal:
        return Row(entry, refused=str(refusal.refusals[0]))
    except Exception as error:  # noqa: BLE001  other people's models raise every kind, and the table goes on
        return Row(entry, failed=first_line(f"{type(error).__name__}: {error}"))
    seconds = time.perf_counter() - start
    classifier, network = (
        _Timed(plain),
        _Timed(whole),
    )  # compared at native size first, then on the image
    stride = report.outputs[0].stride
    channels, *native = entry.shape
    size = [cells + STRIDES * int(step) for cells, step in zip(native, stride, strict=True)]
    image = np.random.default_rng(0).normal(size=(channels, *size)).astype(np.float32)
    proof = compare(classifier, network, report.graph, image)
    scale = float(np.max(np.abs(classifier.first)))
    ratio = sum(classifier.seconds[1:]) / network.seconds[-1]
    if network.seconds[-1] < LEAST:
        ratio = measure_speed(
            plain, whole, report.graph, image, rounds=5, clock=time.process_time
        ).ratio
    known = ~np.isnan(proof.deviation)
    return Row(
        entry,
        rewrites=len(report.rewrites),
        seconds=seconds,
        error=proof.native_difference / scale,
        holds=proof.holds,
        exact=float(np.mean(proof.exact[known])),
        speed=ratio,
    )


def numbers_of(row: Row) -> Numbers:
    """The row without its entry."""
    return {field.name: getattr(row, field.name) for field in fields(row) if field.name != "entry"}


def first_line(text: str) -> str:
    """The first line, of bounded length."""
    return text.strip().partition("\n")[0][:200]


class _Timed:
    """A function on arrays that keeps the processor's seconds of each call and the first result."""

    def __init__(self, call: Run) -> None:
        self.seconds: list[float] = []
        self.first: AnyArray = np.empty(0)
        self._call = call

    def __call__(self, images: AnyArray) -> AnyArray:
        start = time.process_time()
        found = self._call(images)
        self.seconds.append(time.process_time() - start)
        if len(self.seconds) == 1:
            self.first = found
        return found
