"""The sizes of the three operators, and the refusals of tensors that do not fit.

The operators are the three derivatives of one trilinear form, the sum over all cells and taps of
`x[m] * weight[j] * y[m*s + j*d - before]`: each maps two of `x`, `weight`, `y` to the third, so any
two shapes give the third. `crop` is flat here, (before, after, before, after, ...), as the
dispatcher carries it.

The arithmetic works on symbolic integers too. Refusals are `RuntimeError`s, as PyTorch's own are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor

from backstride.geometry import Geometry, full_size, output_size, span
from backstride.implementation import Call

Shape: TypeAlias = Sequence[int]
Slot: TypeAlias = Literal["x", "weight", "y"]
INPUTS: dict[Slot, tuple[Slot, Slot]] = {
    "y": ("x", "weight"),
    "x": ("y", "weight"),
    "weight": ("x", "y"),
}


class Integers(NamedTuple):
    """What an operator depends on beside its tensors, and whether it may be computed by tiles."""

    stride: tuple[int, ...]
    crop: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    winograd: bool = True


@dataclass(frozen=True, slots=True)
class ShapedCalls:
    """The shape of a result for one combination of shapes and integers, and the engine's calls."""

    shape: tuple[int, ...]
    first: Call
    last: Call


def third_shape(result: Slot, one: Shape, two: Shape, integers: Integers) -> tuple[int, ...]:
    """The shape of an operator's result from the shapes of its two inputs.

    >>> integers = Integers((2, 2), (1, 0, 1, 0), (1, 1), 1)
    >>> third_shape("y", (1, 8, 5, 5), (8, 4, 3, 3), integers)
    (1, 4, 10, 10)
    >>> third_shape("x", (1, 4, 10, 10), (8, 4, 3, 3), integers)
    (1, 8, 5, 5)
    >>> third_shape("weight", (1, 8, 5, 5), (1, 4, 10, 10), integers)
    (8, 4, 3, 3)
    """
    stride, crop, dilation, groups, _ = integers
    axes = list(zip(one[2:], two[2:], stride, dilation, crop[::2], crop[1::2], strict=True))
    if result == "y":
        sizes = (full_size(i, span(k, d), s) - b - a for i, k, s, d, b, a in axes)
        return (one[0], two[1] * groups, *sizes)
    if result == "x":
        return (
            one[0],
            two[0],
            *(output_size(o, span(k, d), s, (b, a)) for o, k, s, d, b, a in axes),
        )
    taps = (output_size(o, span(i, s), d, (b, a)) for i, o, s, d, b, a in axes)
    return (one[1], two[1] // groups, *taps)


def checked_shape(result: Slot, one: Shape, two: Shape, integers: Integers) -> tuple[int, ...]:
    """`third_shape`, after every check that holds for symbolic integers too."""
    stride, crop, dilation, groups, _ = integers
    rank = len(stride)
    names = INPUTS[result]
    for name, shape in zip(names, (one, two), strict=True):
        if len(shape) != rank + 2:
            message = (
                f"`{_shown(name)}` has shape {tuple(shape)}; with {rank} strides it must have "
                f"{rank + 2} axes"
            )
            raise RuntimeError(message)
    if not (len(dilation) == rank and len(crop) == 2 * rank):
        message = (
            f"`crop` (={list(crop)}) and `dilation` (={list(dilation)}) must fit {rank} strides"
        )
        raise RuntimeError(message)
    small = two[0] if "weight" in names else one[1]
    check_groups(groups, small)
    _check_channels(result, one, two, groups)
    if "weight" not in names and one[0] != two[0]:
        message = (
            f"`input` has shape {tuple(one)} and `grad` {tuple(two)}; they must have the same batch"
        )
        raise RuntimeError(message)
    shape = third_shape(result, one, two, integers)
    least = 0 if result == "y" else 1
    for axis, size in enumerate(shape[2:]):
        if size < least:
            _refuse_size(result, axis, size, integers)
    return shape


@lru_cache(maxsize=4096)
def shaped_calls(result: Slot, one: Shape, two: Shape, integers: Integers) -> ShapedCalls:
    """Check shapes for an operator, and make the engine's calls, once for each combination."""
    shape = checked_shape(result, one, two, integers)
    shapes: dict[Slot, Shape] = {
        **dict(zip(INPUTS[result], (one, two), strict=True)),
        result: shape,
    }
    stride, crop, dilation, groups, _ = integers
    pairs = tuple(zip(crop[::2], crop[1::2], strict=True))
    sizes = tuple(shapes["x"][2:]), tuple(shapes["weight"][2:])
    try:
        geometry = Geometry(*sizes, tuple(stride), tuple(dilation), pairs)
    except ValueError as refusal:
        raise RuntimeError(str(refusal)) from None
    if geometry.output != tuple(shapes["y"][2:]):
        message = (
            f"`{_shown(INPUTS[result][0])}` has shape {tuple(one)}; with these options its size "
            f"must be {geometry.output}, or one that a transposed convolution gives"
        )
        raise RuntimeError(message)
    first, last = (
        Call(geometry, groups, form, integers.winograd)
        for form in ("channels_first", "channels_last")
    )
    return ShapedCalls(shape, first, last)


@lru_cache(maxsize=4096)
def engine_shape(result: Slot, one: Shape, two: Shape, integers: Integers) -> tuple[int, ...]:
    """The shape of a result, checked as the engine needs it.

    With `y` of no cells, there is nothing to compute.

    >>> engine_shape("y", (1, 8, 1, 4), (8, 2, 2, 3), Integers((1, 1), (1, 1, 0, 0), (1, 1), 1))
    (1, 2, 0, 6)
    """
    shape = checked_shape(result, one, two, integers)
    shapes: dict[Slot, Shape] = {
        **dict(zip(INPUTS[result], (one, two), strict=True)),
        result: shape,
    }
    return shape if 0 in shapes["y"][2:] else shaped_calls(result, one, two, integers).shape


def check_groups(groups: int, channels: int) -> None:
    """Refuse groups that do not divide the input channels."""
    if groups < 1 or channels % groups:
        legal = [count for count in range(1, int(channels) + 1) if channels % count == 0] or [1]
        nearest = min(legal, key=lambda count: abs(count - groups))
        message = (
            f"`groups` (={groups}) must be positive and divide the {channels} input channels; "
            f"the nearest legal value is {nearest}"
        )
        raise RuntimeError(message)


def check_bias(shape: Shape, channels: int) -> None:
    """Refuse a bias that has not one entry for each output channel."""
    if len(shape) != 1 or shape[0] != channels:
        message = (
            f"`bias` has shape {tuple(shape)}; it must be ({channels},), one entry for each output "
            "channel"
        )
        raise RuntimeError(message)


def check_dtypes(**tensors: Tensor | None) -> None:
    """Refuse tensors of different dtype or device."""
    (owner, first), *others = (
        (name, tensor) for name, tensor in tensors.items() if tensor is not None
    )
    for name, tensor in others:
        if tensor.dtype != first.dtype:
            message = (
                f"`{name}` has dtype {tensor.dtype}; it must be {first.dtype}, as `{owner}` is; "
                f"the nearest legal call has {name}.to({first.dtype})"
            )
            raise RuntimeError(message)
        if tensor.device != first.device:
            message = (
                f"`{name}` is on {tensor.device}; it must be on {first.device}, as `{owner}` is"
            )
            raise RuntimeError(message)


def _check_channels(result: Slot, one: Shape, two: Shape, groups: int) -> None:
    if result == "weight":
        if two[1] % groups:
            message = (
                f"`grad` has shape {tuple(two)}; `groups` (={groups}) must divide its channels"
            )
            raise RuntimeError(message)
        return
    expected = two[0] if result == "y" else two[1] * groups
    if one[1] != expected:
        message = (
            f"`input` has shape {tuple(one)}, {one[1]} channels; `weight` {tuple(two)} with "
            f"groups={groups} takes {expected}"
        )
        raise RuntimeError(message)


def _refuse_size(result: Slot, axis: int, size: int, integers: Integers) -> None:
    before, after = integers.crop[2 * axis : 2 * axis + 2]
    if result == "y":
        message = (
            f"`padding` crops {before} cells off the front and {after} off the end of axis {axis}, "
            f"which leaves {size}: the output size is too small; the nearest legal total crop is "
            f"{before + after + size - 1}"
        )
    else:
        message = (
            f"the sizes of the tensors leave {size} cells for axis {axis} of `{_shown(result)}`; "
            "at least 1 must be"
        )
    raise RuntimeError(message)


def _shown(slot: Slot) -> str:
    return {"x": "input", "weight": "weight", "y": "grad"}[slot]
