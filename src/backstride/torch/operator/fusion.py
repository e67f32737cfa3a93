"""What follows a transposed convolution, taken into it.

Batch norm in its weights, an activation in its store.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from backstride.torch.operator.internals import (
    Argument,
    Private,
    has_hooks,
    is_overridden,
    is_plain,
    runs_only,
    weight_norm,
)
from backstride.torch.operator.kernels import engine_supports
from backstride.torch.operator.packing import HALF, clear, derived, is_private, keep_private

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Foldable = Transposed | nn.Conv1d | nn.Conv2d | nn.Conv3d
_parametrizations = importlib.import_module("torch.nn.utils.parametrizations")
_weight_norms = importlib.import_module("torch.nn.utils.weight_norm")
WEIGHT_NORM: type | None = getattr(_parametrizations, "_WeightNorm", None)
WEIGHT_NORM_HOOK: Argument = getattr(_weight_norms, "WeightNorm", object)
AnyTransposed = TypeVar("AnyTransposed", nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


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

    `torch.nn.utils.fusion.fuse_conv_bn_weights(transpose=True)` takes one group only. Ioffe &
    Szegedy, arXiv 1502.03167, section 3.1.

    Example:
        >>> weight, variance = torch.ones(4, 1, 1), torch.tensor([1.0, 4.0])
        >>> fuse_conv_bn_weights(weight, None, torch.zeros(2), variance, 0.0, None, None,
        ...     groups=2)[0].flatten()
        tensor([1.0000, 1.0000, 0.5000, 0.5000])

    Args:
        weight: `(C_in, C_out // groups, *k)` of floating-point numbers. Its output channel
            `g * C_out // groups + j` is column `j` of the rows of group `g`.
        bias: (C_out,) of the layer, or None.
        mean: (C_out,), the running mean of the norm.
        variance: (C_out,), its running variance.
        eps: what the norm adds to the variance.
        scale: (C_out,), the norm's weight, or None.
        shift: (C_out,), the norm's bias, or None.
        groups: of the layer.

    Returns:
        The weight, as `weight` is, and the bias (C_out,), both in the dtype of `weight`.
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


def fuse_conv_bn_eval(layer: AnyTransposed, norm: Norm) -> AnyTransposed:
    """A copy of a transposed convolution that includes the batch norm behind it; right for groups.

    Example:
        >>> layer, norm = nn.ConvTranspose2d(4, 6, 3, groups=2).eval(), nn.BatchNorm2d(6).eval()
        >>> x = torch.ones(1, 4, 5, 5)
        >>> torch.allclose(fuse_conv_bn_eval(layer, norm)(x), norm(layer(x)), atol=1e-6)
        True

    Args:
        layer: a transposed convolution of one to three axes, PyTorch's or Backstride's, in
            evaluation.
        norm: the batch norm of its C_out channels, in evaluation, with running statistics.

    Returns:
        A layer of the same class, whose weight has the same shape and dtype, with a bias (C_out,).

    Raises:
        ValueError: where either is in training, or the norm has no running statistics.
    """
    if layer.training or norm.training:
        message = "`layer` and `norm` must be in evaluation: call .eval() on both first"
        raise ValueError(message)
    if norm.running_mean is None or norm.running_var is None:
        message = "`norm` must have running statistics; without them it depends on the batch"
        raise ValueError(message)
    fused = copy.deepcopy(layer)
    with torch.no_grad():
        weight, bias = _folded(sources_of(layer, norm, layer.weight, layer.bias))
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


def folded(sources: Sources) -> tuple[Tensor, Tensor]:
    """The folded weight and bias, remembered while all that they are made from stays."""

    def fold() -> tuple[Tensor, Tensor]:
        weight, bias = _folded(sources)
        return keep_private(weight), bias

    weight, bias = derived(sources.tensors, sources[6:], fold)
    return weight, bias


class LayerWithWeight(Protocol):
    """A layer that has a weight, or has it made."""

    @property
    def weight(self) -> Tensor: ...


def stable_weight(layer: LayerWithWeight) -> Tensor:
    """A layer's weight, remembered in inference where weight norm would make it anew.

    Salimans & Kingma, arXiv 1602.07868, section 2.
    """
    if torch.is_grad_enabled() or is_compiling():
        return layer.weight
    made: Tensor | None = layer.__dict__.get("weight")  # by a hook, a moment ago
    if made is not None and is_private(made):
        return made
    weight = _normed(layer)
    return layer.weight if weight is None else weight


class KeptNorm(WEIGHT_NORM_HOOK):
    """The hook of weight norm, which makes no new weight at each call of inference.

    What the hook of an accelerated layer becomes; PyTorch finds and removes it as its own.
    """

    def __call__(self, module: nn.Module, inputs: object) -> None:
        weight = None if torch.is_grad_enabled() or is_compiling() else _normed(module)
        if weight is None:
            WEIGHT_NORM_HOOK.__call__(self, module, inputs)
        elif module.__dict__.get("weight") is not weight:
            module.weight = weight


def keep_norm(layer: nn.Module, *, keep: bool) -> None:
    """Have the hook of weight norm, where a layer has one, remember the weight in inference.

    Or no longer.
    """
    hooks: dict[int, object] = layer.__dict__["_forward_pre_hooks"]
    for hook in hooks.values():
        if type(hook) in (WEIGHT_NORM_HOOK, KeptNorm):
            hook.__class__ = KeptNorm if keep else WEIGHT_NORM_HOOK


def _normed(layer: object) -> Tensor | None:
    """The weight that weight norm makes, remembered; None where something else makes it."""
    normed = _weight_norm_of(layer)
    if normed is None or not all(
        engine_supports(tensor) and is_plain(tensor) for tensor in normed[:2]
    ):
        return None
    v, g, dim = normed
    (weight,) = derived((v, g), dim, lambda: (keep_private(weight_norm(v, g, dim)),))
    return weight


def has_kept_weight(layer: nn.Module) -> bool:
    """Whether the next call in inference has the same weight, as far as the layer alone decides."""
    return (
        layer.__dict__["_parameters"].get("weight") is not None
        or _weight_norm_of(layer) is not None
    )


def _weight_norm_of(layer: Private) -> tuple[Tensor, Tensor, int] | None:
    """The direction, length and axis of a weight's norm, where that alone makes the weight."""
    own = layer.__dict__
    parametrizations: nn.Module | None = own["_modules"].get("parametrizations")
    if parametrizations is not None:
        steps: Argument = parametrizations.__dict__["_modules"].get("weight", ())
        if len(steps) != 1 or type(steps[0]) is not WEIGHT_NORM or has_hooks(steps[0]):
            return None
        return steps.original1, steps.original0, steps[0].dim
    hooks: dict[int, Argument] = own["_forward_pre_hooks"]
    for hook in hooks.values():
        alone = len(hooks) == 1
        if alone and type(hook) in (WEIGHT_NORM_HOOK, KeptNorm) and hook.name == "weight":
            return layer.weight_v, layer.weight_g, hook.dim
    return None


def forget() -> None:
    """Drop all packed and folded weights, to give their memory back.

    The next call of each layer makes them anew. Never needed for right results: a packed weight is
    used only while the weight is the same to the byte.

    Example:
        >>> forget()
    """
    clear()


def sources_of(layer: Foldable, norm: Norm, weight: Tensor, bias: Tensor | None) -> Sources:
    """What a layer with this weight and bias and the batch norm behind it are folded from."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    transposed = isinstance(layer, Transposed)
    return Sources(
        weight, bias, mean, variance, norm.weight, norm.bias, norm.eps, layer.groups, transposed
    )


def _folded(sources: Sources) -> tuple[Tensor, Tensor]:
    weight, bias, mean, variance, scale, shift, eps, groups, transposed = sources
    weight = weight.detach()
    if not transposed:  # one group: the channels exchanged, it is a transposed one
        weight, groups = weight.transpose(0, 1), 1
    fused, offset = fuse_conv_bn_weights(weight, bias, mean, variance, eps, scale, shift, groups)
    return (fused if transposed else fused.transpose(0, 1)), offset


def can_fold(layer: Foldable, norm: nn.Module, weight: Tensor) -> bool:
    """Whether this is a batch norm of fixed statistics, for a layer, that nobody listens to."""
    if (
        type(norm) is not NORMS[weight.dim() - 3]
        or norm.training
        or not runs_only(norm, NORM_FORWARD)
    ):
        return False
    statistics: tuple[Tensor | None, Tensor | None] = norm.running_mean, norm.running_var
    affine: tuple[Tensor | None, Tensor | None] = norm.weight, norm.bias
    if statistics[0] is None or statistics[1] is None:
        return False
    channels = weight.shape[1] * layer.groups if isinstance(layer, Transposed) else weight.shape[0]
    tensors = [tensor for tensor in (weight, *statistics, *affine) if tensor is not None]
    return (
        engine_supports(weight)
        and weight.dtype not in HALF  # a folded weight would be rounded once more
        and all(tensor.dtype == weight.dtype for tensor in tensors)
        and all(tensor.shape == (channels,) for tensor in tensors[1:])
        and (
            is_compiling()
            or (all(is_plain(tensor) for tensor in tensors) and not is_overridden(*tensors))
        )
    )


def activation_of(module: nn.Module) -> str | None:
    """The engine's name for an activation module that nobody listens to, or None."""
    kind = type(module)
    if kind not in ACTIVATIONS or not runs_only(module, ACTIVATIONS[kind][1]):
        return None
    same = (
        getattr(module, "negative_slope", 0.01) == 0.01
        and getattr(module, "approximate", "none") == "none"
    )
    return ACTIVATIONS[kind][0] if same else None


def slope_of(module: nn.Module) -> float | None:
    """The slope of a leaky ReLU that nobody listens to, or None."""
    if type(module) is not nn.LeakyReLU or not runs_only(module, ACTIVATIONS[nn.LeakyReLU][1]):
        return None
    return module.negative_slope


NORM_FORWARD: Callable[..., Tensor] = nn.BatchNorm2d.forward
ACTIVATIONS: dict[type[nn.Module], tuple[str, Callable[..., Tensor]]] = {
    nn.ReLU: ("relu", nn.ReLU.forward),
    nn.ReLU6: ("relu6", nn.ReLU6.forward),
    nn.LeakyReLU: ("leaky_relu", nn.LeakyReLU.forward),
    nn.Sigmoid: ("sigmoid", nn.Sigmoid.forward),
    nn.Tanh: ("tanh", nn.Tanh.forward),
    nn.GELU: ("gelu", nn.GELU.forward),
    nn.SiLU: ("silu", nn.SiLU.forward),
}
"""The engine's name for each activation module, and the forward that it had at import."""
