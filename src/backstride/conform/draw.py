"""Random sizes of calls, small and unequal on every axis, from a seed.

The same calls on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from backstride.conform.calls import Arguments, Call
from backstride.conventions.frame import Frame

Choice = TypeVar("Choice")
LARGEST_INPUT = (6, 5, 3)
LARGEST_KERNEL = (5, 4, 3)


@dataclass(frozen=True, slots=True)
class Draw:
    """Sizes of one call, a source of chance, and whether the call may leave the legal ranges."""

    random: Random
    legal: bool
    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def sizes(cls, random: Random, *, most_dilation: int = 3) -> Draw:
        """Draw the sizes: 1-D, 2-D or 3-D, strides to 4, dilation in four of ten axes."""
        rank = random.choice((1, 1, 1, 2, 2, 2, 2, 3))
        axes = range(rank)
        dilated = random.random() < 0.6
        return cls(
            random,
            random.random() < 0.8,
            tuple(random.randint(1, LARGEST_INPUT[rank - 1]) for _ in axes),
            tuple(random.randint(1, LARGEST_KERNEL[rank - 1]) for _ in axes),
            tuple(random.randint(1, 4) for _ in axes),
            tuple(
                random.choice((1, random.randint(1, most_dilation))) if dilated else 1 for _ in axes
            ),
        )

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.input)

    @property
    def spans(self) -> tuple[int, ...]:
        """K per axis."""
        return Frame(self.input, self.kernel, self.strides, self.dilation).spans

    @property
    def lengths(self) -> tuple[int, ...]:
        """L per axis."""
        return Frame(self.input, self.kernel, self.strides, self.dilation).lengths

    def often(self, chance: float) -> bool:
        """True with this chance."""
        return self.random.random() < chance

    def pick(self, *options: Choice) -> Choice:
        """One of the options."""
        return self.random.choice(options)

    def within(
        self, lows: int | Sequence[int], highs: Sequence[int], beyond: int = 1
    ) -> tuple[int, ...]:
        """One integer per axis, ends legal; an illegal call may go `beyond` either end."""
        lows = (lows,) * self.rank if isinstance(lows, int) else lows
        far = 0 if self.legal else beyond
        return tuple(
            self.random.randint(low - far, max(low - far, high + far))
            for low, high in zip(lows, highs, strict=True)
        )

    def crops(self, *, least: int = 0) -> tuple[tuple[int, int], ...]:
        """(before, after) per axis, from `least` on; a legal call keeps at least one cell."""
        pairs: list[tuple[int, int]] = []
        for span, length in zip(self.spans, self.lengths, strict=True):
            most = min(span + 1, length - 1) if self.legal else span + 1
            before = self.random.randint(least, max(most, least))
            rest = min(span + 1, length - 1 - before) if self.legal else span + 1
            after = self.random.randint(least, max(rest, least))
            pairs.append((before, after))
        return tuple(pairs)

    def spell(self, values: tuple[int, ...]) -> int | tuple[int, ...]:
        """Equal values as one integer, as users write them, where frameworks take that."""
        return values[0] if len(set(values)) == 1 else values

    def call(
        self, arguments: Arguments, *, grouped: bool = False, transpose_kernel: bool = False
    ) -> Call:
        """The call with these arguments, and channels drawn."""
        groups = self.random.choice((1, 1, 2, 3)) if grouped else 1
        per_group = (1, 2) if groups < 3 else (1,)
        return Call(
            self.input,
            self.kernel,
            {name: value for name, value in arguments.items() if value is not None},
            groups,
            groups * self.random.choice(per_group),
            groups * self.random.choice(per_group),
            self.random.choice((1, 1, 2)),
            transpose_kernel,
        )
