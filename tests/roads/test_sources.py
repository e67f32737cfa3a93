from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_ = pytest.importorskip("torch", reason="feeds give tensors")

from backstride.roads.config import DataConfig, RunConfig  # noqa: E402
from backstride.roads.data.sources import Chosen, open_part, open_pictures, open_split  # noqa: E402
from backstride.roads.synthetic import SyntheticDataset, write  # noqa: E402
from backstride.roads.training.record import hash_of  # noqa: E402
from roads.toy import Toy  # noqa: E402

SCENES = DataConfig(size=(64, 96), scenes=6, held_out_scenes=3)


@pytest.fixture(name="folder", scope="module")
def kitti_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("scenes")
    write(folder, 12, (64, 96), seed=3)
    return str(folder)


def names(pictures: Any) -> list[str]:
    return [sample.name for sample in pictures.samples]


def test_scenes_of_both_sides_differ() -> None:
    split = open_split(SCENES, 0)
    assert (len(split.train.samples), len(split.held_out.samples)) == (6, 3)
    assert split.augment is not None
    assert open_split(replace(SCENES, augment="none"), 0).augment is None
    pictures = [
        pictures.image(index).tobytes()
        for pictures in (split.train, split.held_out)
        for index in range(3)
    ]
    assert len(set(pictures)) == 6
    assert hash_of(open_split(SCENES, 0).train) == hash_of(split.train)


def test_clear_scenes_are_clear_on_both_sides_and_beside_pictures(folder: str) -> None:
    clear = replace(SCENES, clear=True)
    split = open_split(clear, 2)
    for pictures, seed in ((split.train, 4), (split.held_out, 5)):
        wanted = SyntheticDataset(3, (64, 96), seed, clear=True)
        assert all((pictures.image(place) == wanted.image(place)).all() for place in range(3))
    assert hash_of(split.train) != hash_of(open_split(SCENES, 2).train)
    beside = open_split(DataConfig(folder, extra=1, clear=True), 0).train
    assert (
        beside.image(len(beside.samples) - 1)
        == SyntheticDataset(1, (64, 96), 0, clear=True).image(0)
    ).all()


def test_a_folder_is_split_by_its_rule(folder: str) -> None:
    whole = DataConfig(folder)
    for data in (replace(whole, share=0.4), replace(whole, folds=3, fold=1)):
        split = open_split(data, 0)
        both = names(split.train) + names(split.held_out)
        assert sorted(both) == sorted(names(open_pictures(data)))
        assert names(open_split(data, 5).held_out) == names(split.held_out)
    one = names(open_pictures(whole))[4]
    assert names(open_split(replace(whole, held_out=(one,)), 0).held_out) == [one]


def test_scenes_are_trained_beside_a_folders_pictures(folder: str) -> None:
    data = DataConfig(folder, extra=5, share=0.4)
    split, plain = open_split(data, 0), open_split(replace(data, extra=0), 0)
    assert names(split.held_out) == names(plain.held_out)
    assert names(split.train)[:-5] == names(plain.train)
    assert all(name.startswith("1:") for name in names(split.train)[-5:])
    assert split.train.image(len(split.train.samples) - 1).shape == (64, 96, 3)


def test_parts(folder: str) -> None:
    config = RunConfig(data=DataConfig(folder, share=0.4))
    split = open_split(config.data, 0)
    assert names(open_part(config, None, "")) == names(split.held_out)
    assert names(open_part(config, None, "train")) == names(split.train)
    assert len(open_part(config, None, "all").samples) == 12
    assert len(open_part(RunConfig(data=SCENES), folder, "").samples) == 12
    with pytest.raises(
        ValueError, match=r"^`part` \(='some'\) must be one of held-out, train, all$"
    ):
        _ = open_part(config, None, "some")


def test_chosen_pictures_are_those_of_their_data_sets() -> None:
    first, second = Toy(4), Toy(3, seed=9)
    both = Chosen((first, second), [(1, 2), (0, 3)])
    assert names(both) == ["1:9-2", "0-3"]
    assert np.array_equal(both.image(0), second.image(2))
    assert np.array_equal(both.mask(1), first.mask(3))
    assert both.ground(0) is None


def test_refuses_other_classes_beside() -> None:
    class Other(Toy):
        classes = ("background", "street")

    with pytest.raises(
        ValueError,
        match=r"^the classes background, street cannot be trained beside background, road$",
    ):
        _ = Chosen((Toy(1), Other(1)), [(0, 0)])


def test_mirrors_alone() -> None:
    torch: Any = importlib.import_module("torch")
    flip = open_split(replace(SCENES, augment="flip"), 0).augment
    assert flip is not None
    image, labels = torch.rand(1, 3, 8, 6), torch.randint(0, 2, (1, 8, 6))
    seen: set[bool] = set()
    for seed in range(12):
        found, moved = flip(image, labels, seed)
        turned = torch.allclose(found, image.flip(-1))
        assert turned or torch.allclose(found, image)
        assert torch.equal(moved, labels.flip(-1) if turned else labels)
        seen.add(turned)
    assert seen == {True, False}
    with pytest.raises(
        ValueError, match=r"^`augment` \(='much'\) must be one of full, flip, none$"
    ):
        _ = open_split(replace(SCENES, augment="much"), 0)


def test_refuses(folder: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^`group` \(='clips'\) must be one of name, clip, folder$"
    ):
        _ = open_split(DataConfig(folder, group="clips"), 0)
    with pytest.raises(ValueError, match=r"^`fold` \(=3\) must be from 0 to 2$"):
        _ = open_split(DataConfig(folder, folds=3, fold=3), 0)
    with pytest.raises(ValueError, match=r"^`data` \(='.*none'\) is no folder; "):
        _ = open_split(DataConfig(str(tmp_path / "none")), 0)


def test_the_hash_follows_the_files(tmp_path: Path) -> None:
    write(tmp_path, 2, (64, 96))
    before = hash_of(open_pictures(DataConfig(str(tmp_path))))
    assert hash_of(open_pictures(DataConfig(str(tmp_path)))) == before
    picture = next((tmp_path / "training" / "image_2").iterdir())
    _ = picture.write_bytes(picture.read_bytes() + b"\0")
    assert hash_of(open_pictures(DataConfig(str(tmp_path)))) != before
