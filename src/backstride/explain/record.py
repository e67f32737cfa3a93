"""All that is said of one call, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from backstride.explain.facts import Axis, Cost, Evenness
from backstride.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The same layer in another framework.

    `verdict`: "exact", "exact with a crop" or "not expressible". `code` is a program that runs as
    it stands; `notes` say what moves on the way, as the layout or the kernel's flip.
    """

    framework: str
    verdict: str
    reason: str
    notes: tuple[str, ...]
    code: str


@dataclass(frozen=True, slots=True)
class Record:
    """What there is to say. `cost` is None where the channels are not known.

    `forward`: the call is a convolution, `geometry` and all facts are those of its transpose, and
    `elsewhere` is empty.
    """

    call: str
    function: str
    geometry: Geometry
    channels: tuple[int | None, int | None]
    groups: int
    axes: tuple[Axis, ...]
    evenness: Evenness
    cost: Cost | None
    elsewhere: tuple[Elsewhere, ...]
    forward: bool = False
