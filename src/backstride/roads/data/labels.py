"""Label files to labels.

KITTI's colours, and maps of ids or colours by a table of classes in TOML.
"""

from __future__ import annotations

import math
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.picture import LARGEST
from backstride.roads.sample import BACKGROUND, IGNORE, ROAD

LONGEST = 2**18  # bytes of a table of classes
MOST_CLASSES = 250
TABLES = Path(__file__).parent / "tables"

Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Table:
    """What the values of label files mean, and where those files are.

    `ids`, `colours`: from a value to its label. `rest`: the label of every other value, None where
    such a value is an error. `images`, `masks`: folders inside the data set's; `image_suffix`,
    `mask_suffix`: what follows the common name in both.
    """

    classes: tuple[str, ...]
    ids: dict[int, int]
    colours: dict[tuple[int, int, int], int]
    rest: int | None = None
    images: str = "images"
    masks: str = "masks"
    image_suffix: str = ""
    mask_suffix: str = ""

    def decode(self, path: Path) -> Labels:
        """The labels of a file, (rows, columns).

        Raises `ValueError` for a value that is not in the table.
        """
        values = read_values(path, colours=bool(self.colours))
        if self.colours:
            codes = (
                values[..., 0].astype(np.int64) << 16
                | values[..., 1].astype(np.int64) << 8
                | values[..., 2]
            )
            known = {
                red << 16 | green << 8 | blue: label
                for (red, green, blue), label in self.colours.items()
            }
        else:
            codes, known = values.astype(np.int64), self.ids
        found, inverse = np.unique(codes, return_inverse=True)
        labels = np.empty(len(found), np.uint8)
        for place, code in enumerate(found.tolist()):
            label = known.get(code, self.rest)
            if label is None:
                value = (code >> 16, code >> 8 & 255, code & 255) if self.colours else code
                message = (
                    f"`mask` (={str(path)!r}) has the value {value}, which the table of classes "
                    "does not name"
                )
                raise ValueError(message)
            labels[place] = label
        return labels[inverse.reshape(codes.shape)]


PLAIN = Table(("background", "road"), {BACKGROUND: BACKGROUND, ROAD: ROAD, IGNORE: IGNORE}, {})


def decode_kitti(path: Path) -> Labels:
    """The labels of a mask of KITTI Road, (rows, columns).

    As its devkit reads them: a pixel is valid where red > 0, and road where blue > 0; what is not
    valid is IGNORE, whatever its blue.
    """
    values = read_values(path, colours=True)
    return np.where(
        values[..., 0] > 0, np.where(values[..., 2] > 0, ROAD, BACKGROUND), IGNORE
    ).astype(np.uint8)


def read_values(path: Path, *, colours: bool) -> NDArray[np.integer]:
    """The values of a PNG as they stand.

    (rows, columns) of ids or of places in its palette, or (..., 3) of colours.
    """
    from PIL import Image  # noqa: PLC0415  polygons are read without it

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size is checked here, before anything is decoded
        try:
            opened = Image.open(file, formats=("PNG",))
            size = opened.size
        except Exception:  # noqa: BLE001  hostile files make Pillow raise every kind
            message = f"`mask` (={str(path)!r}) is no PNG that can be read; masks are PNG files"
            raise ValueError(message) from None
        if math.prod(size) > LARGEST:
            message = (
                f"`mask` (={str(path)!r}) has more than {LARGEST} pixels, the most that are read"
            )
            raise ValueError(message)
        try:
            if colours:
                return np.asarray(opened.convert("RGB"))
            mode = opened.mode
            # of grey with transparency, the grey says the class
            values = np.asarray(opened.getchannel(0) if mode == "LA" else opened)
        except Exception:  # noqa: BLE001  the same
            message = f"`mask` (={str(path)!r}) is a damaged or truncated PNG"
            raise ValueError(message) from None
    if mode in {"RGB", "RGBA"}:
        message = (
            f"`mask` (={str(path)!r}) has colours; without a table of classes a mask has one "
            f"channel: {BACKGROUND} background, {ROAD} road, {IGNORE} ignored; name the colours in "
            "a table (`classes`)"
        )
        raise ValueError(message)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def read_table(path: Path) -> Table:
    """The table of classes in a TOML file, or one of the tables that come with us.

    "camvid", "cityscapes".

    >>> read_table(Path("cityscapes")).classes
    ('background', 'road')
    """
    own = TABLES / f"{path}.toml"
    if not path.exists() and own.parent == TABLES and own.exists():
        path = own
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError:
        names = ", ".join(sorted(each.stem for each in TABLES.glob("*.toml")))
        message = (
            f"`classes` (={str(path)!r}) is no file that can be read; name one, or one of {names}"
        )
        raise ValueError(message) from None
    try:
        return _table(content)
    except (ValueError, TypeError, RecursionError) as problem:
        message = f"`classes` (={str(path)!r}) is no table of classes: {problem}"
        raise ValueError(message) from None


def _table(content: bytes) -> Table:
    """Checks each entry."""
    if len(content) > LONGEST:
        message = f"it has more than {LONGEST} bytes"
        raise ValueError(message)
    found = tomllib.loads(content.decode("utf-8"))
    unknown = found.keys() - {"class", "ignore", "rest", "layout"}
    if unknown:
        message = f"it has the entry {min(unknown)!r}; legal are class, ignore, rest, layout"
        raise ValueError(message)
    entries = _tables(found.get("class", []))
    names = tuple(_text(entry.get("name"), "name") for entry in entries)
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) != len(names):
        message = f"it must have 2 to {MOST_CLASSES} [[class]] entries, each with a name of its own"
        raise ValueError(message)
    ids: dict[int, int] = {}
    colours: dict[tuple[int, int, int], int] = {}
    for label, entry in [
        *enumerate(entries),
        *((IGNORE, entry) for entry in _tables([found.get("ignore", {})])),
    ]:
        _add(entry, label, ids, colours)
    if bool(ids) == bool(colours):
        message = "its classes must have `ids` or `colours`, one kind throughout"
        raise ValueError(message)
    rest = found.get("rest")
    if rest is not None and rest not in {*names, "ignore"}:
        message = f"`rest` (={rest!r}) must be the name of a class, or 'ignore'"
        raise ValueError(message)
    label = None if rest is None else IGNORE if rest == "ignore" else names.index(rest)
    layout = _tables([found.get("layout", {})])[0]
    strange = layout.keys() - {"images", "masks", "image_suffix", "mask_suffix"}
    if strange:
        message = (
            f"[layout] has the entry {min(strange)!r}; legal are images, masks, image_suffix, "
            "mask_suffix"
        )
        raise ValueError(message)
    return Table(
        names,
        ids,
        colours,
        label,
        _inside(layout.get("images", PLAIN.images)),
        _inside(layout.get("masks", PLAIN.masks)),
        _text(layout.get("image_suffix", ""), "image_suffix"),
        _text(layout.get("mask_suffix", ""), "mask_suffix"),
    )


def _add(
    entry: dict[str, object],
    label: int,
    ids: dict[int, int],
    colours: dict[tuple[int, int, int], int],
) -> None:
    """Add the values of one class; no value may belong to two."""
    for value in _list(entry.get("ids", []), "ids"):
        if type(value) is not int or not 0 <= value < 2**16 or value in ids:
            message = f"`ids` has {value!r}; an id is an integer from 0 to 65535, in one class only"
            raise ValueError(message)
        ids[value] = label
    for value in _list(entry.get("colours", []), "colours"):
        parts = tuple(_list(value, "colours"))
        if (
            len(parts) != 3
            or not all(type(part) is int and 0 <= part < 256 for part in parts)
            or parts in colours
        ):
            message = (
                f"`colours` has {value!r}; a colour is [red, green, blue] from 0 to 255, in one "
                "class only"
            )
            raise ValueError(message)
        colours[cast("tuple[int, int, int]", parts)] = label


def _tables(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(
        isinstance(entry, dict) for entry in cast("list[object]", value)
    ):
        message = "`class` must be written [[class]], `ignore` and `layout` as tables"
        raise TypeError(message)
    return cast("list[dict[str, object]]", value)


def _list(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        message = f"`{name}` (={value!r}) must be a list"
        raise TypeError(message)
    return cast("list[object]", value)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or (name == "name" and not value):
        message = f"`{name}` (={value!r}) must be text"
        raise TypeError(message)
    return value


def _inside(value: object) -> str:
    """A folder's name that leads to no place outside the data set."""
    text = _text(value, "images")
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text:
        message = f"the folder {text!r} must be inside the data set's: no '..', no absolute path"
        raise ValueError(message)
    return text
