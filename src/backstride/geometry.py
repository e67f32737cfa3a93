"""The integers of a transposed convolution: sizes, crops, phases, and every check on them.

Per axis, with input `i`, kernel `k`, stride `s`, dilation `d`, effective kernel `K = d(k-1) + 1`
and full length `L = (i-1)s + K`, every framework computes

    y_full[m*s + j*d] += x[m] * w[j]      scatter: every input cell stamps the weighted kernel
    y = y_full[before : L - after]        crop; a negative crop appends zeros

and differs only in how it says (before, after). This module holds that model and nothing else:
no arrays, no framework; it is longer than its neighbours because every check on these integers
stands here, once. Relations 1 to 14 of Dumoulin & Visin, "A guide to convolution
arithmetic for deep learning" (arXiv 1603.07285), are its special cases.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from operator import index
from typing import Literal, TypeAlias, TypeGuard, cast

Size: TypeAlias = int | Sequence[int]
Pair: TypeAlias = tuple[int, int]
PaddingRule: TypeAlias = Literal["same", "same_lower", "valid"]
Padding: TypeAlias = PaddingRule | int | Sequence[Pair]

LARGEST = 2**63 - 1
RULES = ("same", "same_lower", "valid")


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
    or where the number of cells passes 2**63 - 1.
    """

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    crop: tuple[Pair, ...]

    def __post_init__(self) -> None:
        fields = {name: getattr(self, name) for name in ("input", "kernel", "strides", "dilation", "crop")}
        rank = common_rank(**fields)
        for name in ("input", "kernel", "strides", "dilation"):
            object.__setattr__(self, name, as_sizes(name, getattr(self, name), rank))
        object.__setattr__(self, "crop", as_pairs("crop", self.crop, rank))
        full, output = self.full, self.output
        for axis, (length, size) in enumerate(zip(full, output, strict=True)):
            if size < 1:
                message = (
                    f"`crop` (={self.crop[axis]}) must leave at least 1 of the {length} cells of axis {axis}; "
                    f"the nearest legal pair is {nearest_crop(length, self.crop[axis])}"
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
        return tuple(length - before - after for length, (before, after) in zip(self.full, self.crop, strict=True))

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
        """The inputs that `tap` carries into the output of `axis`: (first, stop, where the first lands).

        >>> geometry(7, 3, strides=2, padding=1).tap_range(0, 0)
        (1, 7, 1)
        """
        stride, size = self.strides[axis], self.output[axis]
        offset = tap * self.dilation[axis] - self.crop[axis][0]
        first = max(0, -(offset // stride))
        stop = max(first, min(self.input[axis], -((offset - size) // stride)))
        return first, stop, first * stride + offset

    def coverage(self) -> tuple[tuple[int, ...], ...]:
        """Per axis, how many (input, tap) pairs reach each output cell; a cell's count is the product.

        >>> geometry(3, 3, strides=2).coverage()
        ((1, 1, 2, 1, 2, 1, 1),)
        """
        counts = [[0] * size for size in self.output]
        for axis, phases in enumerate(self.phases):
            for phase in phases:
                for n in range(phase.count):
                    # The taps whose input `first + n - shift` lies on the map; shifts ascend.
                    last = phase.first + n
                    met = bisect_right(phase.shifts, last) - bisect_right(phase.shifts, last - self.input[axis])
                    counts[axis][phase.start + n * self.strides[axis]] = met
        return tuple(tuple(row) for row in counts)

    def coverage_counts(self) -> tuple[dict[int, int], ...]:
        """Per axis, how many output cells so many (input, tap) pairs reach, without going through the cells.

        >>> geometry(10**12, 3, strides=2).coverage_counts()
        ({1: 1000000000002, 2: 999999999999},)
        """
        found: list[dict[int, int]] = []
        for phases, size in zip(self.phases, self.input, strict=True):
            counts: dict[int, int] = {}
            for phase in phases:
                # The count changes where a tap's first input comes in, and behind its last.
                ends = {end for shift in phase.shifts for end in (shift, shift + size)}
                stop = phase.first + phase.count
                steps = [phase.first, *sorted(end for end in ends if phase.first < end < stop), stop]
                for first, last in pairwise(steps):
                    met = bisect_right(phase.shifts, first) - bisect_right(phase.shifts, first - size)
                    counts[met] = counts.get(met, 0) + last - first
            found.append(dict(sorted(counts.items())))
        return tuple(found)

    @property
    def is_even(self) -> bool:
        """Whether all interior cells get equally many taps; if not, the layer prints a checkerboard.

        Odena, Dumoulin & Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016.
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

    `input`, `kernel`, `strides`, `dilation`: an integer, or one per axis (1 to 3 axes).
    `padding`: the padding of the convolution that this transposes, so the crop of this one:
    "same", "same_lower" (the larger half first) and "valid" by TensorFlow's rules, an integer, or
    [(before, after), ...] per axis. `output_padding`: cells added at the end, with explicit padding
    only. `output_shape`: the wanted spatial size, one of the `strides` sizes that the convolution
    maps back to `input`.

    Raises `TypeError` for what is not an integer, and `ValueError` for what is not legal.
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
    inputs, kernels = as_sizes("input", input, rank), as_sizes("kernel", kernel, rank)
    check_cells("input", math.prod(inputs))
    steps, dilations = as_sizes("strides", strides, rank), as_sizes("dilation", dilation, rank)
    pads = as_padding(padding, rank)
    extra = as_output_padding(output_padding, output_shape, padding, steps=steps, dilations=dilations)
    wanted = None if output_shape is None else as_integers("output_shape", output_shape, rank)
    crops: list[Pair] = []
    for axis in range(rank):
        low, default, length = output_range(inputs[axis], span(kernels[axis], dilations[axis]), steps[axis], pads[axis])
        size = default + extra[axis] if wanted is None else wanted[axis]
        if size < 1 if wanted is None else low + steps[axis] <= 1:
            _refuse_crop(axis, padding, pads, length + extra[axis], leave=None if wanted is None else max(size, 1))
        if wanted is not None and not max(low, 1) <= size < low + steps[axis]:
            maps = f"a convolution with stride {steps[axis]} and padding={_show(padding)} maps to {inputs[axis]}"
            legal = range(max(low, 1), low + steps[axis])
            _refuse_output_shape(axis, wanted, legal, maps)
        before = crop_before(length - size, pads[axis])
        crops.append((before, length - size - before))
    return Geometry(inputs, kernels, steps, dilations, tuple(crops))


def convolution(
    input: Size, kernel: Size, *, strides: Size = 1, padding: Padding = "valid", dilation: Size = 1
) -> Convolution:
    """Work out a strided convolution: the other direction of `geometry`, same meaning of `padding`.

    >>> convolution((14, 14), 3, strides=2, padding="same").output
    (7, 7)

    Parameters as in `geometry`. Raises `ValueError` where the kernel is larger than the padded input.
    """
    rank = common_rank(
        input=input,
        kernel=kernel,
        strides=strides,
        dilation=dilation,
        padding=pairs_of(padding),
    )
    inputs, kernels = as_sizes("input", input, rank), as_sizes("kernel", kernel, rank)
    steps, dilations = as_sizes("strides", strides, rank), as_sizes("dilation", dilation, rank)
    pads = as_padding(padding, rank)
    check_cells("input", math.prod(inputs))
    sizes: list[int] = []
    padded: list[Pair] = []
    for axis in range(rank):
        spanned = span(kernels[axis], dilations[axis])
        pad = pads[axis]
        room = inputs[axis] + (0 if isinstance(pad, str) else sum(pad))
        if pad in ("same", "same_lower"):
            size = -(-inputs[axis] // steps[axis])
        elif room >= spanned:
            size = output_size(room, spanned, steps[axis])
        else:
            before, after = (0, 0) if isinstance(pad, str) else pad
            what = (
                f"`kernel` (={kernels[axis]}) with dilation {dilations[axis]} spans {spanned} cells, more than the "
                f"padded input of {room} on axis {axis}"
            )
            nearest = f'padding pair is {(before, after + spanned - room)}, or padding="same"'
            raise illegal(what, nearest, input=(*inputs[:axis], inputs[axis] + spanned - room, *inputs[axis + 1 :]))
        length = full_size(size, spanned, steps[axis])
        before = crop_before(length - inputs[axis], pad)
        sizes.append(size)
        padded.append((before, length - inputs[axis] - before))
    check_cells("output", math.prod(sizes))
    lengths = (size + before + after for size, (before, after) in zip(inputs, padded, strict=True))
    check_cells("input", math.prod(lengths), what="cells with its padding")
    return Convolution(inputs, kernels, steps, dilations, tuple(padded))


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
    """One axis: `floor((i + before + after - K) / s) + 1`, the size of a strided convolution or pooling.

    >>> output_size(15, span=3, stride=2), output_size(14, 3, 2, (0, 1))
    (7, 7)
    """
    return (input + sum(padding) - span) // stride + 1


def same_padding(input: int, span: int, stride: int, rule: Literal["same", "same_lower"] = "same") -> Pair:
    """One axis: the padding with which `ceil(i/s)` windows fit, the larger half behind, or before by "same_lower".

    >>> same_padding(14, span=3, stride=2), same_padding(14, 3, 2, "same_lower"), same_padding(14, 3, 1)
    ((0, 1), (1, 0), (1, 1))
    """
    total = max(full_size(-(-input // stride), span, stride) - input, 0)
    before = crop_before(total, rule)
    return before, total - before


def output_range(input: int, span: int, stride: int, pad: PaddingRule | Pair) -> tuple[int, int, int]:
    """One axis: (smallest legal output, default output, full length); `stride` sizes are legal.

    The convolution with this padding maps exactly those sizes back to `input`.
    """
    length = full_size(input, span, stride)
    if pad == "valid":
        return length, length + max(stride - span, 0), length
    if isinstance(pad, str):
        return (input - 1) * stride + 1, input * stride, length
    return length - sum(pad), length - sum(pad), length


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


def common_rank(**values: object) -> int:
    """The number of axes that the given arguments agree on; all integers make one axis."""
    lengths = {name: len(value) for name, value in values.items() if _is_sequence(value)}
    if not lengths:
        return 1
    (name, rank), *others = lengths.items()
    if not 1 <= rank <= 3:
        message = f"`{name}` (={_show(values[name])}) has {rank} axes; 1 to 3 are supported"
        raise ValueError(message)
    for other, length in others:
        if length != rank:
            message = (
                f"`{other}` (={_show(values[other])}) has {_entries(length)} and `{name}` (={_show(values[name])}) "
                f"has {rank}; give one per axis, or a single integer"
            )
            raise ValueError(message)
    return rank


def as_sizes(name: str, value: object, rank: int, *, least: int = 1) -> tuple[int, ...]:
    """Check an integer or a sequence of `rank` of them, each at least `least`."""
    entries = as_integers(name, value, rank, least=least)
    for axis, entry in enumerate(entries):
        if not least <= entry <= LARGEST:
            what = f"`{_item(name, value, axis)}` (={entry}) must be at least {least} and below 2**63"
            if entry > least:
                raise ValueError(what)
            raise illegal(what, f"value is {least}", **{name: tuple(max(least, found) for found in entries)})
    return entries


def as_integers(name: str, value: object, rank: int, *, least: int = -LARGEST) -> tuple[int, ...]:
    """Check an integer or a sequence of `rank` of them, of any size; `least` is for the message only."""
    if _are_integers(value) and len(value) == rank:
        return value
    if not _is_sequence(value):
        return (as_integer(name, value, rule="an integer or a sequence of integers", least=least),) * rank
    if len(value) != rank:
        message = f"`{name}` (={_show(value)}) must have one entry per axis, {rank} of them"
        raise ValueError(message)
    return tuple(as_integer(f"{name}[{axis}]", entry, least=least) for axis, entry in enumerate(value))


def as_pairs(name: str, value: object, rank: int) -> tuple[Pair, ...]:
    """Check [(before, after), ...], one pair per axis, of either sign."""
    entries = [entry for entry in value if _is_sequence(entry) and len(entry) == 2] if _is_sequence(value) else []
    pairs = [
        (as_integer(f"{name}[{axis}][0]", pair[0]), as_integer(f"{name}[{axis}][1]", pair[1]))
        for axis, pair in enumerate(entries)
    ]
    if not _is_sequence(value) or not len(pairs) == len(value) == rank:
        nearest = ", ".join(["(before, after)"] * rank)
        message = f"`{name}` (={_show(value)}) must be one (before, after) pair per axis: [{nearest}]"
        raise ValueError(message)
    for entry in (entry for pair in pairs for entry in pair):
        if abs(entry) > LARGEST:
            message = f"`{name}` (={entry}) must be between -2**63 and 2**63"
            raise ValueError(message)
    return tuple(pairs)


def pairs_of(padding: object) -> object:
    """What `padding` tells about the number of axes: itself where it holds a pair for each, or else None."""
    return padding if _is_sequence(padding) and all(_is_sequence(entry) for entry in padding) else None


def as_padding(padding: object, rank: int) -> tuple[PaddingRule | Pair, ...]:
    """Check `padding` and spread it over the axes: a rule's name or a pair for each."""
    rule = '"same", "same_lower", "valid", an integer, or a (before, after) pair per axis'
    if isinstance(padding, str):
        if padding == "same" or padding == "same_lower" or padding == "valid":  # noqa: PLR1714  narrows the type
            return (padding,) * rank
        message = f"`padding` (={padding!r}) must be {rule}"
        near = [name for name in RULES if name in (padding.lower(), padding.lower().removesuffix("_upper"))]
        raise ValueError(f'{message}; the nearest legal value is "{near[0]}"' if near else message)
    if not _is_sequence(padding):
        size = as_integer("padding", padding, rule=rule)
        return as_pairs("padding", [(size, size)] * rank, rank)
    if padding and not any(isinstance(entry, str) or _is_sequence(entry) for entry in padding):
        flat = [as_integer("padding", entry, rule=rule) for entry in padding]
        message = f"`padding` (={_show(padding)}) must be {rule}"
        if len(flat) == rank:
            message += f"; the nearest legal value is {list(zip(flat, flat, strict=True))}"
        elif len(flat) == 2 * rank:
            message += f"; the nearest legal value is {list(zip(flat[::2], flat[1::2], strict=True))}"
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
            f"`output_padding` (={_show(output_padding)}) and `output_shape` (={_show(output_shape)}) both say "
            "which size comes out; give one of them"
        )
        raise ValueError(message)
    if isinstance(padding, str):
        message = (
            f"`output_padding` (={_show(output_padding)}) goes with explicit padding only, not with "
            f'padding="{padding}"; name the size with `output_shape`'
        )
        raise ValueError(message)  # noqa: TRY004  the combination is at fault, not the type
    extra = as_sizes("output_padding", output_padding, len(steps), least=0)
    for axis, (cells, s, d) in enumerate(zip(extra, steps, dilations, strict=True)):
        if cells >= max(s, d):
            item = _item("output_padding", output_padding, axis)
            what = f"`{item}` (={cells}) must be below the larger of stride {s} and dilation {d} on axis {axis}"
            nearest = (
                f"value is {max(s, d) - 1}, and a crop pair (before, after - {cells}) in `padding` adds any number of "
                "cells"
            )
            legal = tuple(min(found, max(pair) - 1) for found, *pair in zip(extra, steps, dilations, strict=True))
            raise illegal(what, nearest, output_padding=legal)
    return extra


def as_integer(name: str, value: object, *, rule: str = "an integer", least: int = -LARGEST) -> int:
    """Check one integer of any library; booleans and floats (NaN too) are refused."""
    if not isinstance(value, bool):
        try:
            return index(value)  # pyright: ignore[reportArgumentType]  any object may be asked
        except TypeError:
            pass
    message = f"`{name}` (={_show(value)}) must be {rule}, not {type(value).__name__}"
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


def _refuse_crop(
    axis: int, padding: Padding, pads: Sequence[PaddingRule | Pair], length: int, *, leave: int | None
) -> None:
    what = (
        f"`padding` (={_show(padding)}) must leave at least 1 of the {length} cells of the full output of axis {axis}"
    )
    if not _is_sequence(padding) and leave is None:
        raise illegal(what, f"value on this axis is {(length - 1) // 2}", padding=(length - 1) // 2)
    pairs: list[Pair] = [(0, 0) if isinstance(pad, str) else pad for pad in pads]
    pairs[axis] = nearest_crop(length, pairs[axis], leave or 1)
    raise illegal(what, f"pair is {pairs[axis]}", padding=pairs)


def _refuse_output_shape(axis: int, wanted: tuple[int, ...], legal: range, maps: str) -> None:
    sizes = f"{legal.start}" if len(legal) == 1 else f"{legal.start} to {legal.stop - 1}"
    nearest = max(legal.start, min(wanted[axis], legal.stop - 1))
    what = f"`output_shape` (={wanted[axis]}) must be {sizes} on axis {axis}: the sizes that {maps}"
    raise illegal(what, f"value is {nearest}", output_shape=(*wanted[:axis], nearest, *wanted[axis + 1 :]))


def illegal(what: str, nearest: str = "", **legal: object) -> ValueError:
    """What a rule refuses: the sentence, and the arguments with which the call would be legal, for `legal_call`."""
    problem = ValueError(what + (f"; the nearest legal {nearest}" if nearest else ""))
    problem.__dict__.update(what=what, legal=legal)
    return problem


def legal_call(problem: ValueError) -> tuple[str, dict[str, object]]:
    """The sentence of a refusal without its end, and the arguments that would be legal, if any are known."""
    return problem.__dict__.get("what", str(problem)), problem.__dict__.get("legal", {})


def nearest_crop(length: int, crop: Pair, leave: int = 1) -> Pair:
    """The crop that leaves so many cells: less off the back, and where that is not enough, off the front."""
    before, after = crop
    excess = before + after - (length - leave)
    back = min(excess, max(after, 0))
    return before - (excess - back), after - back


def _is_sequence(value: object) -> TypeGuard[Sequence[object]]:
    return type(value) is tuple or (isinstance(value, Sequence) and not isinstance(value, str | bytes))


def _are_integers(value: object) -> TypeGuard[tuple[int, ...]]:
    """Whether it is what these checks give, and was most likely checked before."""
    return type(value) is tuple and set(map(type, cast("tuple[object, ...]", value))) <= {int}


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _item(name: str, value: object, axis: int) -> str:
    return f"{name}[{axis}]" if _is_sequence(value) else name


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
