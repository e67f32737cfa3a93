"""Public names that load when they are first asked for (PEP 562).

So a command loads what it uses and no more. NumPy alone takes longer to load than an explanation
takes to be made.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType


class _Package(ModuleType):
    """A package whose public names win over modules of the same name.

    Importing `backstride.geometry` binds the module in its package, over the function
    `backstride.geometry`.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in self.__all__):
            super().__setattr__(name, value)


def attach(
    package: str, **modules: tuple[str, ...]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names stand in these modules below it.

    Afterwards a name is an attribute like any other.
    """
    homes = {name: home for home, names in modules.items() for name in names}
    module = sys.modules[package]
    module.__class__ = _Package

    def load(name: str) -> object:
        if name not in homes:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=module)
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        vars(module)[name] = value
        return value

    def listed() -> list[str]:
        return sorted({*vars(module), *homes})

    return load, listed
