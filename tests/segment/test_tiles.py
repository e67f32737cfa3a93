"""Tiles cover a picture once, and a tiled picture has the labels of the whole one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backstride.pictures.tiles import check_tile, spans
from backstride.segment.labels import labels
from backstride.surgery.decoding.influence import Influence, from_json


@given(
    st.integers(1, 400),
    st.integers(1, 8),
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(0, 60),
)
def test_tiles_cover_an_axis_once(
    size: int, stride: int, reach: int, native: int, more: int
) -> None:
    known = Influence((native, native), stride, reach * stride, 1)
    least = -(-max(2 * known.margin + stride, native) // stride) * stride
    tile = check_tile(least + more, known)
    found = spans(size, tile, known, native)
    assert [span.first for span in found] == [0, *(span.last for span in found[:-1])]
    assert found[-1].last == found[-1].end == size
    for span in found:
        assert span.start % stride == 0
        assert span.start == 0 or span.first - span.start >= known.margin
        assert span.end == size or span.end - span.last >= known.margin
        assert len(found) == 1 or span.end - span.start >= native
        assert span.end - span.start < tile + stride


def blocks(stride: int) -> Any:
    """Every pixel gets the sums over the 3x3 blocks of `stride` pixels around its own: reach 2
    strides.
    """

    def run(images: NDArray[Any]) -> NDArray[Any]:
        _, _, rows, columns = images.shape
        grown = np.pad(images[0, 0], ((0, -rows % stride), (0, -columns % stride)), mode="edge")
        cells = grown.reshape(grown.shape[0] // stride, stride, -1, stride).sum((1, 3))
        around = np.lib.stride_tricks.sliding_window_view(
            np.pad(cells, 1, mode="edge"), (3, 3)
        ).sum((2, 3))
        score = around.repeat(stride, 0).repeat(stride, 1)[:rows, :columns]
        return np.stack([np.sin(score), np.cos(score), np.zeros_like(score)])[None]

    return run


@given(st.integers(9, 120), st.integers(9, 120), st.integers(1, 4), st.integers(0, 3))
def test_a_tiled_picture_has_the_labels_of_the_whole_one(
    rows: int, columns: int, stride: int, more: int
) -> None:
    known = Influence((9, 9), stride, 3 * stride, 1)
    tile = check_tile(max(7 * stride, 9 + stride) + more * stride, known)
    image = np.random.default_rng(0).integers(0, 5, (1, rows, columns)).astype(np.float64)
    whole = labels(blocks(stride), image, known, 500)
    done: list[int] = []
    tiled = labels(blocks(stride), image, known, tile, lambda at, total: done.append(total - at))
    np.testing.assert_array_equal(tiled, whole)
    assert done == list(range(len(done)))[::-1]


def test_too_little_overlap_would_be_noticed() -> None:
    known = Influence((9, 9), 4, 4, 1)  # the margin is one stride short of what `blocks` needs
    image = np.random.default_rng(0).integers(0, 5, (1, 90, 90)).astype(np.float64)
    whole, tiled = (labels(blocks(8), image, known, tile) for tile in (500, 20))
    assert not np.array_equal(whole, tiled)


def test_small_pictures_are_extended() -> None:
    sizes: list[tuple[int, ...]] = []

    def run(images: NDArray[Any]) -> NDArray[Any]:
        sizes.append(images.shape)
        return images

    found = labels(run, np.ones((2, 3, 40)), Influence((32, 32), 8, 16, 1), 100)
    assert found.shape == (3, 40)
    assert sizes == [(1, 2, 32, 40)]


def test_messages() -> None:
    known = Influence((32, 32), 8, 40, 1)
    with pytest.raises(
        ValueError,
        match=r"^`tile` \(=60\) must be at least 88: this network's labels look 40 pixels",
    ):
        _ = check_tile(60, known)
    with pytest.raises(
        ValueError, match=r"^`network` gives 5 x 8 x 8 scores for an image of 64 x 64, not scores"
    ):
        _ = labels(lambda _: np.zeros((1, 5, 8, 8)), np.zeros((3, 64, 64)), known, 100)


def test_influence_as_text() -> None:
    known = Influence((32, 30), 8, 40, 77)
    assert from_json(known.to_json()) == known
    for text in (
        "",
        "{}",
        '{"native": [1], "stride": 1, "margin": 1, "floats": 1}',
        known.to_json().replace("40", "-1"),
    ):
        with pytest.raises(ValueError, match=r"^`backstride.influence` "):
            _ = from_json(text)
