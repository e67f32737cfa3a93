"""Labels of other tools become a folder that `train` takes, whole or not at all."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from backstride.roads.config import DataConfig
from backstride.roads.data.folders import open_data, require_sound
from backstride.roads.data.importing import import_labels
from backstride.roads.data.labels import TABLES, read_table
from backstride.roads.data.sources import open_pictures
from road_pictures import save

SQUARE = [[2, 3], [8, 3], [8, 6], [2, 6]]


def coco(folder: Path, segmentation: Any = None, name: str = "a.png") -> None:
    annotation = {
        "image_id": 7,
        "category_id": 3,
        "segmentation": segmentation or [[2, 3, 8, 3, 8, 6, 2, 6]],
    }
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
    _ = (folder / "labels/a.txt").write_text(
        "0 " + " ".join(f"{x / 12} {y / 9}" for x, y in SQUARE) + "\n"
    )


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


def packed(lengths: Sequence[int]) -> str:
    """COCO's text of runs: five bits a letter, from the fourth run on differences to the last but
    one.
    """
    text = ""
    for at, length in enumerate(lengths):
        value = length - (lengths[at - 2] if at > 2 else 0)
        while True:
            low, value = value & 31, value >> 5
            done = value == (-1 if low & 16 else 0)
            text += chr((low | (0 if done else 32)) + 48)
            if done:
                break
    return text


def runs(mask: NDArray[np.uint8]) -> list[int]:
    flat = np.append(mask.T.ravel(), 2)
    ends = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.append(0, ends)).tolist()
    return [0, *lengths] if mask[0, 0] else lengths


def imported(source: Path, kind: str = "coco", road: Sequence[str] = ()) -> NDArray[np.uint8]:
    out = source.parent / "out"
    _ = import_labels(kind, source, out, road=road)
    return open_data(out).mask(0)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=st.integers(0, 2**32), share=st.sampled_from([0.01, 0.5, 0.99]), text=st.booleans())
def test_runs_of_coco(
    tmp_path_factory: pytest.TempPathFactory, drawn: int, share: float, text: bool
) -> None:
    mask = (np.random.default_rng(drawn).random((37, 50)) < share).astype(np.uint8)
    source = tmp_path_factory.mktemp("runs") / "from"
    _ = save(source / "a.png", np.zeros((37, 50, 3), np.uint8))
    coco(source, {"counts": packed(runs(mask)) if text else runs(mask), "size": [37, 50]})
    np.testing.assert_array_equal(imported(source), mask)


def test_runs_as_the_tools_of_coco_write_them(tmp_path: Path) -> None:
    _ = save(tmp_path / "from/a.png", np.zeros((9, 12, 3), np.uint8))
    coco(tmp_path / "from", {"size": [9, 12], "counts": "01d02B000000000Q1"})  # pycocotools 2.0
    expected = np.zeros((9, 12), np.uint8)
    expected[3:6, 2:8] = expected[0, 0] = 1
    np.testing.assert_array_equal(imported(tmp_path / "from"), expected)


@pytest.mark.parametrize("place", ["b/a.png", "images/a.png", "images/default/a.png"])
@pytest.mark.parametrize("named", [True, False])
def test_coco_with_its_annotations_in_a_folder(tmp_path: Path, place: str, named: bool) -> None:
    source = tmp_path / "from"
    _ = save(source / place, np.zeros((9, 12, 3), np.uint8))
    (source / "annotations").mkdir()
    coco(source / "annotations")
    _ = import_labels("coco", source / "annotations/a.json" if named else source, tmp_path / "out")
    assert open_data(tmp_path / "out").mask(0).sum() == 18
    _ = save(source / "c/a.png", np.zeros((9, 12, 3), np.uint8))
    if place.startswith("b/"):
        with pytest.raises(
            ValueError,
            match=r"the photograph 'a.png' is in b and c; `file_name` must say in which$",
        ):
            _ = import_labels("coco", source, tmp_path / "again")


def test_ids_of_coco_may_be_texts_and_names_may_have_brackets(tmp_path: Path) -> None:
    source = tmp_path / "from"
    _ = save(source / "pictures/a[1].png", np.zeros((9, 12, 3), np.uint8))
    top = {
        "images": [{"id": "x", "file_name": "a[1].png"}],
        "categories": [{"id": "k", "name": "road"}],
        "annotations": [
            {"image_id": "x", "category_id": "k", "segmentation": polygon}
            for polygon in (
                [[2, 3, 8, 3, 8, 6, 2, 6]],
                [[1, 1, 2, 2]],
                [],
            )  # tools leave two points and none behind
        ],
    }
    _ = (source / "a.json").write_text(json.dumps(top))
    assert imported(source).sum() == 18


def shapes(folder: Path, *found: dict[str, Any]) -> None:
    _ = save(folder / "a.png", np.zeros((9, 12, 3), np.uint8))
    _ = (folder / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": found}))


def stencil(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_shapes_of_labelme(tmp_path: Path) -> None:
    holes = np.array([[255, 0, 255], [255, 255, 255]], np.uint8)
    shapes(
        tmp_path / "from",
        {"label": "road", "shape_type": "polygon", "points": SQUARE, "group_id": 1},
        {
            "label": "road",
            "shape_type": "polygon",
            "points": [[9, 7], [11, 7], [11, 8], [9, 8]],
            "group_id": 1,
        },
        {"label": "line", "shape_type": "linestrip", "points": [[0, 0], [5, 5], [9, 2]]},
        {"label": "line", "shape_type": "point", "points": [[0, 0]]},
        {
            "label": "car",
            "shape_type": "rectangle",
            "points": [[4, 5], [2, 4]],
        },  # over the road, dragged upwards
        {"label": "sky", "shape_type": "circle", "points": [[0, 0], [0, 1.8]]},
        {
            "label": "sign",
            "shape_type": "mask",
            "points": [[10, 1], [12, 2]],
            "mask": stencil(holes),
        },
    )
    expected = np.zeros((9, 12), np.uint8)
    expected[3:6, 2:8] = expected[7, 9:11] = 1
    expected[4, 2:4] = 2
    expected[1:3, 10:12] = 3  # cut at the picture's edge
    expected[1, 11] = 0
    expected[:2, :2] = 4
    expected[1, 1] = 0  # its centre lies 0.32 outside of the circle
    np.testing.assert_array_equal(imported(tmp_path / "from", "labelme"), expected)
    classes = [
        entry["name"]
        for entry in tomllib.loads((tmp_path / "out/classes.toml").read_text())["class"]
    ]
    assert classes == ["background", "road", "car", "sign", "sky"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            {"shape_type": "ellipse", "points": []},
            "a.json: a shape is of the kind 'ellipse'; polygons, rectangles, cir",
        ),
        ({"points": [[1, 2, 3]]}, "a.json: a point must be [x, y]"),
        (
            {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "?"},
            "a.json: the `mask` of a shape is no PNG in",
        ),
        (
            {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "AAAA"},
            "a.json: the `mask` of a shape is no pict",
        ),
        (
            {"shape_type": "mask", "points": [[0, 0], [1, 1]]},
            "a.json: the `mask` of a shape is no PNG in base64",
        ),
    ],
)
def test_shapes_that_are_none(tmp_path: Path, shape: dict[str, Any], message: str) -> None:
    shapes(tmp_path / "from", {"label": "road", **shape})
    with pytest.raises(ValueError, match=re.escape(message)):
        _ = imported(tmp_path / "from", "labelme")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [sky, road]", True),
        ("names:\n  0: sky\n  1: road\n", True),
        ("names:\n  1: road\n  0: sky\n", True),
        ("names: {'0': sky, '1': road}  # R&D: all of images/*\n", True),
        ("a: &x [sky, road]\nnames: *x\n", False),
        ("names: {0: sky, 2: road}", False),
    ],
)
def test_names_of_yolo(tmp_path: Path, text: str, names: bool) -> None:
    source = tmp_path / "from"
    _ = save(source / "a.png", np.zeros((9, 12, 3), np.uint8))
    yolo(source)
    (source / "classes.txt").unlink()
    _ = (source / "data.yaml").write_text(text)
    _ = (source / "labels/a.txt").write_text("1 0 0 1 0 1 1 0 1\n")
    if names:
        assert (imported(source, "yolo") == 1).all()
        assert read_table(tmp_path / "out/classes.toml").classes == ("background", "road")
    else:
        with pytest.raises(
            ValueError,
            match=r"^`source` .*(the names of the classes are missing|lack the number 1)",
        ):
            _ = imported(source, "yolo")


def test_yolo_in_sets(tmp_path: Path) -> None:
    for place in ("train", "valid"):
        _ = save(tmp_path / "from" / place / "a.png", np.zeros((9, 12, 3), np.uint8))
        yolo(tmp_path / "from" / place)
        (tmp_path / "from" / place / "classes.txt").unlink()
    _ = (tmp_path / "from/data.yaml").write_text("train: ../train/images\nnames: [road]\n")
    assert imported(tmp_path / "from", "yolo").sum() == 18
    assert [sample.name for sample in open_data(tmp_path / "out").samples] == ["train/a", "valid/a"]


def test_own_polygons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKSTRIDE_ROADS_FRAMES", raising=False)
    _ = save(tmp_path / "from/a.png", np.zeros((9, 12, 3), np.uint8))
    frame = {
        "name": "a",
        "size": [12, 9],
        "road": [SQUARE],
        "holes": [[[3, 4], [4, 4], [4, 5], [3, 5]]],
    }
    frame["ignore"] = [[[7, 5], [9, 5], [9, 7], [7, 7]]]
    top = {"format": "backstride road polygons 1", "frames": [frame]}
    _ = (tmp_path / "from/polygons.json").write_text(json.dumps(top))
    np.testing.assert_array_equal(
        imported(tmp_path / "from", "polygons"), open_data(tmp_path / "from").mask(0)
    )


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links")
def test_links_lead_inside_only(tmp_path: Path) -> None:
    source = tmp_path / "from"
    kept = save(source / "kept/b.png", np.zeros((9, 12, 3), np.uint8))
    (source / "a.png").symlink_to(kept)
    coco(source)
    assert imported(source).sum() == 18
    assert not (tmp_path / "out/images/a.png").is_symlink()
    (source / "a.png").unlink()
    (source / "a.png").symlink_to(save(tmp_path / "elsewhere.png", np.zeros((9, 12, 3), np.uint8)))
    with pytest.raises(
        ValueError, match=r"'a.png' is a link that leads out of the folder; copy it there: cp -L$"
    ):
        _ = import_labels("coco", source, tmp_path / "again")


def test_labels_do_not_hang_on_which_shape_comes_first(tmp_path: Path) -> None:
    square = {"shape_type": "polygon", "points": SQUARE}
    for at, order in enumerate((("sky", "car"), ("car", "sky"))):
        shapes(tmp_path / f"{at}", *({"label": name, **square} for name in order))
        assert import_labels("labelme", tmp_path / f"{at}", tmp_path / f"out{at}") == (
            "background",
            "car",
            "sky",
        )


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
def test_hostile_files_leave_nothing(
    tmp_path: Path, segmentation: Any, name: str, message: str
) -> None:
    source = tmp_path / "from"
    _ = save(source / "a.png", np.zeros((9, 12, 3), np.uint8))
    coco(source, segmentation, name)
    with pytest.raises(ValueError, match=r"^`source` ") as caught:
        _ = import_labels("coco", source, tmp_path / "to")
    assert message in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from"]


VALUES: dict[str, tuple[str, str, dict[Any, int]]] = {
    "bdd100k": (
        *("images/100k/val/b1.jpg", "labels/drivable/masks/val/b1.png"),
        {0: 1, 1: 1, 2: 0, 255: 255},  # direct, alternative, background
    ),
    "camvid": (
        *("701_StillsRaw_full/c1.png", "LabeledApproved_full/c1_L.png"),
        # Road, LaneMkgsDriv, LaneMkgsNonDriv, Void, RoadShoulder, Sidewalk, Car
        {
            **dict.fromkeys([(128, 64, 128), (128, 0, 192), (192, 0, 64)], 1),
            (0, 0, 0): 255,
            **dict.fromkeys([(128, 128, 192), (0, 0, 192), (64, 0, 128)], 0),
        },
    ),
    "cityscapes": (
        *("leftImg8bit/val/ulm/u_1_leftImg8bit.png", "gtFine/val/ulm/u_1_gtFine_labelIds.png"),
        {
            0: 255,
            1: 0,
            2: 255,
            3: 255,
            7: 1,
            8: 0,
            9: 0,
            26: 0,
        },  # ego vehicle, road, sidewalk, parking, car
    ),
    "comma10k": (
        *("imgs/d1.png", "masks/d1.png"),
        # road, lane markings, undrivable, movable, my car
        {(64, 32, 32): 1, (255, 0, 0): 1, (128, 128, 96): 0, (0, 255, 102): 0, (204, 0, 255): 0},
    ),
    "mapillary": (
        *("training/images/m1.jpg", "training/v1.2/labels/m1.png"),
        # curb, bike lane, curb cut, pedestrian area, rail track, road, sidewalk, markings, manhole,
        # car, ego, none
        {2: 0, 7: 1, 9: 0, 11: 0, 12: 0, 13: 1, 15: 0, 23: 1, 24: 1, 41: 1, 55: 0, 64: 0, 65: 255},
    ),
    "mapillary2": (
        *("training/images/m1.jpg", "training/v2.0/labels/m1.png"),
        # median, bike lane, driveway, parking, pedestrian area, rail track, road, shoulder,
        # sidewalk, island, cyclist, the first and last marking, mountain, manhole, car, ego
        # vehicle, unlabelled
        {
            8: 0,
            13: 1,
            16: 0,
            17: 1,
            19: 0,
            20: 0,
            21: 1,
            22: 1,
            24: 0,
            25: 0,
            32: 0,
            35: 1,
            58: 1,
            59: 0,
        }
        | {74: 1, 108: 0, 120: 0, 123: 255},
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_tables_that_come_with_us(tmp_path: Path, name: str) -> None:
    image, mask, values = VALUES[name]
    _ = save(tmp_path / image, np.zeros((1, len(values), 3), np.uint8))
    _ = save(tmp_path / mask, np.array([list(values)], np.uint8))
    found = open_data(tmp_path, classes=Path(name))
    assert found.classes == ("background", "road")
    assert len(found.samples) == 1
    assert found.mask(0).tolist() == [list(values.values())]
    assert "Source: " in (TABLES / f"{name}.toml").read_text(encoding="utf-8")


def test_a_set_without_masks_is_left_out(tmp_path: Path) -> None:
    for at, place in enumerate(("train/a", "test/b")):
        _ = save(tmp_path / "images/100k" / f"{place}.jpg", np.full((2, 2, 3), at, np.uint8))
    _ = save(tmp_path / "labels/drivable/masks/train/a.png", np.array([[0, 2], [2, 2]], np.uint8))
    require_sound(open_data(tmp_path, classes=Path("bdd100k")))
    found = open_pictures(DataConfig(folder=str(tmp_path), table="bdd100k"))
    assert [sample.name for sample in found.samples] == ["train/a"]
