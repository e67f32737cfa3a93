"""Label files to labels: KITTI's rule, tables of classes, hostile files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from backstride.roads.data.labels import PLAIN, decode_kitti, read_table
from road_pictures import kitti_mask, save

TABLE = """
rest = "ignore"
[[class]]
name = "background"
ids = [0, 4]
[[class]]
name = "road"
ids = [7]
"""
COLOURS = """
[[class]]
name = "background"
colours = [[0, 0, 0]]
[[class]]
name = "road"
colours = [[128, 64, 128], [1, 2, 3]]
[ignore]
colours = [[255, 255, 255]]
"""


def test_kitti_masks_are_decoded_as_the_devkit_does(tmp_path: Path) -> None:
    pixels = np.array(
        [[[255, 0, 255], [255, 0, 0], [0, 0, 0], [0, 0, 255], [1, 0, 1], [255, 9, 2], [0, 255, 0]]],
        np.uint8,
    )
    assert decode_kitti(save(tmp_path / "m.png", pixels)).tolist() == [[1, 0, 255, 255, 1, 1, 255]]


@given(labels=arrays.arrays(np.uint8, (3, 5), elements=st.sampled_from([0, 1, 255])))
def test_kitti_masks_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray
) -> None:
    path = kitti_mask(tmp_path_factory.mktemp("kitti") / "um_road_000000.png", labels)
    np.testing.assert_array_equal(decode_kitti(path), labels)


@given(values=arrays.arrays(np.uint8, (4, 3), elements=st.sampled_from([0, 4, 7, 9])))
def test_ids_by_table(tmp_path_factory: pytest.TempPathFactory, values: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("ids")
    _ = (folder / "t.toml").write_text(TABLE)
    table = read_table(folder / "t.toml")
    found = table.decode(save(folder / "m.png", values))
    meaning = {0: 0, 4: 0, 7: 1, 9: 255}
    assert found.tolist() == [[meaning[value] for value in row] for row in values.tolist()]


def test_colours_by_table(tmp_path: Path) -> None:
    _ = (tmp_path / "t.toml").write_text(COLOURS)
    table = read_table(tmp_path / "t.toml")
    pixels = np.array([[[0, 0, 0], [128, 64, 128], [1, 2, 3], [255, 255, 255]]], np.uint8)
    assert table.decode(save(tmp_path / "m.png", pixels)).tolist() == [[0, 1, 1, 255]]
    with pytest.raises(
        ValueError, match=r"has the value \(3, 2, 1\), which the table of classes does not name"
    ):
        _ = table.decode(save(tmp_path / "n.png", pixels[..., ::-1]))


@pytest.mark.parametrize(("name", "road"), [("camvid", (128, 64, 128)), ("cityscapes", 7)])
def test_the_tables_that_come_with_us(name: str, road: object) -> None:
    table = read_table(Path(name))
    assert table.classes == ("background", "road")
    assert {**table.ids, **table.colours}[road] == 1  # pyright: ignore[reportArgumentType]


def test_palettes_and_bits_are_ids(tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415

    picture = Image.fromarray(np.array([[0, 1, 255]], np.uint8)).convert("P")
    picture.putpalette([255, 0, 0] * 256)
    picture.save(tmp_path / "p.png")
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "b.png")
    assert PLAIN.decode(tmp_path / "p.png").tolist() == [[0, 1, 255]]
    assert PLAIN.decode(tmp_path / "b.png").tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it must have 2 to 250 [[class]] entries"),
        ("class = 3", "`class` must be written [[class]]"),
        (
            "strange = 1\n" + TABLE,
            "it has the entry 'strange'; legal are class, ignore, rest, layout",
        ),
        (
            TABLE.replace("ignore", "street"),
            "`rest` (='street') must be the name of a class, or 'ignore'",
        ),
        (
            TABLE.replace("7", "4"),
            "`ids` has 4; an id is an integer from 0 to 65535, in one class only",
        ),
        (TABLE.replace("7", "-1"), "`ids` has -1"),
        (TABLE.replace("7", "true"), "`ids` has True"),
        (TABLE.replace("[7]", "7"), "`ids` (=7) must be a list"),
        (TABLE.replace('"road"', '"background"'), "each with a name of its own"),
        (COLOURS.replace("[1, 2, 3]", "[1, 2]"), "`colours` has [1, 2]"),
        (COLOURS.replace("[1, 2, 3]", "[1, 2, 300]"), "`colours` has [1, 2, 300]"),
        (TABLE + "[ignore]\ncolours = [[0, 0, 0]]", "one kind throughout"),
        (TABLE + '[layout]\nimages = "../x"', "the folder '../x' must be inside the data set's"),
        (TABLE + '[layout]\nmasks = "/etc"', "the folder '/etc' must be inside the data set's"),
        (TABLE + "[layout]\nother = 1", "[layout] has the entry 'other'"),
        ("x = " + "[" * 100000, "is no table of classes"),
        ("#" * 300000, "it has more than 262144 bytes"),
    ],
)
def test_tables_that_are_none(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    _ = path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        _ = read_table(path)
    assert str(path) in str(caught.value)


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(
        ValueError,
        match=(
            "is no file that can be read; name one, or one of bdd100k, camvid, cityscapes, "
            "comma10k, mapillary, mapi"
        ),
    ):
        _ = read_table(Path("nowhere/classes"))


def test_hostile_masks(tmp_path: Path) -> None:
    whole = save(
        tmp_path / "m.png", np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8)
    ).read_bytes()
    _ = (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.png'\) is a damaged or truncated PNG"):
        _ = PLAIN.decode(tmp_path / "cut.png")
    _ = (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text.png'\) is no PNG that can be read"):
        _ = PLAIN.decode(tmp_path / "text.png")
    huge = bytearray(whole)
    huge[16:24] = (60000).to_bytes(4, "big") * 2
    _ = (tmp_path / "huge.png").write_bytes(huge)
    with pytest.raises(ValueError, match=r"huge.png'\) (has more than|is no PNG)"):
        _ = PLAIN.decode(tmp_path / "huge.png")
    with pytest.raises(
        ValueError, match="has colours; without a table of classes a mask has one channel"
    ):
        _ = PLAIN.decode(save(tmp_path / "rgb.png", np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(
        ValueError, match="has the value 9, which the table of classes does not name"
    ):
        _ = PLAIN.decode(save(tmp_path / "nine.png", np.full((2, 2), 9, np.uint8)))
