"""Words of the command line to arguments of the public functions."""

from __future__ import annotations

from backstride.geometry import RULES, Padding


def size(name: str, text: str | None) -> int | tuple[int, ...] | None:
    """Read sizes joined by x.

    >>> size("input", "46x62"), size("input", "12")
    ((46, 62), 12)
    """
    if text is None:
        return None
    words = text.lower().split("x")
    try:
        numbers = tuple(int(word) for word in words)
    except ValueError:
        message = f"`{name}` (={text!r}) must be a size, or sizes joined by x; for example 12 or 46x62"
        raise ValueError(message) from None
    return numbers[0] if len(numbers) == 1 else numbers


def padding(text: str | None) -> Padding | None:
    """Read a rule's name or an integer.

    >>> padding("same"), padding("1")
    ('same', 1)
    """
    if text is None:
        return None
    for rule in RULES:
        if text == rule:
            return rule
    try:
        return int(text)
    except ValueError:
        message = f"`padding` (={text!r}) must be one of {', '.join(RULES)}, or an integer"
        raise ValueError(message) from None
