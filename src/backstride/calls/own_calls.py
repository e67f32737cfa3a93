"""Our own function, and its options without the call: k=4 s=2 p=1."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import cast

from backstride.calls.arguments import Argument, Arguments, Opaque, is_tuple, nearest
from backstride.calls.functions import function_call
from backstride.calls.kernels import Hints, Kernel, from_array
from backstride.calls.record import SourceCall, convention_of
from backstride.calls.syntax import LONGEST, Source
from backstride.integers import Size, as_sizes
from backstride.layout import check_data_format

ARRAYS = "x kernel bias"
OPTIONS = (
    "strides padding output_padding output_shape dilation groups data_format activation winograd"
)
RULE = ("strides", "padding", "output_padding", "output_shape", "dilation")
WORDS = {
    "kernel": ("k", "kernel_size"),
    "strides": ("s", "stride"),
    "padding": ("p",),
    "output_padding": ("op",),
    "output_shape": ("o", "output"),
    "dilation": ("d",),
    "groups": ("g",),
    "in_channels": ("cin", "c_small", "in"),
    "out_channels": ("cout", "c_big", "out"),
    "input": ("i",),
    "data_format": (),
    "activation": (),
}
LONG = {short: name for name, words in WORDS.items() for short in (name, *words)}
_OPTION = re.compile(r"\s*(\w+)\s*=\s*(\([^=]*\)|\[[^=]*\]|[^\s,;=]+)\s*(?:[,;]|(?=\s)|$)")
PLAIN_EXAMPLE = "k=4 s=2 p=1"


def function(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`backstride.conv_transpose`; the kernel may be written as its size."""
    if hints.kernel is None and isinstance(arguments.raw("kernel"), int | tuple):
        size = arguments.literal("kernel")  # refuses names in it
        hints = Hints(hints.text, size if isinstance(size, int) or is_tuple(size) else None)
    layout = arguments.literal("data_format")
    data_format = "channels_last" if layout is None else check_data_format(layout)
    groups = arguments.groups()
    changes = {} if data_format == "channels_last" else _channels_first()
    convention = convention_of("backstride", **changes)
    kernel = from_array(
        arguments, "kernel", hints, convention, rank=_rank(arguments), groups=groups
    )
    rank = _rank(arguments) or kernel.rank
    call = function_call(
        arguments,
        hints,
        convention,
        {name: arguments.literal(name) for name in RULE},
        kernel,
        source="x",
        rank=rank,
        data_format=data_format,
        groups=groups,
        bias="bias",
    )
    return replace(call, activation=arguments.word("activation"))


def geometry(arguments: Arguments, hints: Hints, _: int | None) -> SourceCall:
    """`backstride.geometry`: sizes only."""
    return _sized(arguments, hints, arguments.literal("input"), arguments.required("kernel", "3"))


def plain(hints: Hints) -> SourceCall:
    """Options without a call.

    >>> call = plain(Hints("k=4x3 s=2 p=same cin=8 cout=4"))
    >>> call.kernel, call.options["padding"], call.small, call.big
    ((4, 3), 'same', 8, 4)
    """
    text = hints.text
    if len(text) > LONGEST:
        message = f"`call` has {len(text)} characters; at most {LONGEST} are read"
        raise ValueError(message)
    values: dict[str, Argument] = {}
    position = 0
    while position < len(text):
        place = f"column {position + 1}"
        match = _OPTION.match(text, position)
        if match is None:
            rest = text[position : position + 20].strip()
            message = (
                f"`call` cannot be read at {place} ({rest!r}); expected options such as "
                f"{PLAIN_EXAMPLE}, a call such "
                'as Conv2DTranspose(128, 3, strides=2, padding="same"), or model.onnx:node'
            )
            raise ValueError(message)
        name, place = LONG.get(match[1].lower()), f"column {match.start(1) + 1}"
        if name is None:
            message = f"`{match[1]}` at {place} is no option; {nearest(match[1], WORDS)}"
            raise ValueError(message)
        if name in values:
            message = f"`{match[1]}` at {place} is given twice; give it once"
            raise ValueError(message)
        values[name] = Argument(_plain_value(match[2]), place, match[2])
        position = match.end()
    arguments = Arguments("backstride.conv_transpose", values)
    kernel = hints.kernel if hints.kernel is not None else arguments.required("kernel", "3")
    return _sized(arguments, hints, arguments.literal("input"), kernel)


def _sized(arguments: Arguments, hints: Hints, input_size: object, size: object) -> SourceCall:
    """A call whose kernel is a size, of an input that may be one."""
    rank = _rank(arguments) or next(
        (len(value) for value in (size, input_size) if is_tuple(value)), None
    )
    kernel = (
        Kernel(as_sizes("kernel", size, rank)) if rank else Kernel(as_sizes("kernel", size, 1)[0])
    )
    layout = arguments.literal("data_format")
    data_format = "channels_last" if layout is None else check_data_format(layout)
    changes = {} if data_format == "channels_last" else _channels_first()
    call = SourceCall(
        hints.text,
        "backstride",
        arguments.function,
        convention_of("backstride", **changes),
        {name: arguments.literal(name) for name in RULE},
        rank,
        kernel.size,
        arguments.count("in_channels"),
        arguments.count("out_channels"),
        arguments.groups(),
        data_format,
        activation=arguments.word("activation"),
        words=("in_channels", "out_channels"),
        arguments=arguments.texts,
    )
    return call if input_size is None else call.at(cast("Size", input_size))  # which checks it


def _rank(arguments: Arguments) -> int | None:
    """The number of axes that an option has one entry for."""
    values = [arguments.literal(name) for name in RULE]
    return next((len(value) for value in values if is_tuple(value)), None)


def _channels_first() -> dict[str, tuple[str, ...]]:
    return {
        "weight_layout": ("C_small", "C_big", "*k"),
        "grouped_layout": ("C_small", "C_big/groups", "*k"),
    }


def _plain_value(text: str) -> object:
    """3, 3x4, (3, 4), [(0, 1)], or a word."""
    if re.fullmatch(r"\d+(x\d+)+", text, re.ASCII):
        return tuple(map(int, text.split("x")))
    value = Source(text).value()
    return text if isinstance(value, Opaque) else value
