"""The sparse matrix of a convolution beside its transpose, and the proof of that.

Both are built, each from its own definition: the convolution's by sliding windows over its padded
input, one row for each output cell; the transposed convolution's by stamping, one column for each
input cell. That they are equal up to transposition is found out, not assumed.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from backstride.explain.trace import Meeting, Trace, cells, flat, meetings
from backstride.geometry import Convolution, Geometry
from backstride.reference import conv, conv_transpose


@dataclass(frozen=True, slots=True)
class Matrices:
    """Two `scipy.sparse` matrices whose entries are tap numbers + 1, to tell taps apart.

    `convolution` (input cells, output cells of the layer), `transposed` the other way around.
    `differing`: entries in which `convolution.T` and `transposed` differ. `products`: <conv(y), x>
    and <y, conv_transpose(x)> on random integers.
    """

    convolution: Any
    transposed: Any
    differing: int
    products: tuple[int, int]

    @property
    def holds(self) -> bool:
        """Whether both proofs hold."""
        return self.differing == 0 and self.products[0] == self.products[1]


def matrices(trace: Trace) -> Matrices:
    """Build both matrices and compare; needs SciPy.

    >>> from backstride.explain.trace import trace
    >>> from backstride.geometry import geometry
    >>> found = matrices(trace(geometry(2, 3, strides=2)))
    >>> found.transposed.toarray().tolist()
    [[1, 0], [2, 0], [3, 1], [0, 2], [0, 3]]
    >>> found.holds
    True
    """
    geometry = trace.geometry
    small, big = math.prod(geometry.input), math.prod(geometry.output)
    transposed = _sparse(_stamped(trace.meetings, geometry), (big, small))
    convolution = _sparse(windows(geometry.adjoint), (small, big))
    differing = int((transposed != convolution.T).nnz)
    return Matrices(convolution, transposed, differing, _products(geometry))


def corners(geometry: Geometry, small: Sequence[int], big: Sequence[int]) -> Matrices:
    """The same of some rows and columns alone.

    These input and output cells of the layer, by flat index.
    """
    inputs = [
        tuple(int(entry) for entry in np.unravel_index(cell, geometry.input)) for cell in small
    ]
    stamped = _stamped(meetings(geometry, product(inputs, cells(geometry.kernel))), geometry)
    x, y = _places(small), _places(big)
    stamped = _stamped(meetings(geometry, product(inputs, cells(geometry.kernel))), geometry)
    transposed = _sparse(
        ((y[o], x[i], tap) for o, i, tap in stamped if o in y), (len(big), len(small))
    )
    read = windows(geometry.adjoint, inputs)
    convolution = _sparse(
        ((x[i], y[o], tap) for i, o, tap in read if o in y), (len(small), len(big))
    )
    random = np.random.default_rng(0)
    left, right = random.integers(-9, 10, len(small)), random.integers(-9, 10, len(big))
    products = int((convolution @ right) @ left), int((transposed @ left) @ right)
    return Matrices(convolution, transposed, int((transposed != convolution.T).nnz), products)


def _places(known: Sequence[int]) -> dict[int, int]:
    return {cell: place for place, cell in enumerate(known)}


def _stamped(stamps: Iterable[Meeting], geometry: Geometry) -> Iterable[tuple[int, int, int]]:
    """(output cell, input cell, tap) of the transposed convolution, stamp by stamp."""
    for meeting in stamps:
        if meeting.output is not None:
            output, cell = (
                flat(meeting.output, geometry.output),
                flat(meeting.input, geometry.input),
            )
            yield output, cell, flat(meeting.tap, geometry.kernel)


def windows(
    convolution: Convolution, wanted: Iterable[tuple[int, ...]] | None = None
) -> Iterable[tuple[int, int, int]]:
    """(output cell, input cell, tap) of the strided convolution, window by window.

    All of them, or those of some cells.
    """
    for cell in product(*map(range, convolution.output)) if wanted is None else wanted:
        for tap in product(*map(range, convolution.kernel)):
            read = tuple(
                m * s - before + j * d
                for m, s, (before, _), j, d in zip(
                    cell,
                    convolution.strides,
                    convolution.padding,
                    tap,
                    convolution.dilation,
                    strict=True,
                )
            )
            if all(
                0 <= position < size for position, size in zip(read, convolution.input, strict=True)
            ):
                yield (
                    flat(cell, convolution.output),
                    flat(read, convolution.input),
                    flat(tap, convolution.kernel),
                )


def _sparse(entries: Iterable[tuple[int, int, int]], shape: tuple[int, int]) -> Any:
    try:
        sparse: Any = importlib.import_module("scipy.sparse")
    except ModuleNotFoundError as problem:
        message = '`matrix` needs SciPy: pip install "backstride[pictures]"'
        raise ImportError(message) from problem
    found = np.array(list(entries), dtype=np.int64).reshape(-1, 3)
    return sparse.coo_array((found[:, 2] + 1, (found[:, 0], found[:, 1])), shape=shape).tocsr()


def _products(geometry: Geometry) -> tuple[int, int]:
    random = np.random.default_rng(0)
    x = random.integers(-9, 10, (1, *geometry.input, 1))
    y = random.integers(-9, 10, (1, *geometry.output, 1))
    kernel = random.integers(-9, 10, (*geometry.kernel, 1, 1))
    left, right = conv(y, kernel, geometry) * x, conv_transpose(x, kernel, geometry) * y
    return int(left.sum()), int(right.sum())
