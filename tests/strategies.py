"""Calls drawn by hypothesis, and the arrays for them; shared by the tests of laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from backstride.geometry import Geometry
from backstride.integers import Pair
from backstride.layout import DataFormat

Array = NDArray[Any]


@dataclass(frozen=True)
class Drawn:
    """One legal call: its integers, and a seed for its arrays."""

    geometry: Geometry
    batch: int
    groups: int
    big: int
    small: int
    data_format: DataFormat
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        """The same options for `conv_transpose`, `conv` and `conv_kernel_gradient`."""
        return self.options_with()

    def options_with(self, **changes: Any) -> dict[str, Any]:
        options: dict[str, Any] = {
            "strides": self.geometry.strides,
            "padding": list(self.geometry.crop),
            "dilation": self.geometry.dilation,
            "groups": self.groups,
            "data_format": self.data_format,
        }
        return options | changes

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        spatial = self.geometry.kernel
        if self.data_format == "channels_last":
            return (*spatial, self.big, self.small * self.groups)
        return (self.small * self.groups, self.big, *spatial)

    def data_shape(self, side: Literal["small", "big"]) -> tuple[int, ...]:
        spatial = self.geometry.input if side == "small" else self.geometry.output
        channels = self.groups * (self.small if side == "small" else self.big)
        return (
            (self.batch, *spatial, channels)
            if self.data_format == "channels_last"
            else (self.batch, channels, *spatial)
        )

    def arrays(self, dtype: str = "int64") -> tuple[Array, Array, Array]:
        """(x on the small side, kernel, y on the big side), small integers in `dtype`."""
        random = np.random.default_rng(self.seed)
        shapes = (self.data_shape("small"), self.kernel_shape, self.data_shape("big"))
        x, kernel, y = (random.integers(-9, 10, shape).astype(dtype) for shape in shapes)
        return x, kernel, y

    def floats(self) -> tuple[Array, Array, Array]:
        """The same shapes, normally distributed float64."""
        random = np.random.default_rng(self.seed)
        shapes = (self.data_shape("small"), self.kernel_shape, self.data_shape("big"))
        x, kernel, y = (random.standard_normal(shape) for shape in shapes)
        return x, kernel, y

    def biases(self, dtype: str = "int64") -> tuple[Array, Array]:
        """(bias of the small side, bias of the big side)."""
        random = np.random.default_rng(self.seed + 1)
        small, big = (
            random.integers(-9, 10, self.groups * n).astype(dtype) for n in (self.small, self.big)
        )
        return small, big


LARGEST_INPUT = {1: 8, 2: 5, 3: 3}
LARGEST_KERNEL = {1: 5, 2: 4, 3: 2}


@st.composite
def geometries(
    draw: st.DrawFn, *, ranks: tuple[int, ...] = (1, 2, 3), negative: bool = True
) -> Geometry:
    """Any geometry whose output has a cell: strides, dilation, and crops of either sign."""
    rank = draw(st.sampled_from(ranks))
    axes: list[tuple[int, int, int, int, Pair]] = []
    for _ in range(rank):
        size, taps = (
            draw(st.integers(1, LARGEST_INPUT[rank])),
            draw(st.integers(1, LARGEST_KERNEL[rank])),
        )
        stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        full = (size - 1) * stride + dilation * (taps - 1) + 1
        least = -3 if negative else 0
        near = st.integers(least, min(2, full - 1))
        before = draw(near | near | st.integers(least, full + 1 if negative else full - 1))
        left = full - 1 - before
        near = st.integers(min(least, left), min(2, left))
        after = draw(near | near | st.integers(min(least, left), left))
        axes.append((size, taps, stride, dilation, (before, after)))
    sizes, kernel, strides, dilations, crop = zip(*axes, strict=True)
    return Geometry(sizes, kernel, strides, dilations, crop)


@st.composite
def calls(
    draw: st.DrawFn,
    *,
    ranks: tuple[int, ...] = (1, 2, 3),
    negative: bool = True,
    least_batch: int = 0,
) -> Drawn:
    """Any legal call of the three operations."""
    return Drawn(
        geometry=draw(geometries(ranks=ranks, negative=negative)),
        batch=max(least_batch, draw(st.sampled_from((1, 2, 1, 2, 0)))),
        groups=draw(st.integers(1, 3)),
        big=draw(st.integers(1, 3)),
        small=draw(st.integers(1, 3)),
        data_format=draw(st.sampled_from(("channels_last", "channels_first"))),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
