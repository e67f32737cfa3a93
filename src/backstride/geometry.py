"""The integers of a transposed convolution: sizes, crops, phases.

Per axis, with input `i`, kernel `k`, stride `s`, dilation `d`, effective kernel `K = d(k-1) + 1`
and full length `L = (i-1)s + K`, every framework computes

    y_full[m*s + j*d] += x[m] * w[j]      scatter: every input cell stamps the weighted kernel
    y = y_full[before : L - after]        crop; a negative crop appends zeros

and differs only in how it says (before, after). This module holds that model and nothing else:
no arrays, no framework. Relations 1 to 14 of Dumoulin & Visin, "A guide to convolution
arithmetic for deep learning" (arXiv 1603.07285), are its special cases. Longer than other files:
all integers of a call stand in one place.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from backstride.integers import (
    KernelSteps,
    Padding,
    PaddingRule,
    Pair,
    Size,
    as_pairs,
    as_sizes,
    check_cells,
    common_rank,
    illegal,
    kernel_steps,
    nearest_crop,
    refuse_crop,
    refuse_output_shape,
    shown,
)


@dataclass(frozen=True, slots=True)
class Phase:
    """The output cells `start, start + stride, ...` of one axis, and the taps that reach them.

    Output cell `start + n*stride` is the sum over `taps` of `x[first + n - shift] * w[tap]`,
    where inputs outside the map count as zero. No two phases share an output cell or a tap,
    so a transposed convolution is one small dense convolution per phase.
    """

    start: int
    count: int
    first: int
    taps: tuple[int, ...]
    shifts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Geometry:
    """A transposed convolution's integers, one entry per axis in every field.

    >>> g = Geometry(input=(7,), kernel=(3,), strides=(2,), dilation=(1,), crop=((0, 1),))
    >>> g.full, g.output
    ((15,), (14,))
    >>> [phase.taps for phase in g.phases[0]]
    [(0, 2), (1,)]
    >>> g.is_even
    False

    `input`, `kernel`, `strides`, `dilation`: positive integers. `crop`: (before, after) cells cut
    off the full output; negative appends zeros. Raises `ValueError` where nothing would be left,
    or where the number of cells passes `2**63 - 1`.
    """

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    crop: tuple[Pair, ...]

    def __post_init__(self) -> None:
        rank = common_rank(
            input=self.input,
            kernel=self.kernel,
            strides=self.strides,
            dilation=self.dilation,
            crop=self.crop,
        )
        for name in ("input", "kernel", "strides", "dilation"):
            object.__setattr__(self, name, as_sizes(name, getattr(self, name), rank))
        object.__setattr__(self, "crop", as_pairs("crop", self.crop, rank))
        full = self.full
        output = cropped(full, self.crop)
        for axis, (length, size) in enumerate(zip(full, output, strict=True)):
            if size < 1:
                message = (
                    f"`crop` (={self.crop[axis]}) must leave at least 1 of the {length} cells of "
                    f"axis {axis}; the nearest legal pair is "
                    f"{nearest_crop(length, self.crop[axis])}"
                )
                raise ValueError(message)
        check_cells("input", math.prod(self.input))
        check_cells("output", max(math.prod(full), math.prod(output)))

    @property
    def effective_kernel(self) -> tuple[int, ...]:
        """`d(k-1) + 1` per axis: the cells one stamp spans."""
        return tuple(map(span, self.kernel, self.dilation))

    @property
    def full(self) -> tuple[int, ...]:
        """`(i-1)s + d(k-1) + 1` per axis: the output before the crop."""
        return tuple(map(full_size, self.input, self.effective_kernel, self.strides))

    @property
    def output(self) -> tuple[int, ...]:
        """`full - before - after` per axis."""
        return cropped(self.full, self.crop)

    @property
    def phases(self) -> tuple[tuple[Phase, ...], ...]:
        """Per axis, the phases that have output cells; phase `p` computes `output[p::stride]`."""
        return tuple(self._axis_phases(axis) for axis in range(len(self.input)))

    def _axis_phases(self, axis: int) -> tuple[Phase, ...]:
        stride, dilation, (before, _) = self.strides[axis], self.dilation[axis], self.crop[axis]
        by_residue: dict[int, list[int]] = {}
        for tap in range(self.kernel[axis]):
            by_residue.setdefault(tap * dilation % stride, []).append(tap)
        phases: list[Phase] = []
        for start in range(min(stride, self.output[axis])):
            first, residue = divmod(start + before, stride)
            taps = tuple(by_residue.get(residue, ()))
            shifts = tuple(tap * dilation // stride for tap in taps)
            count = -(-(self.output[axis] - start) // stride)
            phases.append(Phase(start, count, first, taps, shifts))
        return tuple(phases)

    def tap_range(self, axis: int, tap: int) -> tuple[int, int, int]:
        """The inputs that `tap` carries into the output of `axis`.

        (first, stop, where the first lands).

        >>> geometry(7, 3, strides=2, padding=1).tap_range(0, 0)
        (1, 7, 1)
        """
        stride, size = self.strides[axis], self.output[axis]
        offset = tap * self.dilation[axis] - self.crop[axis][0]
        first = max(0, -(offset // stride))
        stop = max(first, min(self.input[axis], -((offset - size) // stride)))
        return first, stop, first * stride + offset

    def coverage(self) -> tuple[tuple[int, ...], ...]:
        """Per axis, how many (input, tap) pairs reach each output cell.

        A cell's count is the product.

        >>> geometry(3, 3, strides=2).coverage()
        ((1, 1, 2, 1, 2, 1, 1),)
        """
        counts = [[0] * size for size in self.output]
        for axis, phases in enumerate(self.phases):
            for phase in phases:
                for n in range(phase.count):
                    # The taps whose input `first + n - shift` lies on the map; shifts ascend.
                    last = phase.first + n
                    met = bisect_right(phase.shifts, last) - bisect_right(
                        phase.shifts, last - self.input[axis]
                    )
                    counts[axis][phase.start + n * self.strides[axis]] = met
        return tuple(tuple(row) for row in counts)

    def coverage_counts(self) -> tuple[dict[int, int], ...]:
        """Per axis, how many output cells so many (input, tap) pairs reach, without a loop.

        >>> geometry(10**12, 3, strides=2).coverage_counts()
        ({1: 1000000000002, 2: 999999999999},)
        """
        rows: list[dict[int, int]] = []
        for phases, size in zip(self.phases, self.input, strict=True):
            counts: dict[int, int] = {}
            for phase in phases:
                # The count changes where a tap's first input comes in, and behind its last.
                ends = {end for shift in phase.shifts for end in (shift, shift + size)}
                stop = phase.first + phase.count
                steps = [
                    phase.first,
                    *sorted(end for end in ends if phase.first < end < stop),
                    stop,
                ]
                for first, last in pairwise(steps):
                    met = bisect_right(phase.shifts, first) - bisect_right(
                        phase.shifts, first - size
                    )
                    counts[met] = counts.get(met, 0) + last - first
            rows.append(dict(sorted(counts.items())))
        return tuple(rows)

    @property
    def is_even(self) -> bool:
        """Whether all interior cells get equally many taps.

        If not, the layer prints a checkerboard. Odena, Dumoulin & Olah, "Deconvolution and
        Checkerboard Artifacts", Distill 2016.
        """
        axes = zip(self.kernel, self.strides, self.dilation, strict=True)
        return all(k % s == 0 and math.gcd(s, d) == 1 for k, s, d in axes)

    @property
    def adjoint(self) -> Convolution:
        """The strided convolution that this is the transpose of: it maps `output` to `input`.

        >>> geometry((7, 7), 3, strides=2, padding="same").adjoint.output
        (7, 7)
        """
        return Convolution(self.output, self.kernel, self.strides, self.dilation, self.crop)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A strided convolution's integers; `adjoint` is the `Geometry` that maps its output back.

    `padding` counts the cells read beyond the input, (before, after) per axis. A negative count is
    cells that no window reaches, as at the end of `input` where the stride does not divide evenly.
    """

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Pair, ...]

    @property
    def output(self) -> tuple[int, ...]:
        """`floor((i + before + after - K) / s) + 1` per axis."""
        spans = map(span, self.kernel, self.dilation)
        return tuple(map(output_size, self.input, spans, self.strides, self.padding))

    @property
    def adjoint(self) -> Geometry:
        """The transposed convolution of this one."""
        return Geometry(self.output, self.kernel, self.strides, self.dilation, self.padding)


def geometry(
    input: Size,
    kernel: Size,
    *,
    strides: Size = 1,
    padding: Padding = "valid",
    output_padding: Size | None = None,
    output_shape: Size | None = None,
    dilation: Size = 1,
) -> Geometry:
    """Work out a transposed convolution: which size comes out, what is cropped where.

    >>> geometry(7, 3, strides=2, padding="same").output
    (14,)
    >>> geometry((7, 7), 3, strides=2, padding=1, output_padding=1).crop
    ((1, 0), (1, 0))
    >>> geometry((4, 4), 3, strides=3, output_shape=(14, 14)).crop
    ((0, -2), (0, -2))

    Args:
        input: the spatial size, an integer or one per axis (1 to 3 axes).
        kernel: taps, an integer or one per axis.
        strides: output cells from one input cell to the next, an integer or one per axis.
        padding: that of the convolution that this transposes, so the crop of this one: "same",
            "same_lower" (the larger half first) and "valid" by TensorFlow's rules, an integer, or
            [(before, after), ...] per axis.
        output_padding: cells added at the end, with explicit padding only.
        output_shape: the wanted spatial size, one of the `strides` sizes that the convolution maps
            back to `input`.
        dilation: cells from one tap to the next, an integer or one per axis.

    Returns:
        A `Geometry`.

    Raises:
        TypeError: something is not an integer.
        ValueError: something is not legal.
    """
    steps = kernel_steps(
        kernel,
        input=input,
        strides=strides,
        padding=padding,
        output_padding=output_padding,
        output_shape=output_shape,
        dilation=dilation,
    )
    return geometry_of(steps, input)


def convolution(
    input: Size, kernel: Size, *, strides: Size = 1, padding: Padding = "valid", dilation: Size = 1
) -> Convolution:
    """Work out a strided convolution: the other direction of `geometry`, same meaning of `padding`.

    >>> convolution((14, 14), 3, strides=2, padding="same").output
    (7, 7)

    Parameters as in `geometry`. Raises `ValueError` where the kernel is larger than the padded
    input.
    """
    steps = kernel_steps(kernel, input=input, strides=strides, padding=padding, dilation=dilation)
    return convolution_of(steps, input)


def geometry_of(steps: KernelSteps, input: Size) -> Geometry:
    """The transposed convolution of an input by a kernel that steps so.

    >>> geometry_of(kernel_steps(3, strides=2, padding="same"), 7).output
    (14,)
    """
    inputs = as_sizes("input", input, len(steps.kernel))
    check_cells("input", math.prod(inputs))
    crops = tuple(_crop(steps, axis, size) for axis, size in enumerate(inputs))
    return Geometry(inputs, steps.kernel, steps.strides, steps.dilation, crops)


def _crop(steps: KernelSteps, axis: int, input: int) -> Pair:
    pads, stride, wanted = steps.pads, steps.strides[axis], steps.wanted
    spanned = span(steps.kernel[axis], steps.dilation[axis])
    low, default, length = output_range(input, spanned, stride, pads[axis])
    size = default + steps.extra[axis] if wanted is None else wanted[axis]
    if size < 1 if wanted is None else low + stride <= 1:
        leave = None if wanted is None else max(size, 1)
        refuse_crop(axis, steps.padding, pads, length + steps.extra[axis], leave=leave)
    if wanted is not None and not max(low, 1) <= size < low + stride:
        maps = (
            f"a convolution with stride {stride} and padding={shown(steps.padding)} maps to {input}"
        )
        refuse_output_shape(axis, wanted, range(max(low, 1), low + stride), maps)
    before = crop_before(length - size, pads[axis])
    return before, length - size - before


def convolution_of(steps: KernelSteps, input: Size) -> Convolution:
    """The strided convolution of an input by a kernel that steps so."""
    inputs = as_sizes("input", input, len(steps.kernel))
    check_cells("input", math.prod(inputs))
    axes = [_convolved(steps, axis, inputs) for axis in range(len(inputs))]
    check_cells("output", math.prod(size for size, _ in axes))
    padded = tuple(pad for _, pad in axes)
    lengths = (size + before + after for size, (before, after) in zip(inputs, padded, strict=True))
    check_cells("input", math.prod(lengths), what="cells with its padding")
    return Convolution(inputs, steps.kernel, steps.strides, steps.dilation, padded)


def _convolved(steps: KernelSteps, axis: int, inputs: tuple[int, ...]) -> tuple[int, Pair]:
    """How many windows fit, and what is padded for them."""
    size, stride, pad = inputs[axis], steps.strides[axis], steps.pads[axis]
    spanned = span(steps.kernel[axis], steps.dilation[axis])
    padded = size + (0 if isinstance(pad, str) else sum(pad))
    if pad in ("same", "same_lower"):
        count = -(-size // stride)
    elif padded >= spanned:
        count = output_size(padded, spanned, stride)
    else:
        before, after = (0, 0) if isinstance(pad, str) else pad
        missing = spanned - padded
        what = (
            f"`kernel` (={steps.kernel[axis]}) with dilation {steps.dilation[axis]} spans "
            f"{spanned} cells, more than the padded input of {padded} on axis {axis}"
        )
        nearest = f'padding pair is {(before, after + missing)}, or padding="same"'
        raise illegal(what, nearest, input=(*inputs[:axis], size + missing, *inputs[axis + 1 :]))
    total = full_size(count, spanned, stride) - size
    before = crop_before(total, pad)
    return count, (before, total - before)


def span(kernel: int, dilation: int = 1) -> int:
    """One axis: `K = d(k-1) + 1`, the cells from a kernel's first tap to its last.

    >>> span(3), span(3, dilation=2)
    (3, 5)
    """
    return dilation * (kernel - 1) + 1


def full_size(input: int, span: int, stride: int) -> int:
    """One axis: `L = (i-1)s + K`, the size of a transposed convolution before its crop.

    >>> full_size(7, span=3, stride=2)
    15
    """
    return (input - 1) * stride + span


def output_size(input: int, span: int, stride: int, padding: Pair = (0, 0)) -> int:
    """One axis: the size of a strided convolution or pooling.

    It is `floor((i + before + after - K) / s) + 1`.

    >>> output_size(15, span=3, stride=2), output_size(14, 3, 2, (0, 1))
    (7, 7)
    """
    return (input + sum(padding) - span) // stride + 1


def same_padding(
    input: int, span: int, stride: int, rule: Literal["same", "same_lower"] = "same"
) -> Pair:
    """One axis: the padding with which `ceil(i/s)` windows fit.

    The larger half is behind, or before by "same_lower".

    >>> (same_padding(14, span=3, stride=2), same_padding(14, 3, 2, "same_lower"),
    ...  same_padding(14, 3, 1))
    ((0, 1), (1, 0), (1, 1))
    """
    total = max(full_size(-(-input // stride), span, stride) - input, 0)
    before = crop_before(total, rule)
    return before, total - before


def output_range(
    input: int, span: int, stride: int, pad: PaddingRule | Pair
) -> tuple[int, int, int]:
    """One axis: (smallest legal output, default output, full length); `stride` sizes are legal.

    The convolution with this padding maps exactly those sizes back to `input`.
    """
    length = full_size(input, span, stride)
    if pad == "valid":
        return length, length + max(stride - span, 0), length
    if isinstance(pad, str):
        return (input - 1) * stride + 1, input * stride, length
    return length - sum(pad), length - sum(pad), length


def cropped(full: tuple[int, ...], crop: tuple[Pair, ...]) -> tuple[int, ...]:
    """What a crop leaves of each axis.

    >>> cropped((15, 15), ((0, 1), (1, 1)))
    (14, 13)
    """
    return tuple(
        length - before - after for length, (before, after) in zip(full, crop, strict=True)
    )


def crop_before(total: int, pad: PaddingRule | Pair) -> int:
    """One axis: how much of a total crop is cut off the front."""
    match pad:
        case "same":
            return max(total, 0) // 2
        case "same_lower":
            return -(-max(total, 0) // 2)
        case "valid":
            return 0
        case (before, _):
            return before
