"""Labels drawn over photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backstride.cli import main
from backstride.pictures.picture import read_picture
from backstride.roads.evaluation.labelled import DARK, EDGE, STRONGER, WHITE, labels_over
from backstride.roads.prediction.drawing import Style
from backstride.roads.synthetic import write
from road_pictures import save


def test_what_is_neither_road_nor_ignored_stays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3)).astype(np.uint8)
    mask = np.zeros((9, 8), np.uint8)
    mask[2:7, 2:6], mask[8] = 1, 255
    drawn = labels_over(image, mask, 3)
    assert drawn.shape == (27, 24, 3)
    large = mask.repeat(3, 0).repeat(3, 1)
    assert (drawn[large == 0] == image.repeat(3, 0).repeat(3, 1)[large == 0]).all()
    line = (drawn == EDGE).all(-1)
    # around 15 x 12 pixels of road, and along the upper side of 24 ignored ones; the picture's own
    # edge is none
    assert line[6:21, 6:18].sum() == 2 * 15 + 2 * 12 - 4
    assert line[24:].sum() == 24


def test_several_classes_have_the_colours_of_their_predictions_and_a_legend() -> None:
    image = np.full((9, 20, 3), 100, np.uint8)
    mask = np.repeat(np.array([0, 1, 2, 3, 255], np.uint8), 4)[None].repeat(9, 0)
    names = ("background", "road", "pavement", "water")
    drawn = labels_over(image, mask, 2, names)
    assert drawn.shape[0] > 18  # the legend
    colours = {**Style(classes=names).colours(), 255: DARK}
    large = mask.repeat(2, 0).repeat(2, 1)
    assert (drawn[:18, :40][large == 0] == 100).all()
    for label, colour in colours.items():
        inner = drawn[:18, :40][large == label]
        mixed = np.rint(100 + np.float32(STRONGER) * (np.asarray(colour, np.float32) - 100)).astype(
            np.uint8
        )
        assert ((inner == mixed).all(-1) | (inner == WHITE).all(-1)).all()
        assert (inner == mixed).all(-1).any()
        assert (drawn[18:] == colour).all(-1).sum() > 200


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["roads", "labels", *map(str, words)])
    return int(stopped.value.code or 0)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "scenes", 2, (48, 64))
    assert run(tmp_path / "scenes", "--out", tmp_path / "drawn", "--zoom", 3) == 0
    assert "2 drawings written to" in capsys.readouterr().out
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(drawn) == 2
    assert read_picture(drawn[0]).shape == (144, 192, 3)


def test_a_table_of_several_classes(tmp_path: Path) -> None:
    """What is drawn goes by the folder's own table."""
    _ = save(tmp_path / "data/images/a.png", np.zeros((40, 60, 3), np.uint8))
    mask = np.zeros((40, 60), np.uint8)
    mask[20:, :30], mask[20:, 30:] = 7, 9
    (tmp_path / "data/masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "data/masks/a.png")
    table = "".join(
        f'[[class]]\nname = "{name}"\nids = [{at}]\n'
        for name, at in (("sky", 0), ("road", 7), ("grass", 9))
    )
    _ = (tmp_path / "data/classes.toml").write_text(table)
    assert run(tmp_path / "data", "--out", tmp_path / "drawn") == 0
    drawn = read_picture(tmp_path / "drawn/a.png")
    assert (
        len(np.unique(drawn[:80, :120].reshape(-1, 3), axis=0)) == 4
    )  # sky, road, grass, the line
    assert drawn.shape[0] > 80


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none", "--out", tmp_path / "drawn") == 2
    assert "`data`" in capsys.readouterr().err
