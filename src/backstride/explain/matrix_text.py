"""The two matrices side by side, as text."""

from __future__ import annotations

import math
from typing import Any

from backstride.explain.trace import trace
from backstride.geometry import Geometry

LARGEST_SHOWN = 40


def matrix_text(geometry: Geometry) -> str:
    """Draw a layer's matrix beside its convolution's, taps by number, with the proof.

    >>> from backstride.geometry import geometry
    >>> print(matrix_text(geometry(2, 3, strides=2)))
    the convolution C, 2 x 5    its transpose T, 5 x 2
    0 1 2 . .                   0 .
    . . 0 1 2                   1 .
                                2 0
                                . 1
                                . 2
    numbers are taps; both built from their own definitions: C.T - T has 0 entries that are not 0
    <C y, x> = <y, T x> on random integers: 126 = 126

    Needs SciPy. Raises `ValueError` above 40 cells on a side.
    """
    from backstride.explain.matrix import matrices  # noqa: PLC0415  SciPy is slow to load, and an extra

    small, big = math.prod(geometry.input), math.prod(geometry.output)
    if max(small, big) > LARGEST_SHOWN:
        message = (
            f"`matrix` (={small} x {big}) is too large to print, at most {LARGEST_SHOWN} cells a side; give a smaller "
            "--input, or use backstride.explain.matrix.matrices"
        )
        raise ValueError(message)
    found = matrices(trace(geometry))
    left = [f"the convolution C, {small} x {big}", *_rows(found.convolution)]
    right = [f"its transpose T, {big} x {small}", *_rows(found.transposed)]
    width = max(map(len, left)) + 4
    left += [""] * (len(right) - len(left))
    right += [""] * (len(left) - len(right))
    lines = [f"{a:<{width}}{b}".rstrip() for a, b in zip(left, right, strict=True)]
    lines.append(
        f"numbers are taps; both built from their own definitions: C.T - T has {found.differing} entries that are not 0"
    )
    lines.append("<C y, x> = <y, T x> on random integers: " + " = ".join(map(str, found.products)))
    return "\n".join(lines)


def matrix_data(geometry: Geometry) -> dict[str, Any]:
    """The same for JSON: (output cell, input cell, tap) of every entry of the layer's matrix, and the proof.

    >>> from backstride.geometry import geometry
    >>> matrix_data(geometry(2, 1, strides=2))["transposed"]
    [(0, 0, 0), (2, 1, 0)]

    Needs SciPy. Raises `ValueError` where the call is too large to trace.
    """
    from backstride.explain.matrix import matrices  # noqa: PLC0415  the same

    found = matrices(trace(geometry))
    entries = found.transposed.tocoo()
    triples = zip(entries.row.tolist(), entries.col.tolist(), (entries.data - 1).tolist(), strict=True)
    return {
        "shape": list(entries.shape),
        "transposed": list(triples),
        "differing": found.differing,
        "products": list(found.products),
    }


def _rows(matrix: Any) -> list[str]:
    dense = matrix.toarray()
    width = len(str(int(dense.max()) - 1))
    return [" ".join(f"{entry - 1 if entry else '.':>{width}}" for entry in row.tolist()) for row in dense]
