"""Torch's global stream of random numbers, whose functions have no types."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType


def seed_torch(seed: int) -> None:
    """Begin the stream anew."""
    _ = _stream().manual_seed(seed)


@contextmanager
def kept_stream(seed: int | None = None) -> Generator[None]:
    """The stream from a seed, or from where it is, and afterwards as it was before."""
    with _stream().fork_rng(devices=[]):
        if seed is not None:
            seed_torch(seed)
        yield


def _stream() -> ModuleType:
    return importlib.import_module("torch.random")
