"""The extension module that `native/` becomes, where this installation has it."""

from __future__ import annotations


def load():
    """The module, which `_native.pyi` describes; None in a pure Python installation."""
    try:
        from backstride import _native  # noqa: PLC0415  it need not be there
    except ImportError:
        return None
    return _native
