"""The compiled implementations: C++ kernels from `native/`, where this installation has them.

`Compiled` runs implicit matrix products over row pointers, phase by phase, in the registers of one
instruction set. Where NaN or infinity meets a zero that only fills a tile, it falls back to the
loops of the definition, which are an implementation of their own in `direct`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from backstride import extension
from backstride.activations import ACTIVATIONS
from backstride.direct import kernel_axes
from backstride.extension import NOT_BUILT, built
from backstride.implementation import (
    AxisConvolution,
    Call,
    Implementation,
    Layer,
    Prediction,
    Repeated,
    Storage,
    Three,
    require_algorithm,
    three,
)
from backstride.integers import as_sizes
from backstride.layout import (
    AnyArray,
    AnyDtype,
    DataFormat,
    kernel_view,
)
from backstride.predictions import measured_rates, predictions

if TYPE_CHECKING:
    from backstride._native import Weights32, Weights64  # pyright: ignore[reportMissingModuleSource]  compiled

_native = extension.load()
Weights: TypeAlias = "Weights32 | Weights64"
MOST_THREADS = 4096
LEAST_KEPT = 1 << 20  # bytes of a result that comes from memory kept for that
CODES = {None: 0, **{name: code for code, name in enumerate(ACTIVATIONS, start=1)}}


class Watch(Protocol):
    """Memory at one moment."""

    def stayed(self) -> bool:
        """Whether nobody wrote to it since."""
        ...


class Compiled(Implementation):
    """The kernels of one instruction set, float32 and float64, on several threads.

    The algorithm is chosen by the kernel alone (`native/choose.cpp`): the one that takes the fewest
    cycles by the model of `native/cost.h`, at the nominal rates of the instruction set.

    - `depthwise`: each channel is a group of its own; cells are sums over taps, channel by channel.
    - `phases`: one product per phase.
    - `stacked`: neighbouring cells beside each other, which fill vectors where output channels are
      few.
    - `winograd`: float32, and phases of 2 to 12 neighbouring taps per axis: tiles F(2,2), F(3,2)
      and F(2,3), where a map has enough of them to pay; other phases as above. A NaN or infinity in
      `x` makes this call run plain products instead, so that it reaches no other cells.
    - `overlap`: products of taps, all or those of the innermost axis, are overlapped. Cells or taps
      stand in the lanes. Short lines stand beside each other; those of half a vector or less run as
      above where a kernel has too many taps for that.
    - `definition`: the plain loops; only by request, and where the kernel holds NaN or infinity.

    `conv` runs as Winograd tiles, too: float32, at least 24 channels on both sides, and at most 12
    taps in every phase of its strides, several in some, where a map pays. The products of all
    phases, and of all taps of the outermost of three axes, are summed before the one transform of
    the output.
    """

    takes_bits = True
    tiles_axes = True

    def __init__(self, target: str) -> None:
        self.name = target

    def obstacle(self) -> str | None:
        if _native is None:
            return NOT_BUILT
        return (
            None
            if self.name in _native.instruction_sets()
            else f"this processor does not have {self.name}"
        )

    def takes(self, dtype: AnyDtype) -> bool:
        return dtype.name in ("float32", "float64")

    def pack(
        self, kernel: AnyArray, layer: Layer, *, algorithm: str | None = None, winograd: bool = True
    ) -> Weights:
        view, native = kernel_axes(_kernel_last(kernel, layer.data_format, self.name)), built()
        steps, small = (
            (three(layer.strides, 1), three(layer.dilation, 1)),
            view.shape[4] // layer.groups,
        )
        sizes = view.shape[:3], *steps, layer.groups, small, view.shape[3]
        if algorithm is not None:
            require_algorithm(
                algorithm,
                self.name,
                tuple(native.algorithms(*sizes, self.name, view.dtype.itemsize == 8)),
            )
        weights = native.Weights32 if view.dtype.itemsize == 4 else native.Weights64
        return weights(view, self.name, True, *sizes[1:4], algorithm or "automatic", winograd)

    def borrow(self, kernel: AnyArray, layer: Layer, *, winograd: bool = True) -> Weights:
        view = kernel_axes(_kernel_last(kernel, layer.data_format, self.name))
        steps = three(layer.strides, 1), three(layer.dilation, 1)
        return built().borrow(view, self.name, *steps, layer.groups, winograd)

    def algorithm_of(self, packed: Weights, *, storage: Storage | None = None) -> str:
        return packed.algorithm if storage is None else packed.algorithm_of(storage.value)

    def conv_transpose(
        self,
        x: AnyArray,
        packed: Weights,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
        *,
        storage: Storage | None = None,
    ) -> AnyArray:
        y = _like(x, call.output, packed.outputs, call)
        where = call.data_format == "channels_first", call.before, True
        if storage is None:
            packed.run(x, bias, CODES[activation], y, *where)
        else:
            packed.run_half(x, bias, CODES[activation], y, *where, storage.value)
        return y

    def repeat(
        self,
        shape: tuple[int, ...],
        packed: Weights,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
    ) -> Repeated:
        result, dtype = (
            _shape(shape[0], call.output, packed.outputs, call.data_format),
            np.dtype(packed.dtype),
        )
        if math.prod(result) * dtype.itemsize >= LEAST_KEPT:
            return super().repeat(shape, packed, bias, activation, call)
        code, before = CODES[activation], call.before
        run, empty, first = packed.run, np.empty, call.data_format == "channels_first"

        def again(x: AnyArray) -> AnyArray:
            y = empty(result, dtype)
            run(x, bias, code, y, first, before, True)
            return y

        return again

    def predict(
        self, packed: Weights, shape: tuple[int, ...], call: Call
    ) -> tuple[Prediction, ...]:
        rates, threads = measured_rates(self.name), get_num_threads()
        return tuple(
            predictions(packed, shape, call, target=self.name, rates=rates, threads=threads)
        )

    def conv(
        self,
        y: AnyArray,
        kernel: AnyArray,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
        *,
        storage: Storage | None = None,
    ) -> AnyArray:
        weights = kernel_axes(_kernel_last(kernel, call.data_format, self.name))
        x = _like(y, call.geometry.input, weights.shape[-1], call)
        arguments = y, weights, _contiguous(bias), CODES[activation], x
        if storage is None:
            built().conv(*arguments, *self._settings(call))
        else:
            built().conv_half(*arguments, *self._settings(call), storage.value)
        return x

    def _settings(self, call: Call) -> tuple[str, bool, Three, Three, Three, int, bool]:
        steps = three(call.geometry.strides, 1), three(call.geometry.dilation, 1), call.before
        return self.name, call.data_format == "channels_first", *steps, call.groups, call.winograd

    def conv_kernel_gradient(
        self, x: AnyArray, y: AnyArray, call: Call, *, storage: Storage | None = None
    ) -> AnyArray:
        channel = 1 if call.data_format == "channels_first" else -1
        shape = (*call.geometry.kernel, y.shape[channel] // call.groups, x.shape[channel])
        sums = _kept(shape, np.dtype(np.float64 if x.dtype.itemsize == 8 else np.float32))
        arguments = x, y, kernel_axes(sums), *self._settings(call)
        if storage is None:
            built().conv_kernel_gradient(*arguments)
        else:
            built().conv_kernel_gradient_half(*arguments, storage.value)
        result = _kernel_first(sums, self.name) if channel == 1 else sums
        if storage is None:
            return result
        bits = _bits(result.shape)
        built().narrow(result, bits, self.name, storage.value)
        return bits

    def axis_convolution(self, packed: Weights32, call: AxisConvolution) -> bool:
        return built().axis_convolution(
            packed,
            source=call.source,
            source_first=call.source_first,
            target=call.target,
            target_first=call.target_first,
            offset=call.offset,
            input=call.input,
            output=call.output,
            before=call.before,
            count=call.count,
            dilation=call.dilation,
            taps=call.taps,
            plane=call.plane,
            target_plane=call.target_plane,
            crop=call.crop,
            strip=call.strip,
            name=self.name,
        )

    def channels_last_kernel(self, kernel: AnyArray) -> AnyArray:
        return _kernel_last(kernel, "channels_first", self.name)

    def transposed(self, matrix: AnyArray) -> AnyArray:
        result = np.empty(matrix.shape[::-1], matrix.dtype)
        built().turn(matrix[None], result[None], self.name)
        return result


def set_num_threads(count: int) -> None:
    """Set how many threads a call of the compiled kernels may use.

    0 for as many as there are processors. Once `backstride.torch` is imported, 0 means as many as
    `torch.set_num_threads` says.

    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(0)

    Results have the same bits for any number.

    Args:
        count: from 0 to 4096.

    Raises:
        TypeError: it is no integer.
        ValueError: it is negative or absurd.
    """
    number = as_sizes("count", count, 1, least=0)[0]
    if number > MOST_THREADS:
        message = (
            f"`count` (={number}) must be at most {MOST_THREADS}; the nearest legal value is "
            f"{MOST_THREADS}"
        )
        raise ValueError(message)
    if _native is not None:
        _native.set_num_threads(number)


def get_num_threads() -> int:
    """How many threads a call of the compiled kernels may use; 1 in a pure Python installation.

    >>> get_num_threads() >= 1
    True
    """
    return 1 if _native is None else _native.get_num_threads()


def share_threads(run: int, most: int) -> bool:
    """Run on the threads of an OpenMP library from now on.

    Addresses of GOMP_parallel, and of how many they may be. That number is then the default of
    `get_num_threads`. A forked child has threads of its own. False in a pure Python installation.
    """
    if _native is not None:
        _native.share_threads(run, most)
    return _native is not None


def has_matrices() -> bool:
    """Whether the compiled kernels multiply bfloat16 in AMX's matrix registers."""
    return _native is not None and any(map(_native.has_matrices, _native.instruction_sets()))


def release_memory() -> int:
    """Give back to the system the memory that results leave behind for later ones.

    How many bytes it was.

    >>> release_memory() >= 0
    True

    Results of 1 MiB or more use the memory of freed results of a similar size, since fresh memory
    costs a page fault for each 4 KiB. At most 256 MiB are kept.
    """
    return 0 if _native is None else _native.release_results()


def same_bytes(one: AnyArray, other: AnyArray) -> bool:
    """Whether two contiguous arrays hold the same bytes."""
    return one.tobytes() == other.tobytes() if _native is None else _native.same_bytes(one, other)


def watched(address: int, bytes: int) -> Watch | None:
    """Memory of the caller's, watched from now on.

    `stayed()` says whether nobody wrote to it, without reading it. Linux 6.7 and later tell it of
    private memory, page by page (`native/pages.h`); None where nobody does. It is watched for as
    long as the result is kept, which may be asked for as long as the memory is there.
    """
    return None if _native is None else _native.Pages.of(address, bytes)


def copied(address: int, bytes: int) -> Watch | None:
    """The same by a copy of the bytes, which `stayed()` compares.

    None in a pure Python installation.
    """
    return None if _native is None else _native.Copy(address, bytes)


def _shape(
    batch: int, size: tuple[int, ...], channels: int, data_format: DataFormat
) -> tuple[int, ...]:
    return (batch, *size, channels) if data_format == "channels_last" else (batch, channels, *size)


def _like(data: AnyArray, size: tuple[int, ...], channels: int, call: Call) -> AnyArray:
    """An array for the other side of a call, of as many images and as wide numbers.

    Not initialised.
    """
    shape = _shape(data.shape[0], size, channels, call.data_format)
    return _bits(shape) if data.dtype.itemsize == 2 else _kept(shape, data.dtype)


def _kept(shape: tuple[int, ...], dtype: AnyDtype) -> AnyArray:
    """An array of floats, not initialised: a large one in memory that earlier ones left behind."""
    if math.prod(shape) * dtype.itemsize < LEAST_KEPT:
        return np.empty(shape, dtype)
    return built().empty32(shape) if dtype.itemsize == 4 else built().empty64(shape)


def recycled(shape: tuple[int, ...], *, half: bool = False) -> AnyArray:
    """An array of float32, or of the bits of half precision, in such memory where there is some."""
    return _bits(shape) if half else _kept(shape, np.dtype(np.float32))


def _bits(shape: tuple[int, ...]) -> AnyArray:
    """The same for half precision."""
    count = math.prod(shape)
    return _kept((-(-count // 2),), np.dtype(np.float32)).view(np.uint16)[:count].reshape(shape)


def _kernel_first(kernel: AnyArray, target: str) -> AnyArray:
    """(C_small, C_big/groups, *k), contiguous, from (*k, C_big/groups, C_small)."""
    *size, big, small = kernel.shape
    result = _kept((small, big, *size), kernel.dtype)
    built().turn_taps(kernel.reshape(-1, big, small), result.reshape(small, big, -1), target, False)
    return result


def _kernel_last(kernel: AnyArray, data_format: DataFormat, target: str) -> AnyArray:
    """(*k, C_big/groups, C_small), contiguous, from a kernel of the format."""
    if data_format == "channels_last" or not kernel.flags.c_contiguous:
        return np.ascontiguousarray(kernel_view(kernel, data_format))
    small, big, *size = kernel.shape
    result = _kept((*size, big, small), kernel.dtype)
    built().turn_taps(kernel.reshape(small, big, -1), result.reshape(-1, big, small), target, True)
    return result


def _contiguous(bias: AnyArray | None) -> AnyArray | None:
    return None if bias is None else np.ascontiguousarray(bias)


def is_there() -> bool:
    """Whether this installation has compiled code."""
    return _native is not None


def to_columns(
    y: AnyArray, columns: AnyArray, sizes: tuple[tuple[int, ...], ...], last: bool
) -> None:
    """Lay y (batch, *size, big), or the other way around, out as a row for each cell of x.

    `native/columns.h`.
    """
    built().to_columns(y, columns, sizes, last)


def from_columns(
    columns: AnyArray,
    bias: AnyArray | None,
    y: AnyArray,
    sizes: tuple[tuple[int, ...], ...],
    last: bool,
) -> None:
    """Sum such rows into y, on top of a bias."""
    built().from_columns(columns, bias, y, sizes, last)
