"""Which modules call PyTorch's functions in their own code, and the mode that makes them ours.

Their code is read, not run: the names in the functions of the class, and in the functions that
these name. A trace would fix what depends on data, on `self.training` and on other state; reading
does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import CodeType, FunctionType

import torch
from torch import Tensor, nn

from backstride.torch.layers.functional import conv_transpose1d, conv_transpose2d, conv_transpose3d
from backstride.torch.layers.measured import stock_function_is_faster
from backstride.torch.operator.internals import Argument, Quiet

ROUTES: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    torch.conv_transpose1d: conv_transpose1d,
    torch.conv_transpose2d: conv_transpose2d,
    torch.conv_transpose3d: conv_transpose3d,
}
NAMES = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
FOREIGN = ("torch", "backstride")


def calls_functions(module: nn.Module) -> bool:
    """Whether the module's code, or a function that it names, calls `conv_transpose1d/2d/3d`."""
    seen: set[CodeType] = set()
    return any(_mentions(function, seen) for function in _methods(type(module)))


def _methods(cls: type) -> Iterator[FunctionType]:
    for base in cls.__mro__:
        if not _is_foreign(base.__module__):
            for value in vars(base).values():
                function: object = getattr(value, "__func__", value)
                if isinstance(function, FunctionType):
                    yield function


def _mentions(function: FunctionType, seen: set[CodeType]) -> bool:
    if function.__code__ in seen:
        return False
    seen.add(function.__code__)
    names = set(_names(function.__code__))
    if names & NAMES:
        return True
    named: list[object] = [function.__globals__.get(name) for name in names]
    if any(_is_route(value) for value in named):
        return True
    followed = (
        value
        for value in named
        if isinstance(value, FunctionType) and not _is_foreign(value.__module__)
    )
    return any(_mentions(value, seen) for value in followed)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_route(value: object) -> bool:
    return any(value is function for function in ROUTES)


def _is_foreign(module: str) -> bool:
    return module.partition(".")[0] in FOREIGN


class Route(Quiet):
    """Where it is active, PyTorch's three functions are ours."""

    def __init__(self, *, winograd: bool = True, measured: bool = True) -> None:
        super().__init__()
        self.options: dict[str, bool] = {} if winograd else {"winograd": False}
        self.measured = measured

    def __torch_function__(
        self,
        func: Callable[..., Argument],
        types: Collection[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        _ = types
        keywords = kwargs or {}
        if func not in ROUTES:
            return func(*args, **keywords)
        engine = partial(ROUTES[func], **self.options)
        slow = (
            self.measured
            and not torch.compiler.is_compiling()
            and stock_function_is_faster(engine, func, args, keywords)
        )
        return func(*args, **keywords) if slow else engine(*args, **keywords)
