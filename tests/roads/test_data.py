"""Data sets on disk: each layout, and every fault named before training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from backstride.roads.camera import Camera
from backstride.roads.data.folders import FolderDataset, check, open_data, require_sound
from backstride.roads.sample import Dataset
from road_pictures import kitti_mask, photograph, save

ROAD = np.repeat(np.array([[0, 0, 1, 1, 1, 1, 0, 255]], np.uint8), 6, 0)


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """Two frames of each category, masks of road and of lane, one calibration."""
    training = tmp_path / "training"
    for category in ("um", "umm", "uu"):
        for number in range(2):
            _ = photograph(training / "image_2" / f"{category}_{number:06d}.png")
            _ = kitti_mask(training / "gt_image_2" / f"{category}_road_{number:06d}.png", ROAD)
    _ = kitti_mask(training / "gt_image_2" / "um_lane_000000.png", np.zeros_like(ROAD))
    (training / "calib").mkdir()
    _ = (training / "calib" / "um_000000.txt").write_text(Camera(5, 4, 3, 1.6, 0).calibration())
    return tmp_path


def folder(dataset: Dataset) -> FolderDataset:
    assert isinstance(dataset, FolderDataset)
    return dataset


def test_kitti(kitti: Path) -> None:
    dataset = folder(open_data(kitti))
    assert [sample.name for sample in dataset.samples] == [
        "um_000000", "um_000001", "umm_000000", "umm_000001", "uu_000000", "uu_000001",
    ]  # fmt: skip
    assert [sample.category for sample in dataset.samples] == ["um", "um", "umm", "umm", "uu", "uu"]
    assert dataset.image(0).shape == (6, 8, 3)
    np.testing.assert_array_equal(dataset.mask(0), ROAD)  # um_road_, not um_lane_
    ground = dataset.ground(0)
    assert ground is not None
    np.testing.assert_allclose(ground.matrix, Camera(5, 4, 3, 1.6, 0).ground.matrix)
    assert dataset.ground(1) is None
    assert check(dataset) == ()
    assert [sample.name for sample in open_data(kitti / "training").samples] == [
        s.name for s in dataset.samples
    ]


def test_kitti_testing_has_no_masks(tmp_path: Path) -> None:
    _ = photograph(tmp_path / "testing" / "image_2" / "uu_000000.png")
    dataset = open_data(tmp_path / "testing")
    assert dataset.samples[0].mask is None
    with pytest.raises(ValueError, match=r"`sample` \(='uu_000000'\) has no mask"):
        _ = dataset.mask(0)
    assert check(dataset) == ()


def test_two_folders(tmp_path: Path) -> None:
    _ = (
        photograph(tmp_path / "images" / "clip_0001.jpg"),
        save(tmp_path / "masks" / "clip_0001.png", ROAD),
    )
    _ = (
        photograph(tmp_path / "images" / "in" / "a.PNG"),
        save(tmp_path / "masks" / "in" / "a.png", ROAD),
    )
    dataset = open_data(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["clip_0001", "in/a"]
    np.testing.assert_array_equal(dataset.mask(1), ROAD)
    assert check(dataset) == ()
    assert [sample.group for sample in open_data(tmp_path, group="clip").samples] == [
        "clip",
        "in/a",
    ]
    assert [sample.group for sample in open_data(tmp_path, group="folder").samples] == [".", "in"]


def test_beside_each_other(tmp_path: Path) -> None:
    _ = photograph(tmp_path / "a.jpg"), save(tmp_path / "a.png", ROAD)
    dataset = open_data(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["a"]
    np.testing.assert_array_equal(dataset.mask(0), ROAD)
    assert check(dataset) == ()


def test_cityscapes(tmp_path: Path) -> None:
    _ = photograph(tmp_path / "leftImg8bit" / "train" / "ulm" / "ulm_0_leftImg8bit.png")
    ids = np.where(ROAD == 1, 7, np.where(ROAD == 255, 3, 11)).astype(np.uint8)
    _ = save(tmp_path / "gtFine" / "train" / "ulm" / "ulm_0_gtFine_labelIds.png", ids)
    _ = save(tmp_path / "gtFine" / "train" / "ulm" / "ulm_0_gtFine_instanceIds.png", ids)
    dataset = open_data(tmp_path, classes=Path("cityscapes"), group="folder")
    assert [(sample.name, sample.group) for sample in dataset.samples] == [
        ("train/ulm/ulm_0", "train/ulm")
    ]
    np.testing.assert_array_equal(dataset.mask(0), ROAD)
    assert check(dataset) == ()


def test_camvid(tmp_path: Path) -> None:
    _ = photograph(tmp_path / "701_StillsRaw_full" / "0001TP_006690.png")
    colours = np.array([[0, 0, 0], [128, 64, 128], [64, 128, 64]], np.uint8)
    place = np.where(ROAD == 255, 0, np.where(ROAD == 1, 1, 2))
    _ = save(tmp_path / "LabeledApproved_full" / "0001TP_006690_L.png", colours[place])
    dataset = open_data(tmp_path, classes=Path("camvid"))
    np.testing.assert_array_equal(dataset.mask(0), ROAD)


def test_a_table_in_the_folder_is_found(tmp_path: Path) -> None:
    _ = (
        photograph(tmp_path / "a.jpg"),
        save(tmp_path / "a.png", np.where(ROAD == 1, 255, 0).astype(np.uint8)),
    )
    _ = (tmp_path / "classes.toml").write_text(
        '[[class]]\nname = "background"\nids = [0]\n[[class]]\nname = "road"\nids = [255]\n'
    )
    np.testing.assert_array_equal(open_data(tmp_path).mask(0), (ROAD == 1).astype(np.uint8))


def test_every_fault_is_named(kitti: Path) -> None:
    training = kitti / "training"
    _ = (training / "image_2" / "um_000000.png").write_bytes(b"none")
    whole = (training / "image_2" / "um_000001.png").read_bytes()
    _ = (training / "image_2" / "um_000001.png").write_bytes(whole[: len(whole) // 2])
    (training / "gt_image_2" / "umm_road_000000.png").unlink()
    _ = kitti_mask(training / "gt_image_2" / "umm_road_000001.png", ROAD[:5])
    _ = (training / "calib" / "uu_000000.txt").write_text("P2: 1 2 3")
    _ = kitti_mask(training / "gt_image_2" / "uu_road_000009.png", ROAD)
    calls: list[tuple[int, int]] = []
    problems = check(open_data(kitti), lambda done, of: calls.append((done, of)))
    assert calls == [(number, 6) for number in range(1, 7)]
    for name, complaint in {
        "uu_road_000009.png": "has no photograph of its name",
        "um_000000.png": "is no picture that can be read",
        "um_000001.png": "is a damaged or truncated picture",
        "umm_road_000000.png": "cannot be read: No such file or directory",
        "umm_road_000001.png": (
            "has 5 rows and 8 columns; its photograph 'umm_000001.png' has 6 and 8"
        ),
        "uu_000000.txt": "must have one line 'P2:' with 12 finite numbers",
    }.items():
        assert sum(name in problem and complaint in problem for problem in problems) == 1, (
            name,
            problems,
        )
    assert len(problems) == 6
    with pytest.raises(ValueError, match=r"(?s)^[^\n]+(\n[^\n]+){5}$"):
        require_sound(open_data(kitti))


def test_masks_where_255_was_to_mean_road(tmp_path: Path) -> None:
    _ = (
        photograph(tmp_path / "a.jpg"),
        save(tmp_path / "a.png", np.where(ROAD == 1, 255, 0).astype(np.uint8)),
    )
    (problem,) = check(open_data(tmp_path))
    assert problem == (
        "`data`: none of its 1 masks has road (label 1) in it; where another value means road, "
        "name it in a table of classes"
    )


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        ((), "has no photographs; it must have KITTI Road"),
        (("images/a.jpg",), "has a folder 'images' but none 'masks' with the masks"),
        (("training/image_2/strange.png",), "has no photographs"),
    ],
)
def test_folders_that_hold_nothing(make: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    for name in make:
        _ = photograph(tmp_path / name)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        _ = open_data(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"`data` \(='.*nowhere'\) is no folder; name one with KITTI Road"
    ):
        _ = open_data(tmp_path / "nowhere")
