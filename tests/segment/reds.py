"""A network that needs no framework: the class of a pixel is its red in steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backstride.segment.network import PixelNetwork
from backstride.surgery.decoding.influence import Influence


class Reds:
    """`classes`: how many, each of a step of red. `stop_after` so many pictures it raises."""

    def __init__(self, classes: int = 4, stop_after: int | None = None) -> None:
        self.classes, self.stop_after = classes, stop_after
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(1, 3, rows, columns), 0 to 1, to (1, classes, rows, columns)."""
        self.shapes.append(images.shape)
        if self.stop_after is not None and len(self.shapes) > self.stop_after:
            raise KeyboardInterrupt
        labels = (np.rint(images[:, :1] * 255).astype(int) * self.classes) // 256
        return (labels == np.arange(self.classes).reshape(1, -1, 1, 1)).astype(np.float32)


def labels_of(picture: NDArray[np.uint8], classes: int = 4) -> NDArray[np.uint16]:
    """What `Reds` finds."""
    return (picture[..., 0].astype(int) * classes // 256).astype(np.uint16)


def loaded(monkeypatch: pytest.MonkeyPatch, reds: Reds) -> None:
    """Have every file be this network."""

    def load(path: Path, head: str | int | None) -> PixelNetwork:
        assert path.exists()
        assert head is None
        return PixelNetwork(reds, 3, Influence((8, 8), 4, 8, 1))

    monkeypatch.setattr("backstride.segment.labels.load_network", load)
