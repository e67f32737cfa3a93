"""Splits: the published one of KITTI Road, folds, and groups that stay on one side."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.roads.data import splits
from backstride.roads.sample import Sample


def samples_of(groups: list[str], category: str = "") -> list[Sample]:
    return [
        Sample(f"{place}", Path(f"{place}.png"), category=category, group=name)
        for place, name in enumerate(groups)
    ]


def kitti_samples(counts: dict[str, int]) -> list[Sample]:
    return [
        Sample(f"{category}_{number:06d}", Path("x.png"), category=category)
        for category, count in counts.items()
        for number in range(count)
    ]


def test_the_published_split() -> None:
    samples = kitti_samples({"um": 95, "umm": 96, "uu": 98})
    split = splits.kitti(samples)
    assert (len(split.train), len(split.validation)) == (241, 48)
    names = {samples[place].name for place in split.validation}
    assert names == {
        *(f"um_{number:06d}" for number in range(79, 95)),
        *(f"umm_{number:06d}" for number in range(80, 96)),
        *(f"uu_{number:06d}" for number in range(82, 98)),
    }
    turned = splits.kitti(samples[::-1])
    assert {samples[::-1][place].name for place in turned.validation} == names


def test_too_few_for_it() -> None:
    with pytest.raises(
        ValueError,
        match="has 16 samples of category 'umm'; the split of KITTI Road needs more than 16",
    ):
        _ = splits.kitti(kitti_samples({"um": 95, "umm": 16, "uu": 98}))


groups = st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=40).filter(
    lambda names: len(set(names)) > 3
)


@given(groups, st.integers(2, 4), st.integers(0, 5))
def test_folds_hold_everything_out_once_and_groups_whole(
    names: list[str], count: int, seed: int
) -> None:
    samples = samples_of(names)
    found = splits.folds(samples, count, seed)
    held = [place for split in found for place in split.validation]
    assert sorted(held) == list(range(len(samples)))
    for split in found:
        assert set(split.train) | set(split.validation) == set(range(len(samples)))
        assert {names[place] for place in split.train}.isdisjoint(
            names[place] for place in split.validation
        )
    assert found == splits.folds(samples, count, seed)


def test_folds_have_their_share_of_every_category() -> None:
    samples = kitti_samples({"um": 20, "umm": 20, "uu": 21})
    for split in splits.folds(samples, 5):
        held = [samples[place].category for place in split.validation]
        assert [held.count(category) for category in ("um", "umm")] == [4, 4]
        assert held.count("uu") in {4, 5}


@given(groups, st.floats(0.2, 0.8), st.integers(0, 5))
def test_a_groups_side_depends_on_nothing_else(names: list[str], share: float, seed: int) -> None:
    below = {name for name in names if splits.share_of(f"{seed} {name}") < share}
    if below in (set(), set(names)):  # where a side would be empty, one group changes it
        return
    split = splits.by_group(samples_of(names), share, seed)
    assert set(split.train).isdisjoint(split.validation)
    held = {names[place] for place in split.validation}
    assert held.isdisjoint(names[place] for place in split.train)
    assert held == below


def test_shares_are_even() -> None:
    held = [name for name in range(2000) if splits.share_of(f"0 {name}") < 0.3]
    assert 540 < len(held) < 660


def test_groups_by_name() -> None:
    split = splits.held_out(samples_of(["a", "b", "a", "c"]), ["a"])
    assert split == splits.Split(train=(1, 3), validation=(0, 2))
    with pytest.raises(
        ValueError, match="`names` has 'x', which is no group of the data; groups are a, b"
    ):
        _ = splits.held_out(samples_of(["a", "b"]), ["x"])
    with pytest.raises(
        ValueError,
        match=r"`split` \(='held_out'\) leaves train empty: the data has 2 samples in 1 group, and a group",  # noqa: E501
    ):
        _ = splits.held_out(samples_of(["a", "a"]), ["a"])


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (1.0, 5)])
def test_numbers_out_of_range(share: float, count: int) -> None:
    with pytest.raises(ValueError, match=r"`share` \(=.*\) must be between 0 and 1"):
        _ = splits.by_group(samples_of(["a", "b"]), share)
    with pytest.raises(
        ValueError, match=rf"`count` \(={count}\) must be from 2 to the number of groups, 2"
    ):
        _ = splits.folds(samples_of(["a", "b"]), count)
