"""What every rule starts from and ends with.

Four checked sizes per axis, and a crop to a `Geometry`. The letters are those of
`backstride.geometry`: K the effective kernel, L the full length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from backstride.geometry import Geometry, crop_before, full_size, span
from backstride.integers import (
    LARGEST,
    PaddingRule,
    Pair,
    Size,
    as_integer,
    as_pairs,
    as_sizes,
    common_rank,
    illegal,
    nearest_crop,
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The sizes of a call, one entry per axis, with `spans` (K) and `lengths` (L) worked out."""

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.input)

    @property
    def spans(self) -> tuple[int, ...]:
        """`K = d(k-1) + 1`."""
        return tuple(map(span, self.kernel, self.dilation))

    @property
    def lengths(self) -> tuple[int, ...]:
        """`L = (i-1)s + K`."""
        return tuple(map(full_size, self.input, self.spans, self.strides))

    def sized(
        self,
        sizes: Sequence[int],
        rules: Sequence[PaddingRule | Pair],
        name: str,
        value: object,
        extra: Size = 0,
    ) -> Geometry:
        """The geometry with these output sizes, each total crop split by its axis's rule.

        `extra`: cells beyond the full length that count as part of it when the total is split.
        """
        extras = as_sizes("extra", extra, self.rank, least=-LARGEST)
        crops: list[Pair] = []
        for length, size, rule, cells in zip(self.lengths, sizes, rules, extras, strict=True):
            before = crop_before(length + cells - size, rule)
            crops.append((before, length - size - before))
        return self.cropped(crops, name, value, lambda _: {})

    def cropped(
        self,
        crops: Sequence[Pair],
        name: str,
        value: object,
        write: Callable[[list[Pair]], Mapping[str, object]],
    ) -> Geometry:
        """The geometry with these crops.

        `name` and `value` are the argument to blame where nothing is left. `write`: the arguments
        that say other crops.
        """
        for axis, (length, (before, after)) in enumerate(zip(self.lengths, crops, strict=True)):
            if length - before - after < 1:
                what = (
                    f"`{name}` (={value!r}) must leave at least 1 of the {length} cells of the "
                    f"full output of axis {axis}, not {length - before - after}"
                )
                kept = zip(self.lengths, crops, strict=True)
                legal = write(
                    [crop if sum(crop) < size else nearest_crop(size, crop) for size, crop in kept]
                )
                raise illegal(what, said(legal), **legal)
        return Geometry(self.input, self.kernel, self.strides, self.dilation, tuple(crops))


def read(
    input: Size,
    kernel: Size,
    strides: tuple[str, Size],
    dilation: tuple[str, Size],
    **others: object,
) -> Frame:
    """Check the four sizes; strides and dilation come with the framework's names.

    `others` fix the rank too.
    """
    rank = common_rank(input=input, kernel=kernel, **dict([strides, dilation]), **others)
    return Frame(
        as_sizes("input", input, rank),
        as_sizes("kernel", kernel, rank),
        as_sizes(*strides, rank),
        as_sizes(*dilation, rank),
    )


def require(name: str, values: Sequence[int], ranges: Sequence[tuple[int, int]], rule: str) -> None:
    """Refuse a value outside its axis's range, both ends legal.

    The sentence has the rule and the nearest legal value.
    """
    for axis, (value, (low, high)) in enumerate(zip(values, ranges, strict=True)):
        if low <= value <= high:
            continue
        legal = f"must be {low} to {high}" if low < high else f"must be {low}"
        if low == -LARGEST:
            legal = f"must be at most {high}"
        what = (
            f"`{name}` (={value}) {legal if low <= high else 'has no legal value'} on axis {axis}: "
            f"{rule}"
        )
        if low > high:
            raise illegal(what)
        nearest = tuple(
            max(first, min(found, last))
            for found, (first, last) in zip(values, ranges, strict=True)
        )
        raise illegal(what, f"value is {nearest[axis]}", **{name: nearest})


def no_negative(
    name: str, value: object, pairs: Sequence[Pair], write: Callable[[list[Pair]], object] = list
) -> None:
    """Refuse negative entries, in a framework that takes none; `write`: pairs as it has them."""
    if min(min(pair) for pair in pairs) < 0:
        legal = {name: write([(max(before, 0), max(after, 0)) for before, after in pairs])}
        what = f"`{name}` (={value!r}) must not be negative"
        raise illegal(what, said(legal), **legal)


def said(legal: Mapping[str, object]) -> str:
    """Arguments as the nearest legal call has them, or nothing."""
    return (
        "call has " + ", ".join(f"{name}={value!r}" for name, value in legal.items())
        if legal
        else ""
    )


def spread(name: str, padding: object, rank: int) -> tuple[Pair, ...]:
    """Padding as an integer, as an integer per axis that counts for both sides, or as pairs."""
    if isinstance(padding, Sequence) and not isinstance(padding, str):
        entries = cast("Sequence[object]", padding)
        return as_pairs(
            name, [(entry, entry) if isinstance(entry, int) else entry for entry in entries], rank
        )
    size = as_integer(name, padding)
    return as_pairs(name, [(size, size)] * rank, rank)


def choose(name: str, value: object, legal: Sequence[str]) -> str:
    """Refuse a name that is not one of the legal ones, exactly as written."""
    if value in legal:
        return str(value)
    listed = ", ".join(f'"{entry}"' for entry in legal)
    near = next((entry for entry in legal if entry.upper() == str(value).upper()), legal[0])
    what = f"`{name}` (={value!r}) must be one of {listed}"
    raise illegal(what, f'value is "{near}"', **{name: near})
