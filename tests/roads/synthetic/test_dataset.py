"""Scenes as a data set, rendered or on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backstride.roads.data.folders import FolderDataset, check, open_data
from backstride.roads.sample import Dataset
from backstride.roads.synthetic import SyntheticDataset, write

SIZE = (48, 80)


def test_it_is_a_data_set() -> None:
    dataset: Dataset = SyntheticDataset(6, SIZE, seed=3)
    assert len(dataset.samples) == 6
    assert len({sample.name for sample in dataset.samples}) == 6
    assert {sample.category for sample in dataset.samples} <= {"um", "umm", "uu"}
    assert dataset.classes == ("background", "road")
    for index in range(6):
        assert dataset.image(index).shape == (*SIZE, 3)
        assert dataset.mask(index).shape == SIZE
    assert check(dataset) == ()


def test_a_seed_has_scenes_of_its_own_and_a_longer_set_begins_alike() -> None:
    short, long, other = (
        SyntheticDataset(3, SIZE, 1),
        SyntheticDataset(5, SIZE, 1),
        SyntheticDataset(3, SIZE, 2),
    )
    assert short.samples == long.samples[:3]
    np.testing.assert_array_equal(short.image(2), long.image(2))
    assert not any(np.array_equal(short.image(0), other.image(index)) for index in range(3))


def test_pictures_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SyntheticDataset(1, SIZE).image(0)[:] = 0


def test_written_and_read_again(tmp_path: Path) -> None:
    dataset, calls = SyntheticDataset(4, SIZE, seed=9), list[tuple[int, int]]()
    write(tmp_path, 4, SIZE, seed=9, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    found = open_data(tmp_path)
    assert isinstance(found, FolderDataset)
    assert check(found) == ()
    place = {sample.name: index for index, sample in enumerate(found.samples)}
    assert place.keys() == {sample.name for sample in dataset.samples}
    for index, sample in enumerate(dataset.samples):
        other = place[sample.name]
        assert found.samples[other].category == sample.category
        np.testing.assert_array_equal(found.image(other), dataset.image(index))
        np.testing.assert_array_equal(found.mask(other), dataset.mask(index))
        ground = found.ground(other)
        assert ground is not None
        np.testing.assert_allclose(
            ground.matrix, dataset.ground(index).matrix, rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, SIZE, 0), r"`count` \(=0\) must be from 1 to 1048576"),
        ((1, SIZE, -1), r"`seed` \(=-1\) must be from 0 to 1048575"),
    ],
)
def test_arguments_out_of_range(arguments: tuple[int, tuple[int, int], int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        _ = SyntheticDataset(*arguments)


def test_a_scene_that_is_not_there() -> None:
    with pytest.raises(IndexError, match=r"`index` \(=3\) must be from 0 to 2"):
        _ = SyntheticDataset(3, SIZE).image(3)
