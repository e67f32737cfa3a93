"""The colours, light and dark: blue input, orange kernel, green output, by Okabe and Ito.

Distinct for colour-blind readers, and by lightness and dashes on paper: what is at work is dark on
a light page and bright on a dark one, what is no cell of a map is dashed. Source: M. Okabe, K. Ito,
"Color Universal Design", 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Theme: TypeAlias = Literal["light", "dark"]
NONE = "none"


@dataclass(frozen=True, slots=True)
class Style:
    """How a shape is painted. For text, `fill` is its colour and `width` its weight."""

    fill: str
    stroke: str = NONE
    width: float = 1
    dashed: bool = False


PAPER: dict[Theme, str] = {"light": "#ffffff", "dark": "#0d1117"}

HEAT_STEPS = 8


def _mixed(low: str, high: str, share: float) -> str:
    pairs = ((int(low[at : at + 2], 16), int(high[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _heat(name: str, low: str, high: str, line: str, texts: tuple[str, str]) -> dict[str, Style]:
    styles: dict[str, Style] = {}
    for step in range(HEAT_STEPS + 1):
        share = step / HEAT_STEPS
        styles[f"{name}{step}"] = Style(_mixed(low, high, share), line)
        styles[f"on-{name}{step}"] = Style(texts[share > 0.5])
    return styles


@dataclass(frozen=True, slots=True)
class _Pair:
    """A style in both themes, light first."""

    fill: tuple[str, str] | None
    stroke: tuple[str, str] | None = None
    width: float = 1
    dashed: bool = False

    def style(self, theme: int) -> Style:
        """The style on a light page (0) or a dark one (1)."""
        fill, stroke = (NONE if pair is None else pair[theme] for pair in (self.fill, self.stroke))
        return Style(fill, stroke, self.width, self.dashed)


PAIRS = {
    "paper": _Pair(("#ffffff", "#0d1117")),
    "title": _Pair(("#1f2328", "#e6edf3"), width=600),
    "ink": _Pair(("#1f2328", "#e6edf3")),
    "soft": _Pair(("#59636e", "#9198a1")),
    "blank": _Pair(("#ffffff", "#0d1117"), ("#8c959f", "#656c76")),
    "zero": _Pair(("#ffffff", "#0d1117"), ("#8c959f", "#656c76"), dashed=True),
    "cut": _Pair(("#e6e8eb", "#2a3038"), ("#8c959f", "#656c76"), dashed=True),
    "input": _Pair(("#cfe5f6", "#0f3a57"), ("#0072b2", "#56b4e9")),
    "input-on": _Pair(("#0072b2", "#56b4e9"), ("#004b76", "#c6e6fa"), width=2),
    "kernel": _Pair(("#fdebc8", "#4a3408"), ("#b97700", "#e69f00")),
    "kernel-on": _Pair(("#e69f00", "#f0b429"), ("#8a5a00", "#ffe3a3"), width=2),
    "output": _Pair(("#d6f0e6", "#0b3b2d"), ("#00805d", "#2fbf95")),
    "output-on": _Pair(("#00805d", "#2fbf95"), ("#004d38", "#b5f0dc"), width=2),
    "on-dark": _Pair(("#ffffff", "#0d1117")),
    "on-bright": _Pair(("#1f2328", "#0d1117")),
    "on-tap": _Pair(("#1f2328", "#e6edf3")),
    "faint": _Pair(("#7a838c", "#7d8590")),
    "window": _Pair(None, ("#b97700", "#f0b429"), width=3),
    "frame": _Pair(None, ("#004d38", "#b5f0dc"), width=3),
    "ray": _Pair(None, ("#b97700", "#f0b429"), width=2),
    "torn": _Pair(None, ("#8c959f", "#656c76"), width=1.5),
    "ink-line": _Pair(None, ("#59636e", "#9198a1"), width=1.5),
}
STYLES: dict[Theme, dict[str, Style]] = {
    "light": {
        **{name: pair.style(0) for name, pair in PAIRS.items()},
        **_heat("sum", "#d6f0e6", "#00664a", "#00805d", ("#1f2328", "#ffffff")),
    },
    "dark": {
        **{name: pair.style(1) for name, pair in PAIRS.items()},
        **_heat("sum", "#0b3b2d", "#4be0b3", "#2fbf95", ("#e6edf3", "#0d1117")),
    },
}


def heat(count: int, largest: int) -> str:
    """The number of the heat style for a count, 1 to `largest` from light to full; 0 is no heat."""
    return str(round(HEAT_STEPS * (count - 1) / max(largest - 1, 1))) if count else "0"
