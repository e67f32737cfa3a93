"""One call to time: a layer, what is done with it, and its numbers; the same numbers for everybody.

A runner takes them into the layout and the library that it likes best, outside of what is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from layers import Layer
from numpy.typing import NDArray

LINE = 64
Array = NDArray[np.float32]
Cuts = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """What is timed: the layer alone or with bias and ReLU.

    Weights packed beforehand or given with each call.
    """

    name: str
    title: str
    fused: bool = False
    packed: bool = True
    gradient: str | None = None  # "input" or "kernel"


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("packed", "weights packed beforehand"),
        Variant("packed-relu", "weights packed beforehand, bias and ReLU", fused=True),
        Variant("call", "weights given with each call", packed=False),
        Variant(
            "call-relu", "weights given with each call, bias and ReLU", fused=True, packed=False
        ),
        Variant("input-gradient", "gradient by the input", packed=False, gradient="input"),
        Variant("kernel-gradient", "gradient by the kernel", packed=False, gradient="kernel"),
    )
}


class Runner(NamedTuple):
    """`call` is what is timed; `result` turns what it returns into NumPy, channels last."""

    call: Callable[[], Any]
    result: Callable[[Any], Any]


@dataclass(frozen=True)
class Problem:
    """A layer with its numbers, drawn from one seed."""

    layer: Layer
    variant: Variant
    threads: int = 1

    @cached_property
    def x(self) -> Array:
        """(N, *input, C_small)."""
        return self._normal(0, self.layer.batch, *self.layer.input, self.layer.small)

    @cached_property
    def kernel(self) -> Array:
        """(*k, C_big / groups, C_small)."""
        layer = self.layer
        return self._normal(1, *layer.kernel, layer.big // layer.groups, layer.small)

    @cached_property
    def bias(self) -> Array | None:
        """(C_big,), where the variant has one."""
        return self._normal(2, self.layer.big) if self.variant.fused else None

    @cached_property
    def image(self) -> Array:
        """(N, *output, C_big): what comes back in training, the gradient of the result."""
        return self._normal(3, self.layer.batch, *self.layer.output, self.layer.big)

    @property
    def x_first(self) -> Array:
        """(N, C_small, *input)."""
        return first(self.x)

    @property
    def kernel_first(self) -> Array:
        """(C_small, C_big / groups, *k)."""
        rank = len(self.layer.kernel)
        return aligned(self.kernel.transpose(rank + 1, rank, *range(rank)))

    def _normal(self, seed: int, *shape: int) -> Array:
        return aligned(
            np.random.default_rng([self.layer.number, seed]).standard_normal(shape, np.float32)
        )


def aligned(array: Array) -> Array:
    """A contiguous copy that starts at a cache line, as the frameworks' arrays do.

    NumPy's own may not.
    """
    memory = np.empty(array.nbytes + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def first(array: Array) -> Array:
    """(N, *size, C) to (N, C, *size)."""
    return aligned(np.moveaxis(array, -1, 1))


def last(array: Any) -> Any:
    """(N, C, *size) to (N, *size, C), a view."""
    return np.moveaxis(np.asarray(array), 1, -1)


def flat(layer: Layer) -> Layer:
    """A 1-D layer as a 2-D one of height 1, for those who have no 1-D layers.

    Others as they are.
    """
    if len(layer.input) > 1:
        return layer
    return Layer(
        layer.number,
        layer.name,
        layer.batch,
        layer.small,
        layer.big,
        (1, *layer.input),
        (1, *layer.kernel),
        (1, *layer.strides),
        ((0, 0), *layer.crop),
        layer.groups,
        layer.source,
    )


def symmetric(layer: Layer) -> tuple[tuple[int, ...], tuple[int, ...], Cuts | None] | None:
    """The crop in PyTorch's words: (padding, output_padding, what is left to slice off).

    None for a negative one.
    """
    if any(min(pair) < 0 for pair in layer.crop):
        return None
    pads: list[int] = []
    extra: list[int] = []
    cuts: list[tuple[int, int]] = []
    for (before, after), stride in zip(layer.crop, layer.strides, strict=True):
        said = 0 <= before - after < stride
        pads.append(before if said else min(before, after))
        extra.append(before - after if said else 0)
        cuts.append((0, 0) if said else (before - min(before, after), after - min(before, after)))
    return tuple(pads), tuple(extra), slices(cuts)


def slices(cuts: Sequence[tuple[int, int]]) -> Cuts | None:
    """Slices of the spatial axes that cut so many cells off each end.

    None where there is nothing to cut.
    """
    if all(cut == (0, 0) for cut in cuts):
        return None
    return tuple(slice(before, -after or None) for before, after in cuts)


def is_same(layer: Layer) -> bool:
    """Whether the crop is TensorFlow's "SAME".

    The smaller half first, and the input that such an output has.
    """
    return all(
        cells == -(-size // step) and before == sum((before, after)) // 2 and after >= 0
        for cells, size, step, (before, after) in zip(
            layer.input, layer.output, layer.strides, layer.crop, strict=True
        )
    )
