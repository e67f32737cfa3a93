"""What predicts: pictures in, the probability of road for every pixel out, at any size."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.picture import Pixels as Pictures
from backstride.pictures.tiles import Progress, assemble, tile_for
from backstride.roads.sample import ROAD
from backstride.surgery.decoding.influence import Influence

Levels = NDArray[np.uint16]
Number = TypeVar("Number", np.float32, np.uint8)
LEVELS = 65535

__all__ = ["LEVELS", "ROAD", "Levels", "Pictures", "Predictor", "at_size", "levels"]


class Predictor(Protocol):
    """A network that is ready: (n, rows, columns, 3), RGB from 0 to 255, to probabilities.

    Of road, (n, rows, columns), where there are two classes; of each, (n, classes, rows, columns),
    where there are more. `classes`: how many. `known`: the least picture, and what tiling needs.
    `device`: "cpu" or "cuda". `size`: the (rows, columns) that pictures were scaled to when the
    network was trained, () where they were not.
    """

    classes: int
    known: Influence
    device: str
    size: tuple[int, ...]

    def __call__(self, pictures: Pictures) -> NDArray[np.float32]:
        """The probabilities, 0 to 1, of pictures that are no smaller than `known.native`."""
        ...

    def free(self) -> int:
        """Bytes that the device has left."""
        ...

    def settle(self, pictures: Pictures, tile: int) -> Predictor:
        """The predictor to use on tiles of these pictures.

        Poolings of the whole picture hold what all of it gives.
        """
        ...


def at_size(
    predictor: Predictor,
    pictures: Pictures,
    size: tuple[int, ...] = (),
    tile: int | None = None,
    progress: Progress | None = None,
) -> Levels:
    """As `levels`, of pictures that the network sees scaled to `size`.

    The result has the pictures' own size.
    """
    own = pictures.shape[1:3]
    if size in ((), own):
        return levels(predictor, pictures, tile, progress)
    scaled = np.stack([_scaled(picture, size) for picture in pictures])
    found = levels(predictor, scaled, tile, progress)
    planes = [
        _scaled(plane.astype(np.float32), own) for plane in found.reshape(-1, *found.shape[-2:])
    ]
    return np.rint(planes).astype(np.uint16).reshape(*found.shape[:-2], *own)


def _scaled(plane: NDArray[Number], size: tuple[int, ...]) -> NDArray[Number]:
    """(rows, columns) of float32 or (rows, columns, 3) of uint8.

    Bilinear, over all that a cell covers.
    """
    from PIL import Image  # noqa: PLC0415  loads Pillow

    rows, columns = size
    scaled = Image.fromarray(plane).resize((columns, rows), Image.Resampling.BILINEAR)
    return np.asarray(scaled, plane.dtype)


def levels(
    predictor: Predictor,
    pictures: Pictures,
    tile: int | None = None,
    progress: Progress | None = None,
) -> Levels:
    """The probabilities in steps of 1/65535, laid out as `Predictor`'s.

    The pictures are (n, rows, columns, 3), of any size. `tile`: the side of the tiles; None takes
    the whole picture where memory allows. Tiles overlap by as much as the network sees, so that no
    seam is made: a pixel has the probability of the untiled picture. Smaller pictures than the
    network takes are extended by copies of their border first.
    """
    known = predictor.known
    rows, columns = pictures.shape[1:3]
    side = tile_for((rows, columns), known, tile, predictor.free() // len(pictures))
    if known.pooled and side < max(rows, columns):
        predictor = predictor.settle(pictures, side)

    def part(pixels: NDArray[np.uint8]) -> Levels:
        probability = predictor(pixels.transpose(0, 2, 3, 1))
        return np.rint(probability * np.float32(LEVELS)).astype(np.uint16)

    planes = () if predictor.classes == 2 else (predictor.classes,)
    found = np.empty((len(pictures), *planes, rows, columns), np.uint16)
    assemble(part, pictures.transpose(0, 3, 1, 2), found, known, side, progress=progress)
    return found
