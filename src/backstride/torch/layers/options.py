"""PyTorch's arguments, and the options that are ours, to one flat crop."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import TypeGuard

from torch.compiler import is_compiling

from backstride.geometry import crop_before, output_range, span
from backstride.integers import PaddingRule, Pair, as_padding, as_pairs, as_sizes

Ints = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
Rules = tuple[PaddingRule | Pair, ...]
Resolved = tuple[
    tuple[int, ...], tuple[int, ...], tuple[int, ...], Rules
]  # stride, dilation, extra cells, rules


@lru_cache(maxsize=1024, typed=True)
def resolve(
    rank: int, stride: object, padding: object, output_padding: object, dilation: object
) -> Resolved:
    """Check the options of a call and spread them over the axes; sequences must come as tuples.

    >>> resolve(2, 2, (1, 0), 0, 1)
    ((2, 2), (1, 1), (0, 0), ((1, 1), (0, 0)))
    >>> resolve(1, 2, "same", 0, 1)
    ((2,), (1,), (0,), ('same',))

    Raises `RuntimeError` for values out of range and `TypeError` for what is no integer, as PyTorch
    does.
    """
    try:
        steps = as_sizes("stride", spread(stride, rank), rank)
        dilations = as_sizes("dilation", spread(dilation, rank), rank)
        extra = as_sizes("output_padding", spread(output_padding, rank), rank, least=0)
        rules = padding_rules(padding, rank)
    except ValueError as refusal:
        raise RuntimeError(str(refusal)) from None
    if isinstance(padding, str) and any(extra):
        message = (
            f"`output_padding` (={output_padding!r}) goes with explicit padding only, not with "
            f'padding="{padding}"; name the size with `output_size`'
        )
        raise RuntimeError(message)
    return steps, dilations, extra, rules


def padding_rules(padding: object, rank: int) -> Rules:
    """One rule for each axis from a name, an integer, integers, or (before, after) pairs."""
    if isinstance(padding, str):
        return as_padding(padding, rank)
    if _is_sequence(padding) and any(_is_sequence(entry) for entry in padding):
        return as_pairs("padding", padding, rank)
    return tuple((size, size) for size in as_sizes("padding", spread(padding, rank), rank, least=0))


def spread(value: object, rank: int) -> object:
    """A sequence of one integer counts for every axis, as in PyTorch."""
    return tuple(value) * rank if _is_sequence(value) and len(value) == 1 else value


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence)


def default_crop(kernel: tuple[int, ...], resolved: Resolved) -> tuple[int, ...]:
    """The flat crop without an output size; it does not depend on the input's size.

    >>> default_crop((3,), resolve(1, 2, "same", 0, 1)), default_crop((3,), resolve(1, 2, 1, 1, 1))
    ((0, 1), (1, 0))
    """
    return (
        _default_crop.__wrapped__(kernel, resolved)
        if is_compiling()
        else _default_crop(kernel, resolved)
    )


@lru_cache(maxsize=1024)
def _default_crop(kernel: tuple[int, ...], resolved: Resolved) -> tuple[int, ...]:
    crop: list[int] = []
    for k, s, d, cells, rule in zip(kernel, *resolved, strict=True):
        if isinstance(rule, tuple):
            crop += [rule[0], rule[1] - cells]
            continue
        _, size, length = output_range(1, span(k, d), s, rule)
        before = crop_before(length - size, rule)
        crop += [before, length - size - before]
    return tuple(crop)


def target_crop(
    rank: int,
    input: Sequence[int],
    kernel: Sequence[int],
    resolved: Resolved,
    output_size: Sequence[int],
) -> tuple[int, ...]:
    """The flat crop that gives `output_size`, which the convolution must map back to `input`.

    Raises `ValueError`, as PyTorch does for `output_size`.
    """
    sizes = list(output_size)
    if len(sizes) == rank + 2 or len(sizes) == rank + 1:
        sizes = sizes[-rank:]
    if len(sizes) != rank:
        message = (
            f"`output_size` (={tuple(output_size)}) must have {rank} entries, or those of the "
            "whole shape"
        )
        raise ValueError(message)
    crop: list[int] = []
    stride, dilation, _, rules = resolved
    for axis, size in enumerate(sizes):
        cells = span(kernel[axis], dilation[axis])
        low, _, length = output_range(input[axis], cells, stride[axis], rules[axis])
        least, most = max(low, 1), low + stride[axis] - 1
        if size < least or size > most:
            legal = f"{least} to {most}" if most > least else f"{most}"
            message = (
                f"`output_size` (={tuple(output_size)}) must be {legal} on axis {axis}: the sizes "
                f"that a convolution with this stride and padding maps to {input[axis]}; the "
                f"nearest legal value is {least if size < least else most}"
            )
            raise ValueError(message)
        before = crop_before(length - size, rules[axis])
        crop += [before, length - size - before]
    return tuple(crop)


def hashable(value: object) -> Hashable:
    """Lists, at any depth, as tuples."""
    return tuple(hashable(entry) for entry in value) if _is_list(value) else value


def _is_list(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(value, list | tuple)
