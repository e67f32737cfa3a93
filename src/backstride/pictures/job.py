"""The interface between what runs on pictures and who asks for it.

A network, and what is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.items import FOLDERS, Item
from backstride.pictures.picture import Pixels

Results: TypeAlias = NDArray[np.uint16]
Raster: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
PictureNetwork: TypeAlias = Callable[[Pixels], Results]
Counting: TypeAlias = Callable[[str, int, int | None], None]
Kind = TypeVar("Kind", bound=str)


@dataclass(frozen=True, slots=True)
class Words:
    """What a command calls things, for messages.

    `command`: its words behind "backstride", of which the first is the extra that installs its
    packages. `images`: the argument with its sources.
    """

    command: str
    images: str = "images"

    @property
    def extra(self) -> str:
        """What installs its packages.

        >>> Words("roads predict").extra
        'roads'
        """
        return self.command.partition(" ")[0]


class Outputs(Protocol):
    """What is written of a picture (rows, columns, 3) and its result.

    Kinds come in order, each made when it is due.
    """

    def files(
        self, kinds: Iterable[str], picture: Pixels, result: Results
    ) -> Iterator[tuple[str, bytes]]:
        """Of a picture: the file of each kind."""
        ...

    def frames(
        self, kinds: Iterable[str], picture: Pixels, result: Results
    ) -> Iterator[tuple[str, Raster]]:
        """Of a frame of a video: the image of each kind, of one size and type in all frames.

        (rows, columns, 3) becomes a film with the sound, (rows, columns) of uint8 or uint16 a video
        without loss.
        """
        ...


class Job(Protocol):
    """All that a worker needs; it travels between processes."""

    @property
    def words(self) -> Words:
        """For messages."""
        ...

    @property
    def out(self) -> Path:
        """The folder of the outputs."""
        ...

    @property
    def style(self) -> Outputs:
        """What is written."""
        ...

    @property
    def batch(self) -> int:
        """How many pictures of one size the network takes at once."""
        ...

    @property
    def device(self) -> str:
        """Where the network runs: "cpu" or "cuda"."""
        ...

    def settings(self) -> dict[str, object]:
        """What outputs depend on beside their input, as JSON gives it back."""
        ...

    def places(self, item: Item) -> dict[str, Path]:
        """Where the outputs of an item go, by kind."""
        ...

    def load(self) -> PictureNetwork:
        """The network: pictures of one size, (n, rows, columns, 3), to one result for each."""
        ...

    def absolute(self) -> Job:
        """The same, with paths that hold in other folders."""
        ...


def places(folder: Path, item: Item, suffixes: Mapping[str, tuple[str, str]]) -> dict[str, Path]:
    """Where the outputs of an item go. `suffixes`: by kind, those of pictures and of videos.

    >>> places(Path("out"), Item(Path("photos/a/b.jpg"), "a/b"), {"mask": (".png", ".mkv")})
    {'mask': PosixPath('out/masks/a/b.png')}
    """
    return {
        kind: folder / FOLDERS[kind] / f"{item.name}{endings[item.is_video]}"
        for kind, endings in suffixes.items()
    }


def kinds(write: Sequence[str], legal: Sequence[Kind]) -> tuple[Kind, ...]:
    """What is to be written, in the order of `legal`; () is all.

    Raises `ValueError` for what is not legal.
    """
    for kind in write:
        if kind not in legal:
            message = f"`write` (={kind!r}) must be some of {', '.join(legal)}"
            raise ValueError(message)
    return tuple(kind for kind in legal if not write or kind in write)


def fingerprint(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
