"""The inverse question: which calls take this input size to that output size? Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from backstride.geometry import Geometry, convolution, full_size, geometry, output_range, span
from backstride.integers import RULES, Padding, PaddingRule, Size, as_padding, as_sizes, common_rank

MOST_CALLS = 200_000


@dataclass(frozen=True, slots=True)
class LegalCall:
    """One call that takes `input` to `output`; the options are those of `conv_transpose`."""

    input: tuple[int, ...]
    output: tuple[int, ...]
    kernel: int
    strides: int
    padding: PaddingRule | int
    dilation: int = 1
    output_padding: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None

    @property
    def geometry(self) -> Geometry:
        """The full arithmetic of this call."""
        return geometry(
            self.input,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            output_shape=self.output_shape,
            dilation=self.dilation,
        )

    @property
    def is_even(self) -> bool:
        """Whether all interior cells get equally many taps, so that no checkerboard is printed."""
        return self.kernel % self.strides == 0 and math.gcd(self.strides, self.dilation) == 1

    def __str__(self) -> str:
        padding = f'"{self.padding}"' if isinstance(self.padding, str) else self.padding
        parts = [f"kernel={self.kernel}", f"strides={self.strides}", f"padding={padding}"]
        if self.dilation != 1:
            parts.append(f"dilation={self.dilation}")
        for name, value in (
            ("output_padding", self.output_padding),
            ("output_shape", self.output_shape),
        ):
            if value is not None:
                parts += [f"{name}={value[0] if len(set(value)) == 1 else value}"]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a search varies beside the padding."""

    kernel: int
    stride: int
    dilation: int

    @property
    def span(self) -> int:
        return span(self.kernel, self.dilation)

    @property
    def largest_padding(self) -> int:
        """Up to half of the stamp; all but one cell for stride 1, whose maps may shrink."""
        return self.span - 1 if self.stride == 1 else self.span // 2


def sizes(
    input: Size | None = None,
    output: Size | None = None,
    *,
    kernel: int | None = None,
    strides: int | None = None,
    padding: Padding | None = None,
    dilation: int = 1,
) -> tuple[LegalCall, ...]:
    """List every legal call between an input and an output size, the plainest first.

    >>> for call in sizes(7, 14, strides=2)[:3]:
    ...     print(call)
    kernel=2, strides=2, padding="same"
    kernel=2, strides=2, padding="same_lower"
    kernel=2, strides=2, padding="valid"
    >>> [call.output for call in sizes(7, kernel=3, strides=2, padding="same")]
    [(14,), (13,)]
    >>> print(sizes(46, 368, kernel=16, padding=4)[0])
    kernel=16, strides=8, padding=4

    What is None is searched. Calls that need neither `output_padding` nor `output_shape` come
    first, then even coverage, then kernels that leave no holes, then smaller ones.

    Args:
        input: an integer or one per axis; None for "any", but not for both sizes.
        output: the same.
        kernel: the same on every axis; searched up to twice the stride, and at least up to 7.
        strides: the same on every axis; searched: every stride that can work, or 1 to 4 where one
            of the sizes is open.
        padding: a rule or an integer; integers are searched up to half of the effective kernel, and
            all of it for stride 1.
        dilation: the same on every axis.

    Returns:
        A `LegalCall` for each.

    Raises:
        TypeError: something is not an integer.
        ValueError: both sizes are None, or more than 200,000 calls would have to be tried.
    """
    if input is None and output is None:
        message = "`input` and `output` are both None; give at least one of them"
        raise ValueError(message)
    rank = common_rank(input=input, output=output)
    inputs = None if input is None else as_sizes("input", input, rank)
    outputs = None if output is None else as_sizes("output", output, rank)
    (dilated,) = as_sizes("dilation", dilation, 1)
    rules: tuple[PaddingRule | int | None, ...] = (
        (*RULES, None) if padding is None else (_one_padding(padding),)
    )
    steps = _strides(inputs, outputs, strides)
    _refuse_too_many(inputs, outputs, kernel, steps, padding)
    calls: list[LegalCall] = []
    for stride in steps:
        kernels = (
            range(1, _largest_kernel(stride) + 1)
            if kernel is None
            else as_sizes("kernel", kernel, 1)
        )
        for width in kernels:
            for rule in rules:
                calls += _calls(inputs, outputs, _Stamp(width, stride, dilated), rule)
    return tuple(sorted(calls, key=_plainness))


def _calls(
    inputs: tuple[int, ...] | None,
    outputs: tuple[int, ...] | None,
    stamp: _Stamp,
    rule: PaddingRule | int | None,
) -> Iterator[LegalCall]:
    """The legal calls of one kernel, stride and padding; None stands for every integer padding."""
    if inputs is None:
        assert outputs is not None
        for pad in (rule,) if rule is not None else range(stamp.largest_padding + 1):
            yield from _from_output(outputs, stamp, pad)
        return
    choices: list[tuple[int, ...]]
    if outputs is not None:
        choices = [outputs]
    else:
        low = [output_range(size, stamp.span, stamp.stride, _pad(rule))[0] for size in inputs]
        choices = [tuple(start + step for start in low) for step in range(stamp.stride)]
    for wanted in choices:
        for pad in (rule,) if rule is not None else _paddings(inputs, wanted, stamp):
            call = _between(inputs, wanted, stamp, pad)
            if call is not None:
                yield call


def _between(
    inputs: tuple[int, ...], wanted: tuple[int, ...], stamp: _Stamp, pad: PaddingRule | int
) -> LegalCall | None:
    """The call with these options from `inputs` to `wanted`, if there is one."""
    ranges = [output_range(size, stamp.span, stamp.stride, _pad(pad)) for size in inputs]
    extra = tuple(size - low for size, (low, _, _) in zip(wanted, ranges, strict=True))
    most = stamp.stride if isinstance(pad, str) else max(stamp.stride, stamp.dilation)
    if min(wanted) < 1 or min(extra) < 0 or max(extra) >= most:
        return None
    call = LegalCall(inputs, wanted, stamp.kernel, stamp.stride, pad, stamp.dilation)
    if wanted == tuple(default for _, default, _ in ranges):
        return call
    return (
        replace(call, output_shape=wanted)
        if isinstance(pad, str)
        else replace(call, output_padding=extra)
    )


def _from_output(
    outputs: tuple[int, ...], stamp: _Stamp, pad: PaddingRule | int
) -> Iterator[LegalCall]:
    """The one input that the convolution with these options maps to `outputs`, if it fits."""
    padded = math.inf if pad in ("same", "same_lower") else min(outputs) + sum(_pair(pad))
    if stamp.span > padded:
        return
    convolved = convolution(
        outputs, stamp.kernel, strides=stamp.stride, padding=pad, dilation=stamp.dilation
    )
    call = _between(convolved.output, outputs, stamp, pad)
    if call is not None:
        yield call


def _paddings(inputs: tuple[int, ...], wanted: tuple[int, ...], stamp: _Stamp) -> range:
    """Integer paddings p with 0 <= wanted - (full - 2p) < max(stride, dilation) on all axes."""
    surplus = [
        full_size(size, stamp.span, stamp.stride) - out
        for size, out in zip(inputs, wanted, strict=True)
    ]
    low = max(0, *(-(-total // 2) for total in surplus))
    high = min(-(-(total + max(stamp.stride, stamp.dilation)) // 2) for total in surplus)
    return range(low, min(high, stamp.largest_padding + 1))


def _largest_kernel(stride: int) -> int:
    return max(2 * stride, 7)


def _strides(
    inputs: tuple[int, ...] | None, outputs: tuple[int, ...] | None, strides: int | None
) -> Sequence[int]:
    if strides is not None:
        return as_sizes("strides", strides, 1)
    if inputs is None or outputs is None:
        return (1, 2, 3, 4)
    limits = [out // max(size - 1, 1) for size, out in zip(inputs, outputs, strict=True)]
    return range(1, max(1, min(limits)) + 1)


def _refuse_too_many(
    inputs: tuple[int, ...] | None,
    outputs: tuple[int, ...] | None,
    kernel: int | None,
    strides: Sequence[int],
    padding: Padding | None,
) -> None:
    """Refuse a search that would not end in a moment; the count is an estimate from above."""
    largest = strides[-1]
    per_stride = (1 if kernel else _largest_kernel(largest)) * (
        1 if padding is not None else 3 + largest // 2
    )
    calls = per_stride * len(strides) // (1 if len(strides) == 1 else 3)
    if calls > MOST_CALLS:
        ends = [
            f"`{name}` (={value})"
            for name, value in (("input", inputs), ("output", outputs))
            if value
        ]
        stride = -(-max(outputs) // max(inputs)) if inputs and outputs else strides[0]
        message = (
            f"{' and '.join(ends)} leave about {calls} calls to try, more than {MOST_CALLS}; "
            f'narrow it, for example strides={stride}, kernel={2 * stride}, padding="same"'
        )
        raise ValueError(message)


def _one_padding(padding: Padding) -> PaddingRule | int:
    (pad,) = as_padding(padding, 1)
    if isinstance(pad, str):
        return pad
    if pad[0] != pad[1]:
        message = (
            f"`padding` (={padding}) must be a rule or one integer here; the nearest legal value "
            f"is {pad[0]}"
        )
        raise ValueError(message)
    return pad[0]


def _pad(pad: PaddingRule | int | None) -> PaddingRule | tuple[int, int]:
    return pad if isinstance(pad, str) else _pair(pad)


def _pair(pad: PaddingRule | int | None) -> tuple[int, int]:
    return (pad, pad) if isinstance(pad, int) else (0, 0)


def _plainness(call: LegalCall) -> tuple[bool, bool, bool, int, int, int]:
    extra = call.output_padding is not None or call.output_shape is not None
    order = (
        RULES.index(call.padding) if isinstance(call.padding, str) else len(RULES) + call.padding
    )
    return extra, not call.is_even, call.kernel < call.strides, call.kernel, call.strides, order
