"""The query of the page to a call: every parameter is bounded before anything is computed from it.

A query is either `call` and `input`, as on the command line, or sizes by name. A file is never
opened: a call that names one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from backstride.calls import SourceCall, parse
from backstride.explain.request import chosen_view
from backstride.explain.views import CELL_VIEWS, View

LONGEST_CALL = 1000
RULES = ("same", "same_lower", "valid")
NAMES = ("call", "input", "kernel", "strides", "dilation", "padding", "output_padding", "view")
_SIZES = re.compile(r"-?\d{1,40}(x-?\d{1,40}){0,2}", re.ASCII)
_PAIRS = re.compile(r"-?\d{1,3},-?\d{1,3}(;-?\d{1,3},-?\d{1,3}){0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bound:
    """The least value of a size, the largest of its slider and of a call, and the first one."""

    least: int
    most: int
    start: int
    largest: int


BOUNDS: Mapping[str, Bound] = {
    "input": Bound(1, 12, 4, 4096),
    "kernel": Bound(1, 9, 3, 64),
    "strides": Bound(1, 5, 2, 64),
    "dilation": Bound(1, 4, 1, 64),
    "padding": Bound(-3, 12, 1, 64),
    "output_padding": Bound(0, 4, 0, 63),
}


def read_query(query: Mapping[str, str]) -> tuple[SourceCall, View]:
    """A call on an input, and the view.

    >>> call, view = read_query({"input": "4x5", "kernel": "3", "padding": "same"})
    >>> call.geometry().output, view
    ((8, 10), 'scatter')

    Without sizes it is two-dimensional. Raises `ValueError` for unknown names, for what is no size,
    and for sizes out of bounds.
    """
    for name in query:
        if name not in NAMES:
            message = f"`{name[:40]}` is no parameter; there are {', '.join(NAMES)}"
            raise ValueError(message)
    view = chosen_view(query.get("view"), "scatter", CELL_VIEWS)
    if "call" in query:
        return _written(query["call"], query.get("input", "")), view
    wanted = {"input": "4x4", **query}
    sizes = {name: _size(name, wanted.get(name)) for name in BOUNDS if name != "padding"}
    rank = max(len(size) for size in sizes.values())
    padding, explicit = _padding(query.get("padding", "same"))
    words = {
        "k": _joined(sizes["kernel"]),
        "s": _joined(sizes["strides"]),
        "d": _joined(sizes["dilation"]),
        "p": padding,
    }
    if explicit and any(sizes["output_padding"]):
        words["op"] = _joined(sizes["output_padding"])
    text = " ".join(f"{name}={value}" for name, value in words.items())
    size = sizes["input"]
    return parse(text).at(size * rank if len(size) == 1 else size), view


def _written(call: str, size: str) -> SourceCall:
    if len(call) > LONGEST_CALL:
        message = f"`call` has {len(call)} characters; at most {LONGEST_CALL} are read here"
        raise ValueError(message)
    if ".onnx" in call.lower():
        message = (
            "`call` names a file; the page opens none, use: backstride explain model.onnx:node"
        )
        raise ValueError(message)
    found = parse(call)
    if found.input is not None and not size:
        return found
    sizes = _size("input", size or None)
    return found.at(sizes[0] if len(sizes) == 1 or len(set(sizes)) == 1 else sizes)


def _size(name: str, text: str | None) -> tuple[int, ...]:
    bound = BOUNDS[name]
    if text is None:
        return (bound.start,)
    if _SIZES.fullmatch(text) is None:
        message = (
            f"`{name}` (={text[:40]!r}) must be an integer, or one for each axis joined by x; for "
            f"example {bound.start}"
        )
        raise ValueError(message)
    sizes = tuple(map(int, text.split("x")))
    for size in sizes:
        _check(name, size)
    return sizes


def _padding(text: str) -> tuple[str, bool]:
    """Padding as an option of ours, and whether it is explicit."""
    if text in RULES:
        return text, False
    if _PAIRS.fullmatch(text):
        pairs = [tuple(map(int, pair.split(","))) for pair in text.split(";")]
    elif _SIZES.fullmatch(text):
        pairs = [(int(size), int(size)) for size in text.split("x")]
        if len(pairs) == 1:
            _check("padding", pairs[0][0])
            return text, True
    else:
        message = (
            f"`padding` (={text[:40]!r}) must be {', '.join(RULES)}, an integer, one for each axis "
            "joined by x, or pairs such as 0,1;0,1"
        )
        raise ValueError(message)
    for pair in pairs:
        for size in pair:
            _check("padding", size)
    return "[" + ",".join(f"({before},{after})" for before, after in pairs) + "]", True


def _check(name: str, size: int) -> None:
    bound = BOUNDS[name]
    if not bound.least <= size <= bound.largest:
        nearest = max(bound.least, min(size, bound.largest))
        message = (
            f"`{name}` (={size}) must be {bound.least} to {bound.largest}; the nearest legal value "
            f"is {nearest}"
        )
        raise ValueError(message)


def _joined(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
