"""What follows a transposed convolution, taken into it: batch norm in its weights, an activation in its store."""

from __future__ import annotations

import copy
import weakref
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from backstride.torch.kernels import takes
from backstride.torch.operators import is_plain
from backstride.torch.packing import HALF, Snapshot, clear, keep_private, snapshot, unchanged

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Foldable = Transposed | nn.Conv1d | nn.Conv2d | nn.Conv3d
Layer = TypeVar("Layer", nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fuse_conv_bn_weights(
    weight: Tensor,
    bias: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    scale: Tensor | None,
    shift: Tensor | None,
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """The weight and bias of a transposed convolution followed by batch norm in evaluation.

    >>> weight, variance = torch.ones(4, 1, 1), torch.tensor([1.0, 4.0])
    >>> fuse_conv_bn_weights(weight, None, torch.zeros(2), variance, 0.0, None, None, groups=2)[0].flatten()
    tensor([1.0000, 1.0000, 0.5000, 0.5000])

    `weight`: (C_in, C_out // groups, *k), whose output channel `g * C_out // groups + j` is column `j` of the
    rows of group `g`; `torch.nn.utils.fusion.fuse_conv_bn_weights(transpose=True)` takes one group only.
    `mean`, `variance`, `scale`, `shift`: (C_out,). Ioffe & Szegedy, arXiv 1502.03167, section 3.1.
    """
    factor = torch.rsqrt(variance + eps)
    if scale is not None:
        factor = factor * scale
    offset = -mean if bias is None else bias - mean
    offset = offset * factor
    if shift is not None:
        offset = offset + shift
    small, per_group = weight.shape[:2]
    grouped = weight.reshape(groups, small // groups, per_group, *weight.shape[2:])
    columns = factor.reshape(groups, 1, per_group, *(1,) * (weight.dim() - 2))
    return (grouped * columns).reshape(weight.shape).to(weight.dtype), offset.to(weight.dtype)


def fuse_conv_bn_eval(layer: Layer, norm: Norm) -> Layer:
    """A copy of a transposed convolution that includes the batch norm behind it; right for groups.

    >>> layer, norm = nn.ConvTranspose2d(4, 6, 3, groups=2).eval(), nn.BatchNorm2d(6).eval()
    >>> x = torch.ones(1, 4, 5, 5)
    >>> torch.allclose(fuse_conv_bn_eval(layer, norm)(x), norm(layer(x)), atol=1e-6)
    True

    Raises `ValueError` where either is in training, or the norm has no running statistics.
    """
    if layer.training or norm.training:
        message = "`layer` and `norm` must be in evaluation: call .eval() on both first"
        raise ValueError(message)
    if norm.running_mean is None or norm.running_var is None:
        message = "`norm` must have running statistics; without them it depends on the batch"
        raise ValueError(message)
    fused = copy.deepcopy(layer)
    with torch.no_grad():
        weight, bias = _folded(_sources(layer, norm))
    fused.weight = nn.Parameter(weight, layer.weight.requires_grad)
    fused.bias = nn.Parameter(bias, layer.weight.requires_grad)
    return fused


class Sources(NamedTuple):
    """What a folded weight and bias are made from; `transposed` says whose weight it is."""

    weight: Tensor
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    scale: Tensor | None
    shift: Tensor | None
    eps: float
    groups: int
    transposed: bool

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        return self[:6]


class _Fold(NamedTuple):
    norm: weakref.ref[Any]
    snapshots: tuple[Snapshot | None, ...]
    settings: tuple[Any, ...]
    weight: Tensor
    bias: Tensor


_folds: weakref.WeakKeyDictionary[nn.Module, _Fold] = weakref.WeakKeyDictionary()
_tensor_folds: dict[int, tuple[weakref.ref[Tensor], _Fold]] = {}


def folded(layer: Foldable, norm: Norm) -> tuple[Tensor, Tensor]:
    """The folded weight and bias, remembered for as long as all that they are made from stays the same."""
    found = _folds[layer] = _valid(_folds.get(layer), norm, _sources(layer, norm))
    return found.weight, found.bias


def folded_tensors(sources: Sources) -> tuple[Tensor, Tensor]:
    """The same where no layer is at hand; remembered beside the weight."""
    weight, key = sources.weight, id(sources.weight)
    owner, before = _tensor_folds.get(key, (None, None))
    if owner is None or owner() is not weight:
        owner, before = weakref.ref(weight, lambda _: _tensor_folds.pop(key, None)), None
    found = _valid(before, sources.mean, sources)
    _tensor_folds[key] = owner, found
    return found.weight, found.bias


def _valid(found: _Fold | None, norm: Any, sources: Sources) -> _Fold:
    """A fold that is right: the one that is known, or a new one."""
    tensors, settings = sources.tensors, sources[6:]
    if found is None or found.settings != settings or found.norm() is not norm or not _same(tensors, found.snapshots):
        snapshots = tuple(None if source is None else snapshot(source) for source in tensors)
        with torch.no_grad():
            weight, bias = _folded(sources)
        found = _Fold(weakref.ref(norm), snapshots, settings, keep_private(weight), bias)
    return found


def _same(sources: tuple[Tensor | None, ...], snapshots: tuple[Snapshot | None, ...]) -> bool:
    for source, then in zip(sources, snapshots, strict=True):
        if source is None or then is None:
            if source is not then:
                return False
        elif not unchanged(source, then):
            return False
    return True


def forget() -> None:
    """Drop all packed and folded weights, to give their memory back; the next call of each layer makes them anew.

    Never needed for right results: a packed weight is used only while the weight is the same to the byte.
    """
    clear()
    _folds.clear()
    _tensor_folds.clear()


def _sources(layer: Foldable, norm: Norm) -> Sources:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    transposed = isinstance(layer, Transposed)
    groups = layer.groups
    return Sources(layer.weight, layer.bias, mean, variance, norm.weight, norm.bias, norm.eps, groups, transposed)


def _folded(sources: Sources) -> tuple[Tensor, Tensor]:
    weight, bias, mean, variance, scale, shift, eps, groups, transposed = sources
    weight = weight.detach()
    if not transposed:  # one group: the channels exchanged, it is a transposed one
        weight, groups = weight.transpose(0, 1), 1
    fused, offset = fuse_conv_bn_weights(weight, bias, mean, variance, eps, scale, shift, groups)
    return (fused if transposed else fused.transpose(0, 1)), offset


def can_fold(layer: Foldable, norm: nn.Module) -> bool:
    """Whether this is a batch norm of fixed statistics, for the layer's channels, that nobody listens to."""
    return (
        takes(layer.weight)
        and layer.weight.dtype not in HALF  # a folded weight would be rounded once more
        and (is_compiling() or is_plain(layer.weight))
        and type(norm) in NORMS
        and not norm.training
        and isinstance(norm, NORMS)
        and norm.running_mean is not None
        and norm.running_mean.dtype == layer.weight.dtype
        and (is_compiling() or is_plain(norm.running_mean))
        and norm.num_features == layer.out_channels
        and not has_hooks(norm)
    )


def activation_of(module: nn.Module) -> str | None:
    """The engine's name for an activation module that nobody listens to, or None."""
    if has_hooks(module):
        return None
    match module:
        case nn.LeakyReLU():
            return "leaky_relu" if type(module) is nn.LeakyReLU and module.negative_slope == 0.01 else None
        case nn.GELU():
            return "gelu" if type(module) is nn.GELU and module.approximate == "none" else None
        case _:
            return ACTIVATIONS.get(type(module))


def has_hooks(module: Any) -> bool:
    """Whether a call of the module is seen by anybody but its forward."""
    every: Any = nn.modules.module
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or every._global_forward_hooks
        or every._global_forward_pre_hooks
        or every._global_backward_hooks
        or every._global_backward_pre_hooks
    )


ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.SiLU: "silu",
}
