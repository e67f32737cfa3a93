"""What there is to say about a geometry, as plain data.

Sizes, odd cell, phases, coverage, evenness, cost, field.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from backstride.explain.cure import even, own
from backstride.geometry import Geometry, Phase

LARGEST_AXIS = 65536


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    `coverage`: how many output cells are the sum of so many products, {products: cells}. `shift`:
    how far, in output cells, the layer moves the picture toward the end against a resize that keeps
    the outer edges in place ("half-pixel centres"); 0 is aligned.
    """

    input: int
    kernel: int
    stride: int
    dilation: int
    span: int
    full: int
    crop: tuple[int, int]
    output: int
    formula: str
    odd: str
    phases: tuple[Phase, ...]
    coverage: dict[int, int]
    inputs_per_output: tuple[int, int]
    shift: Fraction


@dataclass(frozen=True, slots=True)
class Evenness:
    """How uneven the interior is.

    `score` is 1 - fewest/most products of an interior cell: 0 is even, 1 has holes. `fix`: the
    nearest even call to the same output size, None where the layer is even or no such call exists.
    `advice`: sentences.
    """

    score: Fraction
    fewest: int
    most: int
    fix: str | None
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Counted exactly.

    `naive` is output cells times taps, which many counters report; `excess` times too many. `full`
    counts the products that the crop discards too: input cells times taps.
    """

    multiply_adds: int
    full: int
    naive: int
    excess: float
    parameters: int
    bias: int


def axes(geometry: Geometry) -> tuple[Axis, ...]:
    """The facts of each axis.

    >>> from backstride.geometry import geometry
    >>> (axis,) = axes(geometry(7, 3, strides=2, padding="same"))
    >>> axis.formula
    '(7 - 1) * 2 + 3 - 0 - 1 = 14'
    >>> axis.odd, axis.coverage
    ('1 cell cropped: the odd one off the back', {1: 8, 2: 6})

    Raises `ValueError` where a kernel or stride is above 65536.
    """
    check_axes(geometry)
    counts = geometry.coverage_counts()
    return tuple(
        _axis(geometry, axis, phases, counts[axis]) for axis, phases in enumerate(geometry.phases)
    )


def check_axes(geometry: Geometry) -> None:
    """Refuse axes of too many taps or phases to go through one by one."""
    for name, size in (("kernel", geometry.kernel), ("strides", geometry.strides)):
        if max(size) > LARGEST_AXIS:
            message = (
                f"`{name}` (={size}) must be at most {LARGEST_AXIS} on each axis to be explained"
            )
            raise ValueError(message)


def _axis(geometry: Geometry, axis: int, phases: tuple[Phase, ...], counts: dict[int, int]) -> Axis:
    i, k, s, d = (
        getattr(geometry, name)[axis] for name in ("input", "kernel", "strides", "dilation")
    )
    (before, after), span = geometry.crop[axis], geometry.effective_kernel[axis]
    shown = str(k) if d == 1 else f"{d} * ({k} - 1) + 1"
    formula = (
        f"({i} - 1) * {s} + {shown} {_minus(before)} {_minus(after)} = {geometry.output[axis]}"
    )
    reach = [len(phase.taps) for phase in phases]
    return Axis(
        i,
        k,
        s,
        d,
        span,
        geometry.full[axis],
        (before, after),
        geometry.output[axis],
        formula,
        odd_cell(before, after),
        phases,
        counts,
        (min(reach), max(reach)),
        Fraction(span - s, 2) - before,
    )


def odd_cell(before: int, after: int) -> str:
    """Which end loses, or gains, the odd cell.

    >>> odd_cell(1, 0), odd_cell(1, 1), odd_cell(0, -2)
    ('1 cell cropped: the odd one off the front', '2 cells cropped, 1 off each end', '2 zeros appended at the back')
    """  # noqa: E501
    if min(before, after) < 0:
        ends = ((before, "front"), (after, "back"))
        words = [f"{_cells(cells)} cropped off the {end}" for cells, end in ends if cells > 0]
        words += [
            f"{_cells(-cells, 'zero')} appended at the {end}" for cells, end in ends if cells < 0
        ]
        return ", ".join(words)
    total, side = before + after, "front" if before > after else "back"
    if not total:
        return "nothing cropped"
    if before == after:
        return f"{_cells(total)} cropped, {before} off each end"
    if abs(before - after) == 1:
        return f"{_cells(total)} cropped: the odd one off the {side}"
    return f"{_cells(total)} cropped: {before} off the front, {after} off the back"


def evenness(geometry: Geometry, write: Callable[[Geometry], str | None] | None = None) -> Evenness:
    """The checkerboard.

    Interior cells with fewest and most products, and what would make them equal.

    >>> from backstride.geometry import geometry
    >>> found = evenness(geometry(7, 3, strides=2, padding="same"))
    >>> str(found.score), found.fix
    ('1/2', 'kernel=4, strides=2, padding="same"')

    `write`: how the fix for a geometry is written, in our own options without it.

    Odena, Dumoulin & Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
    """
    check_axes(geometry)
    fewest, most = 1, 1
    for k, s, d in zip(geometry.kernel, geometry.strides, geometry.dilation, strict=True):
        residues = Counter(tap * d % s for tap in range(k))
        fewest *= min(residues.values()) if len(residues) == s else 0
        most *= max(residues.values())
    score = 1 - Fraction(fewest, most)
    if not score:
        return Evenness(score, fewest, most, None, ())
    fix = write(geometry) if write else next(map(own, even(geometry)), None)
    return Evenness(score, fewest, most, fix, tuple(_advice(geometry, fix)))


def cost(
    geometry: Geometry, small: int, big: int, groups: int = 1, *, bias: int = 0, batch: int = 1
) -> Cost:
    """Multiply-adds and parameters of the layer, C_small to C_big channels.

    `bias` counts its numbers.

    >>> from backstride.geometry import geometry
    >>> found = cost(geometry((7, 7), 3, strides=2, padding="same"), 256, 128)
    >>> found.multiply_adds, found.parameters, round(found.excess, 2)
    (13107200, 294912, 4.41)
    """
    check_axes(geometry)
    meetings = 1
    for axis, taps in enumerate(geometry.kernel):
        ranges = (geometry.tap_range(axis, tap) for tap in range(taps))
        meetings *= sum(stop - first for first, stop, _ in ranges)
    channels = small * big // groups * batch
    taps = math.prod(geometry.kernel)
    exact, naive = meetings * channels, math.prod(geometry.output) * taps * channels
    full = math.prod(geometry.input) * taps * channels
    return Cost(
        exact, full, naive, naive / exact if exact else math.inf, taps * small * big // groups, bias
    )


def _advice(geometry: Geometry, fix: str | None) -> list[str]:
    advice: list[str] = []
    shared = [
        f"dilation {d} shares the factor {math.gcd(s, d)} with stride {s}, so some cells are "
        "reached by no tap"
        for s, d in zip(geometry.strides, geometry.dilation, strict=True)
        if math.gcd(s, d) > 1
    ]
    advice += list(dict.fromkeys(shared))
    if fix:
        advice.append(f"an even layer with the same sizes: {fix}")
    else:
        steps = " x ".join(map(str, geometry.strides))
        advice.append(
            f"even layers have a kernel that is a multiple of the stride on each axis ({steps})"
        )
    return advice


def _minus(cells: int) -> str:
    return f"- {cells}" if cells >= 0 else f"+ {-cells}"


def _cells(count: int, noun: str = "cell") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
