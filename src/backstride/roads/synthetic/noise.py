"""Noise that tiles: made once in a process from fixed seeds, then looked up at any place."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np

from backstride.layout import AnyArray

SIDE = 256
AHEAD = 1 << 15  # added before truncation, so that it rounds the same way on both sides of 0
EIGHT, LOW = np.uint16(8), np.uint16(SIDE - 1)
KINDS = {"smooth": (3.2, 1 / 16), "cloud": (2.0, 1.0), "rough": (1.1, 1.0), "grain": (0.0, 1.0)}

Floats: TypeAlias = (
    AnyArray  # float32; arithmetic with Python's numbers keeps it so, which its stubs do not know
)


@lru_cache(maxsize=len(KINDS))
def tile(kind: str) -> Floats:
    """Gaussian noise of SIDE by SIDE cells, mean 0, deviation 1; neighbours alike by its kind.

    The amplitude of frequency f falls as f ** -power / 2, and frequencies over `highest` cycles a
    cell are left out, so that "smooth" can be magnified.
    """
    power, highest = KINDS[kind]
    rng = np.random.default_rng(list(kind.encode()))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = 1
    weights = frequency ** (-power / 2) * (frequency <= highest)
    weights[0, 0] = 0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * weights, s=(SIDE, SIDE))
    noise = (noise - noise.mean()) / noise.std()
    noise = noise.astype(np.float32)
    noise.flags.writeable = False
    return noise


def sample(kind: str, rows: Floats, columns: Floats) -> Floats:
    """The noise at these cells, the nearest one; arguments broadcast."""
    # SIDE * SIDE is 2 ** 16: the place in the tile wraps by itself
    above = (rows + AHEAD).astype(np.int32).astype(np.uint16) << EIGHT
    right = (columns + AHEAD).astype(np.int32).astype(np.uint16) & LOW
    return tile(kind).ravel().take(above | right)


def line(kind: str, at: Floats, row: int) -> Floats:
    """One row of the noise, interpolated linearly."""
    cells = tile(kind)[row % SIDE]
    low = np.floor(at)
    index = low.astype(np.int64)
    share = (at - low).astype(np.float32)
    return cells[index % SIDE] * (1 - share) + cells[(index + 1) % SIDE] * share


def crop(kind: str, rows: int, columns: int, above: int, right: int) -> Floats:
    """A piece of the noise of any size, as it is."""
    return np.take(
        np.take(tile(kind), np.arange(above, above + rows), 0, mode="wrap"),
        np.arange(right, right + columns),
        1,
        mode="wrap",
    )
