"""An explanation in words.

Sections of lines and tables, which the command line and the page print each in its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backstride.explain.facts import Axis
from backstride.explain.record import Record
from backstride.geometry import Phase

MOST_PHASES = 8


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences, and a table below them; `header` is empty where there is none."""

    title: str
    lines: tuple[str, ...]
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(explanation: Record) -> tuple[Section, ...]:
    """Say everything, in the order of the questions that people have."""
    return (
        _sizes(explanation),
        _phases(explanation),
        _coverage(explanation),
        _cost(explanation),
        _field(explanation),
        *([_elsewhere(explanation)] if explanation.elsewhere else []),
    )


def headline(explanation: Record) -> str:
    """Input to output in one line."""
    geometry, (small, big) = explanation.geometry, explanation.channels
    ends = ((geometry.input, small), (geometry.output, big))
    left, right = (
        " x ".join(map(str, size))
        + (f", {channels} channel{'s' if channels > 1 else ''}" if channels else "")
        for size, channels in ends
    )
    if explanation.forward:
        return f"convolution {right}  ->  {left}; below, its transpose  {left}  ->  {right}"
    return f"{left}  ->  {right}"


def plain(explanation: Record) -> str:
    """Everything as text."""
    lines = [headline(explanation)]
    for section in sections(explanation):
        lines += ["", section.title, *section.lines]
        rows = [section.header, *section.rows] if section.rows else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            lines.append(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(row, widths, strict=True)
                ).rstrip()
            )
    return "\n".join(lines)


def _each(explanation: Record) -> Iterator[tuple[str, Axis]]:
    """The axes with their names; equal axes once, as "each"."""
    distinct = {repr(axis): axis for axis in explanation.axes}
    if len(distinct) == 1:
        yield from (
            ("each" if len(explanation.axes) > 1 else "0", axis) for axis in distinct.values()
        )
    else:
        yield from ((str(number), axis) for number, axis in enumerate(explanation.axes))


def _sizes(explanation: Record) -> Section:
    rows = tuple((name, axis.formula, axis.odd) for name, axis in _each(explanation))
    dilated = any(axis.dilation > 1 for axis in explanation.axes)
    span = "d * (k - 1) + 1" if dilated else "k"
    return Section(
        "Sizes",
        (f"(i - 1) * s + {span} - crop before - crop after = o",),
        ("axis", "size", "crop"),
        rows,
    )


def _phases(explanation: Record) -> Section:
    rows: list[tuple[str, ...]] = []
    for name, axis in _each(explanation):
        for phase in axis.phases[:MOST_PHASES]:
            start, step = phase.start, axis.stride
            cells = ", ".join(str(start + step * n) for n in range(min(3, phase.count)))
            cells += ", ..." if phase.count > 3 else ""
            taps = ", ".join(map(str, phase.taps[:8])) + (", ..." if len(phase.taps) > 8 else "")
            rows.append((name, cells, taps or "none: stays 0", _sum_of(phase)))
        if len(axis.phases) > MOST_PHASES:
            rows.append((name, f"... {len(axis.phases) - MOST_PHASES} more", "", ""))
    line = (
        "A stride of s is s small convolutions, one for each phase of the output: these taps meet "
        "these cells."
    )
    return Section(
        "Phases",
        (line,),
        ("axis", "output cells", "taps", "output cell, n-th of its phase"),
        tuple(rows),
    )


def _sum_of(phase: Phase) -> str:
    terms = [
        f"x[{_n(phase.first - shift)}]*w[{tap}]"
        for tap, shift in zip(phase.taps[:4], phase.shifts[:4], strict=True)
    ]
    return " + ".join(terms) + (" + ..." if len(phase.taps) > 4 else "") if terms else "0"


def _n(offset: int) -> str:
    return f"n+{offset}" if offset > 0 else f"n-{-offset}" if offset else "n"


def _coverage(explanation: Record) -> Section:
    rows = tuple(
        (name, str(products), str(cells))
        for name, axis in _each(explanation)
        for products, cells in axis.coverage.items()
    )
    evenness = explanation.evenness
    if not evenness.score:
        verdict = (
            f"Checkerboard score 0: every interior cell is the sum of {evenness.most} products for "
            "each channel."
        )
    else:
        verdict = (
            f"Checkerboard score {float(evenness.score):.2f}: interior cells are the sum of "
            f"{evenness.fewest} to {evenness.most} products for each channel. 0 is even, 1 has "
            "holes."
        )
    advice = tuple(sentence[0].upper() + sentence[1:] + "." for sentence in evenness.advice)
    return Section("Coverage", (verdict, *advice), ("axis", "products", "cells"), rows)


def _cost(explanation: Record) -> Section:
    cost = explanation.cost
    if cost is None:
        return Section(
            "Cost",
            (
                (
                    "The channels are not known: say them in the call and with the input, for "
                    "example 7x7x256."
                ),
            ),
        )
    naive = (
        f"Output cells times taps, as common counters have it, are {cost.naive:,}: "
        f"{cost.excess:.2f} times as many."
        if cost.naive != cost.multiply_adds
        else "Output cells times taps is the same number here."
    )
    cut = cost.full - cost.multiply_adds
    lines = (
        f"{cost.multiply_adds:,} multiply-adds for one image"
        + (f", and {cut:,} more if what the crop discards is computed." if cut else "."),
        naive,
        f"{cost.parameters + cost.bias:,} parameters: {cost.parameters:,} in the kernel"
        + (f", {cost.bias:,} in the bias." if cost.bias else ", no bias."),
    )
    if explanation.groups > 1:
        lines += (
            (
                f"{explanation.groups} groups: each output channel sees 1/{explanation.groups} of "
                "the input channels."
            ),
        )
    return Section("Cost", lines)


def _field(explanation: Record) -> Section:
    rows: list[tuple[str, ...]] = []
    for name, axis in _each(explanation):
        least, most = axis.inputs_per_output
        seen = (
            str(most)
            if least == most
            else f"{least} or {most}"
            if most == least + 1
            else f"{least} to {most}"
        )
        taps = f"{axis.kernel}" if axis.dilation == 1 else f"{axis.kernel}, over {axis.span}"
        rows.append((name, seen, taps, _shift(axis)))
    header = ("axis", "inputs per output", "outputs per input", "against an aligned resize")
    return Section("Receptive field", (), header, tuple(rows))


def _shift(axis: Axis) -> str:
    if not axis.shift:
        return "aligned"
    side = "back" if axis.shift > 0 else "front"
    return f"{abs(axis.shift)} output cell{'s' if abs(axis.shift) > 1 else ''} toward the {side}"


def _elsewhere(explanation: Record) -> Section:
    rows = tuple((entry.framework, entry.verdict, entry.reason) for entry in explanation.elsewhere)
    return Section("The same layer elsewhere", (), ("framework", "", ""), rows)
