"""Ordinary convolutions in training and in compiled graphs.

The operator `conv` takes them as they are. A convolution is the adjoint of the transposed one with
the same weight, so its gradients by the input and by the weight are the two other operators, whose
derivatives of every order serve it unchanged. The engine computes those by Winograd's tiles: 1.2 to
2 times as fast as oneDNN on the layers that `is_faster_in_training` lets pass, packing counted;
`policy.py` leaves single ones to PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from backstride.torch.operator import graphs, kernels
from backstride.torch.operator.internals import is_eager, is_overridden, is_plain
from backstride.torch.operator.operators import apply, dispatched
from backstride.torch.operator.policy import TILED_CHANNELS, UNEVEN_CHANNELS
from backstride.torch.operator.shapes import Integers

if TYPE_CHECKING:
    PyTorchs = nn.Conv2d  # or one of the other two, which have the same attributes
else:
    PyTorchs = object
Conv: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
KINDS = (nn.Conv2d, nn.Conv3d)


def is_faster_in_training(module: nn.Module, *, winograd: bool = True) -> bool:
    """Whether the engine trains a convolution of two or three axes, or a gradient, faster.

    >>> layers = nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 128, 4, 2, 1), nn.Conv3d(32, 32, 3)
    >>> [is_faster_in_training(layer) for layer in layers]
    [True, True, True]
    >>> [is_faster_in_training(nn.Conv2d(64, 64, taps, groups=64)) for taps in (5, 3)]
    [True, False]
    >>> layers = nn.Conv2d(64, 64, 1), nn.Conv2d(16, 64, 3), nn.Conv2d(64, 64, 3, groups=2)
    >>> [is_faster_in_training(layer) for layer in layers]
    [False, False, False]
    """
    if not isinstance(module, KINDS) or class_of(module) not in KINDS or "forward" in vars(module):
        return False
    floats = not nn.parameter.is_lazy(module.weight) and module.weight.dtype == torch.float32
    return floats and _on_engine(module, winograd=winograd)


def class_of(module: nn.Module) -> type[nn.Module]:
    """A module's class, of a parametrised one the class that it had before."""
    return type(module).__bases__[0] if parametrize.is_parametrized(module) else type(module)


def _on_engine(layer: Conv, *, winograd: bool) -> bool:
    if set(layer.dilation) != {1} or not (
        winograd or layer.groups > 1
    ):  # without tiles, oneDNN is the faster one
        return False
    if layer.groups > 1:  # PyTorch has no fast gradient by the weight for depthwise kernels but 3x3
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        return (
            depthwise
            and len(layer.kernel_size) == 2
            and min(layer.kernel_size) >= 3
            and max(layer.kernel_size) > 3
        )
    phases = [-(-taps // step) for taps, step in zip(layer.kernel_size, layer.stride, strict=True)]
    uneven = any(taps % step for taps, step in zip(layer.kernel_size, layer.stride, strict=True))
    least = UNEVEN_CHANNELS if uneven and len(phases) == 2 else TILED_CHANNELS
    enough = (max if len(phases) == 3 else min)(phases) >= 2
    return enough and min(layer.in_channels, layer.out_channels) >= least


class Trained(PyTorchs):
    """A convolution by the operator while gradients are on, and in compiled graphs.

    PyTorch's own at other times. In graphs of inference PyTorch's own is called by an operator,
    too: inductor puts the data of the convolutions that it sees into channels-last order, which the
    layers around them would be copied for.
    """

    winograd = True

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result = _computed(self, input, weight, bias, self._reversed_padding_repeated_twice)
        if result is None:
            parent: Any = super()  # PyTorch's, which says not what it returns
            return parent._conv_forward(input, weight, bias)
        return result


def _computed(
    layer: Trained, input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int]
) -> Tensor | None:
    compiling = torch.compiler.is_compiling()
    if not (
        _fits_compiler(input)
        if compiling
        else torch.is_grad_enabled() and _fits(input, weight, bias)
    ):
        return None
    ours = _on_engine(layer, winograd=layer.winograd)
    if not ((ours or graphs.in_graph(input)) and input.dtype == weight.dtype == torch.float32):
        return None
    meets = input.dim() == weight.dim() and input.shape[1] == weight.shape[1] * layer.groups
    if not meets or input.shape[0] == 0:
        return None
    data = input
    if layer.padding_mode != "zeros":
        data, padding = functional.pad(input, padding, mode=layer.padding_mode), [0] * len(padding)
    elif not isinstance(layer.padding, str):
        padding = [cells for size in reversed(layer.padding) for cells in (size, size)]
    integers = _integers(layer, data, padding)
    if integers is None:
        return None
    if compiling:
        stock = None if ours else graphs.call("stock", data, weight, bias, integers)
        return dispatched("x", data, weight, integers, bias) if stock is None else stock
    return apply("x", data, weight, bias, integers)


def _integers(layer: Conv, data: Tensor, padding: list[int]) -> Integers | None:
    """The form's integers.

    It crops what the convolution pads, and appends cells that the last step does not reach.
    """
    crop: list[int] = []
    pairs = zip(reversed(padding[::2]), reversed(padding[1::2]), strict=True)
    axes = zip(data.shape[2:], layer.kernel_size, layer.stride, layer.dilation, pairs, strict=True)
    for size, taps, step, dilation, (before, after) in axes:
        spare = size + before + after - dilation * (taps - 1) - 1
        if spare < 0:
            return None
        crop += [before, after - spare % step]
    return Integers(layer.stride, tuple(crop), layer.dilation, layer.groups)


def _fits(input: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether these are ordinary CPU tensors in a call that nothing changes."""
    tensors = (input, weight) if bias is None else (input, weight, bias)
    same = all(is_plain(tensor) and tensor.dtype == weight.dtype for tensor in tensors)
    return (
        same and is_eager() and not is_overridden(*tensors) and not torch.is_autocast_enabled("cpu")
    )


def _fits_compiler(input: Tensor) -> bool:
    """Whether a compiler, whose graphs may hold the operator, sees a CPU tensor.

    What is exported stays PyTorch's.
    """
    return (
        kernels.engine_supports(input)
        and not torch.compiler.is_exporting()
        and not torch.is_autocast_enabled("cpu")
    )
