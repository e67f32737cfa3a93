"""What each PyTorch module is in a `Graph`: the reader's dictionary of layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.nn.utils import prune

from backstride.geometry import same_padding, span
from backstride.integers import Pair
from backstride.surgery.model.graph import BORDERS, Cut, Kind, Ratio, Window
from backstride.surgery.model.interpolation import Place, Rounding, interpolated

ACTIVATIONS = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU),
    *(nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus),
    *(nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold),
)


@dataclass(frozen=True, slots=True)
class Operation:
    """A node's kind and details; `data` counts the leading inputs that are data, all of them if None."""

    kind: Kind
    window: Window | None = None
    axes: tuple[int, ...] = ()
    features: int | None = None
    data: int | None = None
    cuts: tuple[Cut, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    factors: tuple[int, ...] = ()


def module_operation(module: nn.Module, rank: int) -> Operation:
    """What a layer does to a tensor of this rank; "other" where the dictionary lacks it."""
    for kinds, build in MODULES:
        if isinstance(module, kinds):
            return build(module, rank)
    return Operation("activation" if type(module) in ACTIVATIONS else "other")


def each(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """An entry for each of `rank` spatial axes from torch's shorthand."""
    if isinstance(value, int):
        return (value,) * rank
    return tuple(value) if len(value) == rank else (value[0],) * rank


def pool_window(kernel: Any, stride: Any, padding: Any, dilation: Any = 1, rank: int = 2, *, ceil_mode: bool) -> Window:
    """The window of a pooling, whose stride is the kernel where none is given."""
    strides = each(kernel if stride in (None, [], ()) else stride, rank)
    pads = tuple((cells, cells) for cells in each(padding, rank))
    return Window(each(kernel, rank), strides, pads, each(dilation, rank), ceil_mode)


def pad_window(cells: Sequence[int], rank: int = 2) -> Window:
    """A window of one cell with torch's padding: left, right, top, bottom, the last axis first."""
    pairs = [(cells[at], cells[at + 1]) for at in range(0, min(len(cells), 2 * rank), 2)]
    pairs += [(0, 0)] * (rank - len(pairs))
    ones = (1,) * rank
    return Window(ones, ones, tuple(reversed(pairs)), ones)


def conv_window(kernel: Any, stride: Any, padding: Any, dilation: Any) -> Window:
    """The window of a convolution; "same" puts the larger half at the end."""
    rank = len(kernel)
    pads: tuple[Pair, ...]
    match padding:
        case "valid":
            pads = ((0, 0),) * rank
        case "same":
            spans = map(span, kernel, each(dilation, rank))
            pads = tuple(same_padding(1, cells, 1) for cells in spans)  # of any size, at stride 1
        case _:
            pads = tuple((cells, cells) for cells in each(padding, rank))
    return Window(tuple(kernel), each(stride, rank), pads, each(dilation, rank))


def transposed_window(kernel: Any, stride: Any, padding: Any, output_padding: Any, dilation: Any) -> Window:
    """The window of a transposed convolution, with its crop as padding."""
    rank = len(kernel)
    more = each(output_padding, rank)
    crop = tuple((cells, cells - extra) for cells, extra in zip(each(padding, rank), more, strict=True))
    return Window(tuple(kernel), each(stride, rank), crop, each(dilation, rank))


def transposed_to(layer: Any, cells: Sequence[int], found: Sequence[int]) -> Operation:
    """A transposed convolution of a map of `cells` to the stated size `found`, which is an `output_padding`.

    Law: `output_size` chooses one of the sizes that differ by less than a stride; all cells but the last stay.
    """
    options = (layer.kernel_size, layer.stride, layer.padding)
    least = transposed_window(*options, 0, layer.dilation)
    more = [size - least.transposed(axis, have) for axis, (have, size) in enumerate(zip(cells, found, strict=True))]
    window = transposed_window(*options, more, layer.dilation)
    return Operation("conv_transpose", replace(window, same=True), data=1)


def resized(given: Mapping[str, Any], cells: Sequence[int], found: Sequence[int]) -> Operation:
    """Resizing of a map of `cells` to `found`, by torch's arguments."""
    mode = str(given.get("mode") or "nearest")
    reach = {"nearest": 0, "nearest-exact": 0, "linear": 1, "bilinear": 1, "trilinear": 1, "bicubic": 2}.get(mode)
    if reach is None or given.get("antialias"):
        return Operation("other", data=1)
    stated, scale = given.get("size") is not None, given.get("scale_factor")
    scales = [scale] * len(cells) if isinstance(scale, int | float) else list(scale or [])
    place: Place = "corners" if given.get("align_corners") else "starts" if mode == "nearest" else "middles"
    rounding: Rounding = "floor" if mode == "nearest" else "round_prefer_ceil"
    kind, window, ratios = interpolated(
        cells, found, place=place, reach=reach, rounding=rounding, scales=() if stated else scales
    )
    return Operation(kind, window, data=1, ratios=ratios)


def softmax_axis(dim: int | None, rank: int) -> tuple[int, ...]:
    """The axis of a softmax; torch's own choice where none is named (`nn.functional._get_softmax_dim`)."""
    if dim is None:
        return (0,) if rank in (0, 1, 3) else (1,)
    return (dim % rank,)


def _conv(module: Any, rank: int) -> Operation:
    _ = rank
    window = conv_window(module.kernel_size, module.stride, module.padding, module.dilation)
    return Operation("conv", replace(window, border=BORDERS[module.padding_mode]))


def _conv_transpose(module: Any, rank: int) -> Operation:
    _ = rank
    options = (module.kernel_size, module.stride, module.padding, module.output_padding, module.dilation)
    return Operation("conv_transpose", transposed_window(*options))


def shuffled(factor: int) -> Operation:
    """Channels that become positions: each cell gives `factor` x `factor` cells."""
    return Operation("conv_transpose", Window((factor,) * 2, (factor,) * 2, ((0, 0),) * 2), data=1)


def unshuffled(factor: int) -> Operation:
    """Positions that become channels."""
    return Operation("unshuffle", Window((factor,) * 2, (factor,) * 2, ((0, 0),) * 2), data=1)


def _max_pool(module: Any, rank: int) -> Operation:
    if module.return_indices:
        return Operation("other")
    options = (module.kernel_size, module.stride, module.padding, module.dilation)
    return Operation("max_pool", pool_window(*options, rank - 2, ceil_mode=module.ceil_mode))


def _avg_pool(module: Any, rank: int) -> Operation:
    if getattr(module, "divisor_override", None) is not None:
        return Operation("other")
    options = (module.kernel_size, module.stride, module.padding)
    return Operation("avg_pool", pool_window(*options, 1, rank - 2, ceil_mode=module.ceil_mode))


def _pad(module: Any, rank: int) -> Operation:
    whole = len(module.padding) == 2 * (rank - 2)
    words = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
    border = BORDERS[words.get(type(module).__name__.partition("Pad")[0], "constant")]
    window = replace(pad_window(module.padding, rank - 2), border=border)
    return Operation("pad", window) if whole else Operation("other")


def _linear(module: Any, rank: int) -> Operation:
    _ = rank  # parametrizations compute the weight anew in every call
    stored = isinstance(module.weight, nn.Parameter) or weight_norm_of(module) is not None
    stored = stored or old_weight_norm(module) or "weight_mask" in dict(module.named_buffers())
    return Operation("dense" if stored else "other")


def old_weight_norm(module: Any) -> bool:
    """Whether a hook of `torch.nn.utils.weight_norm` makes the rows of a layer."""
    found = [hook for hook in hooks_of(module) if type(hook).__name__ == "WeightNorm"]
    return [(hook.name, hook.dim) for hook in found] == [("weight", 0)]


def hooks_of(module: nn.Module) -> list[Any]:
    """What a module calls around its `forward`."""
    held: Any = vars(module)  # torch has no public name
    return [hook for kind in ("_forward_hooks", "_forward_pre_hooks") for hook in held[kind].values()]


def makes_weights(module: nn.Module, hook: Any) -> bool:
    """Whether a hook of a dense layer does no more than the weight that the reader takes from it."""
    return isinstance(hook, prune.BasePruningMethod) or (
        type(hook).__name__ == "WeightNorm" and old_weight_norm(module)
    )


def stored_pieces(layer: Any) -> tuple[Any, Any]:
    """Weight and bias of a dense layer, without the masks of a pruned one."""
    held = dict(layer.named_parameters())
    return held.get("weight_orig", layer.weight), held.get("bias_orig", layer.bias)


def weight_norm_of(module: nn.Module) -> Any:
    """The parametrization of a layer whose rows are normalised one by one (`weight_norm`), else None."""
    lists: Any = getattr(module, "parametrizations", {})
    found = list(lists["weight"]) if "weight" in lists else []
    if len(found) != 1 or type(found[0]).__name__ != "_WeightNorm" or found[0].dim != 0:
        return None
    return lists["weight"]


def _layer_norm(module: Any, rank: int) -> Operation:
    _ = rank
    return Operation("layer_norm", features=math.prod(module.normalized_shape))


def _prelu(module: Any, rank: int) -> Operation:
    _ = rank
    return Operation("activation", features=module.num_parameters)


def _softmax(module: Any, rank: int) -> Operation:
    return Operation("softmax", axes=softmax_axis(module.dim, rank))


def _softmax_channels(module: Any, rank: int) -> Operation:
    _ = module, rank
    return Operation("softmax", axes=(1,))


def _group_norm(module: Any, rank: int) -> Operation:
    _ = rank
    return Operation("whole_norm", factors=(module.num_groups,))


def _instance_norm(module: Any, rank: int) -> Operation:
    """With stored statistics it is no more than a scale and a shift for each channel."""
    if module.track_running_stats:
        return _on_maps(module, rank)
    return Operation("whole_norm", factors=(0,))


def _gated(module: Any, rank: int) -> Operation:
    return Operation("channelwise", axes=(module.dim % rank,))


def _on_maps(module: Any, rank: int) -> Operation:
    """Dropout of whole channels and the normalisation over neighbouring channels act alike at every position."""
    _ = module
    return Operation("activation" if rank > 2 else "other")


def _plain(kind: Kind) -> Callable[[Any, int], Operation]:
    def build(module: Any, rank: int) -> Operation:
        indices = getattr(module, "return_indices", False)
        _ = rank
        return Operation("other" if indices else kind)

    return build


TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PADS: tuple[type[nn.Module], ...] = (
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
)
MODULES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Any, int], Operation]], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _conv),
    (TRANSPOSED, _conv_transpose),
    ((nn.PixelShuffle,), lambda module, _: shuffled(module.upscale_factor)),
    ((nn.PixelUnshuffle,), lambda module, _: unshuffled(module.downscale_factor)),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    ((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _avg_pool),
    ((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _plain("adaptive_avg_pool")),
    ((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _plain("adaptive_max_pool")),
    (PADS, _pad),
    ((nn.Linear,), _linear),
    ((nn.Flatten, nn.Unflatten), _plain("reshape")),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), _plain("batch_norm")),
    ((nn.LayerNorm, nn.RMSNorm), _layer_norm),
    ((nn.GLU,), _gated),
    ((nn.GroupNorm,), _group_norm),
    ((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    ((nn.PReLU,), _prelu),
    ((nn.Dropout, nn.AlphaDropout), _plain("dropout")),
    (
        (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout, nn.LocalResponseNorm, nn.ChannelShuffle),
        _on_maps,
    ),
    ((nn.Softmax, nn.LogSoftmax), _softmax),
    ((nn.Softmax2d,), _softmax_channels),
)
