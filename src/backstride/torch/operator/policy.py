"""Whether the engine or PyTorch's own kernel computes an operator where weights change from call to call.

In inference a weight is packed once, and the engine computes every call. In training each step has new weights, so
packing counts, and for plain float32 layers oneDNN is the faster one where

- (the transposed convolution, and the gradient of a convolution by its input) few cells share a weight of more than 64
  KiB: reading the weight is most of the work. Few are fewer than 512; at stride 1, 256; where phases have several taps
  and the engine may have Winograd's tiles, 160. Not where the weight has 32 MiB or more, which oneDNN takes longer to
  put in order, and not in three axes with data channels last;
- (the convolution, and the gradient of a transposed one by its input) the same with 16 cells, or where the engine has
  Winograd's tiles with 128 (data channels first) and 64 (channels last), unless the weight has 32 MiB or more; or
  fewer than 8 channels are read: they fill no vector;
- (the gradient by the weight) the data is channels first, the kernel has fewer than 64 taps, and either fewer than 8
  channels are read, or at most 256 cells of fewer than 256 channels; or the data is channels last and has fewer than
  64 channels (24 where there are tiles), and the kernel fewer than 64 taps.

Everything that PyTorch has no fast kernel for stays on the engine: groups (but for data of depthwise layers at stride
1, channels last), dilation, float64, float16, crops of its own. For bfloat16, `bfloat16_pays` is the rule of the
forward pass, packed before or not, and `_bfloat16_is_faster` that of a weight packed anew; they hold where the
processor multiplies bfloat16 in its vectors. Where it does so in matrix registers (AMX), the engine's products are the
faster ones with a packed weight, but for one tap a cell in channels last, where writing the result is most of the work;
groups, dilation, fewer than 8 channels or 64 products in a result; weights of fewer than 2^14 entries, 2^18 in channels
last; and fewer than 2^25 products in all, which take no longer than the call itself. With a weight packed anew,
oneDNN's are, but for depthwise layers and large weights over few cells. Which ordinary convolutions are asked about at
all, `training.py` says. The numbers come from `benchmarks/torch_models.py`, layer by layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backstride.machine import features
from backstride.native import has_matrices
from backstride.torch.operator.shapes import Integers, Shape, Slot, third_shape

FEW_CELLS = {"y": 512, "x": 16}
FEW_AT_STRIDE_1 = 256
FEW_OF_SEVERAL_TAPS = 160
FEW_TILES = {False: 128, True: 64}  # by whether the data is channels last
SMALL_WEIGHT = 1 << 14  # entries: 64 KiB
FEW_CHANNELS = 8
LARGE_WEIGHT = 1 << 23  # entries: 32 MiB
MANY_CHANNELS = 64
TILED_CHANNELS = 24
MANY_FOR_FEW = (256, 256)  # cells and channels, one of which is enough
MANY_TAPS = 64
WEIGHTS_A_CELL = 256
MANY_CELLS = {"x": 1 << 15, "weight": 1 << 17}  # of y, in bfloat16
MATRIX_PRODUCTS = (64, 1 << 25)  # of a result and of a call, below which oneDNN's are at least as fast
MATRIX_WEIGHT = {False: SMALL_WEIGHT, True: 1 << 18}  # entries of a weight, by whether the data is channels last

HAS_TILES = "amx_bf16" in features()  # which oneDNN uses
HAS_MATRICES = has_matrices()  # the engine


def engine_is_faster(slot: Slot, a: Tensor, b: Tensor, integers: Integers, *, last: bool) -> bool:
    """Whether the engine is the faster one for an operator on `a` and `b` that packs its weight anew.

    >>> plain = Integers((2, 2), (1, 1, 1, 1), (1, 1), 1)
    >>> x, weight = torch.empty(1, 256, 64, 64, device="meta"), torch.empty(256, 128, 4, 4, device="meta")
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
    if not plain or grouped or any(before < 0 or not 0 <= before - after < step for before, after, step in pairs):
        return True
    cells = a.shape[0] * math.prod(a.shape[2:])
    if slot == "weight":
        shape = third_shape("weight", a.shape, b.shape, integers)
        many = cells > MANY_FOR_FEW[0] or a.shape[1] >= MANY_FOR_FEW[1]
        least = TILED_CHANNELS if winograd and has_tiles(shape, stride) else MANY_CHANNELS
        wide = a.shape[1] >= least if last else b.shape[1] >= FEW_CHANNELS and many
        return math.prod(shape[2:]) >= MANY_TAPS or wide
    if slot == "y" and groups == 1:
        few = FEW_AT_STRIDE_1 if set(stride) == {1} else FEW_CELLS[slot]
        tiles = winograd and min(b.shape[:2]) >= TILED_CHANNELS
        if tiles and any(k > s for k, s in zip(b.shape[2:], stride, strict=True)):
            few = FEW_OF_SEVERAL_TAPS
        return cells >= few or not SMALL_WEIGHT < b.numel() < LARGE_WEIGHT or (last and len(stride) == 3)
    if b.shape[1] < FEW_CHANNELS:
        return False
    few = FEW_TILES[last] if winograd and has_tiles(b.shape, stride) else FEW_CELLS[slot]
    return cells // math.prod(stride) >= few or not SMALL_WEIGHT < b.numel() < LARGE_WEIGHT


def has_tiles(weight: Shape, stride: Shape) -> bool:
    """Whether the engine has Winograd's tiles for a weight of two or three axes: 2 or 3 taps in the phases of each.

    >>> has_tiles((24, 24, 3, 3), (1, 1)), has_tiles((24, 24, 4, 4), (2, 2)), has_tiles((24, 24, 3, 3), (3, 3))
    (True, True, False)
    """
    phases = [-(-taps // step) for taps, step in zip(weight[2:], stride, strict=True)]
    return len(phases) > 1 and min(weight[:2]) >= TILED_CHANNELS and 2 <= min(phases) <= max(phases) <= 3


def packed_bfloat16_is_faster(x: Tensor, weight: Tensor, integers: Integers, last: bool) -> bool:
    """Whether the engine is at least as fast as oneDNN with a packed weight: but for few channels and one tap a cell.

    >>> up = Integers((2, 2), (0, 0, 0, 0), (1, 1), 1)
    >>> x = torch.empty(1, 64, 99, 99, dtype=torch.bfloat16, device="meta")
    >>> packed_bfloat16_is_faster(x, x.new_empty(64, 64, 2, 2), up, True)
    False
    >>> packed_bfloat16_is_faster(x, x.new_empty(64, 1, 4, 4), up._replace(groups=64), True)
    True
    """
    stride, _, dilation, groups, _ = integers
    if HAS_TILES:
        return _beats_tiles(x, weight, groups) or (HAS_MATRICES and _fills_matrices(x, weight, integers, last))
    if groups > 1 or x.shape[1] > MANY_CHANNELS or any(step > 1 for step in dilation):
        return True
    return any(k > s for k, s in zip(weight.shape[2:], stride, strict=True)) or not (last or math.prod(stride) == 1)


def _beats_tiles(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Depthwise layers, and large weights over few cells."""
    cells = x.shape[0] * math.prod(x.shape[2:])
    return groups == weight.shape[0] > 1 or (cells <= FEW_CELLS["x"] and weight.numel() > SMALL_WEIGHT)


def _fills_matrices(x: Tensor, weight: Tensor, integers: Integers, last: bool) -> bool:
    """Whether the engine's matrix products take a layer, and are worth its call."""
    stride, _, dilation, groups, _ = integers
    of_result = weight.shape[0] * math.prod(weight.shape[2:]) // math.prod(stride)
    products = x.shape[0] * math.prod(x.shape[2:]) * weight.numel()
    beyond = [k - s for k, s in zip(weight.shape[2:], stride, strict=True)]
    covers = min(beyond) >= 0 and (max(beyond) > 0 or not last)
    plain = covers and groups == 1 and weight.shape[0] >= FEW_CHANNELS and all(step == 1 for step in dilation)
    least, least_of_call = MATRIX_PRODUCTS
    large = weight.numel() >= MATRIX_WEIGHT[last]
    return plain and large and of_result >= least and products >= least_of_call


def _bfloat16_is_faster(slot: Slot, a: Tensor, b: Tensor, integers: Integers, *, last: bool) -> bool:
    """Where PyTorch takes long: for large results, with groups, and for gradients of large weights over few cells."""
    stride, _, _, groups, _ = integers
    cells = a.shape[0] * math.prod(a.shape[2:])
    if HAS_TILES:
        return slot == "y" and _beats_tiles(a, b, groups)
    if slot == "y":
        return groups > 1 or b.numel() <= WEIGHTS_A_CELL * cells
    if slot == "x":
        many = not last and cells >= MANY_CELLS["x"] and math.prod(stride) > 1
        return groups == 1 and many and b.shape[1] >= FEW_CHANNELS
    large = b.shape[0] * math.prod(b.shape[2:]) >= MANY_CELLS["weight"] and b.shape[1] >= FEW_CHANNELS
    return groups > 1 or cells <= MANY_CHANNELS or large
