"""The colours, light and dark: blue input, orange kernel, green output, by Okabe and Ito.

Distinct for colour-blind readers, and by lightness and dashes on paper: what is at work is dark on a light page and
bright on a dark one, what is no cell of a map is dashed. Source: M. Okabe, K. Ito, "Color Universal Design", 2008.
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


STYLES: dict[Theme, dict[str, Style]] = {
    "light": {
        "paper": Style("#ffffff"),
        "title": Style("#1f2328", width=600),
        "ink": Style("#1f2328"),
        "soft": Style("#59636e"),
        "blank": Style("#ffffff", "#8c959f"),
        "zero": Style("#ffffff", "#8c959f", dashed=True),
        "cut": Style("#e6e8eb", "#8c959f", dashed=True),
        "input": Style("#cfe5f6", "#0072b2"),
        "input-on": Style("#0072b2", "#004b76", 2),
        "kernel": Style("#fdebc8", "#b97700"),
        "kernel-on": Style("#e69f00", "#8a5a00", 2),
        "output": Style("#d6f0e6", "#00805d"),
        "output-on": Style("#00805d", "#004d38", 2),
        "on-dark": Style("#ffffff"),
        "on-bright": Style("#1f2328"),
        "on-tap": Style("#1f2328"),
        "faint": Style("#7a838c"),
        "window": Style(NONE, "#b97700", 3),
        "frame": Style(NONE, "#004d38", 3),
        "ray": Style(NONE, "#b97700", 2),
        "ink-line": Style(NONE, "#59636e", 1.5),
        **_heat("sum", "#d6f0e6", "#00664a", "#00805d", ("#1f2328", "#ffffff")),
    },
    "dark": {
        "paper": Style("#0d1117"),
        "title": Style("#e6edf3", width=600),
        "ink": Style("#e6edf3"),
        "soft": Style("#9198a1"),
        "blank": Style("#0d1117", "#656c76"),
        "zero": Style("#0d1117", "#656c76", dashed=True),
        "cut": Style("#2a3038", "#656c76", dashed=True),
        "input": Style("#0f3a57", "#56b4e9"),
        "input-on": Style("#56b4e9", "#c6e6fa", 2),
        "kernel": Style("#4a3408", "#e69f00"),
        "kernel-on": Style("#f0b429", "#ffe3a3", 2),
        "output": Style("#0b3b2d", "#2fbf95"),
        "output-on": Style("#2fbf95", "#b5f0dc", 2),
        "on-dark": Style("#0d1117"),
        "on-bright": Style("#0d1117"),
        "on-tap": Style("#e6edf3"),
        "faint": Style("#7d8590"),
        "window": Style(NONE, "#f0b429", 3),
        "frame": Style(NONE, "#b5f0dc", 3),
        "ray": Style(NONE, "#f0b429", 2),
        "ink-line": Style(NONE, "#9198a1", 1.5),
        **_heat("sum", "#0b3b2d", "#4be0b3", "#2fbf95", ("#e6edf3", "#0d1117")),
    },
}


def heat(count: int, largest: int) -> str:
    """The number of the heat style for a count, 1 to `largest` from light to full; 0 is no heat."""
    return str(round(HEAT_STEPS * (count - 1) / max(largest - 1, 1))) if count else "0"
