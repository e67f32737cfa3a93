"""A road that is a grey triangle on green ground: a data set for tests, made from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backstride.roads.sample import Sample

SIZE = (64, 96)
CATEGORIES = ("um", "umm", "uu")


class Toy:
    """`count` pictures of `size`; with `ragged`, of different sizes."""

    classes = ("background", "road")

    def __init__(
        self, count: int, seed: int = 0, size: tuple[int, int] = SIZE, *, ragged: bool = False
    ) -> None:
        self.samples = tuple(
            Sample(f"{seed}-{index}", Path(f"{seed}-{index}.png"), category=CATEGORIES[index % 3])
            for index in range(count)
        )
        self.size, self.seed, self.ragged = size, seed, ragged

    def image(self, index: int) -> NDArray[np.uint8]:
        random, road, horizon = self._drawn(index)
        rows = np.arange(len(road))[:, None, None]
        image = np.where(
            road[..., None],
            (110, 110, 115),
            np.where(rows < horizon, (150, 180, 230), (60, 130, 50)),
        )
        return (image + random.normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8)

    def mask(self, index: int) -> NDArray[np.uint8]:
        return self._drawn(index)[1].astype(np.uint8)

    def _drawn(self, index: int) -> tuple[np.random.Generator, NDArray[np.bool_], int]:
        random = np.random.default_rng([self.seed, index])
        rows, columns = self.size
        if self.ragged:
            rows, columns = rows + int(random.integers(9)), columns + int(random.integers(9))
        horizon, middle, wide = (
            random.uniform(low, high) for low, high in ((0.3, 0.5), (0.3, 0.7), (0.2, 0.5))
        )
        line = int(rows * horizon)
        depth = (np.arange(rows)[:, None] - line) / (rows - line)
        across = np.abs(np.arange(columns) - columns * middle)
        return random, (depth > 0) & (across < depth * columns * wide + 1), line
