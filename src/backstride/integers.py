"""Checks of the integers that users give: sizes, strides, paddings, one per axis.

Every refusal is one sentence: the argument and its value, the rule, the nearest legal value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from operator import index
from typing import Literal, NoReturn, TypeAlias, TypeGuard, cast

Size: TypeAlias = int | Sequence[int]
Pair: TypeAlias = tuple[int, int]
PaddingRule: TypeAlias = Literal["same", "same_lower", "valid"]
Padding: TypeAlias = PaddingRule | int | Sequence[Pair]

LARGEST = 2**63 - 1
RULES = ("same", "same_lower", "valid")
PLAIN = frozenset((int, str, type(None)))


@dataclass(frozen=True, slots=True)
class KernelSteps:
    """How a kernel steps over an input of any size.

    What was asked for, checked, an entry per axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[PaddingRule | Pair, ...]
    extra: tuple[int, ...]
    """Cells that `output_padding` adds at the end."""
    wanted: tuple[int, ...] | None
    """The size that `output_shape` names."""
    padding: Padding
    """As it was given, for messages."""


def kernel_steps(
    kernel: Size,
    *,
    input: Size | None = None,
    strides: Size = 1,
    padding: Padding = "valid",
    output_padding: Size | None = None,
    output_shape: Size | None = None,
    dilation: Size = 1,
) -> KernelSteps:
    """Check all that `geometry` is asked for but the input, which only has to have as many axes.

    >>> kernel_steps((3, 5), strides=2, padding="same").strides
    (2, 2)
    """
    rank = common_rank(
        input=input,
        kernel=kernel,
        strides=strides,
        dilation=dilation,
        output_padding=output_padding,
        output_shape=output_shape,
        padding=pairs_of(padding),
    )
    kernels = as_sizes("kernel", kernel, rank)
    steps, dilations = as_sizes("strides", strides, rank), as_sizes("dilation", dilation, rank)
    pads = as_padding(padding, rank)
    extra = as_output_padding(
        output_padding, output_shape, padding, steps=steps, dilations=dilations
    )
    wanted = None if output_shape is None else as_integers("output_shape", output_shape, rank)
    return KernelSteps(kernels, steps, dilations, pads, extra, wanted, padding)


def common_rank(**values: object) -> int:
    """The number of axes that the given arguments agree on; all integers make one axis."""
    lengths = {name: len(value) for name, value in values.items() if is_sequence(value)}
    if not lengths:
        return 1
    (name, rank), *others = lengths.items()
    if not 1 <= rank <= 3:
        message = f"`{name}` (={shown(values[name])}) has {rank} axes; 1 to 3 are supported"
        raise ValueError(message)
    for other, length in others:
        if length != rank:
            message = (
                f"`{other}` (={shown(values[other])}) has {_entries(length)} and `{name}` "
                f"(={shown(values[name])}) has {rank}; give one per axis, or a single integer"
            )
            raise ValueError(message)
    return rank


def as_sizes(name: str, value: object, rank: int, *, least: int = 1) -> tuple[int, ...]:
    """Check an integer or a sequence of `rank` of them, each at least `least`."""
    entries = as_integers(name, value, rank, least=least)
    for axis, entry in enumerate(entries):
        if not least <= entry <= LARGEST:
            what = (
                f"`{_item(name, value, axis)}` (={entry}) must be at least {least} and below 2**63"
            )
            if entry > least:
                raise ValueError(what)
            raise illegal(
                what, f"value is {least}", **{name: tuple(max(least, size) for size in entries)}
            )
    return entries


def as_integers(name: str, value: object, rank: int, *, least: int = -LARGEST) -> tuple[int, ...]:
    """Check an integer or a sequence of `rank` of them, of any size.

    `least` is for the message only.
    """
    if _are_integers(value) and len(value) == rank:
        return value
    if not is_sequence(value):
        return (
            as_integer(name, value, rule="an integer or a sequence of integers", least=least),
        ) * rank
    if len(value) != rank:
        message = f"`{name}` (={shown(value)}) must have one entry per axis, {rank} of them"
        raise ValueError(message)
    return tuple(
        as_integer(f"{name}[{axis}]", entry, least=least) for axis, entry in enumerate(value)
    )


def as_pairs(name: str, value: object, rank: int) -> tuple[Pair, ...]:
    """Check [(before, after), ...], one pair per axis, of either sign."""
    if _are_pairs(value) and len(value) == rank:
        return value
    entries = (
        [entry for entry in value if is_sequence(entry) and len(entry) == 2]
        if is_sequence(value)
        else []
    )
    pairs = [
        (as_integer(f"{name}[{axis}][0]", pair[0]), as_integer(f"{name}[{axis}][1]", pair[1]))
        for axis, pair in enumerate(entries)
    ]
    if not is_sequence(value) or not len(pairs) == len(value) == rank:
        nearest = ", ".join(["(before, after)"] * rank)
        message = (
            f"`{name}` (={shown(value)}) must be one (before, after) pair per axis: [{nearest}]"
        )
        raise ValueError(message)
    for entry in (entry for pair in pairs for entry in pair):
        if abs(entry) > LARGEST:
            message = f"`{name}` (={entry}) must be between -2**63 and 2**63"
            raise ValueError(message)
    return tuple(pairs)


def pairs_of(padding: object) -> object:
    """What `padding` tells about the number of axes.

    Itself where it holds a pair for each, or else None.
    """
    return (
        padding if is_sequence(padding) and all(is_sequence(entry) for entry in padding) else None
    )


def as_padding(padding: object, rank: int) -> tuple[PaddingRule | Pair, ...]:
    """Check `padding` and spread it over the axes: a rule's name or a pair for each."""
    rule = '"same", "same_lower", "valid", an integer, or a (before, after) pair per axis'
    if isinstance(padding, str):
        if padding == "same" or padding == "same_lower" or padding == "valid":  # noqa: PLR1714  narrows the type
            return (padding,) * rank
        message = f"`padding` (={padding!r}) must be {rule}"
        near = [
            name
            for name in RULES
            if name in (padding.lower(), padding.lower().removesuffix("_upper"))
        ]
        raise ValueError(f'{message}; the nearest legal value is "{near[0]}"' if near else message)
    if not is_sequence(padding):
        size = as_integer("padding", padding, rule=rule)
        return as_pairs("padding", [(size, size)] * rank, rank)
    if padding and not any(isinstance(entry, str) or is_sequence(entry) for entry in padding):
        flat = [as_integer("padding", entry, rule=rule) for entry in padding]
        message = f"`padding` (={shown(padding)}) must be {rule}"
        if len(flat) == rank:
            message += f"; the nearest legal value is {list(zip(flat, flat, strict=True))}"
        elif len(flat) == 2 * rank:
            message += (
                f"; the nearest legal value is {list(zip(flat[::2], flat[1::2], strict=True))}"
            )
        raise ValueError(message)
    return as_pairs("padding", padding, rank)


def as_output_padding(
    output_padding: Size | None,
    output_shape: object,
    padding: Padding,
    *,
    steps: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Check `output_padding` and what it goes with: cells to add at the end of each axis."""
    if output_padding is None:
        return (0,) * len(steps)
    if output_shape is not None:
        message = (
            f"`output_padding` (={shown(output_padding)}) and `output_shape` "
            f"(={shown(output_shape)}) both say which size comes out; give one of them"
        )
        raise ValueError(message)
    if isinstance(padding, str):
        message = (
            f"`output_padding` (={shown(output_padding)}) goes with explicit padding only, not "
            "with "
            f'padding="{padding}"; name the size with `output_shape`'
        )
        raise ValueError(message)  # noqa: TRY004  the combination is at fault, not the type
    extra = as_sizes("output_padding", output_padding, len(steps), least=0)
    for axis, (cells, s, d) in enumerate(zip(extra, steps, dilations, strict=True)):
        if cells >= max(s, d):
            item = _item("output_padding", output_padding, axis)
            what = (
                f"`{item}` (={cells}) must be below the larger of stride {s} and dilation {d} on "
                f"axis {axis}"
            )
            nearest = (
                f"value is {max(s, d) - 1}, and a crop pair (before, after - {cells}) in `padding` "
                "adds any number of cells"
            )
            legal = tuple(
                min(wanted, max(pair) - 1)
                for wanted, *pair in zip(extra, steps, dilations, strict=True)
            )
            raise illegal(what, nearest, output_padding=legal)
    return extra


def as_integer(name: str, value: object, *, rule: str = "an integer", least: int = -LARGEST) -> int:
    """Check one integer of any library; booleans and floats (NaN too) are refused."""
    if not isinstance(value, bool):
        try:
            return index(value)  # pyright: ignore[reportArgumentType]  any object may be asked
        except TypeError:
            pass
    message = f"`{name}` (={shown(value)}) must be {rule}, not {type(value).__name__}"
    if isinstance(value, Real) and abs(number := float(value)) <= LARGEST:  # false for NaN
        message += f"; the nearest legal value is {max(least, round(number))}"
    elif getattr(value, "ndim", 0) == 1 and hasattr(value, "tolist"):
        message += f"; the nearest legal call has {name}.tolist()"
    raise TypeError(message)


def check_cells(name: str, cells: int, *, what: str = "cells") -> None:
    """Refuse sizes whose product passes the largest signed 64-bit integer."""
    if cells > LARGEST:
        message = f"`{name}` would have {cells} {what}; at most 2**63 - 1 can be counted"
        raise ValueError(message)


def refuse_crop(
    axis: int,
    padding: Padding,
    pads: Sequence[PaddingRule | Pair],
    length: int,
    *,
    leave: int | None,
) -> NoReturn:
    """Refuse a padding that crops everything.

    `leave` is the size that was asked for, if one was.
    """
    what = (
        f"`padding` (={shown(padding)}) must leave at least 1 of the {length} cells of the full "
        f"output of axis {axis}"
    )
    if not is_sequence(padding) and leave is None:
        raise illegal(what, f"value on this axis is {(length - 1) // 2}", padding=(length - 1) // 2)
    pairs: list[Pair] = [(0, 0) if isinstance(pad, str) else pad for pad in pads]
    pairs[axis] = nearest_crop(length, pairs[axis], leave or 1)
    raise illegal(what, f"pair is {pairs[axis]}", padding=pairs)


def refuse_output_shape(axis: int, wanted: tuple[int, ...], legal: range, maps: str) -> NoReturn:
    """Refuse a size that the convolution does not map back."""
    sizes = f"{legal.start}" if len(legal) == 1 else f"{legal.start} to {legal.stop - 1}"
    nearest = max(legal.start, min(wanted[axis], legal.stop - 1))
    what = f"`output_shape` (={wanted[axis]}) must be {sizes} on axis {axis}: the sizes that {maps}"
    raise illegal(
        what, f"value is {nearest}", output_shape=(*wanted[:axis], nearest, *wanted[axis + 1 :])
    )


def nearest_crop(length: int, crop: Pair, leave: int = 1) -> Pair:
    """The crop that leaves so many cells.

    Less off the back, and where that is not enough, off the front.
    """
    before, after = crop
    excess = before + after - (length - leave)
    back = min(excess, max(after, 0))
    return before - (excess - back), after - back


def illegal(what: str, nearest: str = "", **legal: object) -> ValueError:
    """What a rule refuses.

    The sentence, and the arguments with which the call would be legal, for `legal_call`.
    """
    problem = ValueError(what + (f"; the nearest legal {nearest}" if nearest else ""))
    problem.__dict__.update(what=what, legal=legal)
    return problem


def legal_call(problem: ValueError) -> tuple[str, dict[str, object]]:
    """The sentence of a refusal without its end, and the legal arguments, if any are known."""
    return problem.__dict__.get("what", str(problem)), problem.__dict__.get("legal", {})


def is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    """Whether there is one entry per axis, or should be: no text counts as that."""
    kind = type(value)
    if kind is tuple or kind in PLAIN:  # most are, and the question below is slow
        return kind is tuple
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _are_integers(value: object) -> TypeGuard[tuple[int, ...]]:
    """Whether it is what these checks give, and was most likely checked before."""
    return type(value) is tuple and set(map(type, cast("tuple[object, ...]", value))) <= {int}


def _are_pairs(value: object) -> TypeGuard[tuple[Pair, ...]]:
    """The same of pairs, none of which is out of reach."""
    return type(value) is tuple and all(
        _are_integers(pair) and len(pair) == 2 and min(pair) >= -LARGEST and max(pair) <= LARGEST
        for pair in cast("tuple[object, ...]", value)
    )


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _item(name: str, value: object, axis: int) -> str:
    return f"{name}[{axis}]" if is_sequence(value) else name


def shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
