"""Small pictures on disk for the tests of roads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def save(path: Path, pixels: NDArray[Any]) -> Path:
    """Write pixels as a picture, its format by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def photograph(path: Path, rows: int = 6, columns: int = 8) -> Path:
    """Write a photograph of noise."""
    return save(
        path, np.random.default_rng(rows).integers(0, 256, (rows, columns, 3)).astype(np.uint8)
    )


def kitti_mask(path: Path, labels: NDArray[np.uint8]) -> Path:
    """Write labels as KITTI Road's devkit writes them: red valid, blue road."""
    pixels = np.zeros((*labels.shape, 3), np.uint8)
    pixels[..., 0] = np.where(labels != 255, 255, 0)
    pixels[..., 2] = np.where(labels == 1, 255, 0)
    return save(path, pixels)
