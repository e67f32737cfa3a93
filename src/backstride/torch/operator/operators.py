"""The three operators in PyTorch's dispatcher.

They are `torch.ops.backstride.conv_transpose` and its two adjoints, registered for every dispatch
key that matters: the engine on CPU, PyTorch's kernels elsewhere, shapes alone for fake tensors,
autograd of any order in both directions, vmap, and autocast. Each derivative of one is another one,
so one rule covers all of them:

    result = operator(a, b)      gradient by a = the operator that gives a, of (b, gradient)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch._C import DispatchKeySet

from backstride.torch.operator import fallback, kernels, ways
from backstride.torch.operator.internals import (
    Argument,
    Mapped,
    Operator,
    SingleLevelFunction,
    after_autograd,
    any_requires_grad,
    below_autograd,
    in_forward_ad,
    is_plain,
    keys_of,
    library,
    register_decomposition,
    register_fake,
    register_flops,
    register_vmap,
    set_forward_ad,
    single_level_function,
    unwatched,
    without_keys,
)
from backstride.torch.operator.kernels import FORMATS, keeps_channels_last
from backstride.torch.operator.shapes import (
    INPUTS,
    Integers,
    Slot,
    check_bias,
    check_dtypes,
    checked_shape,
    engine_shape,
)

LIBRARY = library("backstride", "DEF")
NAMES: dict[Slot, str] = {"y": "conv_transpose", "x": "conv", "weight": "conv_kernel_gradient"}
INTEGERS = "SymInt[] stride, SymInt[] crop, SymInt[] dilation, SymInt groups"
SCHEMAS: dict[Slot, str] = {
    "y": (
        f"(Tensor input, Tensor weight, Tensor? bias, {INTEGERS}, str activation='', bool "
        "winograd=True) -> Tensor"
    ),
    "x": (
        f"(Tensor grad, Tensor weight, {INTEGERS}, Tensor? bias=None, bool winograd=True) -> Tensor"
    ),
    "weight": f"(Tensor input, Tensor grad, {INTEGERS}, bool winograd=True) -> Tensor",
}
Run = Callable[[Tensor, Tensor, "Tensor | None"], Tensor]

for _slot, _name in NAMES.items():
    _ = LIBRARY.define(_name + SCHEMAS[_slot], tags=(torch.Tag.pt2_compliant_tag,))
ARGUMENTS: dict[Slot, tuple[str, str, str]] = {
    "y": ("input", "weight", "bias"),
    "x": ("grad", "weight", "bias"),
    "weight": ("input", "grad", "bias"),
}
BIASES: dict[Slot, int | None] = {"y": 0, "x": 4, "weight": None}
"""Where the bias stands among the arguments after the two tensors."""


def operator(name: str) -> Operator:
    """An operator of ours that is defined."""
    return getattr(torch.ops.backstride, name).default


OPERATORS: dict[Slot, Operator] = {slot: operator(name) for slot, name in NAMES.items()}


def tuples(
    stride: Sequence[int], crop: Sequence[int], dilation: Sequence[int], groups: int, winograd: bool
) -> Integers:
    """The integers as the dispatcher gives them, hashable."""
    return Integers(tuple(stride), tuple(crop), tuple(dilation), groups, winograd)


def dispatched(
    slot: Slot, a: Tensor, b: Tensor, integers: Integers, bias: Tensor | None = None
) -> Tensor:
    """The operator that gives `slot`, through the dispatcher."""
    return OPERATORS[slot](*_arguments(slot, a, b, bias, integers, ""))


class Context(Protocol):
    """What `Bilinear` keeps between a call and its derivatives, and PyTorch's own part of it."""

    slot: Slot
    integers: Integers
    measured: bool
    saved_tensors: tuple[Tensor, Tensor]
    needs_input_grad: Sequence[bool]

    def save_for_backward(self, *tensors: Tensor) -> None: ...

    def save_for_forward(self, *tensors: Tensor) -> None: ...


class Bilinear(
    SingleLevelFunction
):  # one level: below the dispatcher, each transform has its own call
    """One of the three operators; those of data have a bias. `run` computes it below autograd."""

    @staticmethod
    def forward(
        ctx: Context,
        run: Run | None,
        slot: Slot,
        a: Tensor,
        b: Tensor,
        bias: Tensor | None,
        integers: Integers,
    ) -> Tensor:
        ctx.slot, ctx.integers, ctx.measured = slot, integers, ways.are_measured()
        ctx.save_for_backward(a, b)
        ctx.save_for_forward(a, b)
        return (
            compute(slot, a, b, bias, integers, remember=False) if run is None else run(a, b, bias)
        )

    @staticmethod
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs = INPUTS[ctx.slot]
        saved: dict[Slot, Tensor] = dict(zip(inputs, ctx.saved_tensors, strict=True))
        gradients: list[Tensor | None] = []
        for slot, other, needed in zip(
            inputs, reversed(inputs), ctx.needs_input_grad[2:4], strict=True
        ):
            if not needed:
                gradients.append(None)
                continue
            tensors: dict[Slot, Tensor] = {ctx.slot: gradient, other: saved[other].conj()}
            one, two = (tensors[name] for name in INPUTS[slot])
            with ways.MeasuredWays(measured=ctx.measured):
                gradients.append(apply(slot, one, two, None, ctx.integers, remember=False))
        bias = gradient.sum((0, *range(2, gradient.dim()))) if ctx.needs_input_grad[4] else None
        return None, None, *gradients, bias, None

    @staticmethod
    def jvp(ctx: Context, *tangents: Tensor | None) -> Tensor | None:
        _, _, a_tangent, b_tangent, bias_tangent, _ = tangents
        a, b = ctx.saved_tensors
        parts: list[Tensor] = []
        if a_tangent is not None:
            parts.append(dispatched(ctx.slot, a_tangent, b, ctx.integers))
        if b_tangent is not None:
            parts.append(dispatched(ctx.slot, a, b_tangent, ctx.integers))
        total = sum(parts[1:], parts[0]) if parts else None
        if bias_tangent is None:
            return total
        column = bias_tangent.reshape(-1, *(1,) * (a.dim() - 2))
        if total is not None:
            return total + column
        shape = checked_shape(ctx.slot, a.shape, b.shape, ctx.integers)
        return column.expand(shape).clone()


def apply(
    slot: Slot,
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    integers: Integers,
    activation: str = "",
    *,
    remember: bool = True,
) -> Tensor:
    """An operator straight by the engine where nothing watches, or through the dispatcher."""
    if not direct(a, b, bias):
        return OPERATORS[slot](*_arguments(slot, a, b, bias, integers, activation))
    recorded = torch.is_grad_enabled() and any_requires_grad(a, b, bias)
    if torch.is_autocast_enabled("cpu"):
        lowered = _lowered(a, "cpu"), _lowered(b, "cpu"), _lowered_bias(bias, "cpu")
        if (
            slot == "y"
            and not recorded
            and all(tensor is None or tensor.dtype in kernels.HALF for tensor in lowered)
        ):
            return _rounding(lowered[0], b, bias, integers, activation)
        a, b, bias = lowered
    if not recorded:
        return compute(slot, a, b, bias, integers, activation, remember=remember)
    return fallback.activate(Bilinear.apply(None, slot, a, b, bias, integers), activation)


def _rounding(
    x: Tensor, weight: Tensor, bias: Tensor | None, integers: Integers, activation: str
) -> Tensor:
    """Half precision `conv_transpose` with a wider weight, remembered, and rounded when packed."""
    shape = engine_shape("y", x.shape, weight.shape, integers)
    if bias is not None:
        check_bias(bias.shape, shape[1])
    return (
        x.new_empty(shape)
        if 0 in shape[2:]
        else kernels.conv_transpose(x, weight, bias, integers, activation)
    )


def compute(
    slot: Slot,
    a: Tensor,
    b: Tensor,
    bias: Tensor | None,
    integers: Integers,
    activation: str = "",
    *,
    remember: bool = True,
) -> Tensor:
    """An operator below autograd, its arguments checked.

    `remember`: keep the packed weight for the next call.
    """
    if not (
        a.dtype == b.dtype and a.device == b.device and (bias is None or bias.dtype == a.dtype)
    ):
        check_dtypes(**dict(zip(ARGUMENTS[slot], (a, b, bias), strict=True)))
    shape = engine_shape(slot, a.shape, b.shape, integers)
    if bias is not None:
        check_bias(bias.shape, shape[1])
    if 0 in {"y": shape, "x": a.shape, "weight": b.shape}[slot][2:]:
        zeros = a.new_zeros(shape)
        return zeros if bias is None else zeros.add_(bias.reshape(-1, *(1,) * (a.dim() - 2)))
    if slot == "weight":
        return kernels.conv_kernel_gradient(a, b, integers)
    if slot == "x":
        return kernels.conv(a, b, integers, bias)
    return kernels.conv_transpose(a, b, bias, integers, activation, remember=remember)


def direct(a: Tensor, b: Tensor, bias: Tensor | None) -> bool:
    """Whether a call of ordinary tensors can go past the dispatcher."""
    return (
        unwatched()
        and a.dtype in kernels.DTYPES
        and is_plain(a)
        and is_plain(b)
        and (bias is None or is_plain(bias))
    )


def _split(slot: Slot, rest: Sequence[Argument]) -> tuple[Tensor | None, Integers, str]:
    """(bias, integers, activation) from what follows the two tensors.

    The dispatcher leaves defaults out.
    """
    defaults: dict[Slot, tuple[Argument, ...]] = {
        "y": ("", True),
        "x": (None, True),
        "weight": (True,),
    }
    numbers, others = (rest[1:5], rest[5:]) if slot == "y" else (rest[:4], rest[4:])
    stride, crop, dilation, groups = numbers
    *last, winograd = (*others, *defaults[slot][len(others) :])
    integers = tuples(stride, crop, dilation, groups, winograd)
    return (
        (rest[0], integers, last[0]) if slot == "y" else (last[0] if last else None, integers, "")
    )


def _arguments(
    slot: Slot, a: Tensor, b: Tensor, bias: Tensor | None, integers: Integers, activation: str
) -> tuple[Argument, ...]:
    """What `_split` takes apart, in the order of the schema."""
    *numbers, winograd = integers
    if slot == "y":
        return a, b, bias, *numbers, activation, winograd
    return (a, b, *numbers, bias, winograd) if slot == "x" else (a, b, *numbers, winograd)


def _kernel(slot: Slot) -> Callable[..., Tensor]:
    """The kernel of every backend."""

    def kernel(a: Tensor, b: Tensor, *rest: Argument) -> Tensor:
        bias, integers, activation = _split(slot, rest)
        return compute(slot, a, b, bias, integers, activation)

    return kernel


def _fake(slot: Slot) -> Callable[..., Tensor]:
    """The shape, dtype and memory format of the result."""

    def fake(a: Tensor, b: Tensor, *rest: Argument) -> Tensor:
        bias, integers, _ = _split(slot, rest)
        check_dtypes(**dict(zip(ARGUMENTS[slot], (a, b, bias), strict=True)))
        shape = checked_shape(slot, a.shape, b.shape, integers)
        if bias is not None:
            check_bias(bias.shape, shape[1])
        if not (kernels.engine_supports(a) and keeps_channels_last(a, b)):
            return a.new_empty(shape)
        return torch.empty(shape, dtype=a.dtype, device=a.device, memory_format=FORMATS[a.dim()])

    return fake


def _autograd(slot: Slot) -> Callable[..., Tensor]:
    """Record the derivative where one is wanted, and pass on to the backend."""

    def autograd(keyset: DispatchKeySet, a: Tensor, b: Tensor, *rest: Argument) -> Tensor:
        bias, integers, activation = _split(slot, rest)
        recording = torch.is_grad_enabled()

        def run(a: Tensor, b: Tensor, bias: Tensor | None, activation: str = "") -> Tensor:
            arguments = _arguments(slot, a, b, bias, integers, activation)
            # A Function switches recording off, but transforms further out still want to record.
            modes = (torch.set_grad_enabled(recording), set_forward_ad(True))
            with modes[0], modes[1], below_autograd():
                return OPERATORS[slot].redispatch(keyset & after_autograd, *arguments)

        if (recording and any_requires_grad(a, b, bias)) or in_forward_ad():
            with single_level_function():
                result = Bilinear.apply(run, slot, a, b, bias, integers)
            return fallback.activate(result, activation)
        return run(a, b, bias, activation)

    return autograd


def _vmap(slot: Slot) -> Callable[..., tuple[Tensor, int]]:
    """Fold the mapped axis into the batch where only data has it, or else into the groups."""

    def vmap(
        _info: Mapped, dims: Sequence[int | None], a: Tensor, b: Tensor, *rest: Argument
    ) -> tuple[Tensor, int]:
        bias, integers, activation = _split(slot, rest)
        a_dim, b_dim, *others = dims
        place = BIASES[slot]
        bias_dim = others[place] if place is not None and len(others) > place else None
        mapped = (a, a_dim), (b, b_dim), (bias, bias_dim)
        sizes = (one.shape[dim] for one, dim in mapped if one is not None and dim is not None)
        count = next(sizes)
        if slot != "weight" and a_dim is not None and b_dim is None and bias_dim is None:
            folded = a.movedim(a_dim, 0).flatten(0, 1)
            result = OPERATORS[slot](*_arguments(slot, folded, b, bias, integers, activation))
            return _unfold(result, 0, count), 0
        a, b = _leading(a, a_dim, count), _leading(b, b_dim, count)
        # Data (count, N, C, ...) folds to (N, count * C, ...), a weight (count, C, ...) to (count *
        # C, ...).
        a = a.movedim(0, 1).flatten(1, 2)
        b = b.movedim(0, 1).flatten(1, 2) if slot == "weight" else b.flatten(0, 1)
        bias = None if bias is None else _leading(bias, bias_dim, count).flatten()
        grouped = integers._replace(groups=integers.groups * count)
        result = OPERATORS[slot](*_arguments(slot, a, b, bias, grouped, activation))
        dim = 0 if slot == "weight" else 1
        return _unfold(result, dim, count), dim

    return vmap


def _decomposed(slot: Slot) -> Callable[..., Tensor]:
    """PyTorch's own operators, for what knows these alone, such as an export to ONNX."""

    def decomposed(a: Tensor, b: Tensor, *rest: Argument) -> Tensor:
        bias, integers, activation = _split(slot, rest)
        if slot == "y":
            return fallback.conv_transpose(a, b, bias, integers, activation)
        return fallback.conv(a, b, integers, bias)

    return decomposed


def _unfold(tensor: Tensor, dim: int, count: int) -> Tensor:
    return torch.unflatten(tensor, dim, (count, -1))


def _leading(tensor: Tensor, dim: int | None, count: int) -> Tensor:
    return tensor.expand(count, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _autocast(slot: Slot, device: str, key: str) -> Callable[..., Tensor]:
    """Cast as PyTorch's own convolutions are."""
    excluded = keys_of(key)

    def autocast(a: Tensor, b: Tensor, *rest: Argument) -> Tensor:
        bias, integers, activation = _split(slot, rest)
        one, two, offset = _lowered(a, device), _lowered(b, device), _lowered_bias(bias, device)
        with without_keys(excluded):
            return OPERATORS[slot](*_arguments(slot, one, two, offset, integers, activation))

    return autocast


def _lowered(tensor: Tensor, device: str) -> Tensor:
    """What autocast makes of a tensor.

    Those of floating-point numbers narrower than float64 get its dtype.
    """
    if not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(device)) if tensor.device.type == device else tensor


def _lowered_bias(bias: Tensor | None, device: str) -> Tensor | None:
    return None if bias is None else _lowered(bias, device)


def flops(cells: Sequence[int], weight: Sequence[int]) -> int:
    """Operations of an operator, as `torch.utils.flop_counter` counts them.

    Two for each cell of `x` and weight.

    >>> flops((1, 8, 5, 5), (8, 4, 3, 3))
    14400
    """
    return 2 * cells[0] * math.prod(cells[2:]) * math.prod(weight)


def _flops(slot: Slot) -> Callable[..., int]:
    def count(
        a: Sequence[int], b: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
    ) -> int:
        shapes: dict[Slot, Sequence[int]] = {
            **dict(zip(INPUTS[slot], (a, b), strict=True)),
            slot: out_shape,
        }
        return flops(shapes["x"], shapes["weight"])

    return count


for _slot, _name in NAMES.items():
    _ = register_flops(OPERATORS[_slot].overloadpacket)(_flops(_slot))
    LIBRARY.impl(_name, _kernel(_slot), "CompositeExplicitAutograd")
    LIBRARY.impl(_name, _autograd(_slot), "Autograd", with_keyset=True)
    _ = register_fake(f"backstride::{_name}", _fake(_slot), lib=LIBRARY)
    _ = register_vmap(f"backstride::{_name}", _vmap(_slot), lib=LIBRARY)
    if _slot != "weight":
        _ = register_decomposition(OPERATORS[_slot])(_decomposed(_slot))
    for _device, _key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA"), ("mps", "AutocastMPS")):
        LIBRARY.impl(_name, _autocast(_slot, _device, _key), _key)
