"""`predict`: what is asked for, less what is finished, through a network, into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backstride.pictures.items import items
from backstride.pictures.job import Counting, kinds
from backstride.pictures.run import Processed, check_counts, process
from backstride.roads.meaning import share
from backstride.roads.prediction.drawing import KINDS, Style
from backstride.roads.prediction.job import Job
from backstride.roads.prediction.loading import Loader

BATCHES = {"cpu": 4, "cuda": 16}


@dataclass(frozen=True, slots=True)
class Summary(Processed):
    """What became of all items.

    `threshold`: the one that was taken, where there are two `classes`.
    """

    threshold: float
    classes: tuple[str, ...]


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
    progress: Counting | None = None,
) -> Summary:
    """Predict the road of pictures and videos, and write it into a folder.

    With more than two classes, masks hold each pixel's label, overlays have a colour for each and a
    legend, and the probability is that of the label.

    `sources`: files and folders. `checkpoint`: what `backstride roads train` wrote, or the .onnx
    file that `export` wrote. `out`: gets `overlays/` (JPEG, MP4), `masks/` (PNG of labels; of
    videos FFV1, 255 for road), `probabilities/` (16-bit PNG or FFV1, 65535 for 1) and
    `manifest.json`. Items that are finished there already with the same checkpoint and options are
    left as they are. `device`: "cpu" or "cuda", None for the CPU. `runtime`: "torch" or "onnx";
    None goes by the checkpoint. `write`: some of "overlay", "mask" and "probability"; () is all,
    but of videos no probability. `threshold`: of road; None is the one that is kept with the
    checkpoint. `opacity`: of its colour. `size`: (rows, columns) that the network sees pictures
    scaled to; None is the size that it was trained at, () is each picture's own. Outputs have the
    picture's own size. `tile`: side of the tiles; None takes whole pictures where memory allows.
    `batch`: pictures of one size that run together. `workers`: None runs here; a number, on so many
    workers of a Ray cluster. `encoder`: where the checkpoint's is `package.module:factory`, its
    name, since files do not make code run.

    Raises `ValueError` for what cannot be used at all, `OSError` where an output cannot be written;
    what is finished then stays, and the same call goes on from there. What cannot be read is in the
    summary.
    """
    if threshold is not None:
        _ = share("threshold", threshold)
    wanted, opacity = kinds(write, KINDS), share("opacity", opacity)
    check_counts(tile=tile, batch=batch, workers=workers)
    asked = items(sources, out)
    loader = Loader(checkpoint, device, runtime, encoder)
    meaning = loader.meaning()
    if threshold is not None and len(meaning.classes) > 2:
        message = (
            f"`threshold` (={threshold}) is for two classes; the network has "
            f"{len(meaning.classes)}: leave it out"
        )
        raise ValueError(message)
    limit = share("threshold", meaning.threshold if threshold is None else threshold)
    style = Style(limit, opacity, wanted, meaning.classes)
    seen = None if size is None else _size(size)
    job = Job(loader, out, style, bool(write), seen, tile, batch or BATCHES[loader.device])
    found = process(job, asked, workers, progress)
    return Summary(found.outcomes, found.resumed, limit, meaning.classes)


def _size(size: Sequence[int]) -> tuple[int, ...]:
    if len(size) not in (0, 2) or not all(0 < side < 2**16 for side in size):
        message = f"`size` (={tuple(size)}) must be (rows, columns), or () for each picture's own"
        raise ValueError(message)
    return tuple(size)
