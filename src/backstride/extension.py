"""The extension module that `native/` becomes, where this installation has it."""

from __future__ import annotations

NOT_BUILT = "this installation is pure Python; the compiled part was not built"


def load():
    """The module, which `_native.pyi` describes; None in a pure Python installation."""
    try:
        from backstride import _native  # noqa: PLC0415  # pyright: ignore[reportMissingModuleSource]
    except ImportError:
        return None
    return _native


_module = load()


def is_built() -> bool:
    """Whether there is one."""
    return _module is not None


def built():
    """The module, for what is called only where it is."""
    assert _module is not None
    return _module
