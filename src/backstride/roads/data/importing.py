"""Labels of other tools as a folder that `train` takes.

Photographs, masks, and the table of their classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from backstride.files import instead_of, make_folder, write_beside
from backstride.pictures.picture import read_picture
from backstride.roads.data.shapes import READERS, Labelled
from backstride.roads.meaning import MOST_CLASSES
from backstride.roads.sample import IGNORE, ROAD
from backstride.roads.synthetic.dataset import png
from backstride.roads.toml import toml_text

BACKGROUND = "background"


def import_labels(
    kind: str,
    source: Path,
    out: Path,
    *,
    road: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write images/, masks/ and classes.toml into a new folder, all of it or nothing.

    Returns the classes by label. `kind`: "yolo" (segments), "coco", "labelme" or "polygons".
    `source`: its folder, or its JSON file. `road`: names of classes that are road, all others being
    background. Left out, each name is a class, what no shape covers is "background" (label 0), a
    class named "road" is label 1, and "ignore" is neither trained nor measured. Later shapes lie
    over earlier ones.

    Raises `ValueError` naming what is wrong; nothing is followed out of the source's folder.
    """
    if kind not in READERS:
        message = f"`kind` (={kind!r}) must be one of {', '.join(READERS)}"
        raise ValueError(message)
    if not source.exists():
        message = f"`source` (={str(source)!r}) does not exist"
        raise ValueError(message)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        message = f"`out` (={str(out)!r}) is there and not empty; name a new folder"
        raise ValueError(message)
    try:
        found = list(READERS[kind](source))
        classes, labels = _classes(found, road)
        with instead_of(out) as folder:
            for done, labelled in enumerate(found, start=1):
                _write(folder, labelled, labels)
                if progress is not None:
                    progress(done, len(found))
            write_beside(folder / "classes.toml", _table(classes))
    except ValueError as error:
        message = f"`source` (={str(source)!r}): {error}"
        raise ValueError(message) from None
    return classes


def _classes(
    found: Sequence[Labelled], road: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names by label, and the label of each name of a shape."""
    names = list(dict.fromkeys(name for labelled in found for name, _ in labelled.shapes))
    missing = [name for name in road if name not in names]
    if missing or not names:
        message = (
            f"no shape is of the class {missing[0]!r}; there are {', '.join(names[:20])}"
            if names
            else "it has no shapes"
        )
        raise ValueError(message)
    if len({labelled.name for labelled in found}) != len(found):
        message = "two photographs have the same name but for their suffix"
        raise ValueError(message)
    if road:
        return (BACKGROUND, "road"), {
            name: ROAD if name in road else IGNORE * (name == "ignore") for name in names
        }
    own = [name for name in names if name not in (BACKGROUND, "ignore")]
    classes = (
        BACKGROUND,
        *sorted(own, key=lambda name: (name != "road", name)),
    )  # whichever shape comes first
    if not 2 <= len(classes) <= MOST_CLASSES:
        message = (
            f"it has {len(classes) - 1} classes beside the background; 1 to {MOST_CLASSES - 1} are "
            "read"
        )
        raise ValueError(message)
    return classes, {**{name: label for label, name in enumerate(classes)}, "ignore": IGNORE}


def _write(folder: Path, labelled: Labelled, labels: dict[str, int]) -> None:
    mask = np.zeros(read_picture(labelled.image).shape[:2], np.uint8)
    for name, paint in labelled.shapes:
        paint(mask, labels[name])
    place = folder / "images" / f"{labelled.name}{labelled.image.suffix.lower()}"
    make_folder(place.parent)
    _ = shutil.copyfile(labelled.image, place)
    write_beside(folder / "masks" / f"{labelled.name}.png", png(mask), one_of_many=True)


def _table(classes: Sequence[str]) -> str:
    entries = "".join(
        f"\n[[class]]\nname = {toml_text(name)}\nids = [{label}]\n"
        for label, name in enumerate(classes)
    )
    return f"{entries.lstrip()}\n[ignore]\nids = [{IGNORE}]\n"
