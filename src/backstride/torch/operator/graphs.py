"""A layer of a compiled graph in inference, as one operator: `torch.ops.backstride.layer`.

A graph holds no packed weights: what a compiler sees of a weight is a tensor that may change before
the next call. So the operator takes the weight as it is, with the batch norm behind the layer and
the activation, and looks up when it runs what was made from these very tensors, as calls without a
compiler do (`packing.py`). Graphs hold it only where gradients are off; whoever differentiates,
maps or transforms it nevertheless gets what it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch._C import DispatchKeySet
from torch.nn import functional

from backstride.torch.operator import fallback, kernels, onednn, tiles
from backstride.torch.operator.fusion import Norm, Sources, folded
from backstride.torch.operator.internals import (
    Argument,
    Mapped,
    after_autograd,
    below_autograd,
    in_forward_ad,
    register_fake,
    register_flops,
    register_vmap,
)
from backstride.torch.operator.kernels import FORMATS, keeps_channels_last
from backstride.torch.operator.operators import (
    INTEGERS,
    LIBRARY,
    compute,
    direct,
    dispatched,
    flops,
    operator,
    tuples,
)
from backstride.torch.operator.shapes import Integers, check_bias, check_dtypes, checked_shape

Kind: TypeAlias = Literal["transposed", "flipped", "tiles", "tile rows", "ordered", "stock"]
_ = LIBRARY.define(
    "layer(Tensor input, Tensor weight, Tensor? bias, Tensor? mean, Tensor? variance, Tensor? "
    f"scale, Tensor? shift, float eps, str kind, {INTEGERS}, str activation='', bool "
    "winograd=True) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
OPERATOR = operator("layer")


def in_graph(input: Tensor) -> bool:
    """Whether a compiler, whose graph may hold the operator, sees a CPU tensor in inference."""
    return (
        torch.compiler.is_compiling()
        and not torch.is_grad_enabled()
        and kernels.engine_supports(input)
        and not torch.compiler.is_exporting()
        and not torch.is_autocast_enabled("cpu")
    )


def call(
    kind: Kind,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    integers: Integers,
    activation: str | None = None,
    norm: Norm | None = None,
) -> Tensor:
    """The operator in a graph.

    `integers` are those of the form: of `y` for "transposed", of `x` for all others.
    """
    fixed = (
        (None,) * 4
        if norm is None
        else (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    eps = 0.0 if norm is None else norm.eps
    *numbers, winograd = integers
    return OPERATOR(input, weight, bias, *fixed, eps, kind, *numbers, activation or "", winograd)


class _Arguments(NamedTuple):
    """The operator's arguments, in the order of the schema."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None
    mean: Tensor | None
    variance: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
    eps: float
    kind: Kind
    stride: Sequence[int]
    crop: Sequence[int]
    dilation: Sequence[int]
    groups: int
    activation: str = ""
    winograd: bool = True

    @property
    def integers(self) -> Integers:
        return tuples(self.stride, self.crop, self.dilation, self.groups, self.winograd)

    @property
    def slot(self) -> Literal["x", "y"]:
        return "y" if self.kind == "transposed" else "x"


def plain(*arguments: Argument) -> Tensor:
    """What the operator stands for, by operators that have derivatives and rules for transforms."""
    layer = _Arguments(*arguments)
    result = dispatched(layer.slot, layer.input, layer.weight, layer.integers, layer.bias)
    if layer.mean is not None:
        result = functional.batch_norm(
            result, layer.mean, layer.variance, layer.scale, layer.shift, False, 0.0, layer.eps
        )
    result = fallback.activate(result, layer.activation)
    return _by_rows(result) if layer.kind == "tile rows" else result


def _by_rows(result: Tensor) -> Tensor:
    """The same with the channels of a cell side by side."""
    return result.transpose(1, 2).contiguous().transpose(1, 2)


def _run(*arguments: Argument) -> Tensor:
    """The kernel of every backend."""
    layer = _Arguments(*arguments)
    if not (kernels.engine_supports(layer.input) and layer.input.numel() and layer.weight.numel()):
        return plain(*arguments)
    weight, bias = layer.weight, layer.bias
    if layer.mean is not None:
        assert layer.variance is not None
        tensors = (weight, bias, layer.mean, layer.variance, layer.scale, layer.shift)
        weight, bias = folded(
            Sources(*tensors, layer.eps, layer.groups, transposed=layer.slot == "y")
        )
    if layer.slot == "y":
        return compute("y", layer.input, weight, bias, layer.integers, layer.activation)
    result = _convolution(layer, weight, bias)
    if result is not None:
        return result
    x = layer.input
    result = fallback.activate(fallback.conv(x, weight, layer.integers, bias), layer.activation)
    if layer.kind == "tile rows":
        return _by_rows(result)
    return _in_format(layer, result)


def _in_format(layer: _Arguments, result: Tensor) -> Tensor:
    return kernels.in_format(result, keeps_channels_last(layer.input, layer.weight))


def _convolution(layer: _Arguments, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """An ordinary convolution with a remembered weight; None where it is PyTorch's to compute."""
    if layer.kind == "stock":
        return None
    x, (stride, crop, dilation, _, _) = layer.input, layer.integers
    if layer.kind == "ordered":
        result = onednn.convolution(x, weight, bias, crop[::2], stride, dilation)
        return (
            None
            if result is None
            else _in_format(layer, fallback.activate(result, layer.activation))
        )
    if layer.kind == "flipped":
        # The kernel is flipped, but the sides are not: what is padded in front is not cropped in
        # front.
        flipped = [
            k - 1 - cells
            for k, pair in zip(weight.shape[2:], _pairs(crop), strict=True)
            for cells in pair
        ]
        return kernels.convolution(x, weight, bias, tuple(flipped), layer.activation)
    rows = layer.kind == "tile rows"
    result = tiles.convolution(x, weight, bias, _pairs(crop), dilation[0], rows=rows)
    return None if result is None else fallback.activate(result, layer.activation)


def _pairs(crop: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(crop[::2], crop[1::2], strict=True))


def _fake(*arguments: Argument) -> Tensor:
    """The shape, dtype and memory format of the result."""
    layer = _Arguments(*arguments)
    x, weight, bias = layer.input, layer.weight, layer.bias
    check_dtypes(input=x, weight=weight, bias=bias)
    shape = checked_shape(layer.slot, x.shape, weight.shape, layer.integers)
    if bias is not None:
        check_bias(bias.shape, shape[1])
    if layer.kind == "tile rows":
        return x.new_empty((shape[0], shape[2], shape[1])).transpose(1, 2)
    if not (kernels.engine_supports(x) and keeps_channels_last(x, weight)):
        return x.new_empty(shape)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=FORMATS[x.dim()])


def _autograd(keyset: DispatchKeySet, *arguments: Argument) -> Tensor:
    if not torch.is_grad_enabled() and direct(*arguments[:3]):
        return _run(*arguments)
    recording = torch.is_grad_enabled() and any(
        isinstance(value, Tensor) and value.requires_grad for value in arguments
    )
    if recording or in_forward_ad():
        return plain(*arguments)
    with below_autograd():
        return OPERATOR.redispatch(keyset & after_autograd, *arguments)


def _vmap(info: Mapped, dims: Sequence[int | None], *arguments: Argument) -> tuple[Tensor, int]:
    pairs = list(zip(arguments, dims, strict=True))

    def entry(at: int) -> list[Argument]:
        return [value.select(dim, at) if isinstance(dim, int) else value for value, dim in pairs]

    return torch.stack([OPERATOR(*entry(at)) for at in range(info.batch_size)]), 0


def _flops(*arguments: Argument, out_shape: Sequence[int]) -> int:
    layer = _Arguments(*arguments)
    return flops(arguments[0] if layer.slot == "y" else out_shape, arguments[1])


_ = register_flops(OPERATOR.overloadpacket)(_flops)
LIBRARY.impl("layer", _run, "CompositeExplicitAutograd")
LIBRARY.impl("layer", _autograd, "Autograd", with_keyset=True)
_ = register_fake("backstride::layer", _fake, lib=LIBRARY)
_ = register_vmap("backstride::layer", _vmap, lib=LIBRARY)
