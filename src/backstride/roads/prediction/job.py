"""What is asked of the network that predicts, and where outputs go: all that a worker needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from backstride.pictures.items import Item
from backstride.pictures.job import PictureNetwork, Words, fingerprint, places
from backstride.roads.prediction.drawing import SUFFIXES, Style
from backstride.roads.prediction.loading import Loader
from backstride.roads.prediction.predictor import at_size


@dataclass(frozen=True)
class Job:
    """See `backstride.pictures.job.Job`. `exactly`: write what `style` says of videos, too.

    `size`: what the network sees pictures scaled to; None is the size that it was trained at, ()
    their own. `tile`: as `levels` takes it.
    """

    loader: Loader
    out: Path
    style: Style
    exactly: bool
    size: tuple[int, ...] | None
    tile: int | None
    batch: int

    @property
    def words(self) -> Words:
        """For messages."""
        return Words("roads predict")

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self.loader.device

    def settings(self) -> dict[str, object]:
        """What outputs depend on beside their input."""
        style = {"threshold": self.style.threshold, "opacity": self.style.opacity}
        size = None if self.size is None else list(self.size)
        return {"checkpoint": fingerprint(self.loader.checkpoint), "size": size, **style}

    def places(self, item: Item) -> dict[str, Path]:
        """Without probabilities of videos, half a megabyte a frame, where nobody asked for them."""
        left_out = "probability" if item.is_video and not self.exactly else ""
        return places(
            self.out, item, {kind: SUFFIXES[kind] for kind in self.style.write if kind != left_out}
        )

    def load(self) -> PictureNetwork:
        """The network: pictures to probabilities in steps of 1/65535."""
        predictor = self.loader.load()
        size = predictor.size if self.size is None else self.size
        return partial(at_size, predictor, size=size, tile=self.tile)

    def absolute(self) -> Job:
        """The same, with paths that hold in other folders."""
        return replace(
            self,
            out=self.out.absolute(),
            loader=replace(self.loader, given=self.loader.given.absolute()),
        )
