"""Real numbers in the cells: one input map and one kernel, of one channel each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backstride.explain.trace import Index, Meeting, flat

Number = int | float


@dataclass(frozen=True, slots=True)
class Values:
    """The input map `x` and the kernel `w`, row by row, with their sizes."""

    x: tuple[Number, ...]
    x_size: tuple[int, ...]
    w: tuple[Number, ...]
    w_size: tuple[int, ...]

    def at_x(self, cell: Index) -> Number:
        """The input in a cell."""
        return self.x[flat(cell, self.x_size)]

    def at_w(self, tap: Index) -> Number:
        """The weight of a tap."""
        return self.w[flat(tap, self.w_size)]

    def product(self, meeting: Meeting) -> Number:
        """What one meeting adds to its output cell."""
        return self.at_x(meeting.input) * self.at_w(meeting.tap)


def counted(x_size: tuple[int, ...], w_size: tuple[int, ...]) -> Values:
    """Small numbers to follow by hand: 1, 2, 3, ... in the input, 1, 2, 3, 1, ... in the kernel."""
    x = tuple(1 + position % 9 for position in range(math.prod(x_size)))
    w = tuple(1 + position % 3 for position in range(math.prod(w_size)))
    return Values(x, x_size, w, w_size)


def read(name: str, text: str, size: tuple[int, ...]) -> tuple[Number, ...]:
    """Read numbers written out, rows parted by semicolons, or a .npy file.

    >>> read("x", "1 2; 3 4.5", (2, 2))
    (1, 2, 3, 4.5)

    Raises `ValueError` where there are more or fewer than `size` asks for, or one is not a finite number.
    """
    array = _load(name, text) if text.endswith(".npy") else _parse(name, text)
    shape = tuple(entry for entry in array.shape if entry != 1)
    if shape != tuple(entry for entry in size if entry != 1):
        message = (
            f"`{name}` has shape {_joined(array.shape)}; it must be {_joined(size)}, one number for each cell of one "
            "channel"
        )
        raise ValueError(message)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        message = f"`{name}` must hold finite real numbers"
        raise ValueError(message)
    return tuple(_plain(value) for value in array.ravel().tolist())


def show(value: Number) -> str:
    """A number short enough for a cell.

    >>> [show(value) for value in (12, 0.25, -1.23456, 1234567, 3.0)]
    ['12', '0.25', '-1.23', '1e+06', '3']
    """
    text = str(value) if isinstance(value, int) else f"{value:.3g}"
    return text if len(text) <= 5 else f"{value:.0e}" if abs(value) >= 10000 else f"{value:.2g}"


def _load(name: str, path: str) -> np.ndarray:
    try:
        return np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        message = f"`{name}` (={path!r}) must be a .npy file of numbers: {problem}"
        raise ValueError(message) from None


def _parse(name: str, text: str) -> np.ndarray:
    rows: list[list[Number]] = []
    for line in text.strip().strip(";").split(";"):
        try:
            rows.append([_number(word) for word in line.replace(",", " ").split()])
        except ValueError:
            message = f"`{name}` (={text!r}) must be numbers, rows parted by semicolons; for example '1 2; 3 4'"
            raise ValueError(message) from None
    if len({len(row) for row in rows}) > 1:
        message = f"`{name}` (={text!r}) must have rows of one length; for example '1 2; 3 4'"
        raise ValueError(message)
    return np.array(rows[0] if len(rows) == 1 else rows)


def _plain(value: float) -> Number:
    """An integer where it is one, so that sums in cells have no decimals."""
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _number(word: str) -> Number:
    try:
        return int(word)
    except ValueError:
        return float(word)


def _joined(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
