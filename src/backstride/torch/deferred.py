"""A transposed convolution that waits for what follows it: batch norm and activation anywhere in a model's code.

In a Sequential, what follows a layer is known. In a `forward` written by hand it is known only once it is called. So
where a trace of the model by `torch.fx` shows that the result of a layer goes straight into a batch norm or an
activation, and nowhere else, the layer returns a `Deferred`: a tensor that is computed at its first use, in one call
with the batch norm (in evaluation) and the activation if these come first, and as it is if anything else does.

The trace is advice only. Code that runs otherwise than it did in the trace uses the tensor for something else, or
again, and gets the same values. A `Deferred` whose input was changed in place before the first use refuses.
Nothing waits in inference mode, whose tensors do not count their changes.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from backstride.torch.fallback import activate
from backstride.torch.fusion import NORMS, can_fold, folded, has_hooks
from backstride.torch.kernels import takes
from backstride.torch.operators import is_plain, unwatched

ACTIVATIONS: dict[Any, str] = {
    functional.relu: "relu",
    functional.relu_: "relu",
    torch.relu: "relu",
    torch.relu_: "relu",
    Tensor.relu: "relu",
    Tensor.relu_: "relu",
    functional.relu6: "relu6",
    functional.leaky_relu: "leaky_relu",
    functional.sigmoid: "sigmoid",
    torch.sigmoid: "sigmoid",
    Tensor.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    Tensor.tanh: "tanh",
    functional.gelu: "gelu",
    functional.silu: "silu",
}
METHODS = ("relu", "relu_", "sigmoid", "tanh")
IN_PLACE = (functional.relu_, torch.relu_, Tensor.relu_)
MOST_ARGUMENTS: dict[str, int] = {"leaky_relu": 2}


class Deferred(Tensor):
    """The result of `layer` for an input, and of the norm that `followed`, computed at its first use."""

    layer: Any
    source: Tensor
    then: tuple[int, int]
    followed: Any
    value: Tensor | None

    @staticmethod
    def of(layer: Any, source: Tensor, norm: Any = None) -> Deferred:
        """Defer a layer; `source` is its input."""
        maker: Any = Tensor
        size = (0,) * source.dim()  # only the rank is true: whoever asks for the size gets that of the value
        made: Deferred = maker._make_wrapper_subclass(Deferred, size, dtype=source.dtype, device=source.device)
        made.layer, made.source, made.followed, made.value = layer, source, norm, None
        made.then = (source._version, layer.weight._version)
        return made

    def computed(self, activation: str | None = None) -> Tensor:
        """The value; with an activation, that of the value, which is not kept."""
        if self.value is not None:
            return self.value if activation is None else activate(self.value, activation)
        if self.then != (self.source._version, self.layer.weight._version):
            message = (
                f"`input` of {type(self.layer).__name__} was changed in place before the result was used, which the "
                "trace of the model did not show; the nearest legal call is accelerate(model, fuse=False)"
            )
            raise RuntimeError(message)
        layer = self.layer
        weight, bias = layer.weight, layer.bias
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            if self.followed is not None:
                weight, bias = folded(layer, self.followed)
            result = layer.computed(self.source, weight, bias, activation)
        if activation is None:
            self.value = result
        return result

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        _ = types
        words: dict[str, Any] = kwargs or {}
        first = args[0] if args else None
        if isinstance(first, Deferred):
            if func is Tensor.dim:
                return first.source.dim()
            if first.value is None:
                found = _fused(func, first, args[1:], words)
                if found is not None:
                    return found
        return func(*_values(args), **_values(words))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        _ = types
        return func(*_values(args), **_values(kwargs or {}))


def _values(given: object) -> Any:
    """Arguments with the value of each deferred tensor in its place, at any depth."""
    arguments: Any = given
    if isinstance(given, Deferred):
        return given.computed()
    if isinstance(given, dict):
        return {name: _values(value) for name, value in arguments.items()}
    if isinstance(given, list | tuple):
        values: Any = [_values(value) for value in arguments]
        kind = cast("Any", type(arguments))
        return kind(*values) if hasattr(kind, "_fields") else kind(values)
    return arguments


def _fused(func: Any, first: Deferred, rest: tuple[Any, ...], words: dict[str, Any]) -> Tensor | None:
    """The result of a call that the layer can take in, or None."""
    if func is functional.batch_norm:
        return _normed(first, rest, words)
    name = ACTIVATIONS.get(func)
    if name is None or not _is_plain_call(name, rest, words):
        return None
    result = first.computed(name)
    if func in IN_PLACE or words.get("inplace") or (rest and rest[-1] is True):
        first.value = result
    return result


def _is_plain_call(name: str, rest: tuple[Any, ...], words: dict[str, Any]) -> bool:
    """Whether an activation is called with the options that the engine's has."""
    given = {**dict(zip(("negative_slope",) if name == "leaky_relu" else ("inplace",), rest, strict=False)), **words}
    if len(rest) > MOST_ARGUMENTS.get(name, 1):
        return False
    return (
        given.pop("negative_slope", 0.01) == 0.01
        and given.pop("approximate", "none") == "none"
        and not (set(given) - {"inplace"})
    )


def _normed(first: Deferred, rest: tuple[Any, ...], words: dict[str, Any]) -> Deferred | None:
    """The layer with the batch norm in it, where that is the one that the trace showed, in evaluation."""
    names = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = {**dict(zip(names, rest, strict=False)), **words}
    norm = advice.get(first.layer)
    if norm is None or first.followed is not None or given.get("training"):
        return None
    module: Any = norm()
    if module is None:
        return None
    same = all(given.get(name) is getattr(module, name) for name in ("running_mean", "running_var", "weight", "bias"))
    if not same or given.get("eps") != module.eps or not can_fold(first.layer, module):
        return None
    return Deferred.of(first.layer, first.source, module)


advice: weakref.WeakKeyDictionary[nn.Module, weakref.ref[nn.Module] | None] = weakref.WeakKeyDictionary()
"""Layers whose result goes straight into a batch norm (that one), or into an activation (None)."""


def defers(layer: Any, input: Tensor) -> bool:
    """Whether a layer's result for an input is to wait for what follows it."""
    return (
        not torch.compiler.is_compiling()
        and layer in advice
        and not torch.is_grad_enabled()
        and unwatched()
        and type(input) is Tensor
        and is_plain(input)
        and not input.is_inference()
        and takes(input)
        and input.dim() == layer.weight.dim()
        and not has_hooks(layer)
        and not torch.is_autocast_enabled("cpu")
    )


class _Tracer(fx.Tracer):
    """Goes into the user's modules, not into PyTorch's and ours; touches no parameter and no buffer."""

    proxy_buffer_attributes = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        original = getattr(m, "original", type(m))
        return original.__module__.startswith("torch.nn") or super().is_leaf_module(m, module_qualified_name)


def advise(model: nn.Module, layers: Collection[nn.Module]) -> list[nn.Module]:
    """Trace a model, and note the layers whose results can wait; those noted. None where it cannot be traced."""
    states = [(state, dict(state)) for module in model.modules() for state in _states(module)]
    try:
        graph: Any = _Tracer().trace(model)
    except Exception:  # noqa: BLE001  code that no tracer can follow is legal code; it is not fused
        return []
    finally:
        for state, before in states:
            state.clear()
            state.update(before)
    found: list[nn.Module] = []
    for node in graph.nodes:
        layer = _module_of(model, node)
        if layer is not None and layer in layers and len(node.args) == 1 and not node.kwargs:
            after = _only_user(node)
            norm = None if after is None else _module_of(model, after)
            if isinstance(norm, NORMS):
                advice[layer] = weakref.ref(norm)
            elif after is not None and (after.target in ACTIVATIONS or after.target in METHODS or _is_activation(norm)):
                advice[layer] = None
            else:
                continue
            found.append(layer)
    return found


def _states(module: nn.Module) -> list[dict[str, Any]]:
    """A module's attributes and the dictionaries among them: what its code may write to, while it is traced."""
    state = vars(module)
    return [state, *(value for value in state.values() if isinstance(value, dict))]


def _module_of(model: nn.Module, node: Any) -> nn.Module | None:
    return model.get_submodule(node.target) if node.op == "call_module" else None


def _only_user(node: Any) -> Any:
    """The node that alone uses another, and directly follows it; or None."""
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0] is node.next and users[0].args[:1] == (node,) else None


def _is_activation(module: nn.Module | None) -> bool:
    return isinstance(module, nn.ReLU | nn.ReLU6 | nn.LeakyReLU | nn.Sigmoid | nn.Tanh | nn.GELU | nn.SiLU)
