"""Where a cell looks: sizes, receptive fields, strides and offsets in image coordinates, exactly.

Pixel p has the coordinate p. Cell i of a node sees the pixels from `start + i*stride`, `size` of
them. Per axis, a window with kernel span K, stride s and leading padding b makes (Araujo, Norris &
Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019, equations 2 to 5)

    convolution, pooling    start - b*stride,             size + (K-1)*stride,     stride * s
    transposed              start + (b-K+1)*stride/s,     size + (K-1)*stride/s,   stride / s

out of (start, size, stride). For a transposed convolution, whose cells see different numbers of
inputs, that is the smallest regular description; `reach` gives each single cell's exact pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from backstride.integers import Pair
from backstride.surgery.model.graph import GLOBAL, WINDOWED, Graph, Node, Window


@dataclass(frozen=True, slots=True)
class Field:
    """One axis of a node: cell i sees `size` pixels from `start + i*stride`.

    >>> Field(Fraction(-3), Fraction(7), Fraction(2)).offset
    Fraction(0, 1)
    """

    start: Fraction
    size: Fraction
    stride: Fraction

    @property
    def offset(self) -> Fraction:
        """The image coordinate of the middle of cell 0."""
        return self.start + (self.size - 1) / 2

    def through(self, window: Window, axis: int, *, transposed: bool = False) -> Field:
        """The field of a window's output cells over cells that have this field."""
        span, (before, _), step = window.span(axis), window.padding[axis], window.strides[axis]
        if transposed:
            fine = self.stride / step
            return Field(
                self.start + (before - span + 1) * fine, self.size + (span - 1) * fine, fine
            )
        return Field(
            self.start - before * self.stride,
            self.size + (span - 1) * self.stride,
            self.stride * step,
        )

    def resized(self, ratio: Fraction, shift: Fraction, taps: int) -> Field:
        """The field of cells at `i*ratio + shift` among these, each from so many around it.

        A cell between two takes the one before it, or half of its taps on each side.
        """
        places = math.lcm(ratio.denominator, shift.denominator)
        before, behind = max(taps // 2, 1) - Fraction(1, places), taps // 2
        start = self.start + (shift - before) * self.stride
        return Field(start, self.size + (before + behind) * self.stride, self.stride * ratio)


def periods(graph: Graph, name: str) -> tuple[Fraction, ...]:
    """How far an image must move, per axis, for a node's cells to move by whole cells.

    So must all cells that they are computed from: the least common multiple of the strides. It is
    the node's own stride unless something before it is coarser, which an upsampling then made
    finer.
    """
    above, found = graph.ancestors(name), fields(graph)
    strides = [axes for node, axes in found.items() if node in above]
    return tuple(
        _common_multiple([axes[at].stride for axes in strides]) for at in range(len(found[name]))
    )


def _common_multiple(lengths: Iterable[Fraction]) -> Fraction:
    found = Fraction(1)
    for length in lengths:
        found = Fraction(
            math.lcm(found.numerator, length.numerator),
            math.gcd(found.denominator, length.denominator),
        )
    return found


Fields = Mapping[str, tuple[Field, ...]]
Sizes = Mapping[str, tuple[int, ...]]
IMAGE = Field(Fraction(0), Fraction(1), Fraction(1))


def fields(graph: Graph) -> Fields:
    """The field of every node that is computed from the image, one entry per spatial axis.

    Poolings of the whole image, and what is computed from them alone, have none.
    Raises `ValueError` where branches of different strides meet: their cells have no common field.
    """
    found: dict[str, tuple[Field, ...]] = {}
    for node in graph:
        sources = [found[name] for name in node.inputs if name in found]
        if node.kind == "input":
            found[node.name] = (IMAGE,) * (len(node.shape) - 1)
        elif sources and node.window is not None and node.kind in WINDOWED:
            transposed = node.kind == "conv_transpose"
            found[node.name] = tuple(
                field.through(node.window, axis, transposed=transposed)
                for axis, field in enumerate(sources[0])
            )
        elif sources and node.kind == "resize":
            axes = zip(sources[0], node.ratios, strict=True)
            found[node.name] = tuple(field.resized(*ratio) for field, ratio in axes)
        elif sources and node.kind != "output" and node.kind not in GLOBAL:
            found[node.name] = tuple(
                _hull(node, branches) for branches in zip(*sources, strict=True)
            )
    return found


def sizes(graph: Graph, size: tuple[int, ...]) -> Sizes:
    """The spatial size of every node for an image of this size."""
    found: dict[str, tuple[int, ...]] = {}
    whole = set[str]()  # what is computed from poolings of the whole image alone
    for node in graph:
        names = [name for name in node.inputs if name in found]
        sources = [found[name] for name in names if name not in whole] or [
            found[name] for name in names
        ]
        if node.kind in GLOBAL or (names and whole.issuperset(names)):
            whole.add(node.name)
        if node.kind == "input":
            found[node.name] = size
        elif sources and node.window is not None and node.kind in WINDOWED:
            rule = node.window.transposed if node.kind == "conv_transpose" else node.window.output
            found[node.name] = tuple(rule(axis, cells) for axis, cells in enumerate(sources[0]))
        elif sources and node.kind in GLOBAL:
            found[node.name] = (1,) * len(size)
        elif sources and node.kind != "output":
            found[node.name] = tuple(min(cells) for cells in zip(*sources, strict=True))
    return found


def reach(graph: Graph, node_sizes: Sizes, target: str, axis: int, cell: int) -> Mapping[str, Pair]:
    """The cells of every node that one cell of `target` is computed from, as (first, last).

    Those before 0 or beyond the node's size are padding. For the input they are the exact pixels.
    """
    needed: dict[str, Pair] = {target: (cell, cell)}
    inside: dict[str, Pair] = {
        target: (cell, cell)
    }  # those of them that exist, and those that stand for others
    for node in reversed(graph.nodes):
        if node.name not in inside or node.kind in ("input", "output"):
            continue  # every cell that is asked for is padding
        first, last = inside[node.name]
        if node.window is not None and node.kind in WINDOWED:
            first, last = _inputs_of(
                node.window, axis, (first, last), transposed=node.kind == "conv_transpose"
            )
        for source in node.inputs:
            if source in node_sizes:
                end = node_sizes[source][axis] - 1
                asked = (0, end) if node.kind in GLOBAL else (first, last)
                _widen(needed, source, asked)
                read = _read_inside(*asked, end, _border(node))
                if read[0] <= read[1]:
                    _widen(inside, source, read)
    return needed


def _widen(ranges: dict[str, Pair], name: str, more: Pair) -> None:
    low, high = ranges.get(name, more)
    ranges[name] = (min(low, more[0]), max(high, more[1]))


def _border(node: Node) -> str:
    """What a node finds beyond the border of its input."""
    if node.kind == "edge_pad":
        return "edge"
    return "zeros" if node.window is None else node.window.border


def _read_inside(first: int, last: int, end: int, border: str) -> Pair:
    """The cells from 0 to `end` that are read where those from `first` to `last` are asked for.

    None as (1, 0).
    """
    low, high = max(first, 0), min(last, end)
    if border == "zeros" or (first >= 0 and last <= end):
        return low, high
    if border == "edge":
        return min(low, end), max(high, 0)
    if border == "wrap":
        return 0, end
    gap = int(border == "symmetric")
    mirrored = [-first - gap, *([-last - gap] if last < 0 else [])] if first < 0 else []
    mirrored += (
        [2 * end - last + gap, *([2 * end - first + gap] if first > end else [])]
        if last > end
        else []
    )
    inside = [low, high] if low <= high else []
    cells = [min(max(cell, 0), end) for cell in (*mirrored, *inside)]
    return min(cells), max(cells)


def _inputs_of(window: Window, axis: int, cells: Pair, *, transposed: bool) -> Pair:
    span, stride, (before, _) = window.span(axis), window.strides[axis], window.padding[axis]
    first, last = cells
    if transposed:  # output = input*s + tap - before, with taps from 0 to span - 1
        return -((span - 1 - first - before) // stride), (last + before) // stride
    return first * stride - before, last * stride - before + span - 1


def _hull(node: Node, branches: Iterable[Field]) -> Field:
    first, *others = branches
    for other in others:
        if other.stride != first.stride:
            message = f"`{node.name}` joins branches of stride {first.stride} and {other.stride}"
            raise ValueError(message)
        start = min(first.start, other.start)
        end = max(first.start + first.size, other.start + other.size)
        first = Field(start, end - start, first.stride)
    return first
