"""A network that labels every pixel, from a file: .onnx or .keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backstride.layout import AnyArray
from backstride.surgery.decoding.influence import Influence

SUFFIXES = (".onnx", ".keras")
UNKNOWN = Influence((32, 32), 32, 256, 2048)  # a network that backstride did not make


@dataclass(frozen=True)
class PixelNetwork:
    """`run`: (1, C, H, W) to (1, classes, H, W). `known`: what tiling needs."""

    run: Callable[[AnyArray], AnyArray]
    channels: int
    known: Influence


def load_network(path: Path, head: str | int | None = None) -> PixelNetwork:
    """Load a network; nothing in the file is run as code.

    `head`: which result, where it has several. Raises `ValueError` in one sentence for other files,
    and `ImportError` where the framework is missing.
    """
    return _keras(path, head) if _is_keras(path) else _onnx(path, head)


def files_of(path: Path) -> tuple[Path, ...]:
    """The network's file, and those in its folder that hold weights of it.

    Raises `ValueError` for files that are no networks.
    """
    if _is_keras(path):
        return (path,)
    from backstride.surgery.onnx.file import data_files  # noqa: PLC0415  loads ONNX

    return (path, *data_files(path))


def _is_keras(path: Path) -> bool:
    """Whether it is a .keras file and no .onnx file."""
    if path.suffix not in SUFFIXES:
        message = f"`network` (={str(path)!r}) must be the path of an .onnx or .keras file"
        raise ValueError(message)
    return path.suffix == ".keras"


def _onnx(path: Path, head: str | int | None) -> PixelNetwork:
    from backstride.surgery.onnx.runner import pixel_network  # noqa: PLC0415  loads ONNX

    run, channels, known = pixel_network(path, head)
    return PixelNetwork(_narrow(run), channels, known or UNKNOWN)


def _keras(path: Path, head: str | int | None) -> PixelNetwork:
    from backstride.surgery.keras.runner import pixel_network  # noqa: PLC0415  loads Keras

    run, channels, known = pixel_network(path, head)
    return PixelNetwork(_narrow(run), channels, known or UNKNOWN)


def _narrow(run: Callable[[AnyArray], AnyArray]) -> Callable[[AnyArray], AnyArray]:
    def narrow(images: AnyArray) -> AnyArray:
        return run(images.astype(np.float32, copy=False))

    return narrow
