"""A job on what is asked for, less what is finished, here or on a cluster, into its folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from backstride.pictures.items import Item
from backstride.pictures.job import Counting, Job
from backstride.pictures.manifest import Manifest, Outcome, held, read_manifest
from backstride.pictures.runner import Runner

Done: TypeAlias = Iterator[tuple[Item, Outcome]]


@dataclass(frozen=True, slots=True)
class Processed:
    """What became of all items. `resumed`: how many were finished before."""

    outcomes: tuple[Outcome, ...]
    resumed: int

    @property
    def done(self) -> tuple[Outcome, ...]:
        """Those that were finished now."""
        return tuple(outcome for outcome in self.outcomes if not outcome.reason)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that could not be read."""
        return tuple(outcome for outcome in self.outcomes if outcome.reason)


def process(
    job: Job, found: Sequence[Item], workers: int | None = None, progress: Counting | None = None
) -> Processed:
    """Run a job on items; what is finished in its folder with the same settings stays as it is.

    `workers`: None runs here; a number, on so many workers of a Ray cluster.

    Raises `ValueError` for what cannot be used at all, `OSError` where an output cannot be written;
    what is finished then stays, and the same call goes on from there. What cannot be read is among
    the outcomes.
    """
    _check_places(job, found)
    with held(job.out):
        manifest = read_manifest(job.out, job.settings(), job.words.command)
        waiting = [
            item
            for item in found
            if not manifest.is_finished(item, list(job.places(item).values()))
        ]
        done = _run(job, waiting, workers, progress)  # loads the network, without which all stays
        for item in waiting:  # stale ones would pass for finished
            for path in job.places(item).values():
                path.unlink(missing_ok=True)
        outcomes = _noted(manifest, done)
    return Processed(outcomes, len(found) - len(waiting))


def check_counts(**counts: int | None) -> None:
    """Raise `ValueError` for the first of these arguments that is given and below 1."""
    for name, value in counts.items():
        if value is not None and value < 1:
            message = f"`{name}` (={value}) must be at least 1; the nearest legal value is 1"
            raise ValueError(message)


def _check_places(job: Job, found: Sequence[Item]) -> None:
    """Refuse outputs that would take the place of an input."""
    out = job.out.resolve()
    inputs = {item.source.resolve() for item in found}
    inside = {path for path in inputs if path.is_relative_to(out)}
    for item in found if inside else ():
        for path in job.places(item).values():
            if path.resolve() in inside:
                message = (
                    f"`out` (={str(job.out)!r}): {path} is read as one of `{job.words.images}` and "
                    "would be written over; name another folder"
                )
                raise ValueError(message)


def _run(job: Job, waiting: list[Item], workers: int | None, progress: Counting | None) -> Done:
    if not waiting:
        return iter(())
    if workers is None:
        return Runner(job, progress).run(waiting)
    from backstride.pictures.cluster import run_on_cluster  # noqa: PLC0415  loads Ray

    return run_on_cluster(job, waiting, workers, progress)


def _noted(manifest: Manifest, done: Iterable[tuple[Item, Outcome]]) -> tuple[Outcome, ...]:
    """All outcomes, each in the manifest, which reaches the disk however this ends."""
    outcomes: list[Outcome] = []
    try:
        manifest.write()
        for item, outcome in done:
            manifest.note(item, outcome)
            outcomes.append(outcome)
        manifest.write()
    except OSError as error:
        with suppress(OSError):
            manifest.write()
        place = error.filename or manifest.folder
        message = (
            f"{place} cannot be written: {error.strerror or error}; {len(outcomes)} finished "
            "before, and the same command goes on from there"
        )
        raise OSError(message) from None
    except BaseException:
        with suppress(OSError):
            manifest.write()
        raise
    return tuple(outcomes)
