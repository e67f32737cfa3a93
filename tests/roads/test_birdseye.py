from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backstride.roads.camera import Camera
from backstride.roads.evaluation.birdseye import (
    KITTI,
    View,
    labels_from_above,
    probability_from_above,
)

CAMERA = Camera(focal=721.5, cx=609.6, cy=172.9, height=1.65, pitch=0.02)
SHAPE = (375, 1242)


def painted(x: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """A map of the ground that is a straight line in the image: linear in 1/z and x/z."""
    return 0.5 + 0.2 * x / z + 0.5 / z


def image_of_the_ground() -> NDArray[np.float64]:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
    x, z = CAMERA.ground_from_image(columns, rows)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(painted(x, z), nan=0.5)


def test_has_the_benchmarks_cells() -> None:
    assert KITTI.shape == (800, 400)
    x, z = KITTI.cells()
    assert (x[0, 0], x[0, -1]) == (pytest.approx(-9.975), pytest.approx(9.975))
    assert (z[0, 0], z[-1, 0]) == (pytest.approx(45.975), pytest.approx(6.025))


def test_a_map_of_the_ground_comes_back() -> None:
    found = probability_from_above(image_of_the_ground(), CAMERA.ground)
    x, z = KITTI.cells()
    u, v = CAMERA.image_from_ground(x, z)
    inside = (u > 1) & (u < SHAPE[1] - 2) & (v > 1) & (v < SHAPE[0] - 2)
    assert inside.mean() > 0.9
    assert np.abs(found - painted(x, z))[inside].max() < 1e-5


def test_labels_are_the_nearest_pixels_and_what_is_not_seen_is_ignored() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 610:] = 1
    found = labels_from_above(labels, CAMERA.ground)
    assert set(np.unique(found)) == {0, 1, 255}
    x, z = KITTI.cells()
    u, v = CAMERA.image_from_ground(x, z)
    seen = (u >= -0.5) & (u <= SHAPE[1] - 0.5) & (v <= SHAPE[0] - 0.5)
    assert np.array_equal(found == 255, ~seen)
    assert np.array_equal(found[seen] == 1, u[seen] > 609.5)


def test_nothing_behind_the_camera_is_seen() -> None:
    behind = View(z=(-20.0, -6.0))
    assert (labels_from_above(np.ones(SHAPE, np.uint8), CAMERA.ground, behind) == 255).all()
    assert not probability_from_above(np.ones(SHAPE), CAMERA.ground, behind).any()
