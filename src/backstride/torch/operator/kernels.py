"""The three operators on CPU tensors of the engine's dtypes.

The engine reads and writes the tensors' own memory. Half precision is computed in float32 and
rounded once, box by box; NumPy sees its bits. The memory format of the data is kept. Channels-last
data goes to the engine as the permuted view that it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backstride.engine import VARIABLE, forced, select
from backstride.implementation import Call, Implementation, Layer, Packed
from backstride.layout import AnyArray, DataFormat
from backstride.torch.operator import columns, fallback, onednn
from backstride.torch.operator.internals import from_numpy
from backstride.torch.operator.packing import (
    HALF,
    Options,
    array_of,
    find,
    kernel_of,
    make,
    note_change,
    note_new,
)
from backstride.torch.operator.policy import packed_bfloat16_is_faster
from backstride.torch.operator.shapes import Integers, ShapedCalls, Slot, shaped_calls
from backstride.torch.operator.ways import Form, Way, way_of

DTYPES = {torch.float64: np.dtype(np.float64)} | dict.fromkeys(
    (torch.float32, *HALF), np.dtype(np.float32)
)
"""What the engine computes on, and in what."""
AFTER_ROUNDING = ("", "relu", "relu6")  # give the same before and after a result is rounded
FORMATS = columns.FORMATS


class Launch(NamedTuple):
    """How a kernel runs.

    The options of its packed weight, and what computes from input, packed weight and bias.
    """

    options: Options
    finish: Callable[[Tensor, Packed, Tensor | None], Tensor]


class KernelRun(NamedTuple):
    """A run of a kernel: how, on what, and what came of it."""

    run: Launch
    input: Tensor
    weight: Tensor
    bias: Tensor | None
    result: Tensor

    def is_all(self, input: Tensor, weight: Tensor, bias: Tensor | None, result: Tensor) -> bool:
        """Whether it is the whole of a call with this input, weight, bias and result."""
        pairs = (self.input, input), (self.weight, weight), (self.bias, bias), (self.result, result)
        return all(one is other for one, other in pairs)


_recording = threading.local()


def engine_supports(tensor: Tensor) -> bool:
    """Whether the engine computes on such a tensor; where not, PyTorch's kernels do."""
    return tensor.device.type == "cpu" and tensor.dtype in DTYPES and tensor.layout is torch.strided


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    integers: Integers,
    activation: str = "",
    *,
    remember: bool = True,
) -> Tensor:
    """Map x (N, C_small, *input) and weight to y (N, C_big, *output).

    The weight is (C_small, C_big // groups, *k). Where `x` is in half precision, weight and bias
    may be wider, and are rounded to it.
    """
    if not (engine_supports(x) and x.numel() and weight.numel()):
        return fallback.conv_transpose(x, weight, bias, integers, activation).contiguous()
    last = keeps_channels_last(x, weight)
    call = _call(shaped_calls("y", x.shape, weight.shape, integers), last)
    implementation, options = setting(x, call.data_format, integers)
    packed = find(weight, options)
    if packed is None:
        by_onednn = x.dtype == torch.bfloat16 and activation in AFTER_ROUNDING and not forced()
        by_onednn = by_onednn and not packed_bfloat16_is_faster(x, weight, integers, last)
        ordered = (
            onednn.conv_transpose(x, weight, bias, integers) if by_onednn and remember else None
        )
        if ordered is not None:
            return in_format(fallback.activate(ordered, activation), last)
        changing = by_onednn or not remember or note_change(weight)
        once = changing or note_new(weight)
        pack = _packer(implementation, options, once=once)
        if changing:
            tensors = (
                x,
                weight.to(x.dtype),
                None if bias is None else bias.to(x.dtype),
                integers,
                activation,
            )
            fast = last and x.dtype == torch.float32
            stock = fallback.conv_input_gradient if fast else fallback.conv_transpose
            runs: dict[Way, Form] = {
                "engine": lambda: _engine_conv_transpose(
                    implementation, x, make(weight, options, pack, remember=False), *rest
                ),
                "stock": lambda: in_format(stock(*tensors), last),
                "columns": lambda: in_format(columns.conv_transpose(*tensors), last),
            }
            rest = bias, activation, call
            return _computed(
                "y", x, weight, integers, runs, last=last, rule="stock" if by_onednn else None
            )
        packed = make(weight, options, pack, remember=not once)
    return _run(
        x, weight, bias, Launch(options, partial(_finish, implementation, activation, call)), packed
    )


def _computed(
    slot: Slot,
    a: Tensor,
    b: Tensor,
    integers: Integers,
    runs: dict[Way, Form],
    *,
    last: bool,
    rule: Way | None = None,
) -> Tensor:
    """An operator that packs its weight anew, by the engine if forced, or by the fastest way."""
    if forced():
        return runs["engine"]()
    if not columns.supports(slot, a, b, integers):
        del runs["columns"]
    return runs[way_of(slot, a, b, integers, runs, last=last, rule=rule)]()


def _finish(
    implementation: Implementation,
    activation: str,
    call: Call,
    x: Tensor,
    packed: Packed,
    bias: Tensor | None,
) -> Tensor:
    return _engine_conv_transpose(implementation, x, packed, bias, activation, call)


def _run(x: Tensor, weight: Tensor, bias: Tensor | None, run: Launch, packed: Packed) -> Tensor:
    """Run a kernel, and record it where this thread asks for that."""
    result = run.finish(x, packed, bias)
    record: list[KernelRun] | None = getattr(_recording, "runs", None)
    if record is not None:
        record.append(KernelRun(run, x, weight, bias, result))
    return result


def recorded(call: Callable[[], Tensor]) -> tuple[Tensor, list[KernelRun]]:
    """The result of a call, and the runs of kernels with packed weights that it took."""
    runs: list[KernelRun] = []
    _recording.runs = runs
    try:
        return call(), runs
    finally:
        _recording.runs = None


def _engine_conv_transpose(
    implementation: Implementation,
    x: Tensor,
    packed: Packed,
    bias: Tensor | None,
    activation: str,
    call: Call,
) -> Tensor:
    last, name, storage = call.data_format == "channels_last", activation or None, HALF.get(x.dtype)
    if storage is None:
        offset = None if bias is None else array_of(bias.contiguous())
        return _tensor(
            implementation.conv_transpose(_array(x, last), packed, offset, name, call), last
        )
    if not implementation.takes_bits:
        wide = None if bias is None else bias.float()
        return _engine_conv_transpose(implementation, x.float(), packed, wide, activation, call).to(
            x.dtype
        )
    offset = None if bias is None else array_of(bias.to(x.dtype).float().contiguous())
    bits = implementation.conv_transpose(
        _array(x, last), packed, offset, name, call, storage=storage
    )
    return _tensor(bits, last).view(x.dtype)


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, crop: tuple[int, ...], activation: str = ""
) -> Tensor | None:
    """Map x (N, C_in, *input) and a packed weight (C_out, C_in, *k) by a convolution of stride 1.

    It is a transposed convolution of stride 1 with the kernel flipped, which crops k - 1 cells
    where the convolution pads none. None where the weight keeps changing, so that packing it would
    take longer.
    """
    unit = (1,) * (x.dim() - 2)
    integers = Integers(unit, crop, unit, 1)
    last = keeps_channels_last(x, weight)
    shape = (weight.shape[1], weight.shape[0], *weight.shape[2:])
    call = _call(shaped_calls("y", x.shape, shape, integers), last)
    implementation, options = setting(x, call.data_format, integers)
    options = options._replace(flipped=True)
    packed = find(weight, options)
    if packed is None:
        if note_change(weight):
            return None
        packed = make(weight, options, _packer(implementation, options), remember=True)
    return _run(
        x, weight, bias, Launch(options, partial(_finish, implementation, activation, call)), packed
    )


def setting(
    x: Tensor, data_format: DataFormat, integers: Integers
) -> tuple[Implementation, Options]:
    """What computes on a tensor, and what a packed form of its weight depends on."""
    implementation = _implementation(x.dtype, os.environ.get(VARIABLE) if forced() else None)
    stride, _, dilation, groups, winograd = integers
    options = Options(implementation.name, data_format, stride, dilation, groups, winograd=winograd)
    return implementation, options._replace(rounded=x.dtype) if x.dtype in HALF else options


def _packer(
    implementation: Implementation, options: Options, *, once: bool = False
) -> Callable[[Tensor], Packed]:
    """Pack a weight (C_small, C_big // groups, *k), or a convolution's, to be run."""
    form = options.data_format
    layer = Layer(options.groups, form, options.strides, options.dilation)

    def pack(weight: Tensor) -> Packed:
        flipped = options.flipped
        weight = weight if options.rounded is None else weight.detach().to(options.rounded).float()
        kernel = (
            kernel_of(array_of(weight), form, flipped=True)
            if flipped
            else _kernel(implementation, weight, form)
        )
        make = implementation.borrow if once else implementation.pack
        return make(kernel, layer, winograd=options.winograd)

    return pack


def conv(y: Tensor, weight: Tensor, integers: Integers, bias: Tensor | None = None) -> Tensor:
    """Map y and weight to x: the adjoint of `conv_transpose`, its derivative by the input."""
    if not (engine_supports(y) and y.numel() and weight.numel()):
        return fallback.conv(y, weight, integers, bias).contiguous()
    last = keeps_channels_last(y, weight)

    def by_columns() -> Tensor:
        x = columns.conv(y, weight, integers, bias)
        return (
            _engine_conv(y, weight, integers, bias, last=last) if x is None else in_format(x, last)
        )

    runs: dict[Way, Form] = {
        "engine": lambda: _engine_conv(y, weight, integers, bias, last=last),
        "stock": lambda: in_format(fallback.conv(y, weight, integers, bias), last),
        "columns": by_columns,
    }
    return _computed("x", y, weight, integers, runs, last=last)


def _engine_conv(
    y: Tensor, weight: Tensor, integers: Integers, bias: Tensor | None, *, last: bool
) -> Tensor:
    """The same on the engine."""
    call = _call(shaped_calls("x", y.shape, weight.shape, integers), last)
    implementation = _implementation(y.dtype, os.environ.get(VARIABLE))
    kernel = _kernel(implementation, _wide(weight), call.data_format)
    offset = None if bias is None else array_of(_wide(bias).contiguous())
    if y.dtype in HALF and implementation.takes_bits:
        bits = implementation.conv(
            _array(y, last), kernel, offset, None, call, storage=HALF[y.dtype]
        )
        return _tensor(bits, last).view(y.dtype)
    return _tensor(
        implementation.conv(_array(_wide(y), last), kernel, offset, None, call), last
    ).to(y.dtype)


def conv_kernel_gradient(x: Tensor, y: Tensor, integers: Integers) -> Tensor:
    """Map x and y to weight: the derivative of sum(conv_transpose(x, weight) * y) by the weight."""
    if not (engine_supports(x) and x.numel() and y.numel()):
        return fallback.conv_kernel_gradient(x, y, integers).contiguous()
    last = keeps_channels_last(x, y)

    def by_columns() -> Tensor:
        weight = columns.conv_kernel_gradient(x, y, integers, last=last)
        return _engine_kernel_gradient(x, y, integers, last=last) if weight is None else weight

    runs: dict[Way, Form] = {
        "engine": lambda: _engine_kernel_gradient(x, y, integers, last=last),
        "stock": lambda: in_format(fallback.conv_kernel_gradient(x, y, integers), last),
        "columns": by_columns,
    }
    return _computed("weight", x, y, integers, runs, last=last)


def _engine_kernel_gradient(x: Tensor, y: Tensor, integers: Integers, *, last: bool) -> Tensor:
    """The same on the engine."""
    call = _call(shaped_calls("weight", x.shape, y.shape, integers), last)
    implementation = _implementation(x.dtype, os.environ.get(VARIABLE))
    if x.dtype in HALF and implementation.takes_bits:
        run, storage = implementation.conv_kernel_gradient, HALF[x.dtype]
        bits = run(_array(x, last), _array(y, last), call, storage=storage)
        if not last:
            return _contiguous(bits).view(x.dtype)
        *taps, big, small = bits.shape
        rows = from_numpy(bits.reshape(-1, small)).view(x.dtype).t().contiguous()
        return rows.view(small, *taps, big).movedim(-1, 1)
    kernel = implementation.conv_kernel_gradient(
        _array(_wide(x), last), _array(_wide(y), last), call
    )
    if not last:
        return _contiguous(kernel).to(x.dtype)
    *taps, big, small = kernel.shape
    result = _tensor(
        implementation.transposed(kernel.reshape(-1, small)).reshape(small, *taps, big), last
    )
    return result.to(x.dtype)


def _wide(tensor: Tensor) -> Tensor:
    """In the dtype that it is computed in."""
    return tensor.float() if tensor.dtype in HALF else tensor


def _kernel(implementation: Implementation, weight: Tensor, data_format: DataFormat) -> AnyArray:
    """A weight (C_small, C_big // groups, *k) in the engine's order for the format.

    Read once, whatever its own is.
    """
    array = array_of(weight)
    if data_format == "channels_first":
        return array
    small, big, *taps = array.shape
    if weight.is_contiguous():
        return implementation.channels_last_kernel(array)
    moved = array.transpose(0, *range(2, array.ndim), 1)
    if not moved.flags.c_contiguous:
        return kernel_of(array, data_format)
    return implementation.transposed(moved.reshape(small, -1)).reshape(*taps, big, small)


def keeps_channels_last(data: Tensor, other: Tensor) -> bool:
    """Whether the result has channels-last memory format: as the data has it.

    Where that can be read both ways (one channel, one pixel) or neither, as the other tensor has
    it.
    """
    form = FORMATS.get(data.dim())
    if form is None:
        return False
    last = data.is_contiguous(memory_format=form)
    if last != data.is_contiguous():
        return last
    return other.is_contiguous(memory_format=form) and not other.is_contiguous()


def _call(calls: ShapedCalls, last: bool) -> Call:
    return calls.last if last else calls.first


def _array(tensor: Tensor, last: bool) -> AnyArray:
    if not last:
        return array_of(tensor.contiguous())
    array = array_of(tensor.contiguous(memory_format=FORMATS[tensor.dim()]))
    return array.transpose(0, *range(2, array.ndim), 1)


def _tensor(array: AnyArray, last: bool) -> Tensor:
    tensor = _contiguous(array)
    return tensor.permute(0, array.ndim - 1, *range(1, array.ndim - 1)) if last else tensor


def in_format(tensor: Tensor, last: bool) -> Tensor:
    """A result of PyTorch's in the memory format that it is promised in."""
    return tensor.contiguous(
        memory_format=FORMATS[tensor.dim()] if last else torch.contiguous_format
    )


def _contiguous(array: AnyArray) -> Tensor:
    """A contiguous array as a tensor, with PyTorch's strides where an axis has one entry.

    NumPy leaves them open.
    """
    if 1 in array.shape[1:]:
        return from_numpy(array.reshape(-1)).view(array.shape)
    return from_numpy(array)


@lru_cache(maxsize=64)
def _implementation(dtype: torch.dtype, forced: str | None) -> Implementation:  # noqa: ARG001  part of the key
    return select(DTYPES[dtype])
