"""A bonnet and a wall painted before a road: they are no road, and touch nothing else."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backstride.roads.data.augment import Augment
from backstride.roads.data.pasted import KEPT, paste_bonnet, paste_wall
from backstride.roads.sample import BACKGROUND, IGNORE, ROAD
from backstride.roads.synthetic import bonnet

ROWS, COLUMNS = 90, 160
seeds = st.integers(0, 2**31 - 1)


def straight() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A grey road that narrows to the middle of the picture, on green ground."""
    down = np.arange(ROWS)[:, None] - 40
    mask = (np.abs(np.arange(COLUMNS) - 80) < 2.2 * down).astype(np.int64)
    colours = np.where(mask[None] == 1, 0.5, np.array([0.2, 0.6, 0.2])[:, None, None])
    return colours.astype(np.float32), mask


@settings(max_examples=60)
@given(seeds)
def test_a_bonnet_lies_at_the_foot_of_the_picture_and_is_no_road(seed: int) -> None:
    image, mask = straight()
    before, was = straight()
    paste_bonnet(image, mask, seed)
    changed = (image != before).any(0)
    assert ((mask == was) | ((mask == BACKGROUND) & changed)).all()
    assert not changed[: ROWS // 2].any()
    lost = mask != was
    assert (lost[1:] >= (lost[:-1] & (was[1:] == ROAD))).all()  # nothing under it is road
    assert 0 <= image.min() <= image.max() <= 2


@settings(max_examples=60)
@given(seeds)
def test_a_wall_takes_one_side_of_a_road_and_leaves_most_of_it(seed: int) -> None:
    image, mask = straight()
    before, was = straight()
    paste_wall(image, mask, seed)
    lost = (was == ROAD) & (mask != ROAD)
    assert not (mask[was != ROAD] != was[was != ROAD]).any()
    assert not (lost[:, :80].any() and lost[:, 81:].any())
    if (image != before).any():
        assert lost.any()
        assert (mask == ROAD).sum() >= KEPT * (was == ROAD).sum()
        untouched = (image == before).all(0)
        assert untouched[:30].all()  # sky and hills over it


def test_walls_are_found_and_a_picture_without_a_road_stays() -> None:
    drawn = 0
    for seed in range(20):
        image, mask = straight()
        paste_wall(image, mask, seed)
        drawn += int((mask != straight()[1]).any())
    assert drawn >= 8
    for label in (BACKGROUND, IGNORE):
        image, mask = straight()[0], np.full((ROWS, COLUMNS), label, np.int64)
        paste_wall(image, mask, 1)
        assert (image == straight()[0]).all()
        assert (mask == label).all()


def test_a_bonnet_mirrors_what_stands_over_it() -> None:
    differing = 0
    for seed in range(12):
        bright, dark = (np.full((3, ROWS, COLUMNS), shade, np.float32) for shade in (0.9, 0.1))
        share = bonnet.paint(bright, 0.2, (0.4, 0.4, 0.4), seed)
        assert (bonnet.paint(dark, 0.2, (0.4, 0.4, 0.4), seed) == share).all()
        differing += int(abs(float((bright - dark)[:, share == 1].mean())) > 0.05)
    assert differing >= 6


def test_augmentation_pastes_as_often_as_it_says_and_leaves_its_arguments_alone() -> None:
    torch: Any = importlib.import_module("torch")
    still = dict.fromkeys(Augment.__slots__, 0.0) | {"scale": 1.0}
    image, mask = (torch.from_numpy(array) for array in straight())
    images, masks = image.repeat(40, 1, 1, 1), mask.repeat(40, 1, 1)
    kept = images.clone(), masks.clone()
    for name, low, high in (("bonnet", 10, 30), ("wall", 3, 30)):
        changed, labels = Augment(**still | {name: 0.5})(images, masks, 3)
        other = (labels != masks).flatten(1).any(1)
        assert low <= int(other.sum()) <= high
        assert (changed != images).flatten(1).any(1)[other].all()
    assert torch.equal(images, kept[0])
    assert torch.equal(masks, kept[1])


@pytest.mark.parametrize("name", ["bonnet", "wall"])
def test_shares_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^`{name}` \(=1.5\) must be from 0 to 1$"):
        _ = Augment(**{name: 1.5})
