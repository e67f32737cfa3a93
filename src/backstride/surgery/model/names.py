"""Names that nothing has yet, the ends of files' names, and classes by name."""

from __future__ import annotations

import sys
from pathlib import Path


def free_name(name: str, taken: set[str]) -> str:
    """The name itself or, where it is taken, the first of name_1, name_2 and so on.

    It is taken from then on.

    >>> taken = {"conv", "conv_1"}
    >>> free_name("conv", taken), free_name("conv", taken), free_name("pool", taken)
    ('conv_2', 'conv_3', 'pool')
    """
    wanted, count = name, 0
    while wanted in taken:
        count += 1
        wanted = f"{name}_{count}"
    taken.add(wanted)
    return wanted


def suffix_of(model: object) -> str:
    """How a path ends; "" for what is no path."""
    return Path(str(model)).suffix if isinstance(model, str | Path) else ""


def is_of(value: object, module: str, kind: str) -> bool:
    """Whether a value is of this class, named by its module; a module that is not loaded stays so.

    >>> from fractions import Fraction
    >>> (is_of(Fraction(1, 2), "fractions", "Fraction"), is_of(0.5, "fractions", "Fraction"),
    ...  is_of(0.5, "no", "No"))
    (True, False, False)
    """
    found: type | None = getattr(sys.modules.get(module), kind, None)
    return found is not None and isinstance(value, found)
