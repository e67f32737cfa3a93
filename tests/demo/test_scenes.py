from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backstride.demo import clutter
from backstride.demo.digits import Digits
from backstride.demo.scenes import BACKGROUND, INK, OVERLAP, compose, draw_scene, overlap, stamp

Random = np.random.Generator


@pytest.fixture(name="digits")
def ten_bars() -> Digits:
    """Ten made-up digits: digit d is a bar of d + 2 bright rows with a faint rim."""
    images = np.zeros((10, 28, 28), np.float32)
    for digit, image in enumerate(images):
        image[5 : 9 + digit, 8:20] = 0.3
        image[6 : 8 + digit, 9:19] = 0.9
    return Digits(images, np.arange(10), np.arange(10))


def empty(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    return np.zeros((height, width), np.float32), np.full((height, width), BACKGROUND, np.uint8)


def test_brighter_ink_wins_and_keeps_its_class() -> None:
    image, label = empty(1, 4)
    stamp(image, label, np.array([[0.6, 0.9, 0.4]], np.float32), 3, (0, 0))
    stamp(image, label, np.array([[0.7, 0.8, 0.7]], np.float32), 5, (0, 0))
    assert image.tolist() == np.array([[0.7, 0.9, 0.7, 0]], np.float32).tolist()
    assert label.tolist() == [[5, 3, 5, BACKGROUND]]


def test_equal_inks_belong_to_the_later_one() -> None:
    image, label = empty(1, 1)
    for kind in (3, 5):
        stamp(image, label, np.array([[0.8]], np.float32), kind, (0, 0))
    assert label.tolist() == [[5]]


def test_faint_ink_is_background() -> None:
    image, label = empty(1, 2)
    stamp(
        image,
        label,
        np.array([[np.nextafter(np.float32(INK), np.float32(0)), INK]], np.float32),
        7,
        (0, 0),
    )
    assert label.tolist() == [[BACKGROUND, 7]]


def test_empty_cells_of_a_patch_change_nothing() -> None:
    image, label = empty(1, 2)
    stamp(image, label, np.array([[0.9, 0.9]], np.float32), 4, (0, 0))
    stamp(image, label, np.zeros((1, 2), np.float32), 6, (0, 0))
    assert label.tolist() == [[4, 4]]


def test_overlap_counts_ink_on_ink() -> None:
    _, label = empty(2, 2)
    label[0, 0] = 3
    digit = np.array([[0.9, 0.9], [0.9, 0.1]], np.float32)
    assert overlap(label, digit, (0, 0)) == 1 / 3


def test_seeded(digits: Digits) -> None:
    one, same, other = (compose(digits, 4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.images, same.images)
    assert np.array_equal(one.labels, same.labels)
    assert not np.array_equal(one.labels, other.labels)


def test_labels_say_what_the_images_show(digits: Digits) -> None:
    scenes = compose(digits, 12, np.random.default_rng(0))
    assert scenes.images.shape == scenes.labels.shape == (12, 112, 112)
    assert scenes.images.min() == 0
    assert scenes.images.max() <= 1
    assert set(np.unique(scenes.labels)) == {*range(10), BACKGROUND}
    assert np.all(scenes.images[scenes.labels != BACKGROUND] >= INK)
    assert np.any(scenes.images[scenes.labels == BACKGROUND] >= INK), (
        "clutter is bright and yet background"
    )


def test_a_scene_of_one_digit_shows_no_other(digits: Digits) -> None:
    eight = Digits(digits.images[8:9], digits.labels[8:9], digits.places[8:9])
    image, label = empty(112, 112)
    draw_scene(image, label, eight, np.random.default_rng(3))
    found, counts = np.unique(label, return_counts=True)
    assert found.tolist() == [8, BACKGROUND]
    ink = np.count_nonzero(eight.images[0] >= INK)
    assert 5 * ink * (1 - OVERLAP) <= counts[0] <= 9 * ink


def test_every_scene_is_reported(digits: Digits) -> None:
    seen: list[int] = []
    _ = compose(digits, 3, np.random.default_rng(0), lambda: seen.append(1))
    assert len(seen) == 3


@pytest.mark.parametrize("draw", clutter.DRAWINGS)
@pytest.mark.parametrize("seed", range(20))
def test_clutter_is_visible_and_small_enough(
    draw: clutter.Drawing, seed: int, digits: Digits
) -> None:
    patch = draw(digits, np.random.default_rng(seed))
    assert patch.dtype == np.float32
    assert max(patch.shape) <= 64
    assert 0.3 < patch.max() <= 1
    assert patch.min() >= 0
