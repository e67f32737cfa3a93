"""Scenes as a data set: rendered when asked for, or written to disk in the layout of KITTI Road."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backstride.files import check_folder, write_beside
from backstride.roads.camera import Ground
from backstride.roads.sample import ROAD, Sample
from backstride.roads.synthetic.draw import category_of
from backstride.roads.synthetic.scene import Scene, scene

MARK = "synthetic.txt"
MOST = 2**20  # scenes of one data set; each data set has seeds of its own


@dataclass(frozen=True)
class SyntheticDataset:
    """Scenes 0 to `count` - 1 of a seed, the same ones at every call and in every process.

    >>> found = SyntheticDataset(3, (90, 160), seed=5)
    >>> len(found.samples), found.image(2).shape, found.mask(2).shape
    (3, (90, 160, 3), (90, 160))

    `size`: (rows, columns). `clear`: easy ones only, by day and without shade. No scene of one
    `seed` is in the data set of another. The last few scenes are kept, so that an image and its
    mask are rendered once.
    """

    count: int
    size: tuple[int, int] = (180, 320)
    seed: int = 0
    clear: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            message = f"`count` (={self.count}) must be from 1 to {MOST}"
            raise ValueError(message)
        if not 0 <= self.seed < MOST:
            message = f"`seed` (={self.seed}) must be from 0 to {MOST - 1}"
            raise ValueError(message)

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Named by category and number, as KITTI's are; their paths lead nowhere."""
        return _samples(self.count, self.seed, self.clear)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label."""
        return ("background", "road")

    def scene(self, index: int) -> Scene:
        """The scene itself, with its camera."""
        if not 0 <= index < self.count:
            message = f"`index` (={index}) must be from 0 to {self.count - 1}"
            raise IndexError(message)
        return _scene(self.seed * MOST + index, self.size, self.clear)

    def image(self, index: int) -> NDArray[np.uint8]:
        """The picture, (rows, columns, 3)."""
        return self.scene(index).image

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The labels, (rows, columns)."""
        return self.scene(index).mask

    def ground(self, index: int) -> Ground:
        """The plane under the camera, for a view from above."""
        return self.scene(index).camera.ground


@lru_cache(maxsize=8)
def _samples(count: int, seed: int, clear: bool) -> tuple[Sample, ...]:
    names = (
        f"{category_of(seed * MOST + index, clear=clear)}_{index:06d}" for index in range(count)
    )
    return tuple(
        Sample(name, Path(f"{name}.png"), category=name.partition("_")[0], group=name)
        for name in names
    )


@lru_cache(maxsize=8)
def _scene(seed: int, size: tuple[int, int], clear: bool) -> Scene:
    found = scene(seed, size, clear=clear)
    found.image.flags.writeable = False
    found.mask.flags.writeable = False
    return found


def write(
    folder: Path,
    count: int,
    size: tuple[int, int] = (180, 320),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    *,
    clear: bool = False,
) -> None:
    """Write `count` scenes in KITTI Road's layout.

    They go to `folder`/training/image_2, gt_image_2 and calib. Masks have KITTI's colours: red
    where valid, blue also where road. `progress` is called with how many are written, and of how
    many. Each file appears whole; scenes already there are written anew.
    """
    found = SyntheticDataset(count, size, seed, clear)
    check_folder("out", folder)
    if (folder / "training").exists() and not (folder / MARK).is_file():
        message = (
            f"`out` (={str(folder)!r}) has pictures that were not rendered here; name another "
            "folder"
        )
        raise ValueError(message)
    write_beside(
        folder / MARK,
        f"scenes of backstride roads synthesize: seed {seed}, size {size[0]}x{size[1]}\n",
    )
    for index, sample in enumerate(found.samples):
        one = found.scene(index)
        training = folder / "training"
        label = f"{sample.category}_road_{index:06d}.png"
        coloured = np.zeros((*one.mask.shape, 3), np.uint8)
        coloured[..., 0], coloured[..., 2] = 255, np.where(one.mask == ROAD, 255, 0)
        write_beside(training / "image_2" / f"{sample.name}.png", png(one.image), one_of_many=True)
        write_beside(training / "gt_image_2" / label, png(coloured), one_of_many=True)
        write_beside(
            training / "calib" / f"{sample.name}.txt", one.camera.calibration(), one_of_many=True
        )
        if progress:
            progress(index + 1, count)


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file."""
    from PIL import Image  # noqa: PLC0415  scenes are rendered without it

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
