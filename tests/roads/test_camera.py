"""Cameras over the road: projection there and back, and KITTI's calibration files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.roads.camera import Camera, read_calibration

cameras = st.builds(
    Camera,
    focal=st.floats(100, 2000),
    cx=st.floats(0, 1000),
    cy=st.floats(0, 500),
    height=st.floats(0.5, 4),
    pitch=st.floats(-0.2, 0.3),
    roll=st.floats(-0.1, 0.1),
)


@given(cameras, st.floats(-8, 8), st.floats(5, 60))
def test_there_and_back(camera: Camera, x: float, z: float) -> None:
    u, v = camera.image_from_ground(np.array([x]), np.array([z]))
    back_x, back_z = camera.ground_from_image(u, v)
    np.testing.assert_allclose([back_x[0], back_z[0]], [x, z], rtol=1e-6, atol=1e-6)


@given(cameras)
def test_the_axes(camera: Camera) -> None:
    turned = camera.rotation
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)


def test_a_camera_that_looks_down_sees_the_horizon_higher() -> None:
    level, down = (Camera(500, 320, 180, 1.5, pitch) for pitch in (0.0, 0.05))
    far = np.array([0.0]), np.array([1e6])
    assert level.image_from_ground(*far)[1][0] == pytest.approx(180, abs=1e-2)
    assert down.image_from_ground(*far)[1][0] == pytest.approx(180 - 500 * np.tan(0.05), abs=1e-2)


def test_positive_roll_lowers_the_horizon_on_the_left() -> None:
    _, v = Camera(500, 320, 180, 1.5, 0.0, roll=0.05).image_from_ground(
        np.array([-1e5, 1e5]), np.array([1e6, 1e6])
    )
    assert v[0] > v[1]


def test_what_is_above_the_horizon_or_behind_is_nan() -> None:
    camera = Camera(500, 320, 180, 1.5, 0.0)
    assert np.isnan(camera.ground_from_image(np.array([320.0]), np.array([170.0]))).all()
    assert np.isnan(camera.image_from_ground(np.array([0.0]), np.array([-5.0]))).all()


@given(cameras)
def test_calibration_files_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, camera: Camera
) -> None:
    path = tmp_path_factory.mktemp("calib") / "um_000000.txt"
    _ = path.write_text(camera.calibration())
    np.testing.assert_allclose(
        read_calibration(path).matrix, camera.ground.matrix, rtol=1e-9, atol=1e-9
    )


def test_resizing_maps_pixel_areas() -> None:
    ground = Camera(500, 319.5, 179.5, 1.5, 0.02).ground
    u, v = ground.image_from_ground(np.array([1.0]), np.array([12.0]))
    half = ground.resized(0.5, 0.5).image_from_ground(np.array([1.0]), np.array([12.0]))
    np.testing.assert_allclose(half, [(u + 0.5) / 2 - 0.5, (v + 0.5) / 2 - 0.5])


@pytest.mark.parametrize(
    ("pattern", "replacement", "complaint"),
    [
        (r"P2", "P9", "must have one line 'P2:' with 12 finite numbers"),
        (r"\Z", "P2: 1 2 3", "must have one line 'P2:' with 12 finite numbers"),
        (r"R0_rect: \S+", "R0_rect: one", "must have one line 'R0_rect:' with 9 finite numbers"),
        (r"R0_rect: \S+", "R0_rect: nan", "must have one line 'R0_rect:' with 9 finite numbers"),
        (r"road: .*", "road: " + "0 " * 12, "has a Tr_cam_to_road that cannot be inverted"),
        (r"\Z", " " * 70000, "has more than 65536 bytes; a KITTI calibration has about 2000"),
    ],
)
def test_files_that_are_none(
    pattern: str, replacement: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "calib.txt"
    _ = path.write_text(re.sub(pattern, replacement, Camera(500, 320, 180, 1.5, 0.0).calibration()))
    with pytest.raises(ValueError, match=re.escape(f"`calibration` (={str(path)!r}) {complaint}")):
        _ = read_calibration(path)
