"""Words of the command line to arguments of the public functions."""

from __future__ import annotations

from backstride.integers import RULES, Padding


def size(name: str, text: str | None) -> int | tuple[int, ...] | None:
    """Read sizes joined by x or by commas.

    >>> size("input", "46x62"), size("input", "12"), size("input", "(7, 7)")
    ((46, 62), 12, (7, 7))
    """
    if text is None:
        return None
    words = (
        text.lower()
        .replace("\N{MULTIPLICATION SIGN}", "x")
        .strip("()[] ")
        .replace(",", "x")
        .split("x")
    )
    try:
        numbers = tuple(int(word) for word in words)
    except ValueError:
        message = (
            f"`{name}` (={text!r}) must be a size, or sizes joined by x; for example 12 or 46x62"
        )
        raise ValueError(message) from None
    return numbers[0] if len(numbers) == 1 else numbers


def names(pairs: list[str] | None) -> dict[str, object]:
    """Read values of names, each as name=value.

    >>> names(["k=4", "self.size=(7, 7)"])
    {'k': 4, 'self.size': (7, 7)}
    """
    from backstride.calls.arguments import Opaque  # noqa: PLC0415  other commands read no calls
    from backstride.calls.syntax import Source  # noqa: PLC0415  the same

    found: dict[str, object] = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not (sign and name.strip() and value.strip()):
            message = f"`set` (={pair!r}) must be a name and its value, for example --set k=4"
            raise ValueError(message)
        found[name.strip()] = read = Source(value.strip()).value()
        if isinstance(read, Opaque):
            message = (
                f"`set` (={pair!r}) must give {name.strip()} a value written out, for example "
                f"--set {name.strip()}=4"
            )
            raise ValueError(message)  # noqa: TRY004  the text is at fault
    return found


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


def shape(name: str, text: str) -> tuple[int, ...]:
    """Read channels, rows and columns joined by x.

    >>> shape("input", "3x224x224")
    (3, 224, 224)
    """
    found = size(name, text)
    if not isinstance(found, tuple) or len(found) != 3:
        message = f"`{name}` (={text!r}) must be channels x rows x columns; for example 3x224x224"
        raise ValueError(message)
    return found


def pair(name: str, text: str) -> tuple[int, int]:
    """Read rows and columns joined by x.

    >>> pair("size", "192x352")
    (192, 352)
    """
    found = size(name, text)
    if not isinstance(found, tuple) or len(found) != 2:
        message = f"`{name}` (={text!r}) must be rows x columns; for example 192x352"
        raise ValueError(message)
    return found


def numbers(name: str, text: str) -> tuple[float, ...]:
    """Read numbers joined by commas.

    >>> numbers("mean", "0.485,0.456,0.406")
    (0.485, 0.456, 0.406)
    """
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        message = (
            f"`{name}` (={text!r}) must be a number, or numbers joined by commas; for example 0.5"
        )
        raise ValueError(message) from None


def words(text: str) -> tuple[str, ...]:
    """Read words joined by commas.

    >>> words("overlay, mask"), words("")
    (('overlay', 'mask'), ())
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def skips(text: str) -> str | tuple[int, ...]:
    """Read "auto", "none" or strides joined by commas.

    >>> skips("auto"), skips("none"), skips("16,8")
    ('auto', (), (16, 8))
    """
    if text == "auto":
        return text
    try:
        return () if text == "none" else tuple(int(word) for word in text.split(","))
    except ValueError:
        message = (
            f"`skips` (={text!r}) must be auto, none, or strides joined by commas; for example 16,8"
        )
        raise ValueError(message) from None
