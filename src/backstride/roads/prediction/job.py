"""What is asked of the network that predicts, and where each output goes: all that a worker needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from backstride.roads.prediction.drawing import Kind, Style, places
from backstride.roads.prediction.items import Item
from backstride.roads.prediction.loading import Loader
from backstride.roads.prediction.runner import Progress, Runner


@dataclass(frozen=True)
class Job:
    """All that a worker needs. `exactly`: write what `style` says of videos, too."""

    loader: Loader
    out: Path
    style: Style
    exactly: bool
    size: tuple[int, ...] | None
    tile: int | None
    batch: int

    def settings(self) -> dict[str, object]:
        """What outputs depend on beside their input."""
        style = {"threshold": self.style.threshold, "opacity": self.style.opacity}
        size = None if self.size is None else list(self.size)
        return {"checkpoint": fingerprint(self.loader.checkpoint), "size": size, **style}

    def places(self, item: Item) -> dict[Kind, Path]:
        """Where the outputs of an item go."""
        return places(self.out, item.name, self.style_of(item), video=item.is_video)

    def style_of(self, item: Item) -> Style:
        """Without probabilities of videos, half a megabyte a frame, where nobody asked for them."""
        if self.exactly or not item.is_video:
            return self.style
        return replace(self.style, write=("overlay", "mask"))

    def runner(self, progress: Progress | None = None) -> Runner:
        """The network, loaded."""
        return Runner(self.loader.load(), self.places, self.style, self.size, self.tile, self.batch, progress)


def fingerprint(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
