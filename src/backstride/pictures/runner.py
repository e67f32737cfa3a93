"""Items through a network, on one machine: read ahead, run in batches, written behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

import numpy as np

from backstride.files import write_beside
from backstride.pictures.items import Item
from backstride.pictures.job import Counting, Job, Results
from backstride.pictures.manifest import Outcome, Skipped
from backstride.pictures.picture import Pixels, read_picture
from backstride.pictures.reading import Film, Frame
from backstride.pictures.threads import ahead, behind
from backstride.pictures.writing import footage

DEPTH = 2  # batches that wait before the network and behind it
TOGETHER = 2**22  # pixels; larger pictures come alone
Entry = TypeVar("Entry")


class Runner:
    """What pictures and videos run through: the job's network, loaded.

    `progress`: called with "pictures" or a video's name, how many are done, and of how many, None
    where that is unknown.
    """

    def __init__(self, job: Job, progress: Counting | None = None) -> None:
        self._job, self._progress = job, progress
        self._network = job.load()

    def run(self, items: Iterable[Item]) -> Iterator[tuple[Item, Outcome]]:
        """Pictures, then videos; what cannot be read becomes an outcome with a reason.

        Raises `OSError` where an output cannot be written.
        """
        waiting = list(items)
        yield from self._pictures([item for item in waiting if not item.is_video])
        for item in waiting:
            if item.is_video:
                yield item, self._video(item)

    def _pictures(self, items: list[Item]) -> Iterator[tuple[Item, Outcome]]:
        read = ahead(
            ((item, self._read(item)) for item in items), DEPTH * self._job.batch, _is_large
        )
        count = 0
        for done in behind(self._write, self._results(read), DEPTH):
            count += len(done)
            self._tell("pictures", count, len(items))
            yield from done

    def _read(self, item: Item) -> Pixels | str:
        """The picture, or why it cannot be read."""
        try:
            return read_picture(item.source, self._job.words.images)
        except (ValueError, OSError) as error:
            return str(error)

    def _results(
        self, read: Iterable[tuple[Item, Pixels | str]]
    ) -> Iterator[list[tuple[Item, Pixels | str, Results | None]]]:
        for group in batches(read, _picture, self._job.batch):
            pictures = [picture for _, picture in group if not isinstance(picture, str)]
            found = iter(self._network(np.stack(pictures)) if pictures else ())
            yield [
                (item, picture, None if isinstance(picture, str) else next(found))
                for item, picture in group
            ]

    def _write(
        self, group: list[tuple[Item, Pixels | str, Results | None]]
    ) -> list[tuple[Item, Outcome]]:
        outcomes: list[tuple[Item, Outcome]] = []
        for item, picture, found in group:
            if isinstance(picture, str) or found is None:
                outcomes.append((item, Outcome(item.name, reason=str(picture))))
                continue
            to = self._job.places(item)
            for kind, content in self._job.style.files(to, picture, found):
                write_beside(to[kind], content, one_of_many=True)
            outcomes.append((item, Outcome(item.name, frames=1)))
        return outcomes

    def _video(self, item: Item) -> Outcome:
        try:
            film = Film(item.source, self._job.words.images, self._job.words.extra)
        except (ValueError, OSError) as error:
            return Outcome(item.name, reason=str(error))
        skipped: list[Skipped] = []
        found = self._filmed(ahead(film, DEPTH * self._job.batch), skipped)
        frames = 0
        with footage(self._job.places(item), item.source, film.facts, self._job.style) as put:

            def write(group: list[tuple[Frame, Results]]) -> int:
                for frame, result in group:
                    put(frame, result)
                return len(group)

            with closing(
                behind(write, found, DEPTH)
            ) as counts:  # no frame is written to closed files
                for count in counts:
                    frames += count
                    self._tell(item.name, frames, film.facts.frames)
        return Outcome(item.name, frames, tuple(skipped))

    def _filmed(
        self, film: Iterable[Frame | Skipped], skipped: list[Skipped]
    ) -> Iterator[list[tuple[Frame, Results]]]:
        frames = _sorted_out(film, skipped)
        for group in batches(frames, lambda frame: frame.pixels, self._job.batch):
            found = self._network(np.stack([frame.pixels for frame in group]))
            yield list(zip(group, found, strict=True))

    def _tell(self, name: str, frames: int, total: int | None) -> None:
        if self._progress is not None:
            self._progress(name, frames, total)


def batches(
    entries: Iterable[Entry], picture: Callable[[Entry], Pixels | None], most: int
) -> Iterator[list[Entry]]:
    """Entries in lists of at most `most` pictures, all of one size.

    Those without a picture go with any.

    >>> found = batches([2, 2, 0, 2, 5],
    ...     lambda side: np.zeros((side, side, 3), np.uint8) if side else None, 2)
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


def _picture(entry: tuple[Item, Pixels | str]) -> Pixels | None:
    return None if isinstance(entry[1], str) else entry[1]


def _is_large(entry: tuple[Item, Pixels | str]) -> bool:
    picture = _picture(entry)
    return picture is not None and picture.size > 3 * TOGETHER
