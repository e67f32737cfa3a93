"""The two matrices side by side, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from backstride.explain.trace import trace
from backstride.explain.window import both_ends, show
from backstride.geometry import Geometry

LARGEST_SHOWN = 40
AT_ENDS = 20


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

    Of a matrix of more than 40 cells on a side the first and the last rows and columns are printed.
    Needs SciPy.
    """
    from backstride.explain.matrix import corners, matrices  # noqa: PLC0415  SciPy is slow to load, and an extra

    small, big = math.prod(geometry.input), math.prod(geometry.output)
    whole = max(small, big) <= LARGEST_SHOWN
    x, y = (both_ends(cells, LARGEST_SHOWN if whole else AT_ENDS) for cells in (small, big))
    found = matrices(trace(geometry)) if whole else corners(geometry, x, y)
    left = [f"the convolution C, {small} x {big}", *_rows(found.convolution, x, y)]
    right = [f"its transpose T, {big} x {small}", *_rows(found.transposed, y, x)]
    width = max(map(len, left)) + 4
    left += [""] * (len(right) - len(left))
    right += [""] * (len(left) - len(right))
    lines = [f"{a:<{width}}{b}".rstrip() for a, b in zip(left, right, strict=True)]
    if not whole:
        lines.append(
            f"the first and the last cells: {show(x)} of {small}, {show(y)} of {big}; the proof is "
            "of these"
        )
    lines.append(
        f"numbers are taps; both built from their own definitions: C.T - T has {found.differing} "
        "entries that are not 0"
    )
    lines.append("<C y, x> = <y, T x> on random integers: " + " = ".join(map(str, found.products)))
    return "\n".join(lines)


def matrix_data(geometry: Geometry) -> dict[str, Any]:
    """The same for JSON.

    (output cell, input cell, tap) of every entry of the layer's matrix, and the proof.

    >>> from backstride.geometry import geometry
    >>> matrix_data(geometry(2, 1, strides=2))["transposed"]
    [(0, 0, 0), (2, 1, 0)]

    Needs SciPy. Raises `ValueError` where the call is too large to trace.
    """
    from backstride.explain.matrix import matrices  # noqa: PLC0415  the same

    found = matrices(trace(geometry))
    entries = found.transposed.tocoo()
    triples = zip(
        entries.row.tolist(), entries.col.tolist(), (entries.data - 1).tolist(), strict=True
    )
    return {
        "shape": list(entries.shape),
        "transposed": list(triples),
        "differing": found.differing,
        "products": list(found.products),
    }


def _rows(matrix: Any, rows: Sequence[int], columns: Sequence[int]) -> list[str]:
    """Row by row; dots where rows or columns are left out."""
    dense = matrix.toarray()
    width = len(str(max(int(dense.max()) - 1, 0)))
    printed: list[str] = []
    for at, row in enumerate(dense.tolist()):
        cells = [f"{entry - 1 if entry else '.':>{width}}" for entry in row]
        gap = _gap(columns)
        printed.append(" ".join(cells if gap is None else [*cells[:gap], "...", *cells[gap:]]))
        if at + 1 == _gap(rows):
            printed.append("...")
    return printed


def _gap(cells: Sequence[int]) -> int | None:
    """Behind how many cells others are left out."""
    return next((at for at in range(1, len(cells)) if cells[at] != cells[at - 1] + 1), None)
