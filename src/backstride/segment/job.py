"""Labels of pictures, folders and videos as a job for the runner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backstride.pictures.items import Item
from backstride.pictures.job import PictureNetwork, Results, Words, places
from backstride.pictures.picture import Pixels
from backstride.segment.drawing import SUFFIXES, Colouring
from backstride.segment.labels import Labeller, Labelling

WORDS = Words("segment", "photos")


@dataclass(frozen=True)
class LabelJob:
    """See `pictures.job.Job`. Pictures run one by one: each has the labels that it has alone.

    `fingerprints`: of the network's files.
    """

    labelling: Labelling
    out: Path
    style: Colouring
    fingerprints: tuple[str, ...]

    @property
    def words(self) -> Words:
        """For messages."""
        return WORDS

    @property
    def batch(self) -> int:
        """One."""
        return 1

    @property
    def device(self) -> str:
        """The CPU."""
        return "cpu"

    def settings(self) -> dict[str, object]:
        """What outputs depend on beside their input."""
        options = self.labelling
        return {
            "network": list(self.fingerprints),
            "head": options.head,
            "names": list(self.style.called.values()),
            "mean": list(options.mean),
            "std": list(options.std),
            "scale": options.scale,
            "opacity": options.opacity,
        }

    def places(self, item: Item) -> dict[str, Path]:
        """Where the outputs of an item go."""
        return places(self.out, item, {kind: SUFFIXES[kind] for kind in self.style.write})

    def load(self) -> PictureNetwork:
        """The network: pictures to labels."""
        label = Labeller(self.labelling, len(self.style.called) if self.labelling.names else None)

        def run(pictures: Pixels) -> Results:
            return np.stack([label(picture, label.tile(picture)) for picture in pictures])

        return run

    def absolute(self) -> LabelJob:
        """The same, with paths that hold in other folders."""
        labelling = replace(self.labelling, network=self.labelling.network.absolute())
        return replace(self, out=self.out.absolute(), labelling=labelling)
