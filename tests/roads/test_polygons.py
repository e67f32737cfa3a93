"""Polygons: exact rasterisation, files that may be anything, and the labels that are committed."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.roads.data.folders import open_data, require_sound
from backstride.roads.data.polygons import (
    FORMAT,
    STEPS,
    VARIABLE,
    Frame,
    inside,
    open_polygons,
    read_polygons,
)
from backstride.roads.sample import BACKGROUND, IGNORE, ROAD
from backstride.roads.synthetic.dataset import png

LABELS = Path(__file__).parents[2] / "examples/roads/udacity.json"
Points = Sequence[tuple[float, float]]


def oracle(polygon: Points, row: int, column: int) -> bool:
    """Even-odd by definition: edges that a ray from the pixel's centre to the left meets, in
    fractions.
    """
    x, y = Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2)
    met = 0
    for (x0, y0), (x1, y1) in itertools.pairwise([*polygon, polygon[0]]):
        a, b, c, d = map(Fraction, (x0, y0, x1, y1))
        if (b <= y) != (d <= y):
            met += a + (y - b) * (c - a) / (d - b) <= x
    return met % 2 == 1


coordinate = st.one_of(
    st.integers(-2 * STEPS, 9 * STEPS).map(lambda step: step / STEPS),
    st.integers(-4, 18).map(lambda half: half / 2),  # on centres and corners
)


@given(
    st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=8),
    st.integers(1, 7),
    st.integers(1, 7),
)
def test_inside_is_the_even_odd_rule(
    polygon: list[tuple[float, float]], rows: int, columns: int
) -> None:
    found = inside(polygon, (rows, columns))
    expected = [[oracle(polygon, row, column) for column in range(columns)] for row in range(rows)]
    assert found.tolist() == expected
    assert (inside(polygon[::-1], (rows, columns)) == found).all()
    assert (inside([*polygon[1:], polygon[0]], (rows, columns)) == found).all()


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=3), coordinate, coordinate)
def test_triangles_around_a_point_share_no_pixel(
    corners: list[tuple[float, float]], x: float, y: float
) -> None:
    size = (8, 8)
    parts = [inside([(x, y), a, b], size) for a, b in itertools.pairwise([*corners, corners[0]])]
    assert (np.logical_xor.reduce(parts) == inside(corners, size)).all()


def test_hand_made_shapes() -> None:
    whole = inside([(0, 0), (4, 0), (4, 3), (0, 3)], (3, 4))
    assert whole.all()
    assert not inside([(1, 1), (1, 1), (1, 1)], (3, 4)).any()
    diamond = inside([(2.5, 0), (5, 2.5), (2.5, 5), (0, 2.5)], (5, 5))
    assert diamond.astype(int).tolist() == [
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
    ]
    star = inside([(0, 0), (4, 0), (0, 4), (4, 4)], (4, 4))  # crosses itself: two triangles
    assert star.sum(1).tolist() == [3, 1, 1, 3]
    assert inside([(0.5, 0.5), (1.5, 0.5), (1.5, 1.5), (0.5, 1.5)], (2, 2)).sum() == 1
    for start, end in ((0.6, 0.9), (0.5 + 1 / STEPS, 1.5)):  # between two columns of centres
        assert not inside([(start, 0), (end, 0), (end, 2), (start, 2)], (2, 2)).any()


@pytest.mark.parametrize(
    "polygon", [[(0.0, 0.0), (2.0**21, 0.0), (0.0, 1.0)], [(0.0, float("nan"))], [(1.0,)], []]
)
def test_what_are_no_points_is_refused(polygon: Any) -> None:
    with pytest.raises(
        ValueError, match=r"`polygon` must be points \(x, y\), each number from -1048576 to 1048576"
    ):
        _ = inside(polygon, (2, 2))


def test_ignore_lies_over_holes_over_road() -> None:
    def bar(left: float, right: float) -> tuple[tuple[float, float], ...]:
        return ((left, 0), (right, 0), (right, 1), (left, 1))

    frame = Frame("a", (6, 1), "g", "", (bar(0, 2), bar(1, 5)), (bar(2, 4),), (bar(3, 6),))
    assert frame.mask.tolist() == [[ROAD, ROAD, BACKGROUND, IGNORE, IGNORE, IGNORE]]


PICTURE = png(np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3))


def entry(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": "a_1",
        "size": [5, 4],
        "group": "a",
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
        "road": [[[0, 2], [5, 2], [5, 4], [0, 4]]],
        "holes": [],
        "ignore": [],
    }
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


def written(folder: Path, *entries: Any, **top: Any) -> Path:
    path = folder / "polygons.json"
    _ = path.write_text(json.dumps({"format": FORMAT, "frames": list(entries), **top}))
    _ = (folder / "a_1.jpg").write_bytes(PICTURE)
    return path


def test_a_folder_with_polygons_is_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    path = written(tmp_path, entry())
    for given_path in (tmp_path, path):
        found = open_data(given_path)
        require_sound(found)
        assert [(sample.name, sample.group) for sample in found.samples] == [("a_1", "a")]
        assert found.image(0).shape == (4, 5, 3)
        assert found.mask(0).tolist() == [[0] * 5] * 2 + [[1] * 5] * 2


def test_photographs_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, entry())
    elsewhere = tmp_path / "photographs"
    elsewhere.mkdir()
    _ = (tmp_path / "a_1.jpg").rename(elsewhere / "a_1.jpg")
    monkeypatch.setenv(VARIABLE, str(elsewhere))
    assert open_polygons(path).image(0).shape == (4, 5, 3)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert open_polygons(path, elsewhere).image(0).shape == (4, 5, 3)
    with pytest.raises(
        ValueError, match=rf"lacks 1 of 1: a_1.jpg; name their folder in {VARIABLE}"
    ):
        _ = open_polygons(path)


def test_another_photograph_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    path = written(tmp_path, entry())
    found = open_polygons(path)
    _ = (tmp_path / "a_1.jpg").write_bytes(png(np.zeros((4, 5, 3), np.uint8)))
    with pytest.raises(
        ValueError,
        match=r"a_1\.jpg'\) is another file than the one that was labelled: SHA-256 \w{12} in",
    ):
        _ = found.image(0)
    (tmp_path / "a_1.jpg").unlink()
    with pytest.raises(ValueError, match=r"a_1\.jpg'\) cannot be read: no such file"):
        _ = found.image(0)
    wide = open_polygons(written(tmp_path, entry(size=[4, 4], road=[])))
    with pytest.raises(
        ValueError, match=r"a_1\.jpg'\) has 5 x 4 pixels; its polygons are for 4 x 4"
    ):
        _ = wide.image(0)


HOSTILE: list[tuple[dict[str, Any], str]] = [
    (
        {"name": None},
        "frame number 0: `name` must be letters, digits, dots, dashes and underscores, at most 200",
    ),
    ({"name": "../a"}, "frame number 0: `name` must be letters"),
    ({"name": "a" * 201}, "frame number 0: `name` must be letters"),
    ({"name": 3}, "frame number 0: `name` must be letters"),
    ({"size": [5]}, "frame 'a_1': `size` must be [columns, rows], each from 1 to 16384"),
    ({"size": [5, True]}, "frame 'a_1': `size` must be"),
    ({"size": [5, 2**14 + 1]}, "frame 'a_1': `size` must be"),
    ({"size": None}, "frame 'a_1': `size` must be a list"),
    ({"group": ""}, "frame 'a_1': `group` must be a text of 1 to 200 characters"),
    ({"sha256": "f" * 63}, "frame 'a_1': `sha256` must be 64 digits from 0 to f"),
    ({"road": {}}, "frame 'a_1': `road` must be a list"),
    ({"road": [[]] * 257}, "frame 'a_1': `road` has 257 entries; at most 256 are read"),
    (
        {"holes": [[[0, 0], [1, 1]]]},
        "frame 'a_1': `holes` has a polygon of 2 points; it must have at least 3",
    ),
    (
        {"ignore": [[[0, 0]] * 4097]},
        "frame 'a_1': `ignore` has 4097 entries; at most 4096 are read",
    ),
    ({"road": [[[0, 0], [1, 1], [1]]]}, "frame 'a_1': `road` has a point that is not [x, y]"),
    ({"road": [[[0, 0], [1, 1], [1, "2"]]]}, "frame 'a_1': `road` has a point that is not [x, y]"),
    (
        {"road": [[[0, 0], [1, 1], [1, 4.5]]]},
        "frame 'a_1': `road` has the point [1, 4.5], outside of the picture of 5 x 4 pixels",
    ),
    (
        {"road": [[[0, 0], [1, 1], [10**400, 2]]]},
        "frame 'a_1': `road` has the point [10000000000000000000, 2]",
    ),
]


@pytest.mark.parametrize(("changes", "complaint"), HOSTILE)
def test_hostile_frames(changes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = written(tmp_path, entry(**changes))
    with pytest.raises(ValueError, match="`polygons`") as raised:
        _ = read_polygons(path)
    assert str(raised.value).startswith(f"`polygons` (={str(path)!r}): {complaint}")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is no JSON: Expecting value"),
        (b"\xff\xfe", "is no JSON: 'utf-8' codec"),
        (b"[" * 100_000, "is no JSON: maximum recursion depth"),
        (b'{"format": NaN}', "is no JSON: NaN is no number in it"),
        (b'{"format": ' + b"9" * 5000 + b"}", "is no JSON: Exceeds the limit"),
        (b"[]", ": the file must be an object"),
        (b"{}", ": `format` must be 'backstride road polygons 1'"),
        (b'{"format": "backstride road polygons 1"}', ": `frames` must be a list"),
        (b'{"format": "backstride road polygons 1", "frames": []}', ": `frames` is empty"),
        (
            b'{"format": "backstride road polygons 1", "frames": [1]}',
            ": frame number 0 must be an object",
        ),
    ],
)
def test_hostile_files(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    _ = path.write_bytes(content)
    with pytest.raises(ValueError, match="`polygons`") as raised:
        _ = read_polygons(path)
    assert complaint in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"polygons\.json'\) cannot be read: no such file"):
        _ = read_polygons(tmp_path / "polygons.json")
    with pytest.raises(ValueError, match="cannot be read: is a directory"):
        _ = read_polygons(tmp_path)
    path = written(tmp_path, entry(), entry())
    with pytest.raises(ValueError, match="frame 'a_1' is there twice"):
        _ = read_polygons(path)
    monkeypatch.setattr("backstride.roads.data.polygons.LARGEST_FILE", 10)
    with pytest.raises(ValueError, match="has more than 10 bytes, the most that are read"):
        _ = read_polygons(path)


def crossings(polygon: Points) -> int:
    """How many pairs of its edges meet in the inside of both; coordinates are multiples of
    1/256.
    """
    start = (np.asarray(polygon) * STEPS).round().astype(np.int64)
    end = np.roll(start, -1, 0)

    def side(point: Any) -> Any:
        """Of which side of each edge (rows) each point (columns) is."""
        edge, to = (end - start)[:, None], point[None] - start[:, None]
        return np.sign(edge[..., 0] * to[..., 1] - edge[..., 1] * to[..., 0])

    apart = side(start) * side(end) < 0
    return int((apart & apart.T).sum()) // 2


COMMITTED = read_polygons(LABELS)


def test_crossing_edges_are_counted() -> None:
    assert crossings([(0, 0), (4, 0), (0, 4), (4, 4)]) == 1
    assert crossings([(0, 0), (4, 0), (4, 4), (0, 4)]) == 0


@pytest.mark.parametrize("frame", COMMITTED, ids=lambda frame: frame.name)
def test_committed_labels_are_sane(frame: Frame) -> None:
    assert frame.size == (640, 360)
    for polygon in (*frame.road, *frame.holes, *frame.ignore):
        assert len(set(polygon)) == len(polygon)
        assert crossings(polygon) == 0
    shares = {label: float((frame.mask == label).mean()) for label in (ROAD, IGNORE)}
    assert 0.15 < shares[ROAD] < 0.4
    assert shares[IGNORE] < 0.015
    below = frame.mask[300:330, 290:350]  # right in front of the car
    assert (below == ROAD).all()
    assert (frame.mask[:185] != ROAD).all()  # above every horizon


def test_committed_labels_are_spread_over_the_drives() -> None:
    counts = {
        group: sum(frame.group == group for frame in COMMITTED)
        for group in ("barrier", "forest", "kerb", "verge")
    }
    assert sum(counts.values()) == len(COMMITTED) >= 60
    assert min(counts.values()) >= 10


PHOTOGRAPHS = os.environ.get(VARIABLE, "")
needs_photographs = pytest.mark.skipif(
    not PHOTOGRAPHS,
    reason=f"the photographs are not part of the repository; name their folder in {VARIABLE}",
)


@needs_photographs
def test_photographs_are_those_that_were_labelled() -> None:
    require_sound(open_polygons(LABELS))


@needs_photographs
def test_edges_of_the_labels_are_edges_of_the_photographs() -> None:
    """In every drive, brightness changes more across the labels' boundaries than 8 pixels above or
    below them.
    """
    found = open_polygons(LABELS)
    changes: dict[str, list[tuple[float, float, float]]] = {}
    for index, sample in enumerate(found.samples):
        grey = found.image(index).astype(np.float64).mean(-1)
        road = found.mask(index) == ROAD
        steps = np.abs(grey[3:] - grey[:-3])[1:-1]
        edge = road[3:-2] != road[2:-3]
        edge[325:] = False  # the bonnet
        own, above, below = (float(steps[np.roll(edge, shift, 0)].mean()) for shift in (0, -8, 8))
        changes.setdefault(sample.group, []).append((own, above, below))
    for group, found_changes in changes.items():
        own, above, below = np.mean(found_changes, axis=0)
        assert own > max(above, below), group


def test_a_file_includes_others_beside_it(tmp_path: Path) -> None:
    frames = [
        {"name": name, "size": [8, 6], "group": name, "sha256": "0" * 64}
        for name in ("a", "b", "c")
    ]

    def write(name: str, frames: list[Any], *include: object) -> Path:
        path = tmp_path / name
        _ = path.write_text(
            json.dumps({"format": FORMAT, "include": list(include), "frames": frames})
        )
        return path

    _, whole = write("one.json", frames[:2]), write("two.json", frames[2:], "one.json")
    assert [frame.name for frame in read_polygons(whole)] == ["a", "b", "c"]
    _ = write("deep.json", frames[2:], "two.json")
    for other, message in (
        ("two.json", "a file that is included must include none"),
        ("../one.json", "`include` has '../one.json', which is no name of a file beside it"),
        (3, "`include` has 3, which is no name of a file beside it"),
        ("one.json", "frame 'a' is there twice"),
    ):
        path = write("last.json", frames[:1], other)
        with pytest.raises(ValueError, match=rf"last.json'\): {message}$"):
            _ = read_polygons(path)
    with pytest.raises(ValueError, match=r"^`polygons` \(='.*none.json'\) cannot be read: "):
        _ = read_polygons(write("last.json", [], "none.json"))


def test_the_drives_are_those_of_both_files() -> None:
    drives, some = read_polygons(LABELS.with_name("drives.json")), read_polygons(LABELS)
    assert drives[: len(some)] == some
    assert [frame.group for frame in drives[len(some) :]] == ["median"] * 12
    for frame in drives[len(some) :]:
        mask = frame.mask
        assert 0.2 < (mask == ROAD).mean() < 0.4
        assert not (mask[349:] == ROAD).any()  # the own bonnet
