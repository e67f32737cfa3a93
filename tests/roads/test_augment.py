"""Augmentation: masks move with their pictures, labels stay labels, all follows from the seed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from backstride.roads.data.augment import Augment
from backstride.roads.sample import IGNORE
from backstride.roads.synthetic import scene

torch: Any = importlib.import_module("torch")

STILL = Augment(
    flip=0, rotation=0, scale=1, shift=0, perspective=0,
    brightness=0, contrast=0, saturation=0, hue=0, gamma=0, blur=0, noise=0, shadow=0, bonnet=0, wall=0,  # noqa: E501
)  # fmt: skip


def batch(count: int = 3) -> tuple[Tensor, Tensor]:
    """Images whose red is their mask, and whose green is 1 everywhere."""
    masks = torch.stack(
        [torch.from_numpy(scene(seed, (48, 64)).mask).long() for seed in range(count)]
    )
    images = torch.stack([masks.float(), torch.ones(masks.shape), torch.zeros(masks.shape)], 1)
    return images, masks


def values(labels: Tensor) -> list[int]:
    return np.unique(labels.numpy()).tolist()


def with_only(**changes: float) -> Augment:
    return Augment(**{name: changes.get(name, getattr(STILL, name)) for name in STILL.__slots__})  # pyright: ignore[reportArgumentType]


def test_nothing_to_do_changes_nothing() -> None:
    images, masks = batch()
    changed, labels = STILL(images, masks, seed=1)
    torch.testing.assert_close(changed, images)
    assert torch.equal(labels, masks)


def test_a_flip_is_a_flip_and_twice_is_none() -> None:
    images, masks = batch()
    flipped = with_only(flip=1.0)
    changed, labels = flipped(images, masks, seed=1)
    torch.testing.assert_close(changed, images.flip(-1))
    assert torch.equal(labels, masks.flip(-1))
    assert torch.equal(flipped(changed, labels, seed=2)[1], masks)


@pytest.mark.parametrize(
    "change", [{"rotation": 8.0}, {"scale": 1.5}, {"shift": 0.2}, {"perspective": 0.3}]
)
def test_masks_move_with_their_pictures(change: dict[str, float]) -> None:
    images, masks = batch()
    moved = 0
    for seed in range(6):
        changed, labels = with_only(**change)(images, masks, seed)
        road, inside = changed[:, 0], changed[:, 1]
        # bilinear weights add up to 1, and the nearest neighbour's is at least 1/4
        assert (labels[road > 0.75] == 1).all()
        assert (labels[(road < 0.25) & (inside > 0.999)] == 0).all()
        assert (labels[inside > 0.75] != IGNORE).all()
        assert (labels[inside < 0.25] == IGNORE).all()
        assert set(values(labels)) <= {0, 1, IGNORE}
        moved += int((labels != masks).any())
    assert moved >= 3


def test_ignored_pixels_stay_ignored() -> None:
    images, masks = batch(1)
    masks[:, 10:30, 10:50] = IGNORE
    images[:, 2] = (masks == IGNORE).float()
    changed, labels = with_only(rotation=10.0)(images, masks, seed=4)
    assert (labels[changed[:, 2] > 0.75] == IGNORE).all()
    assert set(values(labels)) <= {0, 1, IGNORE}


def test_light_leaves_masks_alone() -> None:
    images, masks = batch()
    images = images * 0.6 + 0.1
    changes = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1, "gamma": 0.5}
    changed, labels = with_only(**changes, blur=1.0, noise=0.1, shadow=1.0)(images, masks, seed=3)
    assert torch.equal(labels, masks)
    assert not torch.allclose(changed, images)
    assert 0 <= changed.min() <= changed.max() <= 1


def test_all_follows_from_the_seed() -> None:
    images, masks = batch()
    _ = torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (Augment()(images, masks, seed) for seed in (7, 7, 8))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_one_picture() -> None:
    found = scene(3, (48, 64))
    image, mask = Augment().one(found.image, found.mask, 1)
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == (
        (48, 64, 3),
        np.uint8,
        (48, 64),
        np.uint8,
    )
    same_image, same_mask = STILL.one(found.image, found.mask, 1)
    np.testing.assert_array_equal(same_image, found.image)
    np.testing.assert_array_equal(same_mask, found.mask)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [("flip", 2, "0 to 1"), ("scale", 0.5, "1 to 4"), ("hue", 1, "0 to 0.5")],
)
def test_numbers_out_of_range(name: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rf"^`{name}` \(={value}\) must be from {rule}$"):
        _ = with_only(**{name: value})


def test_importing_it_imports_no_framework() -> None:
    code = (
        "import sys, backstride.roads.data.augment; print({'torch', 'kornia', 'PIL'} & "
        "set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
