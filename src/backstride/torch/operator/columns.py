"""The three operators as one matrix product with a weight as it lies.

It is for large weights over few cells. A weight (C_small, C_big // groups, *k) is a matrix of
C_small rows, one column for each channel of `y` and tap. With `columns` the same of `y`, a row for
each of them and a column for each cell of `x`, the form is

    x = weight @ columns      weight = x @ columns.T      columns = weight.T @ x, summed into y

Neither side needs the weight in another order, so it is read or written once. Everything else puts
the weight in order first, which takes several times as long where few cells share it: a step of
training brings a new one, and the columns of few cells are the smaller part.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from backstride import native
from backstride.layout import AnyArray
from backstride.torch.operator import onednn
from backstride.torch.operator.fallback import activate
from backstride.torch.operator.internals import from_numpy
from backstride.torch.operator.packing import HALF, array_of
from backstride.torch.operator.policy import FEW_COLUMNS, MOST_COLUMNS, SMALL_WEIGHT
from backstride.torch.operator.shapes import Integers, Shape, Slot, third_shape

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def supports(slot: Slot, a: Tensor, b: Tensor, integers: Integers) -> bool:
    """Whether an operator can be computed so, and might be faster.

    >>> up = Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)
    >>> x = torch.empty(1, 512, 8, 8, device="meta")
    >>> weight = torch.empty(512, 256, 4, 4, device="meta")
    >>> (supports("y", x, weight, up),
    ...  supports("y", torch.empty(1, 512, 99, 99, device="meta"), weight, up))
    (True, False)
    """
    if integers.groups > 1 or not onednn.supports(a.dtype) or not native.is_there():
        return False
    cells, weight = _sizes(slot, a, b, integers)
    if (
        a.dtype == torch.bfloat16
        and slot == "y"
        and any(k > s for k, s in zip(weight[2:], integers.stride, strict=True))
    ):
        return False  # sums of rounded terms
    return math.prod(weight) >= SMALL_WEIGHT and cells <= MOST_COLUMNS * weight[0]


def is_preferred(slot: Slot, a: Tensor, b: Tensor, integers: Integers) -> bool:
    """Whether it is the fastest way where nothing is measured.

    Columns are a small part of the weight's size.

    >>> up = Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)
    >>> x = torch.empty(1, 512, 8, 8, device="meta")
    >>> weight = torch.empty(512, 256, 4, 4, device="meta")
    >>> (is_preferred("y", x, weight, up),
    ...  is_preferred("y", torch.empty(1, 512, 32, 32, device="meta"), weight, up))
    (True, False)
    """
    if not supports(slot, a, b, integers):
        return False
    cells, weight = _sizes(slot, a, b, integers)
    return FEW_COLUMNS * cells <= weight[0]


def conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None, integers: Integers, activation: str = ""
) -> Tensor:
    """Map x and weight to y, in the memory format of the weight."""
    shape = third_shape("y", x.shape, weight.shape, integers)
    matrix, last = _matrix(weight)
    columns = _cells(x).t() @ matrix
    y = torch.empty(_ordered(shape, last), dtype=x.dtype)
    offset = None if bias is None else array_of(bias.contiguous())
    sizes = _sizes_of(x.shape, weight.shape, integers)
    native.from_columns(array_of(columns), offset, _cube(y, last), sizes, last)
    return activate(y.movedim(-1, 1) if last else y, activation)


def conv(
    y: Tensor, weight: Tensor, integers: Integers, bias: Tensor | None = None
) -> Tensor | None:
    """Map y and weight to x.

    None where NaN or infinity may have met a tap that takes it outside of y.
    """
    shape = third_shape("x", y.shape, weight.shape, integers)
    matrix, last = _matrix(weight)
    columns = _columns(y, shape, weight.shape, integers, last=last)
    if y.dim() > 3 and _format_of(y) is not torch.contiguous_format:
        x = (columns @ matrix.t()).view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
    else:
        x = (matrix @ columns.t()).view(shape[1], shape[0], *shape[2:]).transpose(0, 1).contiguous()
    if not _is_finite(x):
        return None
    return x if bias is None else x.add_(bias.detach().reshape(-1, *(1,) * (x.dim() - 2)))


def conv_kernel_gradient(x: Tensor, y: Tensor, integers: Integers, *, last: bool) -> Tensor | None:
    """Map x and y to weight, in a memory format; None as for `conv`."""
    if not _is_finite(x):
        return None
    shape = third_shape("weight", x.shape, y.shape, integers)
    columns = _columns(y, x.shape, shape, integers, last=last)
    matrix = _kept((shape[0], math.prod(shape[1:])), x.dtype)
    _ = torch.mm(_cells(x), columns, out=matrix)
    if last:
        return matrix.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
    return matrix.view(shape)


def _sizes(slot: Slot, a: Tensor, b: Tensor, integers: Integers) -> tuple[int, Shape]:
    """The cells of x, and the shape of the weight."""
    weight = third_shape("weight", a.shape, b.shape, integers) if slot == "weight" else b.shape
    x = third_shape("x", a.shape, b.shape, integers) if slot == "x" else a.shape
    return x[0] * math.prod(x[2:]), weight


def _format_of(tensor: Tensor) -> torch.memory_format:
    form = FORMATS.get(tensor.dim())
    if form is None or tensor.is_contiguous() or not tensor.is_contiguous(memory_format=form):
        return torch.contiguous_format
    return form


def _matrix(weight: Tensor) -> tuple[Tensor, bool]:
    """A weight as a matrix of C_small rows, and whether the channels of a tap lie side by side."""
    weight = weight.detach()
    last = _format_of(weight) is not torch.contiguous_format
    return (weight.movedim(1, -1) if last else weight).reshape(weight.shape[0], -1), last


def _cells(x: Tensor) -> Tensor:
    """Data as a matrix of C_small rows and a column for each cell."""
    x = x.detach()
    if _format_of(x) is torch.contiguous_format:
        return x.transpose(0, 1).reshape(x.shape[1], -1)
    return x.movedim(1, -1).reshape(-1, x.shape[1]).t()


def _columns(y: Tensor, x: Shape, weight: Shape, integers: Integers, *, last: bool) -> Tensor:
    """For each cell of x a row of what meets it in y: (C_big, *k), or with `last` (*k, C_big)."""
    columns = y.new_empty((x[0] * math.prod(x[2:]), math.prod(weight[1:])))
    lying = y.contiguous(memory_format=FORMATS[y.dim()]).movedim(1, -1) if last else y.contiguous()
    native.to_columns(_cube(lying, last), array_of(columns), _sizes_of(x, weight, integers), last)
    return columns


def _ordered(shape: Shape, last: bool) -> tuple[int, ...]:
    return (shape[0], *shape[2:], shape[1]) if last else tuple(shape)


def _cube(tensor: Tensor, last: bool) -> AnyArray:
    """An array with three axes of cells, as the compiled code takes it."""
    missing, first = (1,) * (5 - tensor.dim()), 1 if last else 2
    return array_of(tensor).reshape(*tensor.shape[:first], *missing, *tensor.shape[first:])


@lru_cache(maxsize=256)
def _sizes_of(x: Shape, weight: Shape, integers: Integers) -> tuple[tuple[int, ...], ...]:
    """Input, kernel, strides, dilation and what is cropped before, of three axes each."""
    missing = 5 - len(x)
    sizes = x[2:], weight[2:], integers.stride, integers.dilation
    return *((1,) * missing + tuple(one) for one in sizes), (0,) * missing + integers.crop[::2]


def _kept(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Memory for a result: what freed ones left, as the system takes long to give new pages."""
    return from_numpy(native.recycled(shape, half=dtype in HALF)).view(dtype)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are: a sum says so, but for one that overflows."""
    return bool(tensor.sum(dtype=torch.float32).isfinite())
