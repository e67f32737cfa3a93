"""The benchmark's layers: real ones, each with its source, read from layers.csv.

Sizes are per axis joined by x. `crop_before` and `crop_after`: cells cut off the full output; negative
appends zeros. `gflop` is the useful work: 2 * batch * in_channels * product(input) * out_channels / groups
* product(kernel) / 1e9.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

FILE = Path(__file__).with_name("layers.csv")


@dataclass(frozen=True, slots=True)
class Layer:
    """One transposed convolution; kernel and channels as in `backstride.conv_transpose`."""

    number: int
    name: str
    batch: int
    small: int
    big: int
    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    crop: tuple[tuple[int, int], ...]
    groups: int
    source: str

    @property
    def gflop(self) -> float:
        """Useful work, a multiplication and an addition counted as 2."""
        cells, taps = math.prod(self.input), math.prod(self.kernel)
        return 2e-9 * self.batch * self.small * cells * (self.big // self.groups) * taps

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial size of the result."""
        axes = zip(self.input, self.kernel, self.strides, self.crop, strict=True)
        return tuple((cells - 1) * step + taps - sum(cut) for cells, taps, step, cut in axes)

    @property
    def megabytes(self) -> float:
        """Input, output and kernel in float32: what has to move at least."""
        data = self.batch * (self.small * math.prod(self.input) + self.big * math.prod(self.output))
        return 4e-6 * (data + math.prod(self.kernel) * self.small * self.big // self.groups)

    def lighter(self, gflop: float) -> Layer:
        """The same layer with a batch small enough for so much work, at least 1; then with fewer output channels."""
        if self.gflop <= gflop:
            return self
        fewer = replace(self, batch=max(1, int(self.batch * gflop / self.gflop)))
        if fewer.gflop <= 2 * gflop or self.groups > 1:
            return fewer
        return replace(fewer, big=max(1, int(self.big * gflop / fewer.gflop)))


def layers() -> tuple[Layer, ...]:
    """All layers of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_layer(row) for row in csv.DictReader(file))


def _layer(row: dict[str, str]) -> Layer:
    return Layer(
        int(row["id"]),
        row["layer"],
        int(row["batch"]),
        int(row["in_channels"]),
        int(row["out_channels"]),
        _sizes(row["input"]),
        _sizes(row["kernel"]),
        _sizes(row["stride"]),
        tuple(zip(_sizes(row["crop_before"]), _sizes(row["crop_after"]), strict=True)),
        int(row["groups"]),
        row["source"],
    )


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split("x"))
