"""Every file has one place in the output folder, and nothing outside the folders is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from backstride.pictures.items import items


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "photos" / "out"
    touch(
        photos / "b.jpg", photos / "a.PNG", photos / "deep" / "a.png", photos / "deep" / "drive.mp4"
    )
    touch(
        photos / "notes.txt",
        photos / ".hidden.jpg",
        photos / ".cache" / "c.jpg",
        out / "masks" / "a.png",
    )
    found = items([photos], out)
    assert [(item.name, item.is_video) for item in found] == [
        ("a", False),
        ("b", False),
        ("deep/a", False),
        ("deep/drive", True),
    ]
    assert found[2].source == photos / "deep" / "a.png"


def test_outputs_beside_their_inputs_are_no_inputs(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "deep" / "masks" / "b.png")
    touch(
        tmp_path / "masks" / "a.png",
        tmp_path / "overlays" / "a.jpg",
        tmp_path / "probabilities" / "a.png",
    )
    assert [item.name for item in items([tmp_path], tmp_path)] == ["a", "deep/masks/b"]


def test_links_that_lead_out_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "secret.jpg", tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "b.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "photos" / "c.jpg").symlink_to("a.jpg")
    (tmp_path / "photos" / "up").symlink_to(tmp_path)
    assert [item.name for item in items([tmp_path / "photos"], tmp_path / "out")] == ["a", "c"]


def test_names_that_would_meet_keep_their_suffixes(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "a.mp4", tmp_path / "b.jpg")
    assert [item.name for item in items([tmp_path], tmp_path / "out")] == ["a.jpg", "a.mp4", "b"]


def test_a_file_named_twice_is_one(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg")
    assert len(items([tmp_path, tmp_path / "a.jpg", tmp_path / "a.jpg"], tmp_path / "out")) == 1


def test_messages(tmp_path: Path) -> None:
    touch(
        tmp_path / "x" / "a.jpg",
        tmp_path / "y" / "a.jpg",
        tmp_path / "notes.txt",
        tmp_path / "empty" / "b.txt",
    )
    with pytest.raises(
        ValueError,
        match=r"^`images`: .*x/a.jpg and .*y/a.jpg would have the same outputs; predict th",
    ):
        _ = items([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    with pytest.raises(ValueError, match=r"^`images` \(='.*none.jpg'\) does not exist$"):
        _ = items([tmp_path / "none.jpg"], tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"^`images` \(='.*notes.txt'\) is no picture, video or folder; legal are"
    ):
        _ = items([tmp_path / "notes.txt"], tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"^`images` \(='.*empty'\) holds no picture and no video$"
    ):
        _ = items([tmp_path / "empty"], tmp_path / "out")
