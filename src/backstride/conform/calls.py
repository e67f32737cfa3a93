"""One call of a framework's transposed convolution, in its own terms, and its operands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from backstride.layout import AnyArray

Arguments: TypeAlias = dict[
    str, Any
]  # in the framework's own terms, legal or not: its rule says what they may be


@dataclass(frozen=True, slots=True)
class Call:
    """Spatial sizes, the framework's arguments, and channels.

    >>> str(Call((5,), (3,), {"stride": 2}, small=2))
    'input 5, kernel 3, stride=2, C_small 2'
    """

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    arguments: Arguments = field(default_factory=Arguments)
    groups: int = 1
    small: int = 1
    big: int = 1
    batch: int = 1
    transpose_kernel: bool = False

    def __str__(self) -> str:
        words = [f"input {_sizes(self.input)}", f"kernel {_sizes(self.kernel)}"]
        words += [f"{name}={value!r}" for name, value in self.arguments.items()]
        numbers = {
            "groups": self.groups,
            "C_small": self.small,
            "C_big": self.big,
            "batch": self.batch,
        }
        words += [f"{name} {number}" for name, number in numbers.items() if number != 1]
        return ", ".join([*words, "transpose_kernel=True"] if self.transpose_kernel else words)

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.input)

    @property
    def weight(self) -> tuple[int, int, str]:
        """Sorts calls from simple to involved."""
        cells = math.prod(self.input) * math.prod(self.kernel) * self.small * self.big * self.batch
        return self.rank, cells, str(self)

    def operands(self) -> tuple[AnyArray, AnyArray]:
        """X (batch, *input, C_small) and kernel (*k, C_big/groups, C_small).

        Small integers as float32. So small that every sum is exact in float32 in any order, and
        never zero.
        """
        x = integers((self.batch, *self.input, self.small), 3)
        return x, integers((*self.kernel, self.big // self.groups, self.small), 5)

    def per_axis(self, name: str, default: int) -> tuple[int, ...]:
        """An argument with one integer per axis, where a single one stands for all."""
        value = self.arguments.get(name)
        value = default if value is None else value
        return (value,) * self.rank if isinstance(value, int) else tuple(value)


def integers(shape: tuple[int, ...], step: int) -> AnyArray:
    """Nonzero integers of both signs, -4 to 4, without a short period along any axis."""
    count = np.arange(1, math.prod(shape) + 1, dtype=np.int64)
    scrambled = (count * count * step + count * 7) // 3 % 8
    return np.where(scrambled < 4, scrambled - 4, scrambled - 3).astype(np.float32).reshape(shape)


def _sizes(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
