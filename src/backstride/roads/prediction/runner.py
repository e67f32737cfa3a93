"""Items through a predictor, on one machine: read ahead, predicted in batches, written behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from backstride.roads.prediction.drawing import Kind, Style, write_picture
from backstride.roads.prediction.items import Item
from backstride.roads.prediction.manifest import Outcome, Skipped
from backstride.roads.prediction.predictor import Levels, Pictures, Predictor, at_size
from backstride.roads.prediction.reading import Film, Frame
from backstride.roads.prediction.threads import ahead, behind
from backstride.roads.prediction.writing import footage
from backstride.segment.picture import read_picture

DEPTH = 2  # batches that wait before the network and behind it
TOGETHER = 2**22  # pixels; larger pictures come alone
Progress: TypeAlias = Callable[[str, int, int | None], None]
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Runner:
    """What pictures and videos run through.

    `places`: where outputs go. `size`: what the network sees pictures scaled to; None is the size that it was trained
    at, () their own. `tile`: as `levels` takes it. `batch`: how many pictures of one size run together. `progress`:
    called with "pictures" or a video's name, how many are done, and of how many, None where that is unknown.
    """

    predictor: Predictor
    places: Callable[[Item], dict[Kind, Path]]
    style: Style
    size: tuple[int, ...] | None = None
    tile: int | None = None
    batch: int = 4
    progress: Progress | None = None

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Outcome]]:
        """Predict and write pictures, then videos; what cannot be read becomes an outcome with a reason.

        Raises `OSError` where an output cannot be written.
        """
        waiting = list(items)
        yield from self._pictures([item for item in waiting if not item.is_video])
        for item in waiting:
            if item.is_video:
                yield item, self._video(item)

    def _pictures(self, items: list[Item]) -> Iterator[tuple[Item, Outcome]]:
        read = ahead(((item, _read(item)) for item in items), DEPTH * self.batch, _is_large)
        count = 0
        for done in behind(self._write, self._predicted(read), DEPTH):
            count += len(done)
            self._tell("pictures", count, len(items))
            yield from done

    def _predicted(
        self, read: Iterable[tuple[Item, Pictures | str]]
    ) -> Iterator[list[tuple[Item, Pictures | str, Levels | None]]]:
        for group in batches(read, lambda entry: entry[1] if isinstance(entry[1], np.ndarray) else None, self.batch):
            pictures = [picture for _, picture in group if isinstance(picture, np.ndarray)]
            found = iter(self._levels(pictures) if pictures else ())
            yield [(item, picture, None if isinstance(picture, str) else next(found)) for item, picture in group]

    def _write(self, group: list[tuple[Item, Pictures | str, Levels | None]]) -> list[tuple[Item, Outcome]]:
        outcomes: list[tuple[Item, Outcome]] = []
        for item, picture, found in group:
            if isinstance(picture, str) or found is None:
                outcomes.append((item, Outcome(item.name, reason=str(picture))))
                continue
            to = self.places(item)
            write_picture(to, picture, found, self.style)
            outcomes.append((item, Outcome(item.name, frames=1)))
        return outcomes

    def _video(self, item: Item) -> Outcome:
        try:
            film = Film(item.source)
        except (ValueError, OSError) as error:
            return Outcome(item.name, reason=str(error))
        skipped: list[Skipped] = []
        frames = 0
        with footage(self.places(item), item.source, film.facts, self.style) as put:

            def write(group: list[tuple[Frame, Levels]]) -> int:
                for frame, found in group:
                    put(frame, found)
                return len(group)

            for count in behind(write, self._filmed(ahead(film, DEPTH * self.batch), skipped), DEPTH):
                frames += count
                self._tell(item.name, frames, film.facts.frames)
        return Outcome(item.name, frames, tuple(skipped))

    def _filmed(self, film: Iterable[Frame | Skipped], skipped: list[Skipped]) -> Iterator[list[tuple[Frame, Levels]]]:
        frames = _sorted_out(film, skipped)
        for group in batches(frames, lambda frame: frame.pixels, self.batch):
            found = self._levels([frame.pixels for frame in group])
            yield list(zip(group, found, strict=True))

    def _levels(self, pictures: list[Pictures]) -> Levels:
        size = self.predictor.size if self.size is None else self.size
        return at_size(self.predictor, np.stack(pictures), size, self.tile)

    def _tell(self, name: str, frames: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(name, frames, total)


def batches(entries: Iterable[Entry], picture: Callable[[Entry], Pictures | None], most: int) -> Iterator[list[Entry]]:
    """Entries in lists of at most `most` pictures, all of one size; those without a picture go with any.

    >>> found = batches([2, 2, 0, 2, 5], lambda side: np.zeros((side, side, 3), np.uint8) if side else None, 2)
    >>> list(found)
    [[2, 2, 0], [2], [5]]
    """
    group: list[Entry] = []
    shape: tuple[int, ...] | None = None
    count = 0
    for entry in entries:
        pixels = picture(entry)
        if pixels is not None:
            limit = max(1, min(most, TOGETHER // (pixels.shape[0] * pixels.shape[1])))
            if shape is not None and (pixels.shape != shape or count >= limit):
                yield group
                group, count = [], 0
            shape, count = pixels.shape, count + 1
        group.append(entry)
    if group:
        yield group


def _sorted_out(film: Iterable[Frame | Skipped], skipped: list[Skipped]) -> Iterator[Frame]:
    for entry in film:
        if isinstance(entry, Frame):
            yield entry
        else:
            skipped.append(entry)


def _is_large(entry: tuple[Item, Pictures | str]) -> bool:
    return isinstance(entry[1], np.ndarray) and entry[1].size > 3 * TOGETHER


def _read(item: Item) -> Pictures | str:
    """The picture, or why it cannot be read."""
    try:
        return read_picture(item.source, "images")
    except (ValueError, OSError) as error:
        return str(error)
