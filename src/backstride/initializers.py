"""Kernels to start a transposed convolution from: bilinear, nearest, ICNR.

And TensorFlow 1's seeded normal. NumPy only. The kernels are in the layout of `conv_transpose`:
channels_last `(*k, C_big, C_small)`, channels_first `(C_small, C_big, *k)`. A stride `s` splits the
taps of an axis into `s` phases `p, p + s, ...`, one for each residue of the output position; a
kernel keeps constant maps constant exactly where the taps of each phase sum to 1, and that takes at
least one tap in each: `k >= s`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import DTypeLike, NDArray

from backstride.integers import Size, as_integer, as_sizes, check_cells, common_rank
from backstride.layout import (
    AnyArray,
    AnyDtype,
    DataFormat,
    check_data_format,
    kernel_unview,
    kernel_view,
)

DEFAULT_GRAPH_SEED = 87654321
LARGEST_SEED = 2**31 - 1
BLOCKS_PER_SAMPLE = 256

Words = NDArray[np.uint32]
Floats = NDArray[np.float32]


def bilinear(
    kernel: Size,
    strides: Size,
    channels: int,
    *,
    data_format: DataFormat = "channels_last",
    dtype: DTypeLike = "float32",
) -> AnyArray:
    """The kernel with which `conv_transpose` interpolates linearly, each channel on its own.

    >>> bilinear(4, 2, 1)[:, 0, 0]
    array([0.25, 0.75, 0.75, 0.25], dtype=float32)

    Its answer to a ramp is the ramp, sampled at `(o - (k-1)/2) / s` for output cell `o` before the
    crop:

    >>> from backstride import conv_transpose
    >>> conv_transpose(np.float32([[[0], [4], [8]]]), bilinear(4, 2, 1), strides=2,
    ...     padding="same")[0, 1:-1, 0]
    array([1., 3., 5., 7.], dtype=float32)

    Tap `j` of an axis is `max(0, 1 - |j - (k-1)/2| / s)`, divided by the sum of its phase, so that
    each phase sums to 1 for any `k >= s`. From `k = 2s - 1` (odd k) or `k = 2s` (even k) on, those
    sums are 1 already, and ramps are kept. For `k = 2s - s % 2`, the choice of fully convolutional
    networks, this is Caffe's filler, and padding "same" samples at half-pixel positions,
    `(o + 1/2) / s - 1/2`. Shorter kernels keep ramps only in the phases that have two taps; `k = s`
    repeats cells.

    Long, Shelhamer & Darrell 2015 (arXiv 1411.4038), section 3.3; Caffe `filler.hpp`,
    BilinearFiller.

    Args:
        kernel: an integer, or one per axis (1 to 3 axes).
        strides: an integer, or one per axis.
        channels: both C_big and C_small.
        data_format: "channels_last" or "channels_first".
        dtype: a floating one.

    Returns:
        `(*k, channels, channels)`, or `(channels, channels, *k)`; zero between different channels.

    Raises:
        TypeError: something is not an integer, or the dtype is not a floating one.
        ValueError: `kernel` is smaller than `strides`: cells without a tap cannot be interpolated.
    """
    taps = [_triangle(k, s) for k, s in _axes(kernel, strides)]
    return _per_channel(taps, channels, data_format, _floating(dtype))


def nearest(
    kernel: Size,
    strides: Size,
    channels: int,
    *,
    data_format: DataFormat = "channels_last",
    dtype: DTypeLike = "float32",
) -> AnyArray:
    """The kernel with which `conv_transpose` repeats cells, each channel on its own.

    >>> nearest(5, 3, 1)[:, 0, 0]
    array([0., 1., 1., 1., 0.], dtype=float32)

    With padding "same" the result is exactly `numpy.repeat(x, s)` on every axis, for any `k >= s`:
    the `s` ones start at tap `(k - s) // 2`, which is how much that padding crops off the front.

    Args:
        kernel: as in `bilinear`, like all that follow.
        strides: an integer, or one per axis.
        channels: both C_big and C_small.
        data_format: "channels_last" or "channels_first".
        dtype: a floating one.

    Returns:
        `(*k, channels, channels)`, or `(channels, channels, *k)`; zero between different channels.

    Raises:
        TypeError: something is not an integer, or the dtype is not a floating one.
        ValueError: `kernel` is smaller than `strides`.
    """
    taps = [_box(k, s) for k, s in _axes(kernel, strides)]
    return _per_channel(taps, channels, data_format, _floating(dtype))


def icnr(base: AnyArray, strides: Size, *, data_format: DataFormat = "channels_last") -> AnyArray:
    """Spread a kernel over the phases of a stride.

    A layer then starts without checkerboard.

    >>> icnr(np.float32([5, 7]).reshape(2, 1, 1), 3)[:, 0, 0]
    array([5., 5., 5., 7., 7., 7.], dtype=float32)

    Each tap is repeated `s` times, so `conv_transpose(x, icnr(base, s), strides=s)` is
    `conv_transpose(x, base)` with each cell repeated `s` times. A base of one tap per axis gives
    `k = s`, the sub-pixel convolution of the paper; one of `b` taps gives `k = b*s`, its
    generalisation. Other `k` have phases of unequal size, which no one base can fill.

    Aitken et al. 2017 (arXiv 1707.02937), equation 5.

    Args:
        base: `(*b, C_big, C_small)`, or `(C_small, C_big, *b)`, any dtype, usually a random kernel.
        strides: an integer, or one per axis.
        data_format: "channels_last" or "channels_first".

    Returns:
        `(*(b*s), C_big, C_small)`, or `(C_small, C_big, *(b*s))`.

    Raises:
        ValueError: the base does not have 1 to 3 spatial axes and 2 for the channels.
    """
    layout = check_data_format(data_format)
    taps = kernel_view(np.asarray(base), layout)
    if not 3 <= taps.ndim <= 5:
        message = (
            f"`base` has shape {np.shape(base)}; it must have 1 to 3 spatial axes and 2 for the "
            "channels"
        )
        raise ValueError(message)
    rank = taps.ndim - 2
    steps = as_sizes("strides", strides, rank)
    check_cells("kernel", taps.size * math.prod(steps))
    spread = reduce(lambda array, axis: np.repeat(array, steps[axis], axis), range(rank), taps)
    return np.ascontiguousarray(kernel_unview(spread, layout))


def random_normal(
    shape: Size, seed: int, *, graph_seed: int | None = None, mean: float = 0.0, stddev: float = 1.0
) -> Floats:
    """The first values of TensorFlow 1's `tf.random_normal(shape, seed=seed)` on a CPU.

    In float32.

    >>> random_normal((1, 2), 0)
    array([[-0.3991576,  2.1044393]], dtype=float32)

    Later runs of one operation go on in its stream: see `Philox`.

    Args:
        shape: sizes, zero allowed.
        seed: the operation's seed.
        graph_seed: what `tf.set_random_seed` was called with; None where it was not.
        mean: of the values.
        stddev: their standard deviation.

    Returns:
        An array of this shape.

    Raises:
        TypeError: a size or a seed is no integer.
        ValueError: a size is negative.
    """
    return Philox.seeded(seed, graph_seed).normal(shape, mean=mean, stddev=stddev)


class Philox:
    """The counter-based generator Philox 4x32-10, seeded and drawn from as TensorFlow does.

    >>> stream = Philox.seeded(0)
    >>> stream.normal((1, 2)), stream.normal((1, 2))
    (array([[-0.3991576,  2.1044393]], dtype=float32), array([[ 1.50847  , -1.2423378]], dtype=float32))

    A block is four random 32-bit words. `key` (64 bits) names the stream, `counter` (128 bits) the
    next block. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3.
    """  # noqa: E501

    def __init__(self, key: int, counter: int = 0) -> None:
        self.key = key % 2**64
        self.counter = counter % 2**128

    @classmethod
    def seeded(cls, seed: int, graph_seed: int | None = None) -> Philox:
        """The stream of an operation: tensorflow/python/framework/random_seed.py, `get_seed`."""
        graph = (
            DEFAULT_GRAPH_SEED
            if graph_seed is None
            else as_integer("graph_seed", graph_seed) % LARGEST_SEED
        )
        operation = as_integer("seed", seed) % LARGEST_SEED
        if (graph, operation) == (0, 0):
            operation = LARGEST_SEED  # TensorFlow reads (0, 0) as "no seed"
        return cls(graph, operation << 64)

    def skip(self, blocks: int) -> None:
        """Move on by a number of blocks."""
        self.counter = (self.counter + blocks) % 2**128

    def blocks(self, count: int) -> Words:
        """The next `count` blocks, (count, 4); the stream moves on by them.

        >>> Philox(0).blocks(1)
        array([[1713891541, 3781805453, 3159862348, 2600524760]], dtype=uint32)
        """
        words = self._counters(count)
        keys = [self.key & 0xFFFFFFFF, self.key >> 32]
        for _ in range(10):
            words = _round(words, np.uint64(keys[0]), np.uint64(keys[1]))
            keys = [(keys[0] + 0x9E3779B9) & 0xFFFFFFFF, (keys[1] + 0xBB67AE85) & 0xFFFFFFFF]
        self.skip(count)
        return np.stack(words, axis=-1).astype(np.uint32)

    def normal(self, shape: Size, *, mean: float = 0.0, stddev: float = 1.0) -> Floats:
        """The next run of a TensorFlow operation: normal numbers of a shape, in float32.

        However few words it reads, a run reserves 256 blocks for each number:
        tensorflow/core/util/guarded_philox_random.h, `ReserveRandomOutputs`.
        """
        rank = len(shape) if isinstance(shape, Sequence) else 1
        sizes = as_sizes("shape", shape, rank, least=0)
        total = math.prod(sizes)
        check_cells("shape", total)
        used = -(-total // 4)
        numbers = _box_muller(self.blocks(used)).reshape(-1)[:total].reshape(sizes)
        self.skip(total * BLOCKS_PER_SAMPLE - used)
        return numbers * np.float32(stddev) + np.float32(mean)

    def _counters(self, count: int) -> list[NDArray[np.uint64]]:
        low, high = np.uint64(self.counter & (2**64 - 1)), np.uint64(self.counter >> 64)
        lows = np.arange(count, dtype=np.uint64) + low
        highs = high + (lows < low).astype(np.uint64)
        return [
            word
            for half in (lows, highs)
            for word in (half & np.uint64(0xFFFFFFFF), half >> np.uint64(32))
        ]


def _round(
    words: list[NDArray[np.uint64]], key0: np.uint64, key1: np.uint64
) -> list[NDArray[np.uint64]]:
    product0, product1 = words[0] * np.uint64(0xD2511F53), words[2] * np.uint64(0xCD9E8D57)
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    return [
        (product1 >> shift) ^ words[1] ^ key0,
        product1 & low,
        (product0 >> shift) ^ words[3] ^ key1,
        product0 & low,
    ]


def _box_muller(blocks: Words) -> Floats:
    """Blocks (n, 4) to normal numbers (n, 4).

    Tensorflow random_distributions_utils.h, `BoxMullerFloat`. Logarithm, sine and cosine are
    float64 ones, rounded once. glibc's float functions, which TensorFlow calls, are rounded so
    almost always: 985 numbers of 1000 are equal to the bit, the others within 3 units in the last
    place.
    """
    uniform = ((blocks & np.uint32(0x7FFFFF)) | np.uint32(127 << 23)).view(np.float32) - np.float32(
        1
    )
    first, second = np.maximum(uniform[:, ::2], np.float32(1e-7)), uniform[:, 1::2]
    logarithm = np.log(first.astype(np.float64)).astype(np.float32)
    radius = np.sqrt(np.float32(-2) * logarithm)
    angle = (2 * math.pi * second.astype(np.float64)).astype(np.float32).astype(np.float64)
    waves = np.stack([np.sin(angle), np.cos(angle)], axis=-1).astype(np.float32)
    return (waves * radius[..., None]).reshape(blocks.shape)


def _axes(kernel: Size, strides: Size) -> list[tuple[int, int]]:
    """(k, s) per axis, each with a tap for every phase."""
    rank = common_rank(kernel=kernel, strides=strides)
    pairs = list(
        zip(as_sizes("kernel", kernel, rank), as_sizes("strides", strides, rank), strict=True)
    )
    for axis, (k, s) in enumerate(pairs):
        if k < s:
            message = (
                f"`kernel` (={k}) must be at least `strides` (={s}) on axis {axis}, or output "
                f"cells get no tap; the nearest legal value is {s}, and {2 * s - s % 2} keeps ramps"
            )
            raise ValueError(message)
    return pairs


def _triangle(k: int, s: int) -> NDArray[np.float64]:
    taps = np.maximum(0, 1 - np.abs(np.arange(k) - (k - 1) / 2) / s)
    return taps / np.array([taps[j % s :: s].sum() for j in range(k)])


def _box(k: int, s: int) -> NDArray[np.float64]:
    taps = np.zeros(k)
    taps[(k - s) // 2 : (k - s) // 2 + s] = 1
    return taps


def _per_channel(
    taps: list[NDArray[np.float64]], channels: int, data_format: DataFormat, dtype: AnyDtype
) -> AnyArray:
    layout, (count,) = check_data_format(data_format), as_sizes("channels", channels, 1)
    kernel = np.multiply.outer(reduce(np.multiply.outer, taps), np.eye(count))
    return np.ascontiguousarray(kernel_unview(kernel, layout)).astype(dtype)


def _floating(dtype: DTypeLike) -> AnyDtype:
    kind = np.dtype(dtype)
    if kind.kind not in "fc":
        message = (
            f"`dtype` (={kind}) must be a floating dtype; the nearest legal value is 'float32'"
        )
        raise TypeError(message)
    return kind
