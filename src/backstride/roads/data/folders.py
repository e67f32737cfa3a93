"""Data sets of photographs with masks on disk.

Which layout a folder has, and what is wrong in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.picture import read_picture
from backstride.roads.camera import Ground, read_calibration
from backstride.roads.data.labels import PLAIN, Labels, Table, decode_kitti, read_table
from backstride.roads.data.polygons import open_polygons
from backstride.roads.sample import IGNORE, Dataset, Sample

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
KITTI_NAME = re.compile(r"(um|umm|uu)_(\d+)")
MOST_SHOWN = 20
LAYOUTS = (
    "KITTI Road (training/image_2, training/gt_image_2), images/ and masks/ with the same names, "
    "NAME.jpg beside NAME.png, polygons.json, or the folders that a table of classes names"
)

Grouping = Literal["name", "clip", "folder"]


@dataclass(frozen=True, eq=False, slots=True)
class FolderDataset:
    """Photographs and label files; `strays` are label files without a photograph."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    decode: Callable[[Path], Labels]
    strays: tuple[Path, ...] = ()

    def image(self, index: int) -> NDArray[np.uint8]:
        """The photograph, (rows, columns, 3), RGB; raises `ValueError` for a file that is none."""
        return read_picture(self.samples[index].image)

    def mask(self, index: int) -> Labels:
        """The labels, (rows, columns); raises `ValueError` where there are none."""
        sample = self.samples[index]
        if sample.mask is None:
            message = f"`sample` (={sample.name!r}) has no mask"
            raise ValueError(message)
        return self.decode(sample.mask)

    def ground(self, index: int) -> Ground | None:
        """The plane of the road in this photograph, where there is a calibration file."""
        path = self.samples[index].calibration
        return None if path is None else read_calibration(path)


def open_data(folder: Path, *, classes: Path | None = None, group: Grouping = "name") -> Dataset:
    """The data set in a folder, by its layout.

    `polygons.json` in the folder, or a `.json` file itself: photographs labelled by polygons.
    `training/image_2` or `image_2`: KITTI Road. Otherwise photographs with PNG masks: in `images/`
    and `masks/`, or NAME.jpg beside NAME.png; `classes`, or a `classes.toml` in the folder, says
    what the values of masks mean, and perhaps other folders (`Table`). Without one, 0 is
    background, 1 road, and 255 ignored.

    `group` says what belongs together in a split: each photograph for itself, a clip (NAME_0001,
    NAME_0002), or a folder. Raises `ValueError` where nothing is found. No photograph is opened:
    `check` does.
    """
    if folder.suffix == ".json" or (folder / "polygons.json").is_file():
        return open_polygons(folder)
    require_there(folder)
    if not folder.is_dir():
        message = (
            f"`data` (={str(folder)!r}) is a file; name the folder of the pictures, or a .json "
            "file of polygons"
        )
        raise ValueError(message)
    table = classes or (folder / "classes.toml" if (folder / "classes.toml").is_file() else None)
    for place in (folder / "training", folder):
        if table is None and (place / "image_2").is_dir():
            return _filled(_kitti(place), place / "image_2")
    found = read_table(table) if table is not None else PLAIN
    return _filled(_pairs(folder, found, group), folder)


def require_there(folder: Path) -> None:
    """Raises `ValueError` where there is nothing of this name."""
    if not folder.exists():
        message = f"`data` (={str(folder)!r}) is no folder; name one with {LAYOUTS}"
        raise ValueError(message)


def check(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> tuple[str, ...]:
    """What is wrong in a data set, one sentence a file: nothing where all can be trained on.

    Opens every photograph, mask and calibration file: missing, damaged, of another size, with
    labels that are none. `progress` is called with how many are checked, and of how many.
    """
    problems = [
        f"`mask` (={str(path)!r}) has no photograph of its name"
        for path in getattr(dataset, "strays", ())
    ]
    names: set[str] = set()
    masks, roads = 0, 0
    for index, sample in enumerate(dataset.samples):
        if sample.name in names:
            problems.append(f"`sample` (={sample.name!r}) is there twice; names must differ")
        names.add(sample.name)
        try:
            found = _checked(dataset, index)
            masks += found is not None
            roads += bool(found)
        except (OSError, ValueError) as problem:
            problems.append(_sentence(problem))
        if progress:
            progress(index + 1, len(dataset.samples))
    if masks and not roads and not problems and len(dataset.classes) == 2:
        problems.append(
            f"`data`: none of its {masks} masks has road (label 1) in it; where another value "
            "means road, name it in a table of classes"
        )
    return tuple(problems)


def require_sound(dataset: Dataset, progress: Callable[[int, int], None] | None = None) -> None:
    """Raises one `ValueError` that lists what `check` finds."""
    problems = check(dataset, progress)
    if problems:
        more = f"\n... and {len(problems) - MOST_SHOWN} more" if len(problems) > MOST_SHOWN else ""
        raise ValueError("\n".join(problems[:MOST_SHOWN]) + more)


def _checked(dataset: Dataset, index: int) -> bool | None:
    """Whether a sample has road in it; None without a mask. Raises for what is wrong."""
    sample = dataset.samples[index]
    image = dataset.image(index)
    if sample.calibration is not None:
        _ = read_calibration(sample.calibration)
    if sample.mask is None and isinstance(dataset, FolderDataset):
        return None
    mask = dataset.mask(index)
    if mask.shape != image.shape[:2]:
        message = (
            f"`mask` (={str(sample.mask)!r}) has {mask.shape[0]} rows and {mask.shape[1]} columns; "
            f"its photograph {sample.image.name!r} has {image.shape[0]} and {image.shape[1]}"
        )
        raise ValueError(message)
    labels = np.unique(mask)
    strange = labels[(labels >= len(dataset.classes)) & (labels != IGNORE)]
    if strange.size:
        message = (
            f"`mask` (={str(sample.mask)!r}) has the label {int(strange[0])}; legal are "
            f"{len(dataset.classes)} classes"
        )
        raise ValueError(message)
    return bool((labels == 1).any())


def _sentence(problem: Exception) -> str:
    """One sentence, which names the file."""
    if isinstance(problem, OSError) and problem.filename is not None:
        return f"`file` (={str(problem.filename)!r}) cannot be read: {problem.strerror}"
    return str(problem)


def _filled(dataset: FolderDataset, folder: Path) -> FolderDataset:
    if not dataset.samples:
        message = f"`data` (={str(folder)!r}) has no photographs; it must have {LAYOUTS}"
        raise ValueError(message)
    return dataset


def _photographs(folder: Path) -> Iterator[Path]:
    """The photographs below a folder, in the order of their names; hidden files left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _kitti(place: Path) -> FolderDataset:
    """KITTI Road: um_000000.png has its mask in um_road_000000.png.

    um_lane_ masks are of the own lane only.
    """
    labelled = (place / "gt_image_2").is_dir()
    samples: list[Sample] = []
    for image in _photographs(place / "image_2"):
        match = KITTI_NAME.fullmatch(image.stem)
        if match is None:
            continue
        category, number = match.groups()
        mask = place / "gt_image_2" / f"{category}_road_{number}.png" if labelled else None
        calibration = place / "calib" / f"{image.stem}.txt"
        samples.append(
            Sample(
                image.stem,
                image,
                mask,
                calibration if calibration.is_file() else None,
                category,
                image.stem,
            )
        )
    taken = {sample.mask for sample in samples}
    found = sorted((place / "gt_image_2").glob("*_road_*.png")) if labelled else []
    strays = tuple(path for path in found if path not in taken)
    return FolderDataset(tuple(samples), ("background", "road"), decode_kitti, strays)


def _pairs(folder: Path, table: Table, group: Grouping) -> FolderDataset:
    """Photographs and masks in two folders, or beside each other."""
    apart = (folder / table.images).is_dir()
    images, masks = (folder / table.images, folder / table.masks) if apart else (folder, folder)
    beside = not apart or images == masks
    files = list(_photographs(images))
    if apart and not masks.is_dir():
        message = (
            f"`data` (={str(folder)!r}) has a folder {table.images!r} but none {table.masks!r} "
            "with the masks"
        )
        raise ValueError(message)
    if beside:  # NAME.jpg is a photograph, NAME.png its mask; with a suffix, both may be PNG files
        files = [path for path in files if not _is_mask(path, table)]
    samples: list[Sample] = []
    for image in files:
        if not image.stem.endswith(table.image_suffix):
            continue
        inside = image.relative_to(images)
        name = inside.with_name(image.stem.removesuffix(table.image_suffix))
        mask = masks / name.with_name(f"{name.name}{table.mask_suffix}.png")
        labelled = mask.parent.is_dir()  # a test set has no folder of masks
        samples.append(
            Sample(name.as_posix(), image, mask if labelled else None, group=_group(name, group))
        )
    taken = {sample.mask for sample in samples}
    labels = [path for path in _photographs(masks) if _is_mask(path, table)] if samples else []
    strays = tuple(path for path in labels if path not in taken)
    return FolderDataset(tuple(samples), table.classes, table.decode, strays)


def _is_mask(path: Path, table: Table) -> bool:
    return path.suffix.lower() == ".png" and path.stem.endswith(table.mask_suffix)


def _group(name: Path, group: Grouping) -> str:
    if group == "folder":
        return name.parent.as_posix()
    if group == "clip":
        return re.sub(r"[-_]?\d+$", "", name.as_posix()) or name.as_posix()
    return name.as_posix()
