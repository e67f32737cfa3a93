"""Real numbers in the cells: one input map and one kernel, of one channel each."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, overload

import numpy as np

from backstride.explain.trace import Index, Meeting, flat

Number = int | float
LONGEST_HEADER = 10_000


@dataclass(frozen=True, slots=True)
class Values:
    """The input map `x` and the kernel `w`, row by row, with their sizes."""

    x: Sequence[Number]
    x_size: tuple[int, ...]
    w: Sequence[Number]
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


@dataclass(frozen=True, slots=True)
class Repeated(Sequence[int]):
    """1, 2, ..., `period`, 1, 2, ...: so many numbers, none of them stored."""

    period: int
    length: int

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        found = range(self.length)[index]
        return (
            1 + found % self.period
            if isinstance(found, int)
            else [1 + place % self.period for place in found]
        )

    def __len__(self) -> int:
        return self.length


def counted(x_size: tuple[int, ...], w_size: tuple[int, ...]) -> Values:
    """Small numbers to follow by hand: 1, 2, 3, ... in the input, 1, 2, 3, 1, ... in the kernel."""
    return Values(Repeated(9, math.prod(x_size)), x_size, Repeated(3, math.prod(w_size)), w_size)


def read(name: str, text: str, size: tuple[int, ...]) -> tuple[Number, ...]:
    """Read numbers written out, rows parted by semicolons, or a .npy file.

    >>> read("x", "1 2; 3 4.5", (2, 2))
    (1, 2, 3, 4.5)

    Raises `ValueError` where there are more or fewer than `size` asks for, or one is not a finite
    number.
    """
    array = _load(name, text) if text.endswith(".npy") else _parse(name, text)
    shape = tuple(entry for entry in array.shape if entry != 1)
    if shape != tuple(entry for entry in size if entry != 1):
        message = (
            f"`{name}` has shape {_joined(array.shape)}; it must be {_joined(size)}, one number "
            "for each cell of one channel"
        )
        raise ValueError(message)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        message = f"`{name}` must hold finite real numbers"
        raise ValueError(message)
    return tuple(_plain(value) for value in array.ravel().tolist())


def show(value: Number) -> str:
    """A number short enough for a cell.

    >>> [show(value) for value in (12, 0.25, -1.23456, 1234567, 3.0)]
    ['12', '0.25', '-1.23', '1e6', '3']
    """
    text = str(value) if isinstance(value, int) else f"{value:.3g}"
    if len(text) > 5:
        text = f"{value:.0e}" if abs(value) >= 10000 or abs(value) < 0.001 else f"{value:.2g}"
    # 1e+06 and 1e-300 in as few letters as they can be said.
    mantissa, sign, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if sign else text


def _load(name: str, path: str) -> np.ndarray:
    """The array of a .npy file, of which only the header is believed.

    No more is read than the file has room for.
    """
    try:
        with Path(path).open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, in_columns, kind = read(file, max_header_size=LONGEST_HEADER)
            room = os.fstat(file.fileno()).st_size - file.tell()
            cells = math.prod(shape)
            if kind.hasobject:
                _refuse_file(name, path, "it holds Python objects")
            if not 0 <= cells * kind.itemsize <= room or min(shape, default=0) < 0:
                _refuse_file(name, path, f"it says shape {_joined(shape)} and has {room} bytes")
            numbers = np.frombuffer(file.read(cells * kind.itemsize), kind)
    except FileNotFoundError:
        _refuse_file(name, path, "it is not there")
    except OSError as problem:
        _refuse_file(name, path, f"it cannot be read: {(problem.strerror or str(problem)).lower()}")
    except NotAnArrayFileError:
        raise
    except Exception:  # noqa: BLE001  what a damaged header raises is tokenize's, ast's or struct's, and differs by version
        _refuse_file(name, path, "its header is damaged, or it is another kind of file")
    return numbers.reshape(shape[::-1]).T if in_columns else numbers.reshape(shape)


class NotAnArrayFileError(ValueError):
    """A file that is refused in one sentence."""


def _refuse_file(name: str, path: str, why: str) -> NoReturn:
    message = f"`{name}` (={path!r}) must be a .npy file of numbers: {why}; numpy.save writes one"
    raise NotAnArrayFileError(message) from None


def _parse(name: str, text: str) -> np.ndarray:
    rows: list[list[Number]] = []
    for line in text.strip().strip(";").split(";"):
        try:
            rows.append([_number(word) for word in line.replace(",", " ").split()])
        except ValueError:
            message = (
                f"`{name}` (={text!r}) must be numbers, rows parted by semicolons; for example '1 "
                "2; 3 4'"
            )
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
