"""Labelled shapes as other tools write them: YOLO, COCO, labelme, our own polygons; the files may be anything."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from backstride.roads.polygons import FARTHEST, inside, open_polygons
from backstride.segment.picture import LARGEST

LARGEST_JSON, LARGEST_TEXT = 2**29, 2**24
MOST_SHAPES, MOST_POINTS = 2**12, 2**16  # of a picture; of a shape
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff", ".webp")

Polygon = Sequence[tuple[float, float]]
Paint = Callable[[NDArray[np.uint8], int], None]  # a label into a mask


@dataclass(frozen=True)
class Labelled:
    """A photograph, and its shapes, later ones over earlier: the class of each and what paints it."""

    image: Path
    name: str
    shapes: tuple[tuple[str, Paint], ...]


def polygon(points: Polygon, mask: NDArray[np.uint8], label: int) -> None:
    """Paint a polygon (x, y), in pixels, into a mask by the even-odd rule; what is outside of it is left out."""
    if not 3 <= len(points) <= MOST_POINTS or not all(abs(value) <= FARTHEST for point in points for value in point):
        _wrong(f"a polygon must have 3 to {MOST_POINTS} points, each number from -{FARTHEST} to {FARTHEST}")
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
    """A JSON file of COCO, or the one in a folder; photographs lie beside it or below, in any folder of its own."""
    file = source if source.is_file() else _only(source)
    top = _mapping(_json(file, LARGEST_JSON), file.name)
    names = {_whole(entry.get("id")): _text(entry.get("name")) for entry in _entries(top, "categories")}
    of_image: dict[int, list[tuple[str, Paint]]] = {}
    for entry in _entries(top, "annotations"):
        category, image = _whole(entry.get("category_id")), _whole(entry.get("image_id"))
        if category not in names:
            _wrong(f"an annotation has the category {category}, which is not among `categories`")
        of_image.setdefault(image, []).extend((names[category], paint) for paint in _coco(entry.get("segmentation")))
    for entry in _entries(top, "images"):
        name = _text(entry.get("file_name"))
        yield _labelled(file.parent, name, of_image.get(_whole(entry.get("id")), []))


def read_labelme(source: Path) -> Iterator[Labelled]:
    """The JSON files of labelme below a folder, each beside the photograph that it names."""
    for file in _files(source, (".json",)):
        top = _mapping(_json(file, LARGEST_TEXT), file.name)
        if "shapes" not in top:
            continue
        shapes: list[tuple[str, Paint]] = []
        for entry in _entries(top, "shapes"):
            kind, points = entry.get("shape_type", "polygon"), _points(entry.get("points"))
            if kind == "rectangle" and len(points) == 2:
                (x0, y0), (x1, y1) = points
                points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
            elif kind != "polygon":
                _wrong(f"{file.name} has a shape of the kind {kind!r}; polygons and rectangles are read")
            shapes.append((_text(entry.get("label")), _painter(points)))
        named = _text(top.get("imagePath")).replace("\\", "/")
        beside = file.with_name(PurePosixPath(named).name)  # written on another machine, beside the file here
        yield _labelled(source, beside.relative_to(source).as_posix(), shapes)


def read_yolo(source: Path) -> Iterator[Labelled]:
    """YOLO's segments: images/.../NAME.jpg with labels/.../NAME.txt, names in a YAML file or classes.txt."""
    names = _yolo_names(source)
    for image in _files(source / "images", PICTURES):
        place = image.relative_to(source / "images")
        file = source / "labels" / place.with_suffix(".txt")
        lines = _content(file, LARGEST_TEXT).decode("utf-8", "replace").splitlines() if file.is_file() else []
        rows, columns = _size(image)
        shapes: list[tuple[str, Paint]] = []
        for line in lines:
            words = line.split()
            if not words:
                continue
            try:
                label, numbers = int(words[0]), [float(word) for word in words[1:]]
            except ValueError:
                _wrong(f"{file.name} has the line {line[:40]!r}; a line is a class and x y x y ... from 0 to 1")
            if len(numbers) == 4:
                _wrong(
                    f"{file.name} has boxes, which say nothing of pixels; segments are read: a class and x y x y ..."
                )
            if len(numbers) < 6 or len(numbers) % 2 or not 0 <= label < len(names):
                _wrong(
                    f"{file.name} has the line {line[:40]!r}; a line is one of {len(names)} classes and 3 or more x y"
                )
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            shapes.append((names[label], _painter([(x * columns, y * rows) for x, y in pairs])))
        yield _labelled(source / "images", place.as_posix(), shapes)


def read_own(source: Path) -> Iterator[Labelled]:
    """Our own polygons.json, or another file of its form."""
    dataset = open_polygons(source)
    for frame, sample in zip(dataset.frames, dataset.samples, strict=True):
        kinds = (("road", frame.road), ("background", frame.holes), ("ignore", frame.ignore))
        shapes = tuple((kind, _painter(list(points))) for kind, polygons in kinds for points in polygons)
        yield Labelled(sample.image, frame.name, shapes)


READERS: dict[str, Callable[[Path], Iterator[Labelled]]] = {
    "yolo": read_yolo,
    "coco": read_coco,
    "labelme": read_labelme,
    "polygons": read_own,
}


def _coco(segmentation: Any) -> Iterator[Paint]:
    if isinstance(segmentation, dict):
        read = cast("dict[str, Any]", segmentation)
        yield _runs(read.get("counts"), read.get("size"))
        return
    for flat in _list(segmentation, "`segmentation`"):
        numbers = [_number(value) for value in _list(flat, "`segmentation`")]
        if len(numbers) % 2:
            _wrong("a polygon of `segmentation` has an odd number of coordinates")
        yield _painter(list(zip(numbers[::2], numbers[1::2], strict=True)))


def _runs(counts: Any, size: Any) -> Paint:
    """COCO's runs, columns first: how many pixels are not, are, are not ... the shape; as a list, or as its text."""
    lengths = _unpacked(counts) if isinstance(counts, str) else [_whole(count) for count in _list(counts, "`counts`")]

    def paint(mask: NDArray[np.uint8], label: int) -> None:
        if list(mask.shape) != size or any(length < 0 for length in lengths) or sum(lengths) != mask.size:
            _wrong(f"`counts` must add up to the pixels of its photograph, {mask.shape[0]} x {mask.shape[1]}")
        on = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(mask.shape[::-1]).T
        mask[on] = label

    return paint


def _unpacked(text: str) -> list[int]:
    """COCO's text of runs: groups of 5 bits, lowest first; from the fourth on differences to the last but one."""
    lengths: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            _wrong("`counts` is no text of runs")
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
        _wrong(f"the photograph {name[:80]!r} is not in the folder of the labels")
    if not path.is_file():
        below = [folder / "images" / place, *sorted(folder.glob(f"*/{place.name}"))] if place.name.isprintable() else []
        path = next((found for found in below if found.is_file()), path)
    if not path.is_file():
        _wrong(f"the photograph {name[:80]!r} is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        _wrong(f"the photograph {name[:80]!r} is a link that leads out of the folder")
    if path.suffix.lower() not in PICTURES:
        _wrong(f"the photograph {name[:80]!r} must end in one of {', '.join(PICTURES)}")
    if len(shapes) > MOST_SHAPES:
        _wrong(f"the photograph {name[:80]!r} has {len(shapes)} shapes; at most {MOST_SHAPES} are read")
    return Labelled(path, place.with_suffix("").as_posix(), tuple(shapes))


def _painter(points: Polygon) -> Paint:
    return lambda mask, label: polygon(points, mask, label)


def _yolo_names(source: Path) -> list[str]:
    text = source / "classes.txt"
    if text.is_file():
        return [line.strip() for line in _content(text, LARGEST_TEXT).decode("utf-8", "replace").splitlines() if line]
    for file in sorted([*source.glob("*.yaml"), *source.glob("*.yml")]):
        content = _content(file, 2**20)
        if b"&" in content and b"*" in content:  # aliases, which unfold without bounds
            continue
        yaml: Any = importlib.import_module("yaml")
        try:
            read: Any = yaml.safe_load(content)
        except (yaml.YAMLError, RecursionError, ValueError):
            continue
        names: Any = cast("dict[str, Any]", read).get("names") if isinstance(read, dict) else None
        if isinstance(names, dict):
            numbered = cast("dict[Any, Any]", names)
            names = [numbered.get(at) for at in range(len(numbered))]
        if isinstance(names, list):
            return [_text(name) for name in cast("list[Any]", names)]
    return _wrong("the names of the classes are missing: classes.txt, or `names` in data.yaml")


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        _wrong(f"there is no folder {folder.name!r}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not found:
        _wrong(f"the folder {folder.name!r} has no {' or '.join(suffixes)} file")
    return found


def _only(folder: Path) -> Path:
    found = sorted(folder.glob("*.json"))
    if len(found) != 1:
        _wrong(f"the folder has {len(found)} JSON files; name the one")
    return found[0]


def _size(path: Path) -> tuple[int, int]:
    """Rows and columns, from the header; those of a photograph that its camera turned, too."""
    image: Any = importlib.import_module("PIL.Image")
    try:
        with image.open(path) as opened:
            columns, rows = opened.size
            turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except Exception:  # noqa: BLE001  hostile files make Pillow raise every kind
        _wrong(f"{path.name} is no picture that can be read")
    if columns * rows > LARGEST:
        _wrong(f"{path.name} has more than {LARGEST} pixels")
    return (columns, rows) if turned else (rows, columns)


def _content(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        _wrong(f"{path.name} has more than {most} bytes, the most that are read")
    return content


def _json(path: Path, most: int) -> Any:
    try:
        return json.loads(_content(path, most).decode())
    except (ValueError, RecursionError) as error:
        if str(error).startswith(path.name):
            raise
        _wrong(f"{path.name} is no JSON: {str(error)[:80]}")


def _entries(top: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [_mapping(entry, f"an entry of `{key}`") for entry in _list(top.get(key), f"`{key}`")]


def _points(value: Any) -> list[tuple[float, float]]:
    pairs = [_list(point, "a point") for point in _list(value, "`points`")]
    if not all(len(pair) == 2 for pair in pairs):
        _wrong("a point must be [x, y]")
    return [(_number(x), _number(y)) for x, y in pairs]


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(f"{what} must be an object")
    return cast("dict[str, Any]", value)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        _wrong(f"{what} must be a list")
    return cast("list[Any]", value)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= FARTHEST:
        _wrong(f"a coordinate is {str(value)[:40]!r}; it must be a number from -{FARTHEST} to {FARTHEST}")
    return float(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        _wrong(f"an id or a count is {str(value)[:40]!r}; it must be a whole number")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200:
        _wrong(f"a name is {str(value)[:40]!r}; it must be a text of 1 to 200 characters")
    return value


def _wrong(message: str) -> NoReturn:
    raise ValueError(message)
