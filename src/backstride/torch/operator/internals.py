"""What PyTorch has no public name or no type for, under names and types of ours.

No other file knows it. Who watches a call (compilers, modes, transforms, tracers, profilers, hooks)
stands in PyTorch's own state, and is asked here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch._C import DispatchKey, DispatchKeySet
from torch.overrides import TorchFunctionMode, has_torch_function_variadic
from torch.utils._device import DeviceContext

from backstride.layout import AnyArray

Argument: TypeAlias = Any
"""What the dispatcher, a hook or a user's code hands over, whose types stand there."""
Private: TypeAlias = Any
"""A module of PyTorch's, of which private attributes are read, or methods without types."""
Manager: TypeAlias = AbstractContextManager[object]

_C = importlib.import_module("torch._C")
_convolutions = importlib.import_module("torch.nn.modules.conv")
_forward_ad = importlib.import_module("torch.autograd.forward_ad")
_hooks = importlib.import_module("torch.nn.modules.module")
_library = importlib.import_module("torch.library")
_overrides = importlib.import_module("torch.overrides")
_torch = importlib.import_module("torch")


class Operator(Protocol):
    """An operator of the dispatcher."""

    @property
    def overloadpacket(self) -> object:
        """All overloads of its name."""
        ...

    def __call__(self, *arguments: Argument) -> Tensor: ...

    def redispatch(self, keyset: DispatchKeySet, /, *arguments: Argument) -> Tensor:
        """A call of the kernel that these keys choose."""
        ...


class Library(Protocol):
    """Operators of one namespace."""

    def define(self, schema: str, *, tags: tuple[torch.Tag, ...]) -> str:
        """Add an operator."""
        ...

    def impl(
        self, name: str, kernel: Callable[..., Tensor], key: str, *, with_keyset: bool = False
    ) -> None:
        """Add an operator's kernel for a dispatch key."""
        ...


class Mapped(Protocol):
    """What a rule of vmap is told."""

    batch_size: int


library: Callable[[str, str], Library] = _library.Library
register_fake: Callable[..., object] = _library.register_fake
register_vmap: Callable[..., object] = _library.register_vmap
register_flops: Callable[[object], Callable[[Callable[..., int]], object]]
register_flops = importlib.import_module("torch.utils.flop_counter").register_flop_formula
register_decomposition: Callable[[object], Callable[[Callable[..., Tensor]], object]]
register_decomposition = importlib.import_module("torch._decomp").register_decomposition
single_level_function: Callable[[], Manager]
single_level_function = importlib.import_module(
    "torch._functorch.utils"
).enable_single_level_autograd_function
SingleLevelFunction = importlib.import_module("torch.autograd.function")._SingleLevelFunction
any_requires_grad: Callable[..., bool] = _C._any_requires_grad
below_autograd: Callable[[], Manager] = _C._AutoDispatchBelowAutograd
without_keys: Callable[[DispatchKeySet], Manager] = _C._ExcludeDispatchKeyGuard
after_autograd: DispatchKeySet = _C._after_autograd_keyset
set_forward_ad: Callable[[bool], Manager] = _forward_ad._set_fwd_grad_enabled
saved_tensors_hooks: Callable[[bool], object] = _C._autograd._top_saved_tensors_default_hooks
tracing_state: Callable[[], object] = _C._get_tracing_state
from_numpy: Callable[[AnyArray], Tensor] = _torch.from_numpy
fork_rng: Callable[..., Manager] = _torch.random.fork_rng
weight_norm: Callable[[Tensor, Tensor, int], Tensor] = _torch._weight_norm
assume_constant_result: Callable[[Callable[..., bool]], Callable[..., bool]]
assume_constant_result = _torch.compiler.assume_constant_result
reorder_conv2d_weight: Callable[..., Tensor] | None
reorder_conv2d_weight = getattr(_C._nn, "mkldnn_reorder_conv2d_weight", None)

_dispatch_keys: Callable[[Tensor], DispatchKeySet] = _C._dispatch_keys
_ordinary = _dispatch_keys(torch.empty(0, device="cpu"))
_tracked = DispatchKeySet(DispatchKey.AutogradCPU) | DispatchKeySet(DispatchKey.ADInplaceOrView)
# The dispatch keys of ordinary CPU tensors: no wrapper of a transform, no lazy negation, no layout
# of its own. Inference tensors lack two of them.
PLAIN = frozenset({_ordinary.raw_repr(), (_ordinary - _tracked).raw_repr()})
CALL: Callable[..., object] = nn.Module.__call__
OUTPUT_PADDING: Callable[..., list[int]] = _convolutions.ConvTranspose2d._output_padding
SEQUENTIAL: Callable[..., Argument] = vars(nn.Sequential)["forward"]
REPLACEABLE = (
    "_call_impl",
    "_wrapped_call_impl",
    "_compiled_call_impl",
    "_slow_forward",
    "_check_input_dim",
    "_conv_forward",
    "_output_padding",
)
"""What a call of a module goes through beside `forward`, and an instance may replace."""


def keys_of(name: str) -> DispatchKeySet:
    """A dispatch key by its name, as a set."""
    return DispatchKeySet(getattr(DispatchKey, name))


def is_plain(tensor: Tensor) -> bool:
    """Whether it is an ordinary CPU tensor, whose memory holds its values in order."""
    return _dispatch_keys(tensor).raw_repr() in PLAIN


def unwatched() -> bool:
    """Whether no compiler, mode, transform, tracer or profiler wants to see the calls."""
    return is_eager() and not _C._autograd._profiler_enabled()


def is_eager() -> bool:
    """Whether no compiler, mode, transform or tracer changes what calls do."""
    return (
        not torch.compiler.is_compiling()
        and not _C._len_torch_dispatch_stack()
        and _C._functorch.peek_interpreter_stack() is None
        and _forward_ad._current_level < 0
        and not _C._get_tracing_state()
    )


def in_forward_ad() -> bool:
    """Whether derivatives are computed in forward mode."""
    return _forward_ad._current_level >= 0


def is_in_onnx_export() -> bool:
    """Whether `torch.onnx` exports: with a tracer or a mode, and its own answer takes long."""
    return not is_eager() and torch.onnx.is_in_onnx_export()


class Quiet(TorchFunctionMode):
    """A mode that only says which implementation computes, and need not see what is fused."""


QUIET = (Quiet, DeviceContext)


def is_overridden(*tensors: Tensor | None) -> bool:
    """Whether a subclass or a mode has a say in functions that are called with these tensors."""
    if not has_torch_function_variadic(*tensors):
        return False
    modes: list[object] = _overrides._get_current_function_mode_stack()
    subclasses = any(
        type(tensor) is not Tensor for tensor in _overrides._get_overloaded_args(tensors)
    )
    return subclasses or not all(isinstance(mode, QUIET) for mode in modes)


def runs_only(module: nn.Module, forward: Callable[..., object]) -> bool:
    """Whether a call of the module is this forward alone: not replaced, and without listeners."""
    replaced = any(name in module.__dict__ for name in REPLACEABLE)
    plain = is_method(module.forward, forward) and type(module).__call__ is CALL
    return plain and not replaced and not has_hooks(module)


def named_modules(model: Private) -> list[tuple[str, nn.Module]]:
    """A model's modules by their names, itself under the empty one."""
    return list(model.named_modules())


def is_compiled(module: Private) -> bool:
    """Whether a compiler has a module in its hands, whose graphs hold on to classes."""
    return type(module).__name__ == "OptimizedModule" or module._compiled_call_impl is not None


def is_method(bound: Callable[..., object], function: Callable[..., object]) -> bool:
    """Whether a method of an instance is that function; a compiler sees it, and guards it."""
    return getattr(bound, "__code__", None) is function.__code__


def has_hooks(module: Private) -> bool:
    """Whether a call of the module is seen by anybody but its forward."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _hooks._global_forward_hooks
        or _hooks._global_forward_pre_hooks
        or _hooks._global_backward_hooks
        or _hooks._global_backward_pre_hooks
    )
