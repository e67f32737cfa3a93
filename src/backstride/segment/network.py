"""A network that labels every pixel, from a file: .onnx or .keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backstride.surgery.decoding.influence import Influence

SUFFIXES = (".onnx", ".keras")
UNKNOWN = Influence((32, 32), 32, 256, 2048)  # a network that backstride did not make


@dataclass(frozen=True)
class Network:
    """`run`: (1, C, H, W) to (1, classes, H, W). `known`: what tiling needs."""

    run: Callable[[NDArray[Any]], NDArray[Any]]
    channels: int
    known: Influence


def load_network(path: Path, head: str | int | None = None) -> Network:
    """Load a network; nothing in the file is run as code. `head`: which result, where it has several.

    Raises `ValueError` in one sentence for other files, and `ImportError` where the framework is missing.
    """
    if path.suffix == ".onnx":
        return _onnx(path, head)
    if path.suffix == ".keras":
        return _keras(path, head)
    message = f"`network` (={str(path)!r}) must be the path of an .onnx or .keras file"
    raise ValueError(message)


def _onnx(path: Path, head: str | int | None) -> Network:
    from backstride.surgery.onnx.runner import pixel_network  # noqa: PLC0415  loads ONNX

    run, channels, known = pixel_network(path, head)
    return Network(_narrow(run), channels, known or UNKNOWN)


def _keras(path: Path, head: str | int | None) -> Network:
    from backstride.surgery.keras.runner import pixel_network  # noqa: PLC0415  loads Keras

    run, channels, known = pixel_network(path, head)
    return Network(_narrow(run), channels, known or UNKNOWN)


def _narrow(run: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def narrow(images: NDArray[Any]) -> NDArray[Any]:
        return run(images.astype(np.float32, copy=False))

    return narrow
