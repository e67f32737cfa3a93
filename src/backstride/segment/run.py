"""Picture in, overlay out; or pictures, folders and videos in, a folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backstride.files import check_file, write_beside
from backstride.pictures.items import items
from backstride.pictures.job import Counting, fingerprint, kinds
from backstride.pictures.picture import read_picture
from backstride.pictures.run import Processed, check_counts, process
from backstride.pictures.tiles import Progress
from backstride.segment.drawing import KINDS, Colouring
from backstride.segment.job import WORDS, LabelJob
from backstride.segment.labels import Found, Labeller, Labelling, found_in
from backstride.segment.network import files_of


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What was found, most common first.

    `size`: (rows, columns). `tile`: the tiles' side, None if none were needed.
    """

    size: tuple[int, int]
    tile: int | None
    found: tuple[Found, ...]


def segment(
    network: Path,
    photo: Path,
    output: Path,
    *,
    head: str | int | None = None,
    names: Path | None = None,
    tile: int | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    scale: float = 1 / 255,
    opacity: float = 0.5,
    progress: Progress | None = None,
) -> Segmentation:
    """Label every pixel of a picture and write it with the labels' colours and a legend, as a PNG.

    Labels of a tiled picture are those of the whole one. `segment_many` takes several pictures,
    folders and videos.

    Args:
        network: An .onnx or .keras file, as `backstride transpose` writes it.
        photo: A picture of any size.
        output: The PNG file.
        head: Which of the network's results has the scores, if there are several: a name or
            position.
        names: A text file, a class a line, as many as the network has.
        tile: Side of the tiles in pixels; None takes the whole picture where memory allows.
        mean: One number, or one for each channel.
        std: The same; the network gets `(pixel * scale - mean) / std`, pixels from 0 to 255.
        scale: See there.
        opacity: Of the colours, 0 to 1.
        progress: Called with how many tiles are done, and of how many.

    Returns:
        What was found, most common first.

    Raises:
        ValueError: For files that are no network or picture and for tiles that are too small.
    """
    check_file(
        "output",
        output,
        endings=(".png",),
        inputs={"network": network, "photo": photo, "names": names},
    )
    labelling = Labelling(network, head, names, tile, tuple(mean), tuple(std), scale, opacity)
    pixels = read_picture(photo)
    called = labelling.called()
    label = Labeller(labelling, None if names is None else len(called))
    side = label.tile(pixels)
    map_of_labels = label(pixels, side, progress)
    found = found_in(map_of_labels, called)
    write_beside(output, Colouring(called, opacity).overlay(pixels, map_of_labels, found))
    rows, columns = map_of_labels.shape
    return Segmentation((rows, columns), side if side < max(rows, columns) else None, found)


def segment_many(
    labelling: Labelling,
    photos: Sequence[Path],
    out: Path,
    *,
    write: Sequence[str] = (),
    workers: int | None = None,
    progress: Counting | None = None,
) -> Processed:
    """Label every pixel of pictures, folders and videos, and write what was found into a folder.

    What is finished there already with the same network and options is left as it is: the same call
    goes on after any stop.

    Args:
        labelling: The network and the options of `segment`, such as
            `Labelling(Path("fcn.onnx"), names=Path("names.txt"))`.
        photos: Files and folders.
        out: Gets `overlays/` (PNG, as `segment` writes it; of videos MP4 with their sound),
            `masks/` (PNG of labels, of 16 bits where one is above 255; of videos FFV1 of 16 bits)
            and `manifest.json`. Outputs have the name and the place that a file has in its folder.
        write: Some of "overlay" and "mask"; () is both.
        workers: None runs here; a number, on so many workers of a Ray cluster.
        progress: Called with "pictures" or a video's name, how many pictures or frames are done,
            and of how many, None where that is unknown.

    Returns:
        What became of each file; those that cannot be read are among them, each with its reason.

    Raises:
        ValueError: For what cannot be used at all.
        OSError: Where an output cannot be written; what is finished then stays.
    """
    wanted = kinds(write, KINDS)
    check_counts(tile=labelling.tile, workers=workers)
    asked = items(photos, out, WORDS.images)
    style = Colouring(labelling.called(), labelling.opacity, wanted)
    job = LabelJob(
        labelling, out, style, tuple(fingerprint(file) for file in files_of(labelling.network))
    )
    return process(job, asked, workers, progress)
