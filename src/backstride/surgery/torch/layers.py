"""New PyTorch layers with the numbers of old ones."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import nn
from torch.nn.utils import prune as torch_prune

from backstride.geometry import span
from backstride.surgery.model.graph import Node
from backstride.surgery.rewriting.kernels import flattened

prune: Any = torch_prune  # untyped
loose: Any = torch  # the same, in part
LEAST: Callable[[int, int], int] = loose.sym_min  # min() would fix the sizes of an export
Copied = TypeVar("Copied")


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """All modules by name, the model itself as ""."""
    loose: Any = model  # torch leaves the pairs untyped
    return dict(loose.named_modules())


def copied(value: Copied, memo: dict[int, object]) -> Copied:
    """A deep copy, computed tensors cut off their history.

    What cannot be copied (locks, files) is shared. `memo`: what stands for objects by id, as
    `copy.deepcopy` has it.
    """
    for module in value.modules() if isinstance(value, nn.Module) else ():
        for held in vars(module).values():
            _keep_uncopied(held, memo)
    return copy.deepcopy(value, memo)


def _keep_uncopied(held: object, memo: dict[int, object]) -> None:
    """Put into `memo` what `copy.deepcopy` refuses."""
    if id(held) in memo or isinstance(held, nn.Module):
        return
    if isinstance(held, torch.Tensor):
        if not held.is_leaf:
            memo[id(held)] = held.detach().clone()
    elif isinstance(held, dict):
        for entry in cast("dict[object, object]", held).values():
            _keep_uncopied(entry, memo)
    elif isinstance(held, list | tuple | set):
        for entry in cast("Iterable[object]", held):
            _keep_uncopied(entry, memo)
    elif not isinstance(held, str | int | float | None):
        try:
            _ = copy.deepcopy(held, dict(memo))
        except (TypeError, RuntimeError):  # what copy says of locks, files and generators
            memo[id(held)] = held


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation of the channels of each cell of a map (N, C, h, w)."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalise axis 1."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def convolution(weight: torch.Tensor, bias: torch.Tensor | None, step: Node) -> nn.Conv2d:
    """The convolution of a dense layer `weight` (C_out, C_in), `bias` (C_out,).

    It has `step`'s window. What `backstride.dense_to_conv` does, in one copy of torch's own layout.
    """
    kernel = kernel_of(weight.detach(), step.sliding.kernel, step.order).clone()
    (rows, columns), (down, across) = step.sliding.kernel, step.sliding.dilation
    sizes = (kernel.shape[1], kernel.shape[0], (rows, columns))
    layer = nn.Conv2d(*sizes, dilation=(down, across), bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(kernel, weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    return layer


def kernel_of(rows: torch.Tensor, size: Sequence[int], order: str) -> torch.Tensor:
    """The rows (C_out, C_in) of a dense layer as kernels (C_out, C, *size).

    The map was flattened in this order.

    >>> kernel_of(torch.arange(6.0).reshape(1, 6), (3, 1), "hc")[0, :, :, 0]
    tensor([[0., 2., 4.],
            [1., 3., 5.]])
    """
    lengths, axes = flattened(size, order)
    return rows.reshape(len(rows), *lengths).permute(0, *axes).reshape(len(rows), -1, *size)


def dense_map(  # noqa: PLR0917  what a convolution takes
    maps: torch.Tensor,
    rows: torch.Tensor,
    bias: torch.Tensor | None,
    size: tuple[int, int],
    order: str,
    dilation: tuple[int, int],
) -> torch.Tensor:
    """A dense layer of computed weights `rows` (C_out, C_in) as a convolution of maps."""
    return F.conv2d(maps, kernel_of(rows, size, order), bias, dilation=dilation)


def some_channels(maps: torch.Tensor, first: int, count: int, step: int) -> torch.Tensor:
    """So many channels of maps from the first on, `step` apart."""
    return maps[:, first : first + span(count, step) : step]


def unshuffled(maps: torch.Tensor, factor: int) -> torch.Tensor:
    """Positions that become channels, without last rows and columns that fill no window."""
    rows, columns = (maps.shape[axis] // factor * factor for axis in (2, 3))
    return F.pixel_unshuffle(maps[:, :, :rows, :columns], factor)


def binned(
    maps: torch.Tensor,
    size: Sequence[int],
    bins: Sequence[int],
    dilation: Sequence[int],
    largest: bool,
) -> torch.Tensor:
    """Means, or maxima, of the bins of every window of `size` cells.

    (N, C, h, w) to (N, C * bins, h', w'). Bin i of n of m cells goes from floor(i*m/n) to
    ceil((i+1)*m/n); cells lie `dilation` apart.
    """
    for axis, (cells, count, apart) in enumerate(zip(size, bins, dilation, strict=True)):
        along = 2 + 2 * axis  # behind the bins of the axes before
        room = maps.shape[along] - (span(cells, apart) - 1)
        taps = [maps.narrow(along, tap * apart, room) for tap in range(cells)]
        ranges = [
            taps[place * cells // count : -(-(place + 1) * cells // count)]
            for place in range(count)
        ]
        join = torch.maximum if largest else torch.add
        pooled = [reduce(join, part) / (1 if largest else len(part)) for part in ranges]
        maps = torch.stack(pooled, 2 + axis)
    return maps.flatten(1, 1 + len(bins))


def reordered(maps: torch.Tensor, factors: Sequence[int], axes: Sequence[int]) -> torch.Tensor:
    """Maps whose channels are `factors` of each other, in the order of `axes`.

    The batch axis is 0.
    """
    rank = len(factors)
    apart = maps.reshape(maps.shape[0], *factors, *maps.shape[2:])
    return apart.permute(*axes, *range(rank + 1, rank + maps.ndim - 1)).flatten(1, rank)


def subsampled(
    maps: torch.Tensor, padding: Sequence[tuple[int, int]], strides: Sequence[int]
) -> torch.Tensor:
    """Maps without the cells that negative padding cuts off, and every so many of the others."""
    for axis, ((before, after), step) in enumerate(zip(padding, strides, strict=True), 2):
        index = [slice(None)] * axis + [slice(-before, after or None, step)]
        maps = maps[tuple(index)]
    return maps


def with_weight_norm(
    layer: nn.Conv2d, lengths: torch.Tensor, rows: torch.Tensor, step: Node
) -> nn.Conv2d:
    """The convolution, its weight kept as `lengths` (C_out, 1) times directions.

    These are those of `rows` (C_out, C_in). The norm of a row is that of its kernel, which has the
    same numbers in another order.
    """
    _ = nn.utils.parametrizations.weight_norm(layer)
    pieces = layer.get_submodule("parametrizations.weight")
    pieces.original0 = nn.Parameter(
        lengths.detach().clone()[:, :, None, None], lengths.requires_grad
    )
    pieces.original1 = nn.Parameter(
        convolution(rows, None, step).weight.detach(), rows.requires_grad
    )
    return layer


def with_masks(layer: nn.Conv2d, pruned: nn.Module, step: Node) -> nn.Conv2d:
    """The convolution, pruned as the dense layer is that it was made from."""
    masks = dict(pruned.named_buffers())
    if "weight_mask" in masks:
        prune.custom_from_mask(
            layer, "weight", convolution(masks["weight_mask"], None, step).weight.detach()
        )
    if "bias_mask" in masks:
        prune.custom_from_mask(layer, "bias", masks["bias_mask"].clone())
    return layer


def with_classes(layer: nn.Conv2d, classes: int) -> nn.Conv2d:
    """The same convolution with other output channels.

    The first rows as they were, new ones zero.
    """
    options: Any = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    made = nn.Conv2d(
        layer.in_channels, classes, *options, bias=layer.bias is not None, device="meta"
    )
    made.padding_mode = layer.padding_mode
    for name, old in layer.named_parameters():
        fresh = old.new_zeros((classes, *old.shape[1:]))
        kept = min(classes, layer.out_channels)
        fresh[:kept] = old.detach()[:kept]
        setattr(made, name, nn.Parameter(fresh))
    made.training = layer.training
    return made


def cut_to_smallest(first: int, *maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Maps with as many rows (axis `first`) and columns (the next) as the smallest.

    They are cut at their ends.
    """
    for axis in (first, first + 1):
        cells: int = reduce(LEAST, [part.shape[axis] for part in maps])
        if (
            torch.compiler.is_exporting()
        ):  # where a slice would be held to the sizes that it has there
            places = torch.arange(cells, device=maps[0].device)
            maps = tuple(part.index_select(axis, places) for part in maps)
        else:
            maps = tuple(part.narrow(axis, 0, cells) for part in maps)
    return maps


def dilated_mean(
    maps: torch.Tensor, kernel: tuple[int, int], dilation: tuple[int, int]
) -> torch.Tensor:
    """The mean of each window of `kernel` cells that lie `dilation` apart."""
    weight = maps.new_full((maps.shape[1], 1, *kernel), 1 / math.prod(kernel))
    return F.conv2d(maps, weight, dilation=dilation, groups=maps.shape[1])


def norm_over_map(layer: nn.Module) -> nn.Module:
    """Batch or layer normalisation of vectors, as one of maps' channels, with its numbers."""
    if isinstance(layer, nn.LayerNorm):
        made = ChannelLayerNorm(
            [*layer.normalized_shape], layer.eps, layer.elementwise_affine, device="meta"
        )
        return _filled(made, layer)
    if isinstance(layer, nn.BatchNorm1d):
        options = (
            layer.num_features,
            layer.eps,
            layer.momentum,
            layer.affine,
            layer.track_running_stats,
        )
        return _filled(nn.BatchNorm2d(*options, device="meta"), layer)
    return copied(layer, {})  # SyncBatchNorm takes both


def _filled(made: nn.Module, layer: nn.Module) -> nn.Module:
    """`made` with the weights and statistics of `layer`."""
    for name in ("weight", "bias"):
        old: nn.Parameter | None = getattr(layer, name)
        setattr(
            made,
            name,
            None if old is None else nn.Parameter(old.detach().clone(), old.requires_grad),
        )
    for name, buffer in layer.named_buffers():
        made.register_buffer(name, buffer.detach().clone())
    made.training = layer.training
    return made


def take_order_and_flags(network: nn.Module, model: nn.Module) -> None:
    """Layers stand and train as they do in the classifier.

    New ones stand last and follow the one that holds them.
    """
    flags = {name: module.training for name, module in layers_of(model).items()}
    places = {name: place for place, name in enumerate(flags)}
    for name, module in layers_of(network).items():
        module.training = flags.get(name, flags.get(name.rpartition(".")[0], model.training))
        prefix = f"{name}." if name else ""
        children = list(module.named_children())
        for child, held in sorted(
            children, key=lambda pair: places.get(prefix + pair[0], len(places))
        ):
            delattr(module, child)
            module.add_module(child, held)
