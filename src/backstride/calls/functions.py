"""Calls of functions, which take input and kernel as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backstride.calls.arguments import Arguments
from backstride.calls.kernels import Hints, Kernel
from backstride.calls.record import SourceCall
from backstride.conventions import Convention
from backstride.layout import DataFormat


def function_call(
    arguments: Arguments,
    hints: Hints,
    convention: Convention,
    options: Mapping[str, Any],
    kernel: Kernel,
    *,
    source: str,
    rank: int | None,
    data_format: DataFormat,
    groups: int = 1,
    has_bias: bool = False,
) -> SourceCall:
    """The record of a function's call, whose input is the argument `source`."""
    return SourceCall(
        hints.text,
        convention.name,
        arguments.function,
        convention,
        options,
        rank,
        kernel.size,
        kernel.small,
        kernel.big,
        groups,
        data_format,
        has_bias,
        input=_spatial_input(arguments.shape(source), rank, first=data_format == "channels_first"),
    )


def _spatial_input(shape: tuple[int, ...] | None, rank: int | None, *, first: bool) -> tuple[int, ...] | None:
    """The spatial sizes of a tensor that the text makes in place."""
    if shape is None or rank is None or len(shape) != rank + 2:
        return None
    return shape[2:] if first else shape[1:-1]
