"""torch.fx with shapes: what a model decides by the image's size is decided by the native one.

A cell of the network stands for a crop of native size, so what the classifier computes from the
size of its image is what it computes from the native size. Sizes that only shape tensors stay open;
those that Python needs at once (a branch, an integer, a loop) are looked up on fake tensors.
"""

from __future__ import annotations

import functools
import inspect
import operator
import threading
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import Argument, Target
from torch.fx.proxy import Attribute, TraceError
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from backstride.layout import AnyArray
from backstride.surgery.model.graph import BATCH
from backstride.surgery.torch.arguments import Results


class UntracedError(Exception):
    """A module does what no graph can hold; the text says what."""


class ShapeTracer(fx.Tracer):
    """Traces a module on one image; `image` is fake, and so are the weights."""

    def __init__(self, mode: FakeTensorMode, image: torch.Tensor) -> None:
        super().__init__()
        self.proxy_buffer_attributes = True
        self._mode = mode
        self._image = image
        self._known: dict[fx.Node, object] = {}
        self._looking = False
        self._autocast = _autocast()
        self._grad = torch.is_grad_enabled()
        self.without_gradient = False
        self.own_gradients: list[str] = []
        self._failed: tuple[Exception, nn.Module] | None = None
        self._unmet: tuple[Exception, fx.Node] | None = None

    def create_node(  # noqa: PLR0917  what torch.fx takes
        self,
        kind: str,
        target: Target,
        args: tuple[Argument, ...],
        kwargs: dict[str, Argument],
        name: str | None = None,
        type_expr: object = None,
    ) -> fx.Node:
        """A call becomes a node; what a `with` around it changes is not part of the graph."""
        if _autocast() != self._autocast:
            message = (
                "it computes under torch.autocast, which a graph of its calls loses; take it out"
            )
            raise TraceError(message)
        self.without_gradient |= torch.is_grad_enabled() != self._grad
        return super().create_node(kind, target, args, kwargs, name, type_expr)

    def create_arg(self, a: object) -> Argument:
        """A number of NumPy is one of Python, whose text a graph's code holds.

        A dict that is a dataclass stays one.
        """
        if is_dataclass(a) and isinstance(a, dict):  # as the outputs of transformers
            entries = cast("dict[str, object]", a)
            held = {key: self.create_arg(value) for key, value in entries.items()}
            return self.create_node("call_function", type(entries), (), held)
        return super().create_arg(a.item() if isinstance(a, np.generic) else a)

    def trace(
        self,
        root: nn.Module | Callable[..., object],
        concrete_args: dict[str, object] | None = None,
    ) -> fx.Graph:
        """The graph of a module's calls."""
        with _Sizes(self), _PATCHED:
            return super().trace(root, concrete_args)

    def create_args_for_root(
        self, root_fn: Callable[..., object], is_module: bool, concrete_args: object = None
    ) -> tuple[Callable[..., object], list[object]]:
        """The image is the only argument; all others stay at their defaults."""
        _ = is_module, concrete_args
        image = next(iter(list(inspect.signature(root_fn).parameters)[1:]), "image")
        return root_fn, [self.root, self.create_proxy("placeholder", image, (), {})]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Values that know their shapes."""
        return _Shaped(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Which way a branch goes at native size."""
        return bool(self.look_up(obj.node))

    def iter(self, obj: fx.Proxy) -> Iterator[fx.Proxy]:
        """The entries of a shape, or of a tuple of tensors."""
        found = self.look_up(obj.node, tensors=True)
        if isinstance(found, torch.Tensor):
            message = "it loops over a tensor"
            raise TraceError(message)
        entries = [
            self.create_proxy("call_function", operator.getitem, (obj, place), {})
            for place in range(len(found))
        ]
        return iter(entries)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """A leaf becomes a node, other modules are traced through."""
        if original(m) is not m:
            return original(m)(*args, **kwargs)
        stack = self.module_stack.copy()
        try:
            self._check_held(m)
            return (
                forward(*args, **kwargs)
                if self._looking
                else super().call_module(m, forward, args, kwargs)
            )
        except Exception as error:
            self.module_stack = stack  # fx leaves the failed module there, and the model may go on
            if self._failed is None or self._failed[0] is not error:
                self._failed = (error, m)
            raise

    def _check_held(self, module: nn.Module) -> None:
        if module not in (self.submodule_paths or {}):
            message = (
                "is made anew in every call, with other weights each time; make it in `__init__`"
            )
            raise UntracedError(message)

    def where(self, error: Exception) -> str:
        """The innermost module whose `forward` raised this, as its path and class."""
        if self._failed is None or self._failed[0] is not error:
            return "forward"
        module = self._failed[1]
        return (
            f"{(self.submodule_paths or {}).get(module, 'a layer made in forward')} "
            f"({type(module).__name__})"
        )

    def unmet(self, error: Exception) -> tuple[fx.Node, Results] | None:
        """The node that does not take its inputs, and what is known of all, after an error."""
        return (
            None
            if self._unmet is None or self._unmet[0] is not error
            else (self._unmet[1], self._known)
        )

    def is_raised_untraced(self, error: Exception) -> bool:
        """Whether the module raises the same where it is not traced."""
        try:
            with self._mode, torch.no_grad():
                _ = self.root(self._image)
        except Exception as other:  # noqa: BLE001  the model's own code runs here
            return (type(other), str(other)) == (type(error), str(error))
        return False

    def getattr(
        self, attr: str, attr_val: object, parameter_proxy_cache: dict[str, fx.Proxy]
    ) -> object:
        """A weight becomes a node."""
        return attr_val if self._looking else super().getattr(attr, attr_val, parameter_proxy_cache)

    def look_up(self, node: fx.Node, *, tensors: bool = False) -> Any:
        """What a node gives at native size.

        Numbers that count the images of a batch are refused.
        """
        found = self._value(node)
        if isinstance(found, torch.Tensor) and not tensors:
            message = "the values of a tensor decide"
            raise TraceError(message)
        if isinstance(found, int) and not isinstance(found, bool) and found and found % BATCH == 0:
            message = "the number of images decides"
            raise TraceError(message)
        return found

    def _value(self, node: fx.Node) -> Any:
        if node not in self._known:
            args, kwargs = fx.map_arg((node.args, node.kwargs), self._value)
            self._looking = True
            try:
                with self._mode, torch.no_grad():
                    self._known[node] = self._run(node, args, kwargs)
            except Exception as error:
                self._unmet = (error, node)
                raise
            finally:
                self._looking = False
        return self._known[node]

    def _run(
        self, node: fx.Node, args: tuple[Argument, ...], kwargs: dict[str, Argument]
    ) -> object:
        target = node.target
        match node.op:
            case "placeholder":
                return self._image
            case "get_attr":
                owner, _, name = str(target).rpartition(".")
                return getattr(self.root.get_submodule(owner), name)
            case "call_module":
                return self.root.get_submodule(str(target)).forward(*args, **kwargs)
            case "call_method":
                return getattr(args[0], str(target))(*args[1:], **kwargs)
            case _:
                assert not isinstance(target, str)
                return target(*args, **kwargs)


def original(module: nn.Module) -> nn.Module:
    """The module that `torch.compile` made another of."""
    compiled = type(module).__name__ == "OptimizedModule"  # torch exports no name of this class
    return original(module.get_submodule("_orig_mod")) if compiled else module


def _autocast() -> list[bool]:
    return [torch.is_autocast_enabled(device) for device in ("cpu", "cuda")]


class _Sizes(TorchFunctionMode):
    """Tensors that are made of the image's sizes hold the native ones."""

    def __init__(self, tracer: ShapeTracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        if func in (torch.tensor, torch.as_tensor, torch.scalar_tensor):
            args, kwargs = _pytree.tree_map(self._native, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _native(self, value: object) -> object:
        if not isinstance(value, fx.Proxy):
            return value
        found: object = self._tracer.look_up(value.node)
        if _counts_images(found):
            message = (
                "the number of images becomes a tensor; leave the first axis out, as in "
                "`x.shape[1:]`"
            )
            raise TraceError(message)
        return found


def _counts_images(found: object) -> bool:
    return isinstance(found, tuple) and BATCH in cast("tuple[object, ...]", found)


class _Patched:
    """While a model is traced in any thread, functions of torch that take no proxies take them."""

    def __init__(self, *places: tuple[object, str, Callable[..., object]]) -> None:
        self._places = [(owner, name, vars(owner)[name], make) for owner, name, make in places]
        self._lock = threading.Lock()
        self._users = 0

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_: object) -> None:
        self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._users += more
            for owner, name, plain, make in self._places:
                setattr(owner, name, make(plain) if self._users else plain)


def _joined(plain: Callable[..., object]) -> Callable[..., object]:
    """Sizes given one by one, `torch.zeros(n, 1, h, w)`, as one tuple."""

    @functools.wraps(plain)
    def made(*sizes: object, **options: object) -> object:
        joins = len(sizes) > 1 and any(isinstance(size, fx.Proxy) for size in sizes)
        return plain(sizes, **options) if joins else plain(*sizes, **options)

    return made


class _Context:
    """What an `autograd.Function` keeps for a gradient that nobody will ask for."""

    needs_input_grad = (False,) * 99

    def save_for_backward(self, *_tensors: object) -> None:
        """Nothing."""

    mark_dirty = mark_non_differentiable = save_for_forward = set_materialize_grads = (
        save_for_backward
    )


def _opened(plain: classmethod[torch.autograd.Function, ..., object]) -> object:
    """What an `autograd.Function` computes, traced; its own gradient is lost, which is noted."""

    @functools.wraps(plain.__func__)
    def apply(cls: type[torch.autograd.Function], *args: object, **options: object) -> object:
        proxies = [arg for arg in args if isinstance(arg, _Shaped)]
        if not proxies:
            return plain.__get__(None, cls)(*args, **options)
        proxies[0].tracer.own_gradients.append(cls.__name__)
        apart = cls.setup_context is not torch.autograd.Function.setup_context
        return cls.forward(*args) if apart else cls.forward(_Context(), *args)

    return classmethod(apply)


_PATCHED = _Patched(
    *((torch, name, _joined) for name in ("empty", "ones", "rand", "randn", "zeros")),
    (torch.autograd.Function, "apply", _opened),
)


def _assigned(name: str) -> Callable[[_Shaped, object], fx.Proxy]:
    """An augmented assignment, which changes a tensor for all that hold it."""
    operation: Callable[..., object] = getattr(operator, name)
    return lambda own, other: own.tracer.create_proxy("call_function", operation, (own, other), {})


class _Shaped(fx.Proxy):
    """A value whose sizes and counts Python may use."""

    tracer: ShapeTracer

    def __getattr__(self, k: str) -> _ShapedAttribute:
        if k.startswith("__array"):
            raise AttributeError(k)
        return _ShapedAttribute(self, k)

    def __array__(self, dtype: DTypeLike | None = None, copy: object = None) -> AnyArray:
        _ = copy
        return np.asarray(self.tracer.look_up(self.node), dtype)

    __iadd__ = _assigned("iadd")
    __isub__ = _assigned("isub")
    __imul__ = _assigned("imul")
    __itruediv__ = _assigned("itruediv")
    __ipow__ = _assigned("ipow")

    def __int__(self) -> int:
        return int(self.tracer.look_up(self.node))

    def __index__(self) -> int:
        return self.tracer.look_up(self.node).__index__()

    def __float__(self) -> float:
        return float(self.tracer.look_up(self.node))

    def __len__(self) -> int:
        return len(self.tracer.look_up(self.node, tensors=True))


class _ShapedAttribute(_Shaped, Attribute):
    """An attribute of such a value, or its method."""
