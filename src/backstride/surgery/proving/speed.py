"""How much faster a network is than the classifier on every crop of the same image, in batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from backstride.layout import AnyArray
from backstride.surgery.model.graph import Graph
from backstride.surgery.proving.exactness import exactness

Run: TypeAlias = Callable[[AnyArray], AnyArray]
Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of both on one image of `size`, the best of `rounds`.

    The window stops at `crops` places.
    """

    size: tuple[int, ...]
    crops: int
    window: float
    network: float
    rounds: int

    @property
    def ratio(self) -> float:
        """How many times faster the network is."""
        return self.window / self.network

    def __str__(self) -> str:
        size = " x ".join(map(str, self.size))
        return (
            f"On an image of {size} the network takes {self.network:.3g} s and the classifier on "
            f"its {self.crops} crops {self.window:.3g} s: {self.ratio:.3g} times as long."
        )


def measure_speed(
    classifier: Run,
    network: Run,
    graph: Graph,
    image: AnyArray,
    *,
    batch: int = 32,
    output: int = 0,
    rounds: int = 1,
    clock: Clock = time.perf_counter,
) -> Speed:
    """Time both on `image` (C, H, W).

    The network on all of it, the classifier on each cell's crop, by turns. `output`: which of the
    graph's results has the cells, where there are several.
    """
    rows, columns = graph.input.shape[1:]
    starts = exactness(graph, graph.outputs[output].name, image.shape[1:]).starts
    places = [
        (top, left)
        for top in starts[0]
        for left in starts[1]
        if top is not None and left is not None
    ]

    def window() -> None:
        for first in range(0, len(places), batch):
            crops = [
                image[:, top : top + rows, left : left + columns]
                for top, left in places[first : first + batch]
            ]
            _ = classifier(np.stack(crops))

    def whole() -> None:
        _ = network(image[None])

    seconds = [(_timed(window, clock), _timed(whole, clock)) for _ in range(rounds)]
    windows, wholes = zip(*seconds, strict=True)
    return Speed(image.shape[1:], len(places), min(windows), min(wholes), rounds)


def _timed(call: Callable[[], None], clock: Clock) -> float:
    start = clock()
    call()
    return clock() - start
