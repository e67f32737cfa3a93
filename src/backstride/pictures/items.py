"""Pictures and videos to work on, named so that no two have the same output."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
FOLDERS = {
    "overlay": "overlays",
    "mask": "masks",
    "probability": "probabilities",
}  # of outputs, by kind
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")


@dataclass(frozen=True, slots=True)
class Item:
    """One file.

    `name`: what its outputs are called, a path below the output folder without suffix.
    """

    source: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether it is a video by its suffix."""
        return self.source.suffix.lower() in VIDEOS


def items(sources: Sequence[Path], apart: Path, argument: str = "images") -> tuple[Item, ...]:
    """The files named and the pictures and videos in the folders named, in order of their paths.

    In folders, hidden files, other files, links that lead out of the folder and all below `apart`
    (where outputs go) are left out. Outputs have the place that a file has in its folder; where
    only suffixes tell two files apart, the names of both keep them. `argument`: the sources' name,
    for messages.

    Raises `ValueError` for what does not exist, is neither picture nor video, or has another's
    name.
    """
    found = dict.fromkeys(entry for source in sources for entry in _found(source, apart, argument))
    if not found:
        message = f"`{argument}` (={', '.join(map(str, sources))!r}) holds no picture and no video"
        raise ValueError(message)
    stems = Counter(place.with_suffix("") for _, place in found)
    named = [
        Item(
            file, (place if stems[place.with_suffix("")] > 1 else place.with_suffix("")).as_posix()
        )
        for file, place in found
    ]
    seen: dict[str, Path] = {}
    for item in named:
        if item.name in seen:
            pair = f"{seen[item.name]} and {item.source}"
            message = (
                f"`{argument}`: {pair} would have the same outputs; predict them into two folders"
            )
            raise ValueError(message)
        seen[item.name] = item.source
    return tuple(named)


def _found(source: Path, apart: Path, argument: str) -> Iterable[tuple[Path, Path]]:
    """Files and their places."""
    if source.is_dir():
        left_out = {apart.resolve(), *(apart.resolve() / name for name in FOLDERS.values())}
        for folder, names, files in os.walk(source):
            here = Path(folder)
            names[:] = sorted(
                name for name in names if name[0] != "." and (here / name).resolve() not in left_out
            )
            for name in sorted(files):
                file = here / name
                wanted = name[0] != "." and file.suffix.lower() in (*PICTURES, *VIDEOS)
                if wanted and file.resolve().is_relative_to(source.resolve()):
                    yield file, file.relative_to(source)
        return
    if not source.is_file():
        message = f"`{argument}` (={str(source)!r}) does not exist"
        raise ValueError(message)
    if source.suffix.lower() not in (*PICTURES, *VIDEOS):
        legal = " ".join((*PICTURES, *VIDEOS))
        message = (
            f"`{argument}` (={str(source)!r}) is no picture, video or folder; legal are files that "
            f"end in {legal}"
        )
        raise ValueError(message)
    yield source, Path(source.name)
