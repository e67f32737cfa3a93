"""A call explained: everything there is to say about it as one record, which text, JSON and pages are drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from backstride.calls import SourceCall
from backstride.explain.facts import Axis, Cost, Evenness, axes, cost, evenness
from backstride.explain.trace import LARGEST_TRACE, trace
from backstride.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The same layer in another framework. `verdict`: "exact", "exact with a crop" or "not expressible".

    `code` is a program that runs as it stands; `notes` say what moves on the way, as the layout or the kernel's flip.
    """

    framework: str
    verdict: str
    reason: str
    notes: tuple[str, ...]
    code: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`cost` is None where the channels are not known; `elsewhere` where the input is not of 1 to 3 axes."""

    call: str
    function: str
    geometry: Geometry
    channels: tuple[int | None, int | None]
    groups: int
    axes: tuple[Axis, ...]
    evenness: Evenness
    cost: Cost | None
    elsewhere: tuple[Elsewhere, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON: the record, and the trace where it is small enough."""
        geometry = self.geometry
        data = cast("dict[str, Any]", _plain(self))
        data["geometry"] = {
            name: getattr(geometry, name)
            for name in ("input", "kernel", "strides", "dilation", "crop", "full", "output", "is_even")
        }
        try:
            data["trace"] = trace(geometry).as_data()
        except ValueError:
            data["trace"] = None
            data["trace_limit"] = LARGEST_TRACE
        return data


def explain(call: SourceCall) -> Explanation:
    """Explain a call whose input is known.

    >>> from backstride.calls import parse
    >>> found = explain(parse('Conv2DTranspose(128, 3, strides=2, padding="same")').at((7, 7, 256)))
    >>> found.geometry.output, found.cost.parameters
    ((14, 14), 294912)

    Raises `ValueError` where the sizes are not legal, not known, or above 65536 on an axis.
    """
    geometry = call.geometry()
    small, big = call.small, call.big
    known = None if small is None or big is None else cost(geometry, small, big, call.groups, bias=call.has_bias)
    return Explanation(
        call.text,
        call.function,
        geometry,
        (small, big),
        call.groups,
        axes(geometry),
        evenness(geometry),
        known,
        _elsewhere(call),
    )


def _elsewhere(call: SourceCall) -> tuple[Elsewhere, ...]:
    """The call in every target of `backstride.port`."""
    from backstride.port import port  # noqa: PLC0415  a third of the start-up time of an explanation without it
    from backstride.port.targets import TARGETS  # noqa: PLC0415

    found: list[Elsewhere] = []
    for name, target in TARGETS.items():
        try:
            result = port(call, to=name)
        except ValueError as refusal:
            found.append(Elsewhere(target.title, "not expressible", str(refusal), (), ""))
            continue
        found.append(Elsewhere(target.title, result.verdict, result.reason, result.notes, result.code))
    return tuple(found)


def _plain(value: object) -> object:
    """Dataclasses, fractions and tuples as JSON has them."""
    if isinstance(value, Fraction):
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in cast("Mapping[object, object]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in cast("Sequence[object]", value)]
    return value
