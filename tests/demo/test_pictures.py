from __future__ import annotations

import importlib
import io
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backstride.demo import pictures
from backstride.demo.pictures import COLOURS, DARK, PALETTE, Grid
from backstride.demo.scenes import BACKGROUND

# On linear RGB, full severity: Machado, Oliveira & Fernandes, "A Physiologically-based Model for
# Simulation of Color Vision Deficiency", 2009, table 1
EYES = {
    "normal": np.eye(3),
    "protanopic": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopic": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopic": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
LEAST = {"normal": 0.17, "protanopic": 0.13, "deuteranopic": 0.13, "tritanopic": 0.10}


def oklab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ottosson, "A perceptual color space for image processing" (2020)."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    opponents = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(linear @ cones.T) @ opponents.T


def least_distance(colours: NDArray[np.uint8], eyes: str) -> float:
    signal = colours / 255
    linear = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    seen = oklab(np.clip(linear @ EYES[eyes].T, 0, 1))
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2))


@pytest.mark.parametrize("eyes", EYES)
def test_colours_stay_apart(eyes: str) -> None:
    assert least_distance(PALETTE, eyes) > LEAST[eyes]


def test_the_distance_can_be_too_small() -> None:
    red_and_green = np.array([[200, 60, 60], [110, 110, 40]], np.uint8)
    assert (
        least_distance(red_and_green, "deuteranopic")
        < LEAST["deuteranopic"]
        < least_distance(red_and_green, "normal")
    )


def test_label_maps_have_the_palettes_colours() -> None:
    picture = pictures.coloured(np.array([[0, 9, BACKGROUND]], np.uint8))
    shown = ["#" + bytes(pixel).hex() for pixel in picture[0].tolist()]
    assert shown == [COLOURS[0], COLOURS[9], DARK]


def test_scenes_are_grey() -> None:
    assert pictures.grey(np.array([[0, 0.5, 1]], np.float32)).tolist() == [
        [[0] * 3, [128] * 3, [255] * 3]
    ]


def test_heat_lies_where_the_cells_look() -> None:
    scores = np.zeros((10, 2, 3))
    scores[4, 1, 2] = 5
    picture = pictures.heat(scores, Grid(stride=4, first=6), (20, 24))
    assert picture.shape == (20, 24, 3)
    is_four = np.all(picture == PALETTE[4], axis=2)
    assert is_four[10:14, 14:18].all()
    assert np.count_nonzero(is_four) == 16
    assert len(np.unique(picture[6:14, 6:18].reshape(-1, 3), axis=0)) == 2


def test_heat_of_one_class_ignores_the_others() -> None:
    scores = np.zeros((10, 1, 2))
    scores[4, 0, 0] = scores[7, 0, 1] = 5
    picture = pictures.heat_of(scores, 7, Grid(stride=1, first=0), (1, 2))
    assert picture.tolist() == [[PALETTE[-1].tolist(), PALETTE[7].tolist()]]


def opened(data: bytes) -> NDArray[np.uint8]:
    image: Any = importlib.import_module("PIL.Image")
    return np.asarray(image.open(io.BytesIO(data)))


def test_png_keeps_every_pixel() -> None:
    _ = pytest.importorskip("PIL", reason="Pillow writes the pictures")
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    assert np.array_equal(opened(pictures.png(picture)), picture)
    assert np.array_equal(opened(pictures.png(picture, 3))[1::3, 1::3], picture)


def test_sheet_shows_rows_under_titles_above_the_legend() -> None:
    _ = pytest.importorskip("PIL", reason="Pillow writes the pictures")
    picture = np.full((112, 112, 3), 77, np.uint8)
    sheet = pictures.sheet([[picture] * 4] * 2, ("a", "b", "c", "d"))
    same = np.all(sheet == (77, 77, 77, 255), axis=2)
    assert np.count_nonzero(same) == 8 * (3 * 112) ** 2
    for colour in COLOURS:
        assert np.any(np.all(sheet[-64:, :, :3] == pictures.rgb(colour), axis=2)), colour
