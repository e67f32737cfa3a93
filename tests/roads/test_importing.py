"""Labels of other tools become a folder that `train` takes, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backstride.roads.data import open_data, require_sound
from backstride.roads.importing import import_labels
from backstride.roads.labels import read_table
from road_pictures import save

SQUARE = [[2, 3], [8, 3], [8, 6], [2, 6]]


def coco(folder: Path, segmentation: Any = None, name: str = "a.png") -> None:
    annotation = {"image_id": 7, "category_id": 3, "segmentation": segmentation or [[2, 3, 8, 3, 8, 6, 2, 6]]}
    top = {"images": [{"id": 7, "file_name": name}], "categories": [{"id": 3, "name": "road"}]}
    _ = (folder / "a.json").write_text(json.dumps({**top, "annotations": [annotation]}))


def labelme(folder: Path) -> None:
    shape = {"label": "road", "shape_type": "rectangle", "points": [SQUARE[0], SQUARE[2]]}
    _ = (folder / "a.json").write_text(json.dumps({"imagePath": "C:\\x\\a.png", "shapes": [shape]}))


def yolo(folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    _ = (folder / "a.png").rename(folder / "images/a.png")
    _ = (folder / "classes.txt").write_text("road\n")
    _ = (folder / "labels/a.txt").write_text("0 " + " ".join(f"{x / 12} {y / 9}" for x, y in SQUARE) + "\n")


@pytest.mark.parametrize(("kind", "make"), [("coco", coco), ("labelme", labelme), ("yolo", yolo)])
def test_a_square(tmp_path: Path, kind: str, make: Callable[[Path], None]) -> None:
    source = tmp_path / "from"
    _ = save(source / "a.png", np.zeros((9, 12, 3), np.uint8))
    make(source)
    assert import_labels(kind, source, tmp_path / "to") == ("background", "road")
    found = open_data(tmp_path / "to")
    require_sound(found)
    expected = np.zeros((9, 12), np.uint8)
    expected[3:6, 2:8] = 1
    np.testing.assert_array_equal(found.mask(0), expected)


@pytest.mark.parametrize(
    ("segmentation", "name", "message"),
    [
        (None, "../a.png", "is not in the folder"),
        (None, "/etc/passwd", "is not in the folder"),
        (None, "none.png", "is missing"),
        ([[1e300, 0, 1, 1, 2, 2]], "a.png", "a coordinate is"),
        ({"counts": [2**60], "size": [9, 12]}, "a.png", "must add up"),
    ],
)
def test_hostile_files_leave_nothing(tmp_path: Path, segmentation: Any, name: str, message: str) -> None:
    source = tmp_path / "from"
    _ = save(source / "a.png", np.zeros((9, 12, 3), np.uint8))
    coco(source, segmentation, name)
    with pytest.raises(ValueError, match=r"^`source` ") as caught:
        _ = import_labels("coco", source, tmp_path / "to")
    assert message in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from"]


@pytest.mark.parametrize("name", ["bdd100k", "camvid", "cityscapes", "comma10k", "mapillary"])
def test_tables_that_come_with_us(name: str) -> None:
    assert read_table(Path(name)).classes == ("background", "road")
