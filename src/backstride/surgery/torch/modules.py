"""What each PyTorch module is in a `Graph`: the reader's dictionary of layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.weight_norm import WeightNorm

from backstride.geometry import same_padding, span
from backstride.integers import Pair
from backstride.surgery.model.graph import BORDERS, Kind, Window
from backstride.surgery.model.interpolation import Place, Rounding, interpolated
from backstride.surgery.model.meaning import Meaning
from backstride.surgery.torch.arguments import Given

Layer = TypeVar("Layer", bound=nn.Module)
Sizes: TypeAlias = int | Sequence[int]  # one for all axes, or one for each
Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
MaxPool: TypeAlias = nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d
AvgPool: TypeAlias = nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d
InstanceNorm: TypeAlias = nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d

ACTIVATIONS = (
    *(
        nn.CELU,
        nn.ELU,
        nn.GELU,
        nn.Hardshrink,
        nn.Hardsigmoid,
        nn.Hardswish,
        nn.Hardtanh,
        nn.Identity,
        nn.LeakyReLU,
    ),
    *(
        nn.LogSigmoid,
        nn.Mish,
        nn.ReLU,
        nn.ReLU6,
        nn.RReLU,
        nn.SELU,
        nn.SiLU,
        nn.Sigmoid,
        nn.Softplus,
    ),
    *(nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold),
)


def module_operation(module: nn.Module, rank: int) -> Meaning:
    """What a layer does to a tensor of this rank; "other" where the dictionary lacks it."""
    for read in MODULES:
        found = read(module, rank)
        if found is not None:
            return found
    return Meaning("activation" if type(module) in ACTIVATIONS else "other")


def each(value: Sizes, rank: int) -> tuple[int, ...]:
    """An entry for each of `rank` spatial axes from torch's shorthand."""
    if isinstance(value, int):
        return (value,) * rank
    return tuple(value) if len(value) == rank else (value[0],) * rank


def pool_window(
    kernel: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes = 1,
    rank: int = 2,
    *,
    ceil_mode: bool,
) -> Window:
    """The window of a pooling, whose stride is the kernel where none is given."""
    pads = tuple((cells, cells) for cells in each(padding, rank))
    return Window(
        each(kernel, rank), each(stride or kernel, rank), pads, each(dilation, rank), ceil_mode
    )


def pad_window(cells: Sequence[int], rank: int = 2) -> Window:
    """A window of one cell with torch's padding: left, right, top, bottom, the last axis first."""
    pairs = [(cells[at], cells[at + 1]) for at in range(0, min(len(cells), 2 * rank), 2)]
    pairs += [(0, 0)] * (rank - len(pairs))
    ones = (1,) * rank
    return Window(ones, ones, tuple(reversed(pairs)), ones)


def conv_window(
    kernel: Sequence[int], stride: Sizes, padding: Sizes | str, dilation: Sizes
) -> Window:
    """The window of a convolution; "same" puts the larger half at the end."""
    rank = len(kernel)
    pads: tuple[Pair, ...] = ((0, 0),) * rank
    if padding == "same":
        spans = map(span, kernel, each(dilation, rank))
        pads = tuple(same_padding(1, cells, 1) for cells in spans)  # of any size, at stride 1
    elif not isinstance(padding, str):
        pads = tuple((cells, cells) for cells in each(padding, rank))
    return Window(tuple(kernel), each(stride, rank), pads, each(dilation, rank))


def transposed_window(
    kernel: Sequence[int], stride: Sizes, padding: Sizes, output_padding: Sizes, dilation: Sizes
) -> Window:
    """The window of a transposed convolution, with its crop as padding."""
    rank = len(kernel)
    more = each(output_padding, rank)
    crop = tuple(
        (cells, cells - extra) for cells, extra in zip(each(padding, rank), more, strict=True)
    )
    return Window(tuple(kernel), each(stride, rank), crop, each(dilation, rank))


def transposed_to(layer: Transposed, cells: Sequence[int], found: Sequence[int]) -> Meaning:
    """A transposed convolution of a map of `cells` to the stated size `found`.

    That size becomes an `output_padding`. Law: `output_size` chooses one of the sizes that differ
    by less than a stride; all cells but the last stay.
    """
    least = _transposed(layer, 0)
    more = [
        size - least.transposed(axis, have)
        for axis, (have, size) in enumerate(zip(cells, found, strict=True))
    ]
    return Meaning("conv_transpose", replace(_transposed(layer, more), same=True), data=1)


def _transposed(layer: Transposed, more: Sizes) -> Window:
    """The window of a layer with this `output_padding`."""
    assert not isinstance(layer.padding, str)
    return transposed_window(layer.kernel_size, layer.stride, layer.padding, more, layer.dilation)


def resized(given: Given, cells: Sequence[int], found: Sequence[int]) -> Meaning:
    """Resizing of a map of `cells` to `found`, by torch's arguments."""
    mode = str(given.get("mode") or "nearest")
    reach = {
        "nearest": 0,
        "nearest-exact": 0,
        "linear": 1,
        "bilinear": 1,
        "trilinear": 1,
        "bicubic": 2,
    }.get(mode)
    if reach is None or given.get("antialias"):
        return Meaning("other", data=1)
    stated = given.get("size") is not None
    scale: float | Sequence[float] | None = given.get("scale_factor")
    scales = [scale] * len(cells) if isinstance(scale, int | float) else list(scale or [])
    place: Place = (
        "corners" if given.get("align_corners") else "starts" if mode == "nearest" else "middles"
    )
    rounding: Rounding = "floor" if mode == "nearest" else "round_prefer_ceil"
    kind, window, ratios = interpolated(
        cells, found, place=place, reach=reach, rounding=rounding, scales=() if stated else scales
    )
    return Meaning(kind, window, data=1, ratios=ratios)


def softmax_axis(dim: int | None, rank: int) -> tuple[int, ...]:
    """The axis of a softmax.

    torch's own choice where none is named (`nn.functional._get_softmax_dim`).
    """
    if dim is None:
        return (0,) if rank in (0, 1, 3) else (1,)
    return (dim % rank,)


def _conv(module: Convolution, rank: int) -> Meaning:
    _ = rank
    window = conv_window(module.kernel_size, module.stride, module.padding, module.dilation)
    return Meaning("conv", replace(window, border=BORDERS[module.padding_mode]))


def _conv_transpose(module: Transposed, rank: int) -> Meaning:
    _ = rank
    return Meaning("conv_transpose", _transposed(module, module.output_padding))


def shuffled(factor: int) -> Meaning:
    """Channels that become positions: each cell gives `factor` x `factor` cells."""
    return Meaning("conv_transpose", Window((factor,) * 2, (factor,) * 2, ((0, 0),) * 2), data=1)


def unshuffled(factor: int) -> Meaning:
    """Positions that become channels."""
    return Meaning("unshuffle", Window((factor,) * 2, (factor,) * 2, ((0, 0),) * 2), data=1)


def _max_pool(module: MaxPool, rank: int) -> Meaning:
    if module.return_indices:
        return Meaning("other")
    options = (module.kernel_size, module.stride, module.padding, module.dilation)
    return Meaning("max_pool", pool_window(*options, rank - 2, ceil_mode=module.ceil_mode))


def _avg_pool(module: AvgPool, rank: int) -> Meaning:
    if getattr(module, "divisor_override", None) is not None:
        return Meaning("other")
    options = (module.kernel_size, module.stride, module.padding)
    return Meaning("avg_pool", pool_window(*options, 1, rank - 2, ceil_mode=module.ceil_mode))


def _pad(module: nn.Module, rank: int) -> Meaning:
    cells: Sequence[int] = getattr(module, "padding", ())
    whole = len(cells) == 2 * (rank - 2)
    words = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
    border = BORDERS[words.get(type(module).__name__.partition("Pad")[0], "constant")]
    window = replace(pad_window(cells, rank - 2), border=border)
    return Meaning("pad", window) if whole else Meaning("other")


def _linear(module: nn.Linear, rank: int) -> Meaning:
    _ = rank  # parametrizations compute the weight anew in every call
    stored = isinstance(module.weight, nn.Parameter) or normed_rows(module) is not None
    return Meaning("dense" if stored or "weight_mask" in dict(module.named_buffers()) else "other")


def _has_old_weight_norm(module: nn.Module) -> bool:
    """Whether a hook of `torch.nn.utils.weight_norm` makes the rows of a layer."""
    found = [hook for hook in hooks_of(module) if isinstance(hook, WeightNorm)]
    return [(hook.name, hook.dim) for hook in found] == [("weight", 0)]


def hooks_of(module: nn.Module) -> list[object]:
    """What a module calls around its `forward`."""
    held = vars(module)  # torch has no public name
    return [
        hook for kind in ("_forward_hooks", "_forward_pre_hooks") for hook in held[kind].values()
    ]


def makes_weights(module: nn.Module, hook: object) -> bool:
    """Whether a dense layer's hook does no more than make the weight that the reader takes."""
    return isinstance(hook, prune.BasePruningMethod) or (
        isinstance(hook, WeightNorm) and _has_old_weight_norm(module)
    )


def stored_pieces(layer: nn.Linear) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of a dense layer, without the masks of a pruned one."""
    held = dict(layer.named_parameters())
    return held.get("weight_orig", layer.weight), held.get("bias_orig", layer.bias)


def normed_rows(layer: nn.Linear) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The lengths and directions of a layer's rows, or None.

    They are there where rows are normalised one by one (`weight_norm`).
    """
    held: dict[str, torch.Tensor] = {
        **dict(layer.named_parameters()),
        **dict(layer.named_buffers()),
    }
    if _has_old_weight_norm(layer):
        return held["weight_g"], held["weight_v"]
    lists = getattr(layer, "parametrizations", None)
    weight = lists["weight"] if isinstance(lists, nn.ModuleDict) and "weight" in lists else None
    found = list(weight) if isinstance(weight, ParametrizationList) else []
    if (
        len(found) != 1
        or type(found[0]).__name__ != "_WeightNorm"
        or getattr(found[0], "dim", None) != 0
    ):
        return None
    return held["parametrizations.weight.original0"], held["parametrizations.weight.original1"]


def _layer_norm(module: nn.LayerNorm | nn.RMSNorm, rank: int) -> Meaning:
    _ = rank
    return Meaning("layer_norm", features=math.prod(module.normalized_shape))


def _prelu(module: nn.PReLU, rank: int) -> Meaning:
    _ = rank
    return Meaning("activation", features=module.num_parameters)


def _softmax(module: nn.Softmax | nn.LogSoftmax, rank: int) -> Meaning:
    return Meaning("softmax", axes=softmax_axis(module.dim, rank))


def _softmax_channels(module: nn.Softmax2d, rank: int) -> Meaning:
    _ = module, rank
    return Meaning("softmax", axes=(1,))


def _group_norm(module: nn.GroupNorm, rank: int) -> Meaning:
    _ = rank
    return Meaning("whole_norm", factors=(module.num_groups,))


def _instance_norm(module: InstanceNorm, rank: int) -> Meaning:
    """With stored statistics it is no more than a scale and a shift for each channel."""
    if module.track_running_stats:
        return _on_maps(module, rank)
    return Meaning("whole_norm", factors=(0,))


def _gated(module: nn.GLU, rank: int) -> Meaning:
    return Meaning("channelwise", axes=(module.dim % rank,))


def _on_maps(module: nn.Module, rank: int) -> Meaning:
    """Dropout of whole channels and normalisation over nearby channels act alike everywhere."""
    _ = module
    return Meaning("activation" if rank > 2 else "other")


def _plain(kind: Kind) -> Callable[[nn.Module, int], Meaning]:
    def build(module: nn.Module, rank: int) -> Meaning:
        indices = getattr(module, "return_indices", False)
        _ = rank
        return Meaning("other" if indices else kind)

    return build


def _of(
    kinds: tuple[type[Layer], ...], build: Callable[[Layer, int], Meaning]
) -> Callable[[nn.Module, int], Meaning | None]:
    """What layers of these kinds are; None for others."""

    def read(module: nn.Module, rank: int) -> Meaning | None:
        return build(module, rank) if isinstance(module, kinds) else None

    return read


TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PADS: tuple[type[nn.Module], ...] = (
    *(
        nn.ZeroPad1d,
        nn.ZeroPad2d,
        nn.ZeroPad3d,
        nn.ConstantPad1d,
        nn.ConstantPad2d,
        nn.ConstantPad3d,
    ),
    *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
)
MODULES: tuple[Callable[[nn.Module, int], Meaning | None], ...] = (
    _of((nn.Conv1d, nn.Conv2d, nn.Conv3d), _conv),
    _of(TRANSPOSED, _conv_transpose),
    _of((nn.PixelShuffle,), lambda module, _: shuffled(module.upscale_factor)),
    _of((nn.PixelUnshuffle,), lambda module, _: unshuffled(module.downscale_factor)),
    _of((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    _of((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _avg_pool),
    _of(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        _plain("adaptive_avg_pool"),
    ),
    _of(
        (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        _plain("adaptive_max_pool"),
    ),
    _of(PADS, _pad),
    _of((nn.Linear,), _linear),
    _of((nn.Flatten, nn.Unflatten), _plain("reshape")),
    _of((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), _plain("batch_norm")),
    _of((nn.LayerNorm, nn.RMSNorm), _layer_norm),
    _of((nn.GLU,), _gated),
    _of((nn.GroupNorm,), _group_norm),
    _of((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    _of((nn.PReLU,), _prelu),
    _of((nn.Dropout, nn.AlphaDropout), _plain("dropout")),
    _of(
        (
            nn.Dropout1d,
            nn.Dropout2d,
            nn.Dropout3d,
            nn.FeatureAlphaDropout,
            nn.LocalResponseNorm,
            nn.ChannelShuffle,
        ),
        _on_maps,
    ),
    _of((nn.Softmax, nn.LogSoftmax), _softmax),
    _of((nn.Softmax2d,), _softmax_channels),
)
