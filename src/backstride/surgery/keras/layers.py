"""Layers that Keras lacks, registered to be found when a saved network is loaded.

It loads wherever this module was imported.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

from backstride.geometry import output_size, same_padding, span
from backstride.surgery.keras.library import Config, Layer, Shape, Shapes, Size, Tensor, keras

register = keras.saving.register_keras_serializable(package="backstride")


def _least(sizes: Sequence[Size]) -> Size:
    """The smallest of sizes that are numbers, or tensors where the graph leaves them open."""
    known = [size for size in sizes if isinstance(size, int)]
    return min(known) if len(known) == len(sizes) else functools.reduce(keras.ops.minimum, sizes)


def _windows(
    input_shape: Shape, kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> list[int | None]:
    """How many windows fit at a stride of 1, None for sizes that are not known."""
    axes = zip(input_shape[1:3], map(span, kernel, dilation), strict=True)
    return [None if size is None else output_size(size, cells, 1) for size, cells in axes]


@register
class Padding(Layer):
    """Adds cells around a map (N, h, w, C).

    Copies of its border (`edge`) or the lowest number (`lowest`). `padding`: ((top, bottom), (left,
    right)), as of ZeroPadding2D.
    """

    def __init__(
        self, padding: Iterable[Sequence[int]], mode: str = "edge", **options: object
    ) -> None:
        super().__init__(**options)
        self.padding = tuple((int(before), int(after)) for before, after in padding)
        self.mode = mode

    def call(self, inputs: Tensor) -> Tensor:
        """Pad the rows, then the columns."""
        for axis, (before, after) in enumerate(self.padding, 1):
            inputs = self._along(inputs, axis, before, after)
        return inputs

    def _along(self, inputs: Tensor, axis: int, before: int, after: int) -> Tensor:
        first = inputs[:, :1] if axis == 1 else inputs[:, :, :1]
        last = inputs[:, -1:] if axis == 1 else inputs[:, :, -1:]
        if self.mode == "lowest":
            lowest = keras.backend.standardize_dtype(inputs.dtype)
            first = last = keras.ops.full_like(first, -3.0e4 if lowest == "float16" else -3.0e38)
        parts = [keras.ops.repeat(first, before, axis), inputs, keras.ops.repeat(last, after, axis)]
        return keras.ops.concatenate(parts, axis=axis)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The padded map's shape."""
        sizes = [
            None if size is None else size + sum(pair)
            for size, pair in zip(input_shape[1:3], self.padding, strict=True)
        ]
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> Config:
        """What `from_config` takes."""
        return {**super().get_config(), "padding": self.padding, "mode": self.mode}


@register
class CropLike(Layer):
    """Cuts a map to the rows and columns of another, from cell `start` on.

    [map, other] to (N, h, w, C).
    """

    def __init__(self, start: Iterable[int], **options: object) -> None:
        super().__init__(**options)
        self.start = tuple(int(cell) for cell in start)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """Slice with the other map's size."""
        full, like = inputs
        rows, columns = keras.ops.shape(like)[1:3]
        top, left = self.start
        return full[:, top : top + rows, left : left + columns]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """The other map's rows and columns, the map's channels."""
        full, like = input_shape
        return (full[0], *like[1:3], full[3])

    def get_config(self) -> Config:
        """What `from_config` takes."""
        return {**super().get_config(), "start": self.start}


@register
class LocalNorm(Layer):
    """Group normalisation by the mean and variance of the `kernel` around each cell.

    See `torch.norms.local_norm`. `kernel`: (rows, columns). `groups`: of the channels, 0 for each
    by itself.
    """

    def __init__(
        self,
        kernel: Iterable[int],
        groups: int,
        epsilon: float,
        center: bool = True,
        scale: bool = True,
        **options: object,
    ) -> None:
        super().__init__(**options)
        self.kernel = tuple(int(cells) for cells in kernel)
        self.groups, self.epsilon, self.center, self.scale = (
            int(groups),
            float(epsilon),
            bool(center),
            bool(scale),
        )
        sides = [same_padding(cells, cells, 1) for cells in self.kernel]
        self.edges = Padding(sides) if any(map(any, sides)) else None

    def build(self, input_shape: Shapes) -> None:
        """Make the weights of a GroupNormalization, in its order."""
        make, channels = self.add_weight, input_shape[-1]
        assert isinstance(channels, int)
        self.gamma = (
            make(shape=(channels,), initializer="ones", name="gamma") if self.scale else None
        )
        self.beta = (
            make(shape=(channels,), initializer="zeros", name="beta") if self.center else None
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Normalise."""
        ops, channels = keras.ops, inputs.shape[-1]
        assert channels is not None
        rows, columns = ops.shape(inputs)[1:3]
        apart = ops.reshape(
            inputs,
            (-1, rows, columns, self.groups or channels, channels // (self.groups or channels)),
        )
        apart = apart - ops.mean(apart, axis=(1, 2, 4), keepdims=True)
        cells = ops.mean(apart, axis=4)
        inside = ops.mean(ops.square(apart - cells[..., None]), axis=4)
        mean = self._windows(cells)
        spread = self._windows(inside) + ops.maximum(
            self._windows(ops.square(cells)) - ops.square(mean), 0
        )
        normed = (apart - mean[..., None]) / ops.sqrt(spread + self.epsilon)[..., None]
        result = ops.reshape(normed, (-1, rows, columns, channels))
        result = result if self.gamma is None else result * self.gamma
        return result if self.beta is None else result + self.beta

    def _windows(self, maps: Tensor) -> Tensor:
        rows, columns = self.kernel
        pooled = keras.ops.average_pool(maps, (rows, 1), 1, "valid", "channels_last")
        pooled = keras.ops.average_pool(pooled, (1, columns), 1, "valid", "channels_last")
        return pooled if self.edges is None else self.edges.call(pooled)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The same."""
        return input_shape

    def get_config(self) -> Config:
        """What `from_config` takes."""
        own = {
            name: getattr(self, name) for name in ("kernel", "groups", "epsilon", "center", "scale")
        }
        return {**super().get_config(), **own}


@register
class AtrousPooling(Layer):
    """The maximum (`max_pool`) or mean (`avg_pool`) of windows of dilated cells.

    The cells lie `dilation` apart; every cell has a window. `kernel`, `dilation`: (rows, columns).
    """

    def __init__(
        self, kernel: Iterable[int], dilation: Iterable[int], kind: str, **options: object
    ) -> None:
        super().__init__(**options)
        self.kernel = tuple(int(taps) for taps in kernel)
        self.dilation = tuple(int(cells) for cells in dilation)
        self.kind = kind

    def call(self, inputs: Tensor) -> Tensor:
        """Rows, then columns: both maxima and means of a window are those of its rows'."""
        join = keras.ops.maximum if self.kind == "max_pool" else keras.ops.add
        for axis, (taps, apart) in enumerate(zip(self.kernel, self.dilation, strict=True), 1):
            beyond = span(taps, apart) - 1
            views = [
                inputs[:, tap * apart or None : tap * apart - beyond or None] for tap in range(taps)
            ]
            if axis == 2:
                views = [
                    inputs[:, :, tap * apart or None : tap * apart - beyond or None]
                    for tap in range(taps)
                ]
            inputs = functools.reduce(join, views)
        return inputs if self.kind == "max_pool" else inputs / math.prod(self.kernel)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """As many cells fewer as the window spans beyond one."""
        return (input_shape[0], *_windows(input_shape, self.kernel, self.dilation), input_shape[3])

    def get_config(self) -> Config:
        """What `from_config` takes."""
        return {
            **super().get_config(),
            "kernel": self.kernel,
            "dilation": self.dilation,
            "kind": self.kind,
        }


@register
class Bins(Layer):
    """The maxima (`max_bins`) or means (`avg_bins`) of the bins of every window of `kernel` cells.

    Their channels stand beside each other, as Keras flattens them: (N, h, w, C) to (N, h', w', rows
    * columns * C). Bin i of n of m cells goes from floor(i*m/n) to ceil((i+1)*m/n). `kernel`,
    `bins`, `dilation`: (rows, columns).
    """

    def __init__(
        self,
        kernel: Iterable[int],
        bins: Iterable[int],
        dilation: Iterable[int],
        kind: str,
        **options: object,
    ) -> None:
        super().__init__(**options)
        self.kernel, self.bins, self.dilation = (
            tuple(map(int, entry)) for entry in (kernel, bins, dilation)
        )
        self.kind = kind

    def call(self, inputs: Tensor) -> Tensor:
        """Rows, then columns: both maxima and means of a bin are those of its rows'."""
        rows = self._along(inputs, 1)
        return keras.ops.concatenate(
            [part for row in rows for part in self._along(row, 2)], axis=-1
        )

    def _along(self, maps: Tensor, axis: int) -> list[Tensor]:
        cells, count, apart = self.kernel[axis - 1], self.bins[axis - 1], self.dilation[axis - 1]
        beyond = span(cells, apart) - 1
        index = [slice(tap * apart or None, tap * apart - beyond or None) for tap in range(cells)]
        taps = [maps[:, entry] if axis == 1 else maps[:, :, entry] for entry in index]
        join = keras.ops.maximum if self.kind == "max_bins" else keras.ops.add
        found: list[Tensor] = []
        for place in range(count):
            part = taps[place * cells // count : -(-(place + 1) * cells // count)]
            found.append(
                functools.reduce(join, part) / (1 if self.kind == "max_bins" else len(part))
            )
        return found

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """As many cells fewer as the window spans beyond one, and all bins' channels."""
        batch, *_, channels = input_shape
        assert channels is not None
        return (
            batch,
            *_windows(input_shape, self.kernel, self.dilation),
            math.prod(self.bins) * channels,
        )

    def get_config(self) -> Config:
        """What `from_config` takes."""
        own = {
            "kernel": self.kernel,
            "bins": self.bins,
            "dilation": self.dilation,
            "kind": self.kind,
        }
        return {**super().get_config(), **own}


@register
class CutToSmallest(Layer):
    """Cuts maps (N, h, w, C) at their ends to as many rows and columns as the smallest has.

    A list to a list.
    """

    def call(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Slice all of them."""
        rows, columns = (
            _least([keras.ops.shape(part)[axis] for part in inputs]) for axis in (1, 2)
        )
        return [part[:, :rows, :columns] for part in inputs]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> list[Shape]:
        """As many rows and columns as the smallest has, where they are known."""
        known: list[int | None] = []
        for axis in (1, 2):
            sizes = [size for shape in input_shape if (size := shape[axis]) is not None]
            known.append(min(sizes) if len(sizes) == len(input_shape) else None)
        return [(shape[0], *known, shape[3]) for shape in input_shape]


@register
class Coarse(Layer):
    """Gives the coarse scores on unchanged. `influence`: what tiling needs, as text."""

    def __init__(self, influence: str = "", **options: object) -> None:
        super().__init__(**options)
        self.influence = influence

    def call(self, inputs: Tensor) -> Tensor:
        """The same."""
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The same."""
        return input_shape

    def get_config(self) -> Config:
        """What `from_config` takes."""
        return {**super().get_config(), "influence": self.influence}
