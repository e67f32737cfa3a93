"""Random numbers by name of their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Draws from one generator, in the order of the calls."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.units: list[float] = []
        self.normals: list[float] = []

    def unit(self) -> float:
        """Between 0 and 1."""
        if not self.units:
            self.units = self.rng.random(256).tolist()
        return self.units.pop()

    def chance(self, share: float) -> bool:
        """True so often."""
        return self.unit() < share

    def uniform(self, low: float, high: float) -> float:
        """Between two numbers."""
        return low + (high - low) * self.unit()

    def log(self, low: float, high: float) -> float:
        """Between two positive numbers, each doubling as often as any other."""
        return low * math.exp(math.log(high / low) * self.unit())

    def normal(
        self, mean: float, deviation: float, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """About `mean`, at most 2.5 deviations away."""
        if not self.normals:
            self.normals = np.clip(self.rng.standard_normal(128), -2.5, 2.5).tolist()
        away = self.normals.pop()
        return min(max(mean + deviation * away, low), high)

    def integer(self, low: int, high: int) -> int:
        """From `low` up to, not including, `high`."""
        return low + int(self.unit() * (high - low))

    def choose(self, options: Sequence[T], weights: Sequence[float]) -> T:
        """One of these, by weight."""
        at = self.unit() * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            at -= weight
            if at < 0:
                return option
        return options[-1]

    def any(self, options: Sequence[T]) -> T:
        """One of these, each as often."""
        return options[self.integer(0, len(options))]

    def colour(self, base: Sequence[float], spread: float = 0.15) -> tuple[float, float, float]:
        """A colour near this one: brighter or darker, and a little off in hue."""
        light = math.exp(self.normal(0, spread))
        red, green, blue = (
            min(part * light * (1 + self.normal(0, spread / 4)), 1.0) for part in base
        )
        return red, green, blue
