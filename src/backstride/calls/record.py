"""What is known of one call.

The rule's own arguments, the kernel, and the channels where they are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self, cast

from backstride.calls.dialect import own_name, written
from backstride.conventions import CONVENTIONS, Convention
from backstride.geometry import Convolution, Geometry, convolution, geometry
from backstride.integers import Size, as_sizes, common_rank, legal_call
from backstride.layout import DataFormat

# Our own options follow a rule like everybody's.
OWN = Convention(
    "backstride",
    geometry,
    flips=False,
    weight_layout=("*k", "C_big", "C_small"),
    grouped_layout=("*k", "C_big/groups", "C_small"),
    data_format="channels_last",
    source="backstride.geometry",
)
CONVOLUTION: Callable[..., Convolution] = (
    convolution  # its options come from the text, and it checks them
)
STRIDES = ("strides", "stride")
DILATION = ("dilation", "dilations", "dilation_rate", "rhs_dilation", "kernel_dilation")
OUTPUT = ("output_shape", "output_size")
MOST_CORRECTIONS = 8  # arguments that have to change together


@dataclass(frozen=True, slots=True)
class SourceCall:
    """One transposed convolution, by one framework's rule.

    >>> call = SourceCall("k=3 s=2", "backstride", "backstride.conv_transpose", OWN, {"strides": 2},
    ...     kernel=3)
    >>> call.geometry((7, 7)).output
    (15, 15)

    `options` are the arguments of `convention.constructor` beside the sizes of input and kernel.
    `rank`, `kernel`, `small`, `big` (C_small and C_big, channels of input and output) and `input`
    (spatial) are None where the call does not say them. `data_format` is that of the call, which
    may not be its framework's usual one; `convention` has the kernel's layout in this very call.
    `activation` is a lower-case name, "linear" being None. `words` are the call's own names of
    C_small and C_big, `arguments` its arguments as they are written. `forward`: the call is a
    convolution, from C_big to C_small; its `options` are ours, `input` is that of the convolution,
    and `geometry` is its transpose's.
    """

    text: str
    framework: str
    function: str
    convention: Convention
    options: Mapping[str, object]
    rank: int | None = None
    kernel: Size | None = None
    small: int | None = None
    big: int | None = None
    groups: int = 1
    data_format: DataFormat = "channels_last"
    has_bias: bool = False
    activation: str | None = None
    input: tuple[int, ...] | None = field(default=None, kw_only=True)
    words: tuple[str, str] = field(
        default=("the input's channels", "the output's channels"), kw_only=True
    )
    arguments: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True, repr=False)
    forward: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        options = {name: value for name, value in self.options.items() if value is not None}
        object.__setattr__(self, "options", MappingProxyType(options))
        channels = [count for count in (self.small, self.big) if count is not None]
        for word, count in zip(self.words, (self.small, self.big), strict=True):
            if count is not None and count % self.groups:
                common = math.gcd(*channels)
                nearest = min(
                    (n for n in range(1, common + 1) if common % n == 0),
                    key=lambda n: abs(n - self.groups),
                )
                name = f"`{word}`" if word.isidentifier() else word
                groups = "group" if self.framework == "onnx" else "groups"
                message = (
                    f"`{groups}` (={self.groups}) must divide {name} (={count}) of "
                    f"{self.function}; the nearest legal value is {nearest}"
                )
                raise ValueError(message)

    @property
    def strides(self) -> Size:
        """An integer where the call gives one for all axes."""
        return self._first(STRIDES, 1)

    @property
    def dilation(self) -> Size:
        """An integer where the call gives one for all axes."""
        return self._first(DILATION, 1)

    @property
    def padding(self) -> Any:
        """As the framework takes it; None where the call leaves the framework's default."""
        return self._first(("padding", "pads", "auto_pad"), None)

    @property
    def output_padding(self) -> Size | None:
        """As the framework takes it."""
        return self._first(("output_padding",), None)

    @property
    def output_shape(self) -> Size | None:
        """The spatial sizes that the call asks for."""
        return self._first(OUTPUT, None)

    def geometry(self, input_size: Size | None = None) -> Geometry:
        """The arithmetic for a spatial input size, by the framework's own rule.

        `input_size`: an integer or one per axis; None for the size that the call itself names.
        Raises `ValueError` where either size is unknown, and what the rule raises.
        """
        size = self.input if input_size is None else input_size
        if size is None:
            message = (
                f"`input` is not said by {self.function}; give the spatial size, for example 7 or "
                "(7, 7)"
            )
            raise ValueError(message)
        if self.kernel is None:
            message = (
                f"`kernel` is not said by {self.function}; give its size, for example kernel=3 or "
                "kernel=(3, 3)"
            )
            raise ValueError(message)
        if self.rank is not None:
            rank = common_rank(input=size, kernel=(1,) * self.rank)
            size = as_sizes("input", size, rank)
        try:
            if self.forward:
                return CONVOLUTION(size, self.kernel, **self.options).adjoint
            return self.convention.constructor(size, self.kernel, **self.options)
        except ValueError as refusal:
            said = (
                self._larger(refusal, self.kernel)
                if self.forward
                else self._corrected(refusal, size)
            )
            raise ValueError(said) from None

    def _larger(self, refusal: ValueError, kernel: Size) -> str:
        """What a convolution refuses, with the nearest input that it takes.

        Paddings are not said in its words.
        """
        what, changes = legal_call(refusal)
        while changes and self.framework != "backstride":
            size = cast("tuple[int, ...]", changes["input"])
            try:
                _ = CONVOLUTION(size, kernel, **self.options)
                return f"{what}; the nearest legal `input` is {'x'.join(map(str, size))}"
            except ValueError as other:
                changes = legal_call(other)[1]
        return str(refusal)

    def _corrected(self, refusal: ValueError, size: Size) -> str:
        """What the rule says, with the nearest legal call in the words of this one."""
        what, changes = legal_call(refusal)
        if not changes or changes.keys() & {"input", "kernel"}:
            return str(refusal)
        for _ in range(MOST_CORRECTIONS):
            try:
                _ = self.convention.constructor(size, self.kernel, **{**self.options, **changes})
                break
            except (ValueError, TypeError) as other:
                more = legal_call(other)[1] if isinstance(other, ValueError) else {}
                if not more or more.keys() & {"input", "kernel"}:
                    return what
                changes = {**changes, **more}
        else:
            return what
        for name in changes:
            what = what.replace(f"`{name}", f"`{own_name(self.function, name)}", 1)
        texts = (
            f"{own_name(self.function, name)}={written(self, self.function, name, v)}"
            for name, v in changes.items()
        )
        return f"{what}; the nearest legal call has {', '.join(texts)}"

    def at(self, input_size: Size | None) -> Self:
        """The same call on an input: spatial sizes, or these and the channels, or the batch too.

        >>> call = SourceCall("", "torch", "", CONVENTIONS["torch"], {}, 2, (3, 3),
        ...     data_format="channels_first")
        >>> call.at((256, 7, 9)).input, call.at((256, 7, 9)).small, call.at(7).input
        ((7, 9), 256, (7, 7))

        The order of the axes is that of `data_format`. Raises `ValueError` for another number of
        axes than the call has, and for channels that it does not take.
        """
        if input_size is None:
            return self
        if isinstance(input_size, int) or self.rank is None:
            rank = self.rank or self._open_rank(input_size)
            return replace(self, input=as_sizes("input", input_size, rank))
        sizes = tuple(input_size)
        if len(sizes) == self.rank:
            return replace(self, input=as_sizes("input", sizes, self.rank))
        if len(sizes) not in {self.rank + 1, self.rank + 2}:
            axes = [f"size{axis}" for axis in range(self.rank)]
            axes.insert(0 if self.data_format == "channels_first" else len(axes), "channels")
            message = (
                f"`input` (={sizes}) must have {self.rank} spatial sizes, with or without "
                f"channels: {'x'.join(axes)} for {self.function}"
            )
            raise ValueError(message)
        checked = as_sizes("input", sizes, len(sizes))[-(self.rank + 1) :]
        first = self.data_format == "channels_first"
        channels, spatial = (checked[0], checked[1:]) if first else (checked[-1], checked[:-1])
        own = self.big if self.forward else self.small
        if own not in {None, channels}:
            swapped = (
                checked[:-1] if first else checked[1:]
            )  # sizes given in the other order of axes
            around = swapped if own == (checked[-1] if first else checked[0]) else spatial
            nearest = (own, *around) if first else (*around, own)
            message = (
                f"`input` (={sizes}) has {channels} channels; {self.function} takes {own}; "
                f"the nearest legal value is {'x'.join(map(str, nearest))}"
            )
            raise ValueError(message)
        return replace(self, input=spatial, **{"big" if self.forward else "small": channels})

    def _open_rank(self, input_size: Size) -> int:
        """The rank of a call that does not say it, on this input."""
        return common_rank(
            input=input_size, kernel=self.kernel, strides=self.strides, dilation=self.dilation
        )

    def _first(self, names: Sequence[str], default: object) -> Any:  # the rule says what it may be
        return next((self.options[name] for name in names if name in self.options), default)


def convention_of(framework: str, **changes: object) -> Convention:
    """The record of a framework, with the kernel's layout of one call where that differs."""
    record = OWN if framework == "backstride" else CONVENTIONS[framework]
    return replace(record, **changes) if changes else record
