"""What every implementation of the three operations is: the seam between arguments and arithmetic.

An implementation gets checked NumPy arrays of one dtype, which it never writes to, and a `Call`.
Everything that users can get wrong was settled before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from backstride.activations import activate
from backstride.geometry import Geometry
from backstride.layout import AnyArray, DataFormat


@dataclass(frozen=True, slots=True)
class Call:
    """What an implementation needs to know beside the arrays."""

    geometry: Geometry
    groups: int
    data_format: DataFormat


class Implementation(ABC):
    """One way to compute `conv_transpose`, `conv` and `conv_kernel_gradient`."""

    name: str

    @abstractmethod
    def obstacle(self) -> str | None:
        """Why this implementation cannot run on this machine, or None where it can."""

    @abstractmethod
    def takes(self, dtype: np.dtype[Any]) -> bool:
        """Whether it computes in this dtype; others are widened first."""

    @abstractmethod
    def pack(
        self,
        kernel: AnyArray,
        groups: int,
        data_format: DataFormat,
        strides: tuple[int, ...],
        dilation: tuple[int, ...],
    ) -> Any:
        """A copy of the kernel in the form that `conv_transpose` reads; made once for a plan."""

    @abstractmethod
    def conv_transpose(
        self, x: AnyArray, packed: Any, bias: AnyArray | None, activation: str | None, call: Call
    ) -> AnyArray:
        """Map x (N, *input, C_small) and a packed kernel to y (N, *output, C_big), or channels first."""

    @abstractmethod
    def conv(
        self, y: AnyArray, kernel: AnyArray, bias: AnyArray | None, activation: str | None, call: Call
    ) -> AnyArray:
        """Map y (N, *output, C_big) and a kernel to x (N, *input, C_small), or channels first."""

    @abstractmethod
    def conv_kernel_gradient(self, x: AnyArray, y: AnyArray, call: Call) -> AnyArray:
        """Map x (N, *input, C_small) and y (N, *output, C_big) to a kernel, or channels first."""


def finish(x: AnyArray, bias: AnyArray | None, activation: str | None, data_format: DataFormat) -> AnyArray:
    """Add the bias along the channels and apply the activation."""
    if bias is not None:
        column = (-1,) if data_format == "channels_last" else (-1, *(1,) * (x.ndim - 2))
        x = x + bias.reshape(column)
    return activate(x, activation)
