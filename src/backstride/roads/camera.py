"""Pinhole cameras over a flat road, and the calibration files of KITTI Road.

Ground coordinates, in metres: x to the right of the camera, z forward of it, y downwards from the
ground plane (so that the camera is at y = -height). Image coordinates, in pixels: u to the right, v
down, the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LONGEST = 2**16  # bytes of a calibration file; KITTI's have about 2000
SHAPES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_cam_to_road": (3, 4)}

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Ground:
    """The plane of the road seen by a camera.

    `matrix`, (3, 3), takes (x, z, 1) to (u, v, 1) times the depth.
    """

    matrix: Numbers

    def image_from_ground(self, x: Numbers, z: Numbers) -> tuple[Numbers, Numbers]:
        """Pixels (u, v) of points of the ground; NaN behind the camera."""
        u, v, depth = _map(self.matrix, x, z)
        ahead = np.where(depth > 0, depth, np.nan)
        return u / ahead, v / ahead

    def ground_from_image(self, u: Numbers, v: Numbers) -> tuple[Numbers, Numbers]:
        """Points (x, z) of the ground that pixels show; NaN above the horizon."""
        x, z, scale = _map(np.asarray(np.linalg.inv(self.matrix), np.float64), u, v)
        with np.errstate(divide="ignore", invalid="ignore"):
            x, z = x / scale, z / scale
        ahead = _map(self.matrix, x, z)[2] > 0
        return np.where(ahead, x, np.nan), np.where(ahead, z, np.nan)

    def resized(self, columns: float, rows: float) -> Ground:
        """The same view after the image was scaled by these factors.

        Pixel areas are mapped onto each other.
        """
        scale = np.array([[columns, 0, (columns - 1) / 2], [0, rows, (rows - 1) / 2], [0, 0, 1]])
        return Ground(scale @ self.matrix)


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera over a flat road.

    >>> camera = Camera(focal=721.5, cx=609.6, cy=172.9, height=1.65, pitch=0.0)
    >>> u, v = camera.image_from_ground(np.array([0.0, 2.0]), np.array([10.0, 10.0]))
    >>> u.round(1).tolist(), v.round(1).tolist()
    ([609.6, 753.9], [291.9, 291.9])

    `focal`, `cx`, `cy`: pixels. `height`: metres over the road. `pitch`: radians, positive looks
    down. `roll`: radians, positive turns the camera clockwise, so that the horizon falls to the
    left.
    """

    focal: float
    cx: float
    cy: float
    height: float
    pitch: float
    roll: float = 0.0

    @property
    def rotation(self) -> Numbers:
        """(3, 3), from axes parallel to the ground (right, down, forward) to the camera's."""
        cos, sin = math.cos(self.pitch), math.sin(self.pitch)
        pitched = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) @ pitched

    @property
    def intrinsics(self) -> Numbers:
        """(3, 3), the matrix K."""
        return np.array([[self.focal, 0, self.cx], [0, self.focal, self.cy], [0, 0, 1.0]])

    @property
    def ground(self) -> Ground:
        """The plane of the road as this camera sees it."""
        down = self.height * self.rotation[:, 1]
        return Ground(
            self.intrinsics @ np.stack([self.rotation[:, 0], self.rotation[:, 2], down], 1)
        )

    def image_from_ground(self, x: Numbers, z: Numbers) -> tuple[Numbers, Numbers]:
        """Pixels (u, v) of points of the ground; NaN behind the camera."""
        return self.ground.image_from_ground(x, z)

    def ground_from_image(self, u: Numbers, v: Numbers) -> tuple[Numbers, Numbers]:
        """Points (x, z) of the ground that pixels show; NaN above the horizon."""
        return self.ground.ground_from_image(u, v)

    def calibration(self) -> str:
        """The text of a KITTI Road calibration file that says the same."""
        place = np.array([[0.0], [-self.height], [0.0]])
        entries = {
            "P2": np.hstack([self.intrinsics, np.zeros((3, 1))]),
            "R0_rect": np.eye(3),
            "Tr_cam_to_road": np.hstack([self.rotation.T, place]),
        }
        return "".join(
            f"{name}: {' '.join(f'{number:.17e}' for number in matrix.ravel().tolist())}\n"
            for name, matrix in entries.items()
        )


def read_calibration(path: Path) -> Ground:
    """The ground plane of a KITTI Road calibration file.

    The image of a road point X is P2 R0_rect inverse(Tr_cam_to_road) X (KITTI Road devkit, readme);
    the ground has y = 0. Raises `ValueError` for a file that is none.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        message = (
            f"`calibration` (={str(path)!r}) has more than {LONGEST} bytes; a KITTI calibration "
            "has about 2000"
        )
        raise ValueError(message)
    entries = {name: _entry(text.decode("utf-8", "replace"), name, path) for name in SHAPES}
    road = np.vstack([entries["Tr_cam_to_road"], [0, 0, 0, 1]])
    if abs(np.linalg.det(road)) < 1e-9:
        message = f"`calibration` (={str(path)!r}) has a Tr_cam_to_road that cannot be inverted"
        raise ValueError(message)
    rectified = np.eye(4)
    rectified[:3, :3] = entries["R0_rect"]
    return Ground((entries["P2"] @ rectified @ np.linalg.inv(road))[:, [0, 2, 3]])


def _entry(text: str, name: str, path: Path) -> Numbers:
    """The matrix on the line of a calibration file that starts with `name:`."""
    lines = [
        line.partition(":")[2]
        for line in text.splitlines()
        if line.partition(":")[0].strip() == name
    ]
    shape = SHAPES[name]
    try:
        numbers = np.array(lines[0].split(), np.float64) if len(lines) == 1 else np.empty(0)
    except ValueError:
        numbers = np.empty(0)
    if numbers.size != shape[0] * shape[1] or not np.isfinite(numbers).all():
        message = (
            f"`calibration` (={str(path)!r}) must have one line '{name}:' with "
            f"{shape[0] * shape[1]} finite numbers"
        )
        raise ValueError(message)
    return numbers.reshape(shape)


def _map(matrix: Numbers, first: Numbers, second: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """A homography on points, in homogeneous coordinates."""
    one, two, three = (row[0] * first + row[1] * second + row[2] for row in matrix)
    return one, two, three
