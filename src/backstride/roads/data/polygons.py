"""Photographs labelled by polygons: a JSON file beside the photographs, or apart from them.

The file: `{"format": "backstride road polygons 1", "frames": [...]}`, with, for each photograph,
`name` (with or without its suffix), `size` [columns, rows], and `road`, `holes`, `ignore`: lists of
polygons, each a list of [x, y]. `group` (a drive, what must not be on both sides of a split) is the
name where it is left out; where `sha256` is there, the photograph must have it. Coordinates are
pixels from the top left corner of the picture, so pixel (row i, column j) covers x from j to j + 1
and y from i to i + 1. `include`: names of files beside it whose frames come first. Further keys at
the top (origin, licence) are for people.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.picture import read_picture
from backstride.roads.sample import BACKGROUND, IGNORE, ROAD, Sample

FORMAT = "backstride road polygons 1"
VARIABLE = "BACKSTRIDE_ROADS_FRAMES"
SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)  # looked for in this order
STEPS = 256  # to a pixel: the grid that coordinates are rounded to
FARTHEST = 2**20  # so that products of coordinates fit 64 bits
LARGEST_FILE, LARGEST_SIDE = 2**26, 2**14
MOST_FILES, MOST_FRAMES, MOST_POLYGONS, MOST_POINTS = 16, 2**16, 256, 4096
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
DIGEST = re.compile(r"[0-9a-f]{64}")

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """The labels of one photograph.

    What is road, what in it is not, and what is neither trained nor measured. `size`: (columns,
    rows), as the file says it.
    """

    name: str
    size: tuple[int, int]
    group: str
    sha256: str
    road: tuple[Polygon, ...]
    holes: tuple[Polygon, ...] = ()
    ignore: tuple[Polygon, ...] = ()

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The labels of each pixel: road, less its holes, less what is ignored."""
        columns, rows = self.size
        mask = np.full((rows, columns), BACKGROUND, np.uint8)
        for polygons, label in ((self.road, ROAD), (self.holes, BACKGROUND), (self.ignore, IGNORE)):
            for polygon in polygons:
                mask[inside(polygon, (rows, columns))] = label
        return mask


def inside(polygon: Sequence[tuple[float, float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of a picture of `size` (rows, columns) have their centre in a polygon.

    By the even-odd rule.

    >>> inside([(0.5, 0.5), (3, 0.5), (3, 2), (0.5, 2)], (3, 4)).astype(int).tolist()
    [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]

    Exact: coordinates are rounded to 1/256 pixel, the rest is integers. An edge on a centre counts
    as inside when the polygon lies to its right, or below a level one, so polygons that share an
    edge share no pixel and leave none out.
    """
    rows, columns = size
    points = np.asarray(polygon, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) <= FARTHEST).all():
        message = f"`polygon` must be points (x, y), each number from -{FARTHEST} to {FARTHEST}"
        raise ValueError(message)
    grid: list[tuple[int, int]] = np.rint(points * STEPS).astype(np.int64).tolist()
    turns = np.zeros((rows, columns + 1), np.bool_)
    for end, start in zip(grid, [*grid[-1:], *grid[:-1]], strict=True):
        (x0, y0), (x1, y1) = sorted((start, end), key=itemgetter(1))
        # rows whose centre is at y0 or below it, and above y1
        first, last = (min(max(-((STEPS // 2 - y) // STEPS), 0), rows) for y in (y0, y1))
        if first >= last:
            continue
        row: NDArray[np.int64] = np.arange(first, last)
        down, across = y1 - y0, x1 - x0
        # the column of the first centre at the edge or right of it, by a division that rounds up
        crossing = (x0 - STEPS // 2) * down + (row * STEPS + STEPS // 2 - y0) * across
        turns[row, np.clip(-(-crossing // (STEPS * down)), 0, columns)] ^= True
    return np.logical_xor.accumulate(turns, axis=1)[:, :columns]


def read_polygons(path: Path) -> tuple[Frame, ...]:
    """The frames of a file, in its order.

    Raises `ValueError` naming the file, and the frame in it that is wrong.
    """
    read = _read(path)
    try:
        return _frames(read, path.parent)
    except _WrongError as wrong:
        message = f"`polygons` (={str(path)!r}): {wrong}"
        raise ValueError(message) from None


def _read(path: Path) -> object:
    """What a JSON file holds."""
    try:
        large = path.stat().st_size > LARGEST_FILE
        content = b"" if large else path.read_bytes()
    except OSError as error:
        message = (
            f"`polygons` (={str(path)!r}) cannot be read: {(error.strerror or str(error)).lower()}"
        )
        raise ValueError(message) from None
    if large:
        message = (
            f"`polygons` (={str(path)!r}) has more than {LARGEST_FILE} bytes, the most that are "
            "read"
        )
        raise ValueError(message)
    try:
        return json.loads(content.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, too many digits, too deep
        message = f"`polygons` (={str(path)!r}) is no JSON: {error}"
        raise ValueError(message) from None


@dataclass(frozen=True, eq=False, slots=True)
class PolygonDataset:
    """Photographs labelled by polygons."""

    frames: tuple[Frame, ...]
    samples: tuple[Sample, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label."""
        return ("background", "road")

    def image(self, index: int) -> NDArray[np.uint8]:
        """The photograph; raises `ValueError` if it is missing or not the one that was labelled."""
        path, frame = self.samples[index].image, self.frames[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            message = (
                f"`photograph` (={str(path)!r}) cannot be read: "
                f"{(error.strerror or str(error)).lower()}"
            )
            raise ValueError(message) from None
        found = hashlib.sha256(content).hexdigest()
        if frame.sha256 and found != frame.sha256:
            message = (
                f"`photograph` (={str(path)!r}) is another file than the one that was labelled: "
                f"SHA-256 {found[:12]} instead of {frame.sha256[:12]}"
            )
            raise ValueError(message)
        image = read_picture(path)
        if image.shape[1::-1] != frame.size:
            message = (
                f"`photograph` (={str(path)!r}) has {image.shape[1]} x {image.shape[0]} pixels; "
                f"its polygons are for {frame.size[0]} x {frame.size[1]}"
            )
            raise ValueError(message)
        return image

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The labels, (rows, columns)."""
        return self.frames[index].mask


def open_polygons(path: Path, photographs: Path | None = None) -> PolygonDataset:
    """The photographs of a JSON file, or of the `polygons.json` in a folder.

    `photographs`: their folder; left out, the one that the environment variable
    BACKSTRIDE_ROADS_FRAMES names, or else the JSON file's own. Raises `ValueError` naming the file
    where the polygons cannot be read, or their photographs are not there.
    """
    file = path / "polygons.json" if path.is_dir() else path
    frames = read_polygons(file)
    named = os.environ.get(VARIABLE)
    folder = photographs or (Path(named) if named else file.parent)
    # a drive is also the category, so that evaluation measures each by itself
    samples = tuple(
        Sample(
            frame.name,
            _photograph(folder, frame.name),
            file,
            category=frame.group if frame.group != frame.name else "",
            group=frame.group,
        )
        for frame in frames
    )
    missing = [sample.image.name for sample in samples if not sample.image.is_file()]
    if missing:
        message = (
            f"`photographs` (={str(folder)!r}) lacks {len(missing)} of {len(samples)}: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}; name their folder in "
            f"{VARIABLE}"
        )
        raise ValueError(message)
    return PolygonDataset(frames, samples)


def _photograph(folder: Path, name: str) -> Path:
    """The file of a name, with its suffix or without.

    Where there is none, what it is looked for as.
    """
    if name.lower().endswith(SUFFIXES) and (folder / name).is_file():
        return folder / name
    found = (folder / f"{name}{suffix}" for suffix in (*SUFFIXES, *map(str.upper, SUFFIXES)))
    return next((path for path in found if path.is_file()), folder / f"{name}{SUFFIXES[0]}")


class _WrongError(Exception):
    """What is wrong in the file, without its name."""


def _refuse(word: str) -> NoReturn:
    message = f"{word} is no number in it"
    raise ValueError(message)


def _frames(read: object, folder: Path | None) -> tuple[Frame, ...]:
    """The frames of a file in `folder`.

    None: of an included one, which includes no further ones.
    """
    top = _mapping(read, "the file")
    if top.get("format") != FORMAT:
        _wrong(f"`format` must be {FORMAT!r}")
    listed = _list(top.get("frames"), "`frames`", MOST_FRAMES)
    before = _included(_list(top.get("include", []), "`include`", MOST_FILES), folder)
    frames = (*before, *(_frame(entry, number) for number, entry in enumerate(listed)))
    seen: set[str] = set()
    for frame in frames:
        if frame.name in seen:
            _wrong(f"frame {frame.name!r} is there twice")
        seen.add(frame.name)
    if not frames:
        _wrong("`frames` is empty")
    return frames


def _included(names: list[object], folder: Path | None) -> list[Frame]:
    """The frames of files of these names in `folder`."""
    found: list[Frame] = []
    for name in names:
        if folder is None:
            _wrong("a file that is included must include none")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            _wrong(f"`include` has {name!r}, which is no name of a file beside it")
        found += _frames(_read(folder / name), None)
    return found


def _frame(read: object, number: int) -> Frame:
    entry = _mapping(read, f"frame number {number}")
    name = entry.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        _wrong(
            f"frame number {number}: `name` must be letters, digits, dots, dashes and underscores, "
            "at most 200"
        )
    where = f"frame {name!r}"
    size = _list(entry.get("size"), f"{where}: `size`", 2)
    if len(size) != 2 or not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in size):
        _wrong(f"{where}: `size` must be [columns, rows], each from 1 to {LARGEST_SIDE}")
    columns, rows = cast("list[int]", size)
    group, digest = entry.get("group", name), entry.get("sha256", "")
    if not isinstance(group, str) or not 1 <= len(group) <= 200:
        _wrong(f"{where}: `group` must be a text of 1 to 200 characters")
    if not isinstance(digest, str) or ("sha256" in entry and not DIGEST.fullmatch(digest)):
        _wrong(f"{where}: `sha256` must be 64 digits from 0 to f")
    road, holes, ignore = (
        tuple(
            _polygon(polygon, f"{where}: `{kind}`", columns, rows)
            for polygon in _list(entry.get(kind, []), f"{where}: `{kind}`", MOST_POLYGONS)
        )
        for kind in ("road", "holes", "ignore")
    )
    return Frame(name, (columns, rows), group, digest, road, holes, ignore)


def _polygon(read: object, where: str, columns: int, rows: int) -> Polygon:
    points = _list(read, where, MOST_POINTS)
    if len(points) < 3:
        _wrong(f"{where} has a polygon of {len(points)} points; it must have at least 3")
    return tuple(_point(point, where, columns, rows) for point in points)


def _point(read: object, where: str, columns: int, rows: int) -> tuple[float, float]:
    point = _list(read, where, 2)
    if len(point) != 2 or not all(type(value) in (int, float) for value in point):
        _wrong(f"{where} has a point that is not [x, y]")
    x, y = cast("list[float]", point)
    if not (0 <= x <= columns and 0 <= y <= rows):
        _wrong(
            f"{where} has the point [{x!r:.20}, {y!r:.20}], outside of the picture of {columns} x "
            f"{rows} pixels"
        )
    return float(x), float(y)


def _mapping(read: object, where: str) -> dict[str, object]:
    if not isinstance(read, dict):
        _wrong(f"{where} must be an object")
    return cast("dict[str, object]", read)


def _list(read: object, where: str, most: int) -> list[object]:
    if not isinstance(read, list):
        _wrong(f"{where} must be a list")
    values = cast("list[object]", read)
    if len(values) > most:
        _wrong(f"{where} has {len(values)} entries; at most {most} are read")
    return values


def _wrong(message: str) -> NoReturn:
    raise _WrongError(message)
