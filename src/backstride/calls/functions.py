"""Calls of functions, which take input and kernel as arrays."""

from __future__ import annotations

from collections.abc import Mapping

from backstride.calls.arguments import Arguments
from backstride.calls.kernels import Hints, Kernel
from backstride.calls.record import SourceCall
from backstride.conventions import Convention
from backstride.layout import DataFormat


def function_call(
    arguments: Arguments,
    hints: Hints,
    convention: Convention,
    options: Mapping[str, object],
    kernel: Kernel,
    *,
    source: str,
    rank: int | None,
    data_format: DataFormat,
    groups: int = 1,
    bias: str | None = None,
    forward: bool = False,
) -> SourceCall:
    """The record of a function's call, whose input is the argument `source`, and `bias` its bias.

    Raises `ValueError` where arrays that the text makes in place do not fit each other.
    """
    small, big = kernel.small, kernel.big
    own = big if forward else small
    spatial, channels = _input(arguments, source, rank, own, data_format)
    if forward:
        big = channels
    else:
        small = channels
    if bias is not None:
        _check_bias(arguments, bias, small if forward else big)
    return SourceCall(
        hints.text,
        convention.name,
        arguments.function,
        convention,
        options,
        rank,
        kernel.size,
        small,
        big,
        groups,
        data_format,
        bias is not None and bias in arguments,
        input=spatial,
        arguments=arguments.texts,
        forward=forward,
    )


def _input(
    arguments: Arguments,
    source: str,
    rank: int | None,
    expected: int | None,
    data_format: DataFormat,
) -> tuple[tuple[int, ...] | None, int | None]:
    """Spatial sizes and channels of a tensor that the text makes in place.

    `expected` are the kernel's channels.
    """
    shape = arguments.shape(source)
    if shape is None or rank is None:
        return None, expected
    layout = (
        ["channels", *["size"] * rank]
        if data_format == "channels_first"
        else [*["size"] * rank, "channels"]
    )
    # PyTorch takes one sample without its batch.
    if len(shape) != rank + 2 and not (
        len(shape) == rank + 1 and arguments.function.startswith("torch.")
    ):
        arguments.refuse(
            source,
            f"of {rank + 2} axes, (batch, {', '.join(layout)})",
            f"{(1, *shape[-rank - 1 :])}",
        )
    sample = shape[-rank - 1 :]
    if data_format == "channels_first":
        channels, spatial = sample[0], sample[1:]
    else:
        channels, spatial = sample[-1], sample[:-1]
    if expected not in {None, channels}:
        legal = [
            str(expected) if name == "channels" else str(size)
            for name, size in zip(layout, sample, strict=True)
        ]
        arguments.refuse(
            source,
            f"of the kernel's {expected} channels, not {channels}",
            f"({', '.join(['n', *legal])})",
        )
    return spatial, channels


def _check_bias(arguments: Arguments, name: str, channels: int | None) -> None:
    shape = arguments.shape(name)
    if shape is not None and channels is not None and shape != (channels,):
        arguments.refuse(
            name, f"of one number for each of the {channels} output channels", f"zeros({channels})"
        )
