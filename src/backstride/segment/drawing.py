"""What is written of pictures and videos that were labelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from backstride.pictures.job import Raster, Results
from backstride.pictures.picture import ROW, Pixels, above, encoded, labels_png, legend, palette
from backstride.segment.labels import Found, found_in
from backstride.segment.picture import coloured, overlay, painted

Kind: TypeAlias = Literal["overlay", "mask"]
KINDS: tuple[Kind, ...] = ("overlay", "mask")
SUFFIXES: dict[Kind, tuple[str, str]] = {"overlay": (".png", ".mp4"), "mask": (".png", ".mkv")}
IN_LEGEND = 12
STRIP = 2 * ROW + 8  # rows of pixels below each frame of a video
BYTE = 256  # labels that a PNG with a palette holds


@dataclass(frozen=True, slots=True)
class Colouring:
    """`called`: names by label. `opacity`: of the colours, 0 to 1. `write`: which files."""

    called: Mapping[int, str]
    opacity: float = 0.5
    write: tuple[Kind, ...] = KINDS

    def overlay(self, picture: Pixels, labels: Results, found: tuple[Found, ...]) -> bytes:
        """The picture under its labels' colours as a PNG file, with a legend of what was found."""
        entries = [(entry.label, f"{entry.name}: {entry.share:.0%}") for entry in found[:IN_LEGEND]]
        return overlay(picture, labels, entries, self.opacity)

    def files(
        self, kinds: Iterable[str], picture: Pixels, result: Results
    ) -> Iterator[tuple[str, bytes]]:
        """What is written of a picture, see `pictures.job.Outputs`; `result`: its labels."""
        for kind in kinds:
            if kind == "overlay":
                yield kind, self.overlay(picture, result, found_in(result, self.called))
            elif (most := int(result.max())) < BYTE:
                yield kind, labels_png(result.astype(np.uint8), palette(most + 1).tolist())
            else:
                yield kind, encoded(result, "PNG", compress_level=3)

    def frames(
        self, kinds: Iterable[str], picture: Pixels, result: Results
    ) -> Iterator[tuple[str, Raster]]:
        """What is written of a frame of a video.

        Names stand below it without shares, which would flicker.
        """
        for kind in kinds:
            if kind == "overlay":
                found = found_in(result, self.called)[:IN_LEGEND]
                strip = _strip(
                    tuple((entry.label, entry.name) for entry in found), picture.shape[1]
                )
                yield kind, above(painted(picture, result, self.opacity), strip)
            else:
                yield kind, result


@lru_cache(maxsize=4)
def _strip(entries: tuple[tuple[int, str], ...], width: int) -> Pixels:
    """A legend of one height for all frames.

    The first entries that fit, in the order of their labels.
    """
    made = legend([], width)
    for count in range(1, len(entries) + 1):
        more = legend(coloured(sorted(entries[:count])), width)
        if len(more) > STRIP:
            break
        made = more
    return np.pad(made, ((0, STRIP - len(made)), (0, 0), (0, 0)), constant_values=255)
