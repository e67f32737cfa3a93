"""Interpolation of a map to another size, as the window that it is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TypeAlias

from backstride.surgery.graph import Kind, Ratio, Window

Resizing: TypeAlias = tuple[Kind, Window | None, tuple[Ratio, ...]]
SMOOTH = {"nearest": 0, "nearest-exact": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 2}


def resizing(
    mode: str, cells: Sequence[int], found: Sequence[int], scales: Sequence[float] | None, *, aligned: bool
) -> Resizing:
    """Resizing of a map of `cells` to `found`: kind, window, and where cells lie if it is none; `mode` as torch has it.

    By a whole factor each cell is repeated, or weighed by the distance to the new ones: a transposed convolution with
    2f - 1 taps for an odd factor f, 2f for an even one (bilinear), 4f - 1 and 4f (bicubic), whose windows overlap; at
    the borders the outermost cells stand for those beyond. Other factors are a `resize`. Where the size is stated
    instead of the factor (`scales` is None), the factor of the native size holds for all.
    """
    smooth, pairs, stated = SMOOTH[mode], list(zip(cells, found, strict=True)), scales is None
    whole = all(big % small == 0 for small, big in pairs) and all(float(f).is_integer() for f in scales or ())
    factors = tuple(big // small for small, big in pairs)
    if not whole or (aligned and any(small > 1 or f > 1 for (small, _), f in zip(pairs, factors, strict=True))):
        ratios = [
            Fraction(max(small - 1, 0), max(big - 1, 1)) if aligned else Fraction(small, big) for small, big in pairs
        ]
        exact = {"nearest": 0, "nearest-exact": 1}.get(mode)
        shifts = [
            Fraction(0) if aligned else (ratio - 1) / 2 if exact is None else exact * ratio / 2 for ratio in ratios
        ]
        taps = (1, 2, 4)[smooth]
        return "resize", None, tuple(zip(ratios, shifts, [taps] * len(ratios), strict=True))
    kernel = tuple(f if smooth == 0 else 2 * smooth * f - f % 2 for f in factors)
    crop = tuple(((k - f) // 2, (k - f) // 2) for k, f in zip(kernel, factors, strict=True))
    return "conv_transpose", Window(kernel, factors, crop, (1,) * len(factors), same=stated), ()
