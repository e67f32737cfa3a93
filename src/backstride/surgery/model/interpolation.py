"""Interpolation as a sliding window: each new cell weighs the cells of the map around its place.

By a whole factor f new cell i lies at `(i + 1/2)/f - 1/2` (`middles`) or `i/f` (`starts`) among the
map's cells, so cell 0 reaches those new cells d whose place is near 0: a transposed convolution of
stride f with as many taps. At the borders the outermost cells stand for those beyond. With aligned
corners (`corners`), or by another factor, where a cell lies depends on the size of the map: a
`resize`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal, TypeAlias

from backstride.integers import Pair
from backstride.surgery.model.graph import Kind, Ratio, Window

Place: TypeAlias = Literal["middles", "starts", "corners"]
Rounding: TypeAlias = Literal["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
HALF = Fraction(1, 2)
NEAREST: Mapping[Rounding, tuple[Fraction, Fraction]] = {  # the places that are rounded to 0
    "floor": (Fraction(0), Fraction(1)),
    "ceil": (Fraction(-1), Fraction(0)),
    "round_prefer_floor": (-HALF, HALF),
    "round_prefer_ceil": (-HALF, HALF),
}


def interpolated(
    cells: Sequence[int],
    found: Sequence[int],
    *,
    place: Place,
    reach: int = 0,
    rounding: Rounding = "floor",
    scales: Sequence[float] = (),
) -> tuple[Kind, Window | None, tuple[Ratio, ...]]:
    """The node that makes a map of `found` cells of one of `cells`.

    Its kind, and its window or ratios. `reach`: how far a cell is weighed, 0 for the nearest one,
    taken by `rounding`, 1 for linear interpolation, 2 for cubic. `scales`: the factors, where they
    are stated; where the size is, the factor of the native size holds for all.
    """
    pairs = list(zip(cells, found, strict=True))
    factors = tuple(big // small for small, big in pairs)
    whole = all(big == small * factor for (small, big), factor in zip(pairs, factors, strict=True))
    if (
        not whole
        or (scales and tuple(scales) != factors)
        or (place == "corners" and set(factors) != {1})
    ):
        return "resize", None, _ratios(pairs, place, reach, rounding, scales)
    taps = [_taps(factor, place, reach, rounding) for factor in factors]
    kernel = tuple(len(entry) for entry in taps)
    crop: tuple[Pair, ...] = tuple(
        (-entry.start, len(entry) - factor + entry.start)
        for entry, factor in zip(taps, factors, strict=True)
    )
    return "conv_transpose", Window(kernel, factors, crop, (1,) * len(factors), same=not scales), ()


def _taps(factor: int, place: Place, reach: int, rounding: Rounding) -> range:
    """The new cells that cell 0 of the map reaches, those before it counted below 0.

    >>> (_taps(3, "middles", 1, "floor"), _taps(2, "starts", 1, "floor"),
    ...  _taps(4, "starts", 0, "round_prefer_floor"))
    (range(-1, 4), range(-1, 2), range(-1, 3))
    """
    if factor == 1:
        return range(1)
    shift = (Fraction(1, factor) - 1) / 2 if place == "middles" else Fraction(0)
    low, high = (Fraction(-reach), Fraction(reach)) if reach else NEAREST[rounding]
    first, last = (low - shift) * factor, (high - shift) * factor
    if not reach and rounding in (
        "floor",
        "round_prefer_ceil",
    ):  # the first place counts and the last does not
        return range(math.ceil(first), math.ceil(last))
    return range(math.floor(first) + 1, math.floor(last) + 1 if not reach else math.ceil(last))


def _ratios(
    pairs: Sequence[tuple[int, int]],
    place: Place,
    reach: int,
    rounding: Rounding,
    scales: Sequence[float],
) -> tuple[Ratio, ...]:
    """Where the new cells lie, per axis.

    The nearest cell before `i*ratio + shift` is the one that is taken.
    """
    ratios: list[Ratio] = []
    for axis, (small, big) in enumerate(pairs):
        if place == "corners":
            ratio, shift = Fraction(max(small - 1, 0), max(big - 1, 1)), Fraction(0)
        else:
            ratio = (
                1 / Fraction(scales[axis]).limit_denominator(4096)
                if scales
                else Fraction(small, big)
            )
            shift = (ratio - 1) / 2 if place == "middles" else Fraction(0)
        if not reach:
            least = Fraction(
                1, math.lcm(ratio.denominator, shift.denominator, 2)
            )  # places differ by its multiples
            more = {"floor": Fraction(0), "ceil": 1 - least, "round_prefer_floor": HALF - least}
            shift += more.get(rounding, HALF)
        ratios.append((ratio, shift, 2 * reach or 1))
    return tuple(ratios)
