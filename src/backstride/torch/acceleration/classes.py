"""Classes of modules that come and go: PyTorch's, or the user's, with others before it.

Only the class of a module changes, so its parameters, buffers, hooks, name and identity stay, and
with them optimizers, state dicts and whatever else refers to it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType
from typing import TYPE_CHECKING, SupportsIndex, cast

from torch import nn
from torch.nn.utils import parametrize

from backstride.torch.layers import measured
from backstride.torch.layers.measured import MEASURED
from backstride.torch.operator.fusion import keep_norm
from backstride.torch.operator.internals import Argument

if TYPE_CHECKING:
    AnyModule = nn.Module
else:
    AnyModule = object


class Swapped(AnyModule):
    """Marks the classes made here; its names begin with `backstride`, as no user's do."""

    backstride_class: type[Argument]  # PyTorch's or the user's, that `restore` brings back
    backstride_mixins: tuple[type[Swapped], ...] = ()
    backstride_measured = True  # False stands among the module's own attributes

    @property
    def qconfig(self) -> object:
        """How PyTorch is to quantize the module: not at all, as it knows modules by their class."""
        return None

    @qconfig.setter
    def qconfig(self, value: object) -> None:
        if value is not None:
            message = (
                f"{type(self).__name__} is accelerated, and PyTorch's quantization would pass it "
                "over; the nearest legal call is backstride.torch.restore(model) before it"
            )
            raise RuntimeError(message)

    @qconfig.deleter
    def qconfig(self) -> None:
        """PyTorch takes it away where it set None."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Argument, ...]:
        reduced = super().__reduce_ex__(protocol)
        assert isinstance(reduced, tuple)
        state = {
            name: value
            for name, value in reduced[2].items()
            if name not in (measured.TIMES, measured.TURNS, measured.READY)
        }
        return (
            _rebuild,
            (type(self).backstride_class, *type(self).backstride_mixins),
            state,
            *reduced[3:],
        )

    def __prepare_scriptable__(self) -> nn.Module:
        """What `torch.jit.script` compiles: the same module with the class that it had."""
        module = copy.copy(self)
        object.__setattr__(module, "__class__", type(self).backstride_class)
        return module


def swap(module: nn.Module, mixin: type[Swapped]) -> None:
    """Give a module the class with another forward, and leave its parametrisations."""
    module.__class__ = class_with(module, lambda base: swapped_class(base, mixin))
    keep_norm(module, keep=True)


def unswap(module: nn.Module) -> bool:
    """Give a module its class back; whether there was one to give."""
    if MEASURED not in vars(module) and not isinstance(module, Swapped):
        return False
    if isinstance(module, Swapped):
        object.__setattr__(module, "__class__", class_with(module, original_of))
    keep_norm(module, keep=False)
    for name in ("winograd", MEASURED):
        _ = vars(module).pop(name, None)
    measured.forget(module)
    return True


@cache
def swapped_class(original: type[nn.Module], *mixins: type[Swapped]) -> type[nn.Module]:
    """The class of `original` with the forward of mixins, by the same name; itself without any."""
    if not mixins:
        return original
    namespace: dict[str, object] = {
        "backstride_class": original,
        "backstride_mixins": mixins,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
    }
    become = getattr(original, "cls_to_become", None)
    if become is not None:
        namespace["cls_to_become"] = swapped_class(become, *mixins)
    forward: FunctionType | None = mixins[0].__dict__.get("forward")
    if (
        forward is not None and forward.__code__.co_argcount == 1
    ):  # it takes whatever the original takes
        namespace["forward"] = _signed(forward, original.forward)
    return cast("type[nn.Module]", type(original.__name__, (*mixins, original), namespace))


def _signed(run: Callable[..., object], original: Callable[..., object]) -> Callable[..., object]:
    """The same forward with the signature of the original, which exporters and trainers look at."""

    @wraps(original)
    def forward(self: nn.Module, *arguments: object, **keywords: object) -> object:
        return run(self, *arguments, **keywords)

    return forward


def class_with(
    module: nn.Module, change: Callable[[type[nn.Module]], type[nn.Module]]
) -> type[nn.Module]:
    """The class of a module after a change of it, or below its parametrisations."""
    cls = type(module)
    if not parametrize.is_parametrized(module):
        return change(cls)
    content = {
        name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")
    }
    return cast("type[nn.Module]", type(cls.__name__, (change(cls.__bases__[0]),), content))


def original_of(cls: type[nn.Module]) -> type[nn.Module]:
    """The class that `restore` brings back: itself where nothing was put before it."""
    return getattr(cls, "backstride_class", cls)


def mixins_of(cls: type[nn.Module]) -> tuple[type[Swapped], ...]:
    """What was put before a class."""
    return cls.backstride_mixins if issubclass(cls, Swapped) else ()


def _rebuild(original: type[nn.Module], *mixins: type[Swapped]) -> nn.Module:
    cls = swapped_class(original, *mixins)
    return cls.__new__(cls)
