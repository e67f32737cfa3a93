"""Whether the engine or PyTorch computes an operator where weights change between calls.

In inference a weight is packed once, and the engine computes every call. In training each step has
new weights, so packing counts, and for plain float32 layers oneDNN is the faster one where

- (the transposed convolution, and the gradient of a convolution by its input) few cells share a
  weight of more than `SMALL_WEIGHT`: reading the weight is most of the work. Few are fewer than
  `FEW_CELLS`; at stride 1, `FEW_AT_STRIDE_1`; where phases have several taps and the engine may
  have Winograd's tiles, `FEW_OF_SEVERAL_TAPS`. Not where the weight has `LARGE_WEIGHT` or more,
  and not in three axes with data channels last;
- (the convolution, and the gradient of a transposed one by its input) the same with other
  `FEW_CELLS`, or `FEW_TILES` where the engine has tiles, unless the weight has `LARGE_WEIGHT` or
  more; or fewer than `FEW_CHANNELS` are read;
- (the gradient by the weight) the kernel has fewer than `MANY_TAPS`, and the data is channels
  first, with fewer than `FEW_CHANNELS` read, or few cells (`MANY_GRADIENT_CELLS`) of few channels
  (`MANY_GRADIENT_CHANNELS`); or channels last, with fewer than `UNTILED_CHANNELS`, or
  `TILED_CHANNELS` where there are tiles.

Everything that PyTorch has no fast kernel for stays on the engine: groups (but for data of
depthwise layers at stride 1, channels last), dilation, float64, float16, crops of its own. For
bfloat16, `packed_bfloat16_is_faster` is the rule of the forward pass, packed before or not, and
`_bfloat16_is_faster` that of a weight packed anew; they hold where the processor multiplies
bfloat16 in its vectors. Where it does so in matrix registers (AMX), the engine's products are the
faster ones with a packed weight, but for one tap a cell in channels last, where writing the result
is most of the work; groups, dilation, fewer than `FEW_CHANNELS`; and less than `LEAST_MATRIX_SUM`,
`LEAST_MATRIX_WEIGHT` and `LEAST_MATRIX_CALL`. With a weight packed anew, oneDNN's are, but for
depthwise layers and large weights over few cells. `columns.py`, `training.py`, `convolutions.py`
and `prepacked.py` ask by the last numbers below. All come from `benchmarks/torch_models.py`, layer
by layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backstride.machine import features
from backstride.native import has_matrices
from backstride.torch.operator.shapes import Integers, Shape, Slot, third_shape

# A weight that is packed anew for y (a transposed convolution) or x (a convolution), in float32.
FEW_CELLS = {"y": 512, "x": 16}  # cells: with fewer, reading the weight is most of the work
FEW_AT_STRIDE_1 = 256  # cells: the same for y at stride 1
FEW_OF_SEVERAL_TAPS = 160  # cells: the same for y by tiles, where phases have several taps
FEW_TILES = {False: 128, True: 64}  # cells: the same for x by tiles, channels first and last
SMALL_WEIGHT = 1 << 14  # entries: 64 KiB, which are read, or put in another order, at once
LARGE_WEIGHT = 1 << 23  # entries: 32 MiB, which oneDNN takes longer to put in order
FEW_CHANNELS = 8  # channels: fewer fill no vector of the engine
TILED_CHANNELS = 24  # channels: on both sides, from which on the engine has tiles

# The gradient by the weight, in float32: the engine is the faster one
MANY_TAPS = 64  # taps: with so many or more,
MANY_GRADIENT_CELLS = 256  # cells: of data channels first, with more,
MANY_GRADIENT_CHANNELS = 256  # channels: or with so many or more,
UNTILED_CHANNELS = 64  # channels: of data channels last, with so many or more, without tiles

# bfloat16 in vectors: the engine is the faster one
PACKED_CHANNELS = 64  # channels: of x, with more, or several taps a cell, with a packed weight
WEIGHT_OF_CELL = 256  # entries: of the weight for each cell, with fewer, for y
MANY_CELLS = {"x": 1 << 15, "weight": 1 << 17}  # cells of y: of large results, for x and the weight
FEW_GRADIENT_CELLS = 64  # cells: with so few or fewer, for the weight

# bfloat16 in matrix registers: with less, oneDNN is as fast, or the call itself takes longer.
LEAST_MATRIX_SUM = 64  # products: of a result
LEAST_MATRIX_CALL = 1 << 25  # products: of a call
LEAST_MATRIX_WEIGHT = {False: SMALL_WEIGHT, True: 1 << 18}  # entries: channels first and last

# One product with a weight as it lies, on columns of the cells that share it.
MOST_COLUMNS = 4  # times: as many entries as the weight has; with more it cannot be the fastest way
FEW_COLUMNS = 2  # times: as many entries in the weight; with so many it is the fastest

# Ordinary convolutions that the engine takes, in training and in inference.
UNEVEN_CHANNELS = 64  # channels: on both sides, where phases have unequal taps, as 3x3 at stride 2
LANE_CHANNELS = 8  # output channels: or fewer, which leave vectors of channels empty, and of
LANE_TAPS = 7  # taps: or more, cells fill the lanes
LEAST_AXIS_TAPS = 3  # taps: of one axis that is cut into tiles of four outputs
LEAST_AXIS_WORK = {1: 190, 3: 432}  # channels times taps, by axes: less than tiles' own work
LEAST_AXIS_CELLS = 64  # cells: fewer are not worth such tiles

# Ordinary convolutions by oneDNN with its order of the weight remembered.
ORDERED_WEIGHT = 1 << 18  # entries: 1 MiB, large enough for its order to matter
ORDERED_CELLS = {torch.float32: 512, torch.bfloat16: 4096}  # cells: fewer than these, as above

HAS_TILES = "amx_bf16" in features()  # which oneDNN uses
HAS_MATRICES = has_matrices()  # the engine


def engine_is_faster(slot: Slot, a: Tensor, b: Tensor, integers: Integers, *, last: bool) -> bool:
    """Whether the engine is faster for an operator on `a` and `b` that packs its weight anew.

    >>> plain = Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)
    >>> x = torch.empty(1, 256, 64, 64, device="meta")
    >>> weight = torch.empty(256, 128, 4, 4, device="meta")
    >>> engine_is_faster("y", x, weight, plain, last=False)
    True
    >>> engine_is_faster("y", x[:, :, :4, :4], weight, plain, last=False)
    False
    """
    if a.dtype == torch.bfloat16:
        return _bfloat16_is_faster(slot, a, b, integers, last=last)
    stride, crop, dilation, groups, winograd = integers
    plain = all(step == 1 for step in dilation) and a.dtype == torch.float32
    pairs = zip(crop[::2], crop[1::2], stride, strict=True)
    depthwise = last and set(stride) == {1} and b.shape[:2] == (groups, 1)
    grouped = groups > 1 and (slot == "weight" or not depthwise)
    if (
        not plain
        or grouped
        or any(before < 0 or not 0 <= before - after < step for before, after, step in pairs)
    ):
        return True
    cells = a.shape[0] * math.prod(a.shape[2:])
    if slot == "weight":
        shape = third_shape("weight", a.shape, b.shape, integers)
        many = cells > MANY_GRADIENT_CELLS or a.shape[1] >= MANY_GRADIENT_CHANNELS
        least = TILED_CHANNELS if winograd and has_tiles(shape, stride) else UNTILED_CHANNELS
        wide = a.shape[1] >= least if last else b.shape[1] >= FEW_CHANNELS and many
        return math.prod(shape[2:]) >= MANY_TAPS or wide
    if slot == "y" and groups == 1:
        few = FEW_AT_STRIDE_1 if set(stride) == {1} else FEW_CELLS[slot]
        tiles = winograd and min(b.shape[:2]) >= TILED_CHANNELS
        if tiles and any(k > s for k, s in zip(b.shape[2:], stride, strict=True)):
            few = FEW_OF_SEVERAL_TAPS
        return (
            cells >= few
            or not SMALL_WEIGHT < b.numel() < LARGE_WEIGHT
            or (last and len(stride) == 3)
        )
    if b.shape[1] < FEW_CHANNELS:
        return False
    few = FEW_TILES[last] if winograd and has_tiles(b.shape, stride) else FEW_CELLS[slot]
    return cells // math.prod(stride) >= few or not SMALL_WEIGHT < b.numel() < LARGE_WEIGHT


def has_tiles(weight: Shape, stride: Shape) -> bool:
    """Whether the engine has Winograd's tiles for a weight of two or three axes.

    2 or 3 taps in the phases of each.

    >>> (has_tiles((24, 24, 3, 3), (1, 1)), has_tiles((24, 24, 4, 4), (2, 2)),
    ...  has_tiles((24, 24, 3, 3), (3, 3)))
    (True, True, False)
    """
    phases = [-(-taps // step) for taps, step in zip(weight[2:], stride, strict=True)]
    return (
        len(phases) > 1
        and min(weight[:2]) >= TILED_CHANNELS
        and 2 <= min(phases) <= max(phases) <= 3
    )


def packed_bfloat16_is_faster(x: Tensor, weight: Tensor, integers: Integers, last: bool) -> bool:
    """Whether the engine is at least as fast as oneDNN with a packed weight.

    But for few channels and one tap a cell.

    >>> up = Integers((2, 2), (0, 0, 0, 0), (1, 1), 1)
    >>> x = torch.empty(1, 64, 99, 99, dtype=torch.bfloat16, device="meta")
    >>> packed_bfloat16_is_faster(x, x.new_empty(64, 64, 2, 2), up, True)
    False
    >>> packed_bfloat16_is_faster(x, x.new_empty(64, 1, 4, 4), up._replace(groups=64), True)
    True
    """
    stride, _, dilation, groups, _ = integers
    if HAS_TILES:
        return _beats_tiles(x, weight, groups) or (
            HAS_MATRICES and _fills_matrices(x, weight, integers, last)
        )
    if groups > 1 or x.shape[1] > PACKED_CHANNELS or any(step > 1 for step in dilation):
        return True
    return any(k > s for k, s in zip(weight.shape[2:], stride, strict=True)) or not (
        last or math.prod(stride) == 1
    )


def _beats_tiles(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Depthwise layers, and large weights over few cells."""
    cells = x.shape[0] * math.prod(x.shape[2:])
    return groups == weight.shape[0] > 1 or (
        cells <= FEW_CELLS["x"] and weight.numel() > SMALL_WEIGHT
    )


def _fills_matrices(x: Tensor, weight: Tensor, integers: Integers, last: bool) -> bool:
    """Whether the engine's matrix products take a layer, and are worth its call."""
    stride, _, dilation, groups, _ = integers
    of_result = weight.shape[0] * math.prod(weight.shape[2:]) // math.prod(stride)
    products = x.shape[0] * math.prod(x.shape[2:]) * weight.numel()
    beyond = [k - s for k, s in zip(weight.shape[2:], stride, strict=True)]
    covers = min(beyond) >= 0 and (max(beyond) > 0 or not last)
    plain = (
        covers
        and groups == 1
        and weight.shape[0] >= FEW_CHANNELS
        and all(step == 1 for step in dilation)
    )
    large = weight.numel() >= LEAST_MATRIX_WEIGHT[last]
    return plain and large and of_result >= LEAST_MATRIX_SUM and products >= LEAST_MATRIX_CALL


def _bfloat16_is_faster(
    slot: Slot, a: Tensor, b: Tensor, integers: Integers, *, last: bool
) -> bool:
    """Where PyTorch takes long.

    For large results, with groups, and for gradients of large weights over few cells.
    """
    stride, _, _, groups, _ = integers
    cells = a.shape[0] * math.prod(a.shape[2:])
    if HAS_TILES:
        return slot == "y" and _beats_tiles(a, b, groups)
    if slot == "y":
        return groups > 1 or b.numel() <= WEIGHT_OF_CELL * cells
    if slot == "x":
        many = not last and cells >= MANY_CELLS["x"] and math.prod(stride) > 1
        return groups == 1 and many and b.shape[1] >= FEW_CHANNELS
    large = (
        b.shape[0] * math.prod(b.shape[2:]) >= MANY_CELLS["weight"] and b.shape[1] >= FEW_CHANNELS
    )
    return groups > 1 or cells <= FEW_GRADIENT_CELLS or large
