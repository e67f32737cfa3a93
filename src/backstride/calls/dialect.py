"""The arguments of a rule as a call of its framework writes them.

Names, entries for batch and channels, lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from backstride.conventions import Convention
from backstride.layout import DataFormat

# The arguments of a rule by the names that some calls have for them.
NAMES: Mapping[str, Mapping[str, str]] = {
    "haiku.": {"strides": "stride"},
    "coremltools.": {"pads": "pad"},
}
# OpenVINO's, ONNX's and Core ML's sizes are lists; the pads of OpenVINO have no default.
LISTS = ("openvino.", "onnx.", "coremltools.")


class DialectCall(Protocol):
    """What a dialect asks of a call: its rule, its axes, and its arguments as they are written."""

    @property
    def convention(self) -> Convention:
        """Its rule."""
        ...

    @property
    def rank(self) -> int | None:
        """How many axes it has, where it says so."""
        ...

    @property
    def data_format(self) -> DataFormat:
        """Where its channels stand."""
        ...

    @property
    def arguments(self) -> Mapping[str, str]:
        """Its arguments as they are written."""
        ...


def own_name(function: str, name: str) -> str:
    """An argument of the rule, as the function names it."""
    return next(
        (words.get(name, name) for start, words in NAMES.items() if function.startswith(start)),
        name,
    )


def written(call: DialectCall, function: str, name: str, value: object) -> str:
    """The value of an argument of the rule, as the function takes it.

    >>> from backstride.calls import parse
    >>> call = parse("tf.nn.conv2d_transpose(x, w, [8, 14, 14, 4], 2, [[0, 0], [1, 1], [1, 1], [0, 0]])", kernel=4)
    >>> written(call, call.function, "padding", [(0, 1), (1, 0)])
    '[[0, 0], [0, 1], [1, 0], [0, 0]]'
    """  # noqa: E501
    if value is None or isinstance(value, str):
        return "None" if value is None else f'"{value}"'
    one = isinstance(value, int)
    # What a rule takes is an integer, or integers or pairs.
    sizes: list[object] = (
        [value] * (call.rank or 1) if one else list(cast("Sequence[object]", value))
    )
    if function.startswith(LISTS):
        half = len(sizes) // 2
        paired = name == "pads" and function.startswith("coremltools.")
        return str(
            [sizes[axis + end] for axis in range(half) for end in (0, half)] if paired else sizes
        )
    if call.convention.name == "tensorflow" and not one:
        return _tensorflow(call, name, sizes)
    if name == "padding" and not isinstance(sizes[0], int):
        return str([tuple(pair) for pair in _pairs(sizes)])
    # JAX and Flax take one entry for each axis.
    every = call.convention.name.startswith(("jax", "flax")) and not function.startswith("haiku.")
    if one:
        return str(tuple(sizes)) if every and name != "padding" else str(value)
    return str(tuple(sizes)) if every or len(set(sizes)) > 1 else str(sizes[0])


def _pairs(values: Sequence[object]) -> list[list[int]]:
    return [list(pair) for pair in cast("Sequence[Sequence[int]]", values)]


def _tensorflow(call: DialectCall, name: str, values: list[object]) -> str:
    """With the entries of batch and channels, where the call has them."""
    channels = 0 if call.data_format == "channels_first" else len(values)
    if name == "padding":
        pairs = _pairs(values)
        return str([[0, 0], *pairs[:channels], [0, 0], *pairs[channels:]])
    if name != "output_shape":
        return str(values[0]) if len(set(values)) == 1 else str(values)
    text = call.arguments.get("output_shape", "")
    entries = [part.strip() for part in text.strip("[]()").split(",")]
    if len(entries) == len(values):
        return str(values)
    at = 1 if call.data_format == "channels_first" else len(entries) - 1
    sizes = iter(values)
    return (
        "["
        + ", ".join(
            entry if axis in {0, at} else str(next(sizes)) for axis, entry in enumerate(entries)
        )
        + "]"
    )
