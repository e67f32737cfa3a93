"""Which implementation runs: a best-first list, and one environment variable to force a choice.

`BACKSTRIDE_IMPLEMENTATION` forces one by name; a name that is unknown, or that cannot run here, is
an error that lists the usable ones. A new implementation is one more entry of `IMPLEMENTATIONS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from backstride import reference
from backstride.direct import DIRECT
from backstride.implementation import (
    Call,
    Implementation,
    Layer,
    Storage,
    finish,
    require_algorithm,
)
from backstride.layout import AnyArray, AnyDtype
from backstride.native import Compiled
from backstride.portable import Portable
from backstride.precision import widened

VARIABLE = "BACKSTRIDE_IMPLEMENTATION"
# What `os.environ` reads, by itself ten times as fast.
_environment = cast("Mapping[object, object]", getattr(os.environ, "_data", os.environ))
_key = VARIABLE if _environment is os.environ else os.environ.encodekey(VARIABLE)


def forced() -> bool:
    """Whether the environment forces an implementation; asked at each call."""
    return bool(_environment.get(_key))


class Reference(Implementation):
    """The definition itself, as an implementation: very slow, for comparison."""

    name = "reference"

    def obstacle(self) -> str | None:
        return None

    def takes(self, dtype: AnyDtype) -> bool:
        return dtype.kind in "cO" or dtype.name in ("float32", "float64", "int64")

    def pack(
        self, kernel: AnyArray, layer: Layer, *, algorithm: str | None = None, winograd: bool = True
    ) -> AnyArray:
        require_algorithm(algorithm, self.name, (self.algorithm,))
        return kernel.copy()

    def conv_transpose(
        self,
        x: AnyArray,
        packed: AnyArray,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
        *,
        storage: Storage | None = None,
    ) -> AnyArray:
        y = reference.conv_transpose(
            x, packed, call.geometry, groups=call.groups, data_format=call.data_format
        )
        return np.ascontiguousarray(finish(y.astype(x.dtype), bias, activation, call.data_format))

    def conv(
        self,
        y: AnyArray,
        kernel: AnyArray,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
        *,
        storage: Storage | None = None,
    ) -> AnyArray:
        x = reference.conv(
            y, kernel, call.geometry, groups=call.groups, data_format=call.data_format
        )
        return np.ascontiguousarray(finish(x.astype(y.dtype), bias, activation, call.data_format))

    def conv_kernel_gradient(
        self, x: AnyArray, y: AnyArray, call: Call, *, storage: Storage | None = None
    ) -> AnyArray:
        kernel = reference.conv_kernel_gradient(
            x, y, call.geometry, groups=call.groups, data_format=call.data_format
        )
        return np.ascontiguousarray(kernel.astype(x.dtype))


IMPLEMENTATIONS: tuple[Implementation, ...] = (
    Compiled("avx512"),
    Compiled("avx2"),
    Compiled("baseline"),
    Compiled("neon"),
    Portable(),
    DIRECT,
    Reference(),
)


@dataclass(frozen=True, slots=True)
class Status:
    """One row of `implementations()`: `runs` marks the one that the next float32 call uses."""

    name: str
    usable: bool
    runs: bool
    obstacle: str | None


def implementations() -> tuple[Status, ...]:
    """List the implementations, best first.

    Which are usable here, which one runs, and why others cannot.

    >>> [row.name for row in implementations()]
    ['avx512', 'avx2', 'baseline', 'neon', 'numpy', 'direct', 'reference']

    Returns:
        A `Status` for each.

    Raises:
        ValueError: BACKSTRIDE_IMPLEMENTATION names none.
        RuntimeError: it names one that cannot run here.
    """
    chosen = select(np.dtype(np.float32))
    rows: list[Status] = []
    for entry in IMPLEMENTATIONS:
        obstacle = entry.obstacle()
        rows.append(Status(entry.name, obstacle is None, entry is chosen, obstacle))
    return tuple(rows)


def select(dtype: AnyDtype) -> Implementation:
    """The forced implementation, or the first usable one for `dtype` or a wider one."""
    wanted = os.environ.get(VARIABLE)
    usable = [entry for entry in IMPLEMENTATIONS if entry.obstacle() is None]
    best = next(entry for entry in usable if entry.takes(widened(dtype)))
    if not wanted:
        return best
    names = ", ".join(entry.name for entry in usable)
    for entry in IMPLEMENTATIONS:
        if entry.name != wanted:
            continue
        if (obstacle := entry.obstacle()) is not None:
            message = f"`{VARIABLE}` (={wanted!r}) cannot run here: {obstacle}; usable are {names}"
            raise RuntimeError(message)
        if not entry.takes(widened(dtype)):
            message = (
                f"`{VARIABLE}` (={wanted!r}) does not compute in {dtype}; the nearest legal value "
                f"is {best.name!r}"
            )
            raise TypeError(message)
        return entry
    message = f"`{VARIABLE}` (={wanted!r}) is no implementation; usable are {names}"
    raise ValueError(message)
