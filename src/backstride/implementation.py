"""What every implementation of the three operations is.

The interface between arguments and arithmetic. An implementation gets checked NumPy arrays of one
dtype, which it never writes to, and a `Call`. Everything that users can get wrong was settled
before.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from backstride.activations import activate
from backstride.geometry import Geometry
from backstride.layout import AnyArray, AnyDtype, DataFormat, kernel_view

Packed: TypeAlias = Any
"""A kernel in the form of the implementation that packed it, which alone reads it."""
Repeated: TypeAlias = Callable[[AnyArray], AnyArray]
Three: TypeAlias = tuple[int, int, int]


def three(values: tuple[int, ...], filler: int) -> Three:
    """Integers of three axes, of which the first may be missing.

    >>> three((4, 5), filler=1)
    (1, 4, 5)
    """
    first, second, third = (filler,) * (3 - len(values)) + values
    return first, second, third


class Storage(Enum):
    """Half precision as bits in memory, uint16: computed in float32, and rounded once."""

    float16 = 0
    bfloat16 = 1


def storage_of(kind: str) -> Storage | None:
    """The one of a dtype's name, None for a dtype that NumPy itself computes in.

    >>> storage_of("bfloat16"), storage_of("float32")
    (<Storage.bfloat16: 1>, None)
    """
    return Storage.__members__.get(kind)


@dataclass(frozen=True, slots=True)
class Call:
    """What an implementation needs to know beside the arrays."""

    geometry: Geometry
    groups: int
    data_format: DataFormat
    winograd: bool = True
    """Whether `conv` and a kernel gradient may use Winograd tiles.

    Of `conv_transpose`, packing the kernel decides.
    """
    before: Three = field(init=False, repr=False)
    """The leading crop of three axes; axes that are not there have none."""
    output: tuple[int, ...] = field(init=False, repr=False)
    """The output of the geometry, which would count it anew at each call."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "before", three(tuple(pair[0] for pair in self.geometry.crop), 0))
        object.__setattr__(self, "output", self.geometry.output)


class Layer(NamedTuple):
    """What the packed form of a kernel depends on, beside its numbers."""

    groups: int
    data_format: DataFormat
    strides: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a call takes by one algorithm, predicted.

    Args:
        algorithm: its name.
        milliseconds: of the whole call, on as many threads as it may use.
        limit: what takes most of it: "products", "weights from L3", "tile transforms", "fixed
            costs", ... .
        share: the part of the time that it takes, from 0 to 1.
        parts: milliseconds of each of them.
    """

    algorithm: str
    milliseconds: float
    limit: str
    share: float
    parts: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisConvolution:
    """A convolution of stride 1 by tiles of four outputs along the first axis.

    `native/axis_tiles.h`. Arrays are (batch, cells, channels), or (batch, channels, cells) where
    channels stand `first`; cells are those of the axis times those of its `plane`. Matrices are
    flat.
    """

    source: AnyArray
    source_first: bool
    target: AnyArray
    """Where the result is written."""
    target_first: bool
    offset: AnyArray
    """[points][channels], added to the products."""
    input: AnyArray
    """The matrix [points][points] that transforms inputs."""
    output: AnyArray
    """The matrix [4][points] that transforms products."""
    before: int
    """Zeros before the first cell of the axis."""
    count: int
    """Cells of the result along the axis."""
    dilation: int
    taps: int
    plane: Sequence[int]
    """Cells of the other two axes; (0, 0) where there are none."""
    target_plane: Sequence[int]
    crop: Sequence[int]
    """Of the plane's full output, before its first cell."""
    strip: int
    """Numbers of the transformed input that a thread takes at once."""


class Implementation(ABC):
    """One way to compute `conv_transpose`, `conv` and `conv_kernel_gradient`."""

    name: str
    algorithm: str = "definition"
    """The one that is always used, where there is no choice."""
    takes_bits: bool = False
    """Whether it reads and writes half precision as bits, of a `Storage`.

    Others get such arrays widened.
    """
    tiles_axes: bool = False
    """Whether `axis_convolution` is there."""

    @abstractmethod
    def obstacle(self) -> str | None:
        """Why this implementation cannot run on this machine, or None where it can."""

    @abstractmethod
    def takes(self, dtype: AnyDtype) -> bool:
        """Whether it computes in this dtype; others are widened first."""

    @abstractmethod
    def pack(
        self, kernel: AnyArray, layer: Layer, *, algorithm: str | None = None, winograd: bool = True
    ) -> Packed:
        """A copy of the kernel in the form that `conv_transpose` reads; made once for a plan.

        `algorithm` forces one by name; without `winograd`, the automatic choice leaves that one
        out.
        """

    def borrow(self, kernel: AnyArray, layer: Layer, *, winograd: bool = True) -> Packed:
        """What `pack` gives, for one call.

        It may read the kernel itself, which must not change before.
        """
        return self.pack(kernel, layer, winograd=winograd)

    def algorithm_of(self, packed: Packed, *, storage: Storage | None = None) -> str:  # noqa: ARG002  where there is a choice
        """The algorithm that runs with a packed kernel, on arrays in this storage."""
        return self.algorithm

    def predict(self, packed: Packed, shape: tuple[int, ...], call: Call) -> tuple[Prediction, ...]:
        """What `conv_transpose` of an array of this shape takes by each algorithm there is.

        None without a model.
        """
        _ = packed, shape, call
        return ()

    @abstractmethod
    def conv_transpose(
        self,
        x: AnyArray,
        packed: Packed,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
        *,
        storage: Storage | None = None,
    ) -> AnyArray:
        """Map x `(N, *input, C_small)` and a packed kernel to y `(N, *output, C_big)`.

        Or channels first. With a `storage`, which only what `takes_bits` is given, x and y are
        bits; all else is float32. The same holds for `conv` and `conv_kernel_gradient`.
        """

    def repeat(
        self,
        shape: tuple[int, ...],
        packed: Packed,
        bias: AnyArray | None,
        activation: str | None,
        call: Call,
    ) -> Repeated:
        """A function of x alone, for arrays of this shape, in the kernel's dtype."""
        _ = shape
        return lambda x: self.conv_transpose(x, packed, bias, activation, call)

    @abstractmethod
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
        """Map y `(N, *output, C_big)` and a kernel to x `(N, *input, C_small)`.

        Or channels first.
        """

    @abstractmethod
    def conv_kernel_gradient(
        self, x: AnyArray, y: AnyArray, call: Call, *, storage: Storage | None = None
    ) -> AnyArray:
        """Map x `(N, *input, C_small)` and y `(N, *output, C_big)` to a kernel, or channels first.

        All of them bits.
        """

    def axis_convolution(self, packed: Packed, call: AxisConvolution) -> bool:
        """Write the result of a convolution to its `target`.

        Where `tiles_axes` says that this is there. The kernel is packed as that of a transposed
        convolution of as many groups as points. False where the source holds numbers that tiles may
        not compute with, and the result means nothing.
        """
        _ = packed, call
        return False

    def channels_last_kernel(self, kernel: AnyArray) -> AnyArray:
        """(*k, C_big/groups, C_small) from a contiguous kernel (C_small, C_big/groups, *k).

        A view, or contiguous.
        """
        return kernel_view(kernel, "channels_first")

    def transposed(self, matrix: AnyArray) -> AnyArray:
        """The transposed of a contiguous matrix, contiguous."""
        return np.ascontiguousarray(matrix.T)


def require_algorithm(algorithm: str | None, name: str, legal: tuple[str, ...]) -> None:
    """Refuse an algorithm that an implementation does not have for a kernel."""
    if algorithm is None or algorithm in legal:
        return
    near = difflib.get_close_matches(str(algorithm), legal, 1) or [legal[0]]
    message = (
        f"`algorithm` (={algorithm!r}) must be None or one that {name} has for this kernel: "
        f"{', '.join(legal)}; the nearest legal value is {near[0]!r}"
    )
    raise ValueError(message)


def finish(
    x: AnyArray, bias: AnyArray | None, activation: str | None, data_format: DataFormat
) -> AnyArray:
    """Add the bias along the channels and apply the activation."""
    if bias is not None:
        column = (-1,) if data_format == "channels_last" else (-1, *(1,) * (x.ndim - 2))
        x = x + bias.reshape(column)
    return activate(x, activation)
