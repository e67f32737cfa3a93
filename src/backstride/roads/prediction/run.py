"""`predict`: what is asked for, less what is finished, through a network, into a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from backstride.roads.meaning import share
from backstride.roads.prediction.drawing import KINDS, Kind, Style
from backstride.roads.prediction.items import Item, items
from backstride.roads.prediction.job import Job
from backstride.roads.prediction.loading import Loader
from backstride.roads.prediction.manifest import Manifest, Outcome, held, read_manifest
from backstride.roads.prediction.runner import Progress

BATCHES = {"cpu": 4, "cuda": 16}


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of all items. `resumed`: how many were finished before.

    `threshold`: the one that was taken, where there are two `classes`.
    """

    outcomes: tuple[Outcome, ...]
    resumed: int
    threshold: float
    classes: tuple[str, ...]

    @property
    def done(self) -> tuple[Outcome, ...]:
        """Those that were finished now."""
        return tuple(outcome for outcome in self.outcomes if not outcome.reason)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that could not be read."""
        return tuple(outcome for outcome in self.outcomes if outcome.reason)


def predict(
    sources: Sequence[Path],
    checkpoint: Path,
    out: Path,
    *,
    device: str | None = None,
    runtime: str | None = None,
    write: Sequence[str] = (),
    threshold: float | None = None,
    opacity: float = 0.45,
    size: Sequence[int] | None = None,
    tile: int | None = None,
    batch: int | None = None,
    workers: int | None = None,
    encoder: str | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Predict the road of pictures and videos, and write it into a folder.

    With more than two classes, masks hold each pixel's label, overlays have a colour for each and a legend, and the
    probability is that of the label.

    `sources`: files and folders. `checkpoint`: what `backstride roads train` wrote, or the .onnx file
    that `export` wrote. `out`: gets `overlays/` (JPEG, MP4), `masks/` (PNG of labels; of videos FFV1, 255 for
    road), `probabilities/` (16-bit PNG or FFV1, 65535 for 1) and `manifest.json`. Items that are finished
    there already with the same checkpoint and options are left as they are. `device`: "cpu" or "cuda", None for
    the CPU. `runtime`: "torch" or "onnx"; None goes by the checkpoint. `write`: some of "overlay", "mask" and
    "probability"; () is all, but of videos no probability. `threshold`: of road; None is the one that is kept with the
    checkpoint. `opacity`: of its colour. `size`:
    (rows, columns) that the network sees pictures scaled to; None is the size that it was trained at, () is each
    picture's own. Outputs have the picture's own size. `tile`: side of the tiles; None takes whole pictures where
    memory allows. `batch`: pictures of one size that run together. `workers`: None runs here; a number, on so many
    workers of a Ray cluster. `encoder`: where the checkpoint's is `package.module:factory`, its name, since files do
    not make code run.

    Raises `ValueError` for what cannot be used at all, `OSError` where an output cannot be written; what
    is finished then stays, and the same call goes on from there. What cannot be read is in the summary.
    """
    if threshold is not None:
        _ = share("threshold", threshold)
    kinds, opacity = _kinds(write), share("opacity", opacity)
    for name, value in (("tile", tile), ("batch", batch), ("workers", workers)):
        if value is not None and value < 1:
            message = f"`{name}` (={value}) must be at least 1; the nearest legal value is 1"
            raise ValueError(message)
    found = items(sources, out)
    loader = Loader(checkpoint, device, runtime, encoder)
    meaning = loader.meaning()
    if threshold is not None and len(meaning.classes) > 2:
        message = f"`threshold` (={threshold}) is for two classes; the network has {len(meaning.classes)}: leave it out"
        raise ValueError(message)
    limit = share("threshold", meaning.threshold if threshold is None else threshold)
    style = Style(limit, opacity, kinds, meaning.classes)
    seen = None if size is None else _size(size)
    job = Job(loader, out, style, bool(write), seen, tile, batch or BATCHES[loader.device])
    with held(out):
        manifest = read_manifest(out, job.settings())
        waiting = [item for item in found if not manifest.is_finished(item, list(job.places(item).values()))]
        for item in waiting:  # stale ones would pass for finished
            for path in job.places(item).values():
                path.unlink(missing_ok=True)
        outcomes = _noted(manifest, _run(job, waiting, workers, progress))
    return Summary(outcomes, len(found) - len(waiting), limit, meaning.classes)


Done: TypeAlias = Iterator[tuple[Item, Outcome]]


def _run(job: Job, waiting: list[Item], workers: int | None, progress: Progress | None) -> Done:
    if not waiting:
        return iter(())
    if workers is None:
        return job.runner(progress).run(waiting)
    from backstride.roads.prediction.cluster import run_on_cluster  # noqa: PLC0415  loads Ray

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
            f"{place} cannot be written: {error.strerror or error}; {len(outcomes)} finished before, "
            "and the same command goes on from there"
        )
        raise OSError(message) from None
    except BaseException:
        with suppress(OSError):
            manifest.write()
        raise
    return tuple(outcomes)


def _kinds(write: Sequence[str]) -> tuple[Kind, ...]:
    for kind in write:
        if kind not in KINDS:
            message = f"`write` (={kind!r}) must be some of {', '.join(KINDS)}"
            raise ValueError(message)
    return tuple(kind for kind in KINDS if not write or kind in write)


def _size(size: Sequence[int]) -> tuple[int, ...]:
    if len(size) not in (0, 2) or not all(0 < side < 2**16 for side in size):
        message = f"`size` (={tuple(size)}) must be (rows, columns), or () for each picture's own"
        raise ValueError(message)
    return tuple(size)
