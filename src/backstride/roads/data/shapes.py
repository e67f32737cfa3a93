"""Labelled shapes as other tools write them: YOLO, COCO, labelme, our own polygons.

The files may be anything.
"""

from __future__ import annotations

import base64
import binascii
import glob
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.picture import LARGEST
from backstride.roads.data.entries import (
    content_of,
    entries,
    identity,
    list_of,
    mapping,
    number,
    points_of,
    read_json,
    read_yaml,
    text_of,
    whole,
    wrong,
)
from backstride.roads.data.polygons import FARTHEST, inside, open_polygons

LARGEST_JSON, LARGEST_TEXT = 2**29, 2**24
MOST_SHAPES, MOST_POINTS = 2**12, 2**16  # of a picture; of a shape
ANNOTATIONS = "annotations"  # COCO's folder for JSON files, beside those of the photographs
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp")

Polygon = Sequence[tuple[float, float]]
Paint = Callable[[NDArray[np.uint8], int], None]  # a label into a mask


@dataclass(frozen=True)
class Labelled:
    """A photograph, and its shapes, later ones over earlier.

    The class of each and what paints it.
    """

    image: Path
    name: str
    shapes: tuple[tuple[str, Paint], ...]


def polygon(points: Polygon, mask: NDArray[np.uint8], label: int) -> None:
    """Paint a polygon (x, y), in pixels, into a mask by the even-odd rule.

    What is outside of it is left out. One or two points, which tools leave behind, cover no pixel.
    """
    if len(points) < 3:
        return
    if len(points) > MOST_POINTS or not all(
        abs(value) <= FARTHEST for point in points for value in point
    ):
        wrong(
            f"a polygon must have at most {MOST_POINTS} points, each number from -{FARTHEST} to "
            f"{FARTHEST}"
        )
    rows, columns = mask.shape
    left, right = _span([x for x, _ in points], columns)
    top, bottom = _span([y for _, y in points], rows)
    if left < right and top < bottom:
        moved = [(x - left, y - top) for x, y in points]
        mask[top:bottom, left:right][inside(moved, (bottom - top, right - left))] = label


def _span(values: Sequence[float], size: int) -> tuple[int, int]:
    return (
        max(0, min(size, math.floor(min(values)))),
        max(0, min(size, math.floor(max(values)) + 1)),
    )


def read_coco(source: Path) -> Iterator[Labelled]:
    """A JSON file of COCO, or the one in a folder or its `annotations`.

    Photographs lie beside that or below.
    """
    file = source if source.is_file() else _only(source)
    folder = file.parent.parent if file.parent.name == ANNOTATIONS else file.parent
    top = mapping(read_json(file, LARGEST_JSON), file.name)
    names = {
        identity(entry.get("id")): text_of(entry.get("name"))
        for entry in entries(top, "categories")
    }
    of_image: dict[int | str, list[tuple[str, Paint]]] = {}
    for entry in entries(top, "annotations"):
        category, image = identity(entry.get("category_id")), identity(entry.get("image_id"))
        if category not in names:
            wrong(f"an annotation has the category {category}, which is not among `categories`")
        of_image.setdefault(image, []).extend(
            (names[category], paint) for paint in _coco(entry.get("segmentation"))
        )
    for entry in entries(top, "images"):
        name = text_of(entry.get("file_name"))
        yield _labelled(folder, name, of_image.get(identity(entry.get("id")), []))


def read_labelme(source: Path) -> Iterator[Labelled]:
    """The JSON files of labelme below a folder, each beside the photograph that it names."""
    for file in _files(source, (".json",)):
        top = mapping(read_json(file, LARGEST_TEXT), file.name)
        if "shapes" not in top:
            continue
        shapes: list[tuple[str, Paint]] = []
        for entry in entries(top, "shapes"):
            try:
                paint = _labelme(entry)
                if paint is not None:
                    shapes.append((text_of(entry.get("label")), paint))
            except ValueError as error:
                wrong(f"{file.name}: {error}")
        named = text_of(top.get("imagePath")).replace("\\", "/")
        beside = file.with_name(
            PurePosixPath(named).name
        )  # written on another machine, beside the file here
        yield _labelled(source, beside.relative_to(source).as_posix(), shapes)


def _labelme(entry: dict[str, object]) -> Paint | None:
    """What paints a shape of labelme; None for points and lines, which have no area."""
    kind, points = entry.get("shape_type", "polygon"), points_of(entry.get("points"))
    if kind in ("point", "points", "line", "linestrip"):
        return None
    if kind == "polygon" or (kind == "rectangle" and len(points) == 4):
        return _painter(points)
    if kind not in ("rectangle", "circle", "mask") or len(points) != 2:
        wrong(
            f"a shape is of the kind {str(kind)[:40]!r}; polygons, rectangles, circles and masks "
            "are read"
        )
    (x0, y0), (x1, y1) = points
    if kind == "rectangle":
        return _painter([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    if kind == "circle":  # the middle, and a point on its edge
        radius, turns = math.hypot(x1 - x0, y1 - y0), np.arange(256) * (math.tau / 256)
        rim = np.stack([x0 + radius * np.cos(turns), y0 + radius * np.sin(turns)], axis=1)
        return _painter([(x, y) for x, y in rim.tolist()])
    return _stencil(entry.get("mask"), math.floor(min(x0, x1)), math.floor(min(y0, y1)))


def _stencil(text: object, left: int, top: int) -> Paint:
    """A mask of labelme.

    A PNG in base64, whose pixels that are not 0 are the shape's, at a place in the photograph.
    """
    unreadable = "the `mask` of a shape is no PNG in base64"
    if not isinstance(text, str):
        wrong(unreadable)
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        wrong(unreadable)
    from PIL import Image  # noqa: PLC0415  polygons are read without it

    rows, columns = _size(io.BytesIO(content), "the `mask` of a shape", ("PNG",))

    def paint(mask: NDArray[np.uint8], label: int) -> None:
        try:
            with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
                on = np.asarray(opened.convert("L")) > 0
        except Exception:  # noqa: BLE001  hostile files make Pillow raise every kind
            wrong("the `mask` of a shape is a damaged PNG")
        (up, down), (before, after) = (
            (min(max(start, 0), size), min(max(start + count, 0), size))
            for start, count, size in ((top, rows, mask.shape[0]), (left, columns, mask.shape[1]))
        )
        mask[up:down, before:after][on[up - top : down - top, before - left : after - left]] = label

    return paint


def read_yolo(source: Path) -> Iterator[Labelled]:
    """YOLO's segments.

    images/.../NAME.jpg with labels/.../NAME.txt, names in a YAML file or classes.txt. `images` and
    `labels` may be in the folder, or in folders of it such as `train` and `valid`.
    """
    names = _yolo_names(source)
    sets = (
        [source]
        if (source / "images").is_dir()
        else sorted(each.parent for each in source.glob("*/images"))
    )
    for folder in sets or [source]:
        for labelled in _yolo(folder, names):
            within = folder.relative_to(source) / labelled.name
            yield Labelled(labelled.image, within.as_posix(), labelled.shapes)


def _yolo(source: Path, names: Sequence[str]) -> Iterator[Labelled]:
    """Of one folder with `images` and `labels`."""
    for image in _files(source / "images", PICTURES):
        place = image.relative_to(source / "images")
        file = source / "labels" / place.with_suffix(".txt")
        lines = (
            content_of(file, LARGEST_TEXT).decode("utf-8", "replace").splitlines()
            if file.is_file()
            else []
        )
        rows, columns = _size(image, image.name)
        shapes: list[tuple[str, Paint]] = []
        for line in lines:
            words = line.split()
            if not words:
                continue
            try:
                label, numbers = int(words[0]), [float(word) for word in words[1:]]
            except ValueError:
                wrong(
                    f"{file.name} has the line {line[:40]!r}; a line is a class and x y x y ... "
                    "from 0 to 1"
                )
            if len(numbers) == 4:
                wrong(
                    f"{file.name} has boxes, which say nothing of pixels; segments are read: a "
                    "class and x y x y ..."
                )
            if len(numbers) < 6 or len(numbers) % 2 or not 0 <= label < len(names):
                wrong(
                    f"{file.name} has the line {line[:40]!r}; a line is one of {len(names)} "
                    "classes and 3 or more x y"
                )
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            shapes.append((names[label], _painter([(x * columns, y * rows) for x, y in pairs])))
        yield _labelled(source / "images", place.as_posix(), shapes)


def read_own(source: Path) -> Iterator[Labelled]:
    """Our own polygons.json, or another file of its form."""
    dataset = open_polygons(source)
    for frame, sample in zip(dataset.frames, dataset.samples, strict=True):
        kinds = (("road", frame.road), ("background", frame.holes), ("ignore", frame.ignore))
        shapes = tuple(
            (kind, _painter(list(points))) for kind, polygons in kinds for points in polygons
        )
        yield Labelled(sample.image, frame.name, shapes)


READERS: dict[str, Callable[[Path], Iterator[Labelled]]] = {
    "yolo": read_yolo,
    "coco": read_coco,
    "labelme": read_labelme,
    "polygons": read_own,
}


def _coco(segmentation: object) -> Iterator[Paint]:
    if isinstance(segmentation, dict):
        read = cast("dict[str, object]", segmentation)
        yield _runs(read.get("counts"), read.get("size"))
        return
    if segmentation is None:
        wrong("an annotation has no `segmentation`; boxes say nothing of pixels")
    for flat in list_of(segmentation, "`segmentation`"):
        numbers = [number(value) for value in list_of(flat, "`segmentation`")]
        if len(numbers) % 2:
            wrong("a polygon of `segmentation` has an odd number of coordinates")
        yield _painter(list(zip(numbers[::2], numbers[1::2], strict=True)))


def _runs(counts: object, size: object) -> Paint:
    """COCO's runs, columns first: how many pixels are not, are, are not ...

    the shape; as a list, or as its text.
    """
    lengths = (
        _unpacked(counts)
        if isinstance(counts, str)
        else [whole(count) for count in list_of(counts, "`counts`")]
    )

    def paint(mask: NDArray[np.uint8], label: int) -> None:
        if (
            list(mask.shape) != size
            or any(length < 0 for length in lengths)
            or sum(lengths) != mask.size
        ):
            wrong(
                f"`counts` must add up to the pixels of its photograph, {mask.shape[0]} x "
                f"{mask.shape[1]}"
            )
        on = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(mask.shape[::-1]).T
        mask[on] = label

    return paint


def _unpacked(text: str) -> list[int]:
    """COCO's text of runs: groups of 5 bits, lowest first.

    From the fourth on differences to the last but one.
    """
    lengths: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            wrong("`counts` is no text of runs")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value, shift = 0, 0
    return lengths


def _labelled(folder: Path, name: str, shapes: Sequence[tuple[str, Paint]]) -> Labelled:
    """A photograph by its name in a folder; nothing is followed out of it."""
    place = PurePosixPath(name.replace("\\", "/"))
    path = folder / place
    if place.is_absolute() or ".." in place.parts or ":" in name or not place.parts:
        wrong(f"the photograph {name[:80]!r} is not in the folder of the labels")
    if not path.is_file():
        path = _below(folder, place) or path
    if not path.is_file():
        wrong(f"the photograph {name[:80]!r} is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        wrong(
            f"the photograph {name[:80]!r} is a link that leads out of the folder; copy it there: "
            "cp -L"
        )
    if path.suffix.lower() not in PICTURES:
        wrong(f"the photograph {name[:80]!r} must end in one of {', '.join(PICTURES)}")
    if len(shapes) > MOST_SHAPES:
        wrong(
            f"the photograph {name[:80]!r} has {len(shapes)} shapes; at most {MOST_SHAPES} are read"
        )
    return Labelled(path, place.with_suffix("").as_posix(), tuple(shapes))


def _below(folder: Path, place: PurePosixPath) -> Path | None:
    """The photograph of this name in the folder `images`, or in one below it.

    There it has to be the only one.
    """
    if (folder / "images" / place).is_file() or not place.name.isprintable():
        return folder / "images" / place
    name = glob.escape(place.name)
    found = [
        path
        for pattern in (f"*/{name}", f"*/*/{name}")
        for path in folder.glob(pattern)
        if path.is_file()
    ]
    if len(found) > 1:
        places = " and ".join(
            sorted(path.relative_to(folder).parent.as_posix() for path in found)[:2]
        )
        wrong(f"the photograph {place.name[:80]!r} is in {places}; `file_name` must say in which")
    return found[0] if found else None


def _painter(points: Polygon) -> Paint:
    return lambda mask, label: polygon(points, mask, label)


def _yolo_names(source: Path) -> list[str]:
    text = source / "classes.txt"
    if text.is_file():
        return [
            line.strip()
            for line in content_of(text, LARGEST_TEXT).decode("utf-8", "replace").splitlines()
            if line
        ]
    for file in sorted([*source.glob("*.yaml"), *source.glob("*.yml")]):
        read = read_yaml(content_of(file, 2**20))
        names = cast("dict[str, object]", read).get("names") if isinstance(read, dict) else None
        if isinstance(names, dict):
            numbered = {str(key): name for key, name in cast("dict[object, object]", names).items()}
            missing = [at for at in range(len(numbered)) if str(at) not in numbered]
            if missing:
                wrong(
                    f"the `names` in {file.name} lack the number {missing[0]}; they go from 0 to "
                    f"{len(numbered) - 1}"
                )
            names = [numbered[str(at)] for at in range(len(numbered))]
        if isinstance(names, list):
            return [text_of(name) for name in cast("list[object]", names)]
    return wrong("the names of the classes are missing: classes.txt, or `names` in data.yaml")


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        wrong(f"there is no folder {folder.name!r}")
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file()
    )
    if not found:
        wrong(f"the folder {folder.name!r} has no {' or '.join(suffixes)} file")
    return found


def _only(folder: Path) -> Path:
    found = sorted(folder.glob("*.json")) or sorted(folder.glob(f"{ANNOTATIONS}/*.json"))
    if len(found) != 1:
        wrong(
            f"the folder has {len(found) or 'no'} JSON file{'s'[: len(found)]}; name the one of "
            "the labels"
        )
    return found[0]


def _size(
    file: Path | io.BytesIO, name: str, formats: tuple[str, ...] | None = None
) -> tuple[int, int]:
    """Rows and columns, from the header; those of a photograph that its camera turned, too."""
    from PIL import Image  # noqa: PLC0415  the same

    try:
        with Image.open(file, formats=formats) as opened:
            columns, rows = opened.size
            turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception:  # noqa: BLE001  hostile files make Pillow raise every kind
        wrong(f"{name} is no picture that can be read")
    if columns * rows > LARGEST:
        wrong(f"{name} has more than {LARGEST} pixels")
    return (columns, rows) if turned else (rows, columns)
