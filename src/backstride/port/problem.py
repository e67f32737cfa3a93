"""One transposed convolution with every number known: what all targets are asked to express."""

from __future__ import annotations

from dataclasses import dataclass

from backstride.calls import SourceCall
from backstride.geometry import Geometry, convolution
from backstride.integers import Size, as_sizes
from backstride.layout import DataFormat

# Sizes and channels for a call that says none: small, and unlike each other.
INPUT = 7
SMALL, BIG = 4, 3
ACTIVATIONS = ("relu", "sigmoid", "tanh")


@dataclass(frozen=True, slots=True)
class Problem:
    """Sizes, channels, groups, bias and activation.

    `assumed` says what the call left open and was chosen here.
    """

    where: Geometry
    small: int
    big: int
    groups: int
    bias: bool
    activation: str | None
    assumed: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.where.input)

    def shape(self, data_format: DataFormat) -> tuple[int, ...]:
        """The input's shape with a batch of 1."""
        sizes = self.where.input
        return (
            (1, *sizes, self.small) if data_format == "channels_last" else (1, self.small, *sizes)
        )

    def result(self, data_format: DataFormat) -> tuple[int, ...]:
        """The output's shape with a batch of 1."""
        sizes = self.where.output
        return (1, *sizes, self.big) if data_format == "channels_last" else (1, self.big, *sizes)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Our kernel, (*k, C_big/groups, C_small)."""
        return (*self.where.kernel, self.big // self.groups, self.small)


def problem_of(call: SourceCall, input_size: Size | None = None) -> Problem:
    """The problem of a call on an input; sizes and channels that nobody says are chosen.

    Raises `ValueError` where the kernel is unknown, the rule refuses, or the call is a convolution.
    """
    if call.forward:
        message = (
            f"`call` (={call.function}) is a convolution, and transposed ones are ported; "
            "backstride explain takes both"
        )
        raise ValueError(message)
    call = call.at(input_size)
    assumed: list[str] = []
    if call.input is None:
        sizes = _default_input(call)
        assumed.append(f"input {'x'.join(map(str, sizes))}")
        call = call.at(sizes)
    where = call.geometry()
    small, big, groups = call.small, call.big, call.groups
    if small is None:
        small = groups * SMALL
        assumed.append(f"C_small {small}")
    if big is None:
        big = groups * BIG
        assumed.append(f"C_big {big}")
    return Problem(where, small, big, groups, call.has_bias, call.activation, tuple(assumed))


def _default_input(call: SourceCall) -> tuple[int, ...]:
    """An input that suits the output which the call asks for, or any."""
    rank = call.rank or (
        len(call.kernel) if call.kernel is not None and not isinstance(call.kernel, int) else 2
    )
    wanted = call.output_shape
    if wanted is None or call.kernel is None:
        return (INPUT,) * rank
    outputs, steps = as_sizes("output_shape", wanted, rank), as_sizes("strides", call.strides, rank)
    if call.framework == "torch":
        pads = [(pad, pad) for pad in as_sizes("padding", call.padding or 0, rank, least=0)]
        return convolution(
            outputs, call.kernel, strides=call.strides, padding=pads, dilation=call.dilation
        ).output
    if call.framework == "tensorflow" and call.padding not in {None, "SAME"}:
        padding = "valid" if call.padding == "VALID" else call.padding
        return convolution(
            outputs, call.kernel, strides=call.strides, padding=padding, dilation=call.dilation
        ).output
    return tuple(-(-size // step) for size, step in zip(outputs, steps, strict=True))
