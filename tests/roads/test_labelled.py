"""Labels drawn over photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backstride.cli import main
from backstride.roads.labelled import EDGE, labels_over
from backstride.roads.synthetic import write
from backstride.segment.picture import read_picture


def test_what_is_neither_road_nor_ignored_stays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3)).astype(np.uint8)
    mask = np.zeros((9, 8), np.uint8)
    mask[2:7, 2:6], mask[8] = 1, 255
    drawn = labels_over(image, mask, 3)
    assert drawn.shape == (27, 24, 3)
    large = mask.repeat(3, 0).repeat(3, 1)
    assert (drawn[large == 0] == image.repeat(3, 0).repeat(3, 1)[large == 0]).all()
    line = (drawn == EDGE).all(-1)
    # around 15 x 12 pixels of road, and along the upper side of 24 ignored ones; the picture's own edge is none
    assert line[6:21, 6:18].sum() == 2 * 15 + 2 * 12 - 4
    assert line[24:].sum() == 24


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


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none", "--out", tmp_path / "drawn") == 2
    assert "`data`" in capsys.readouterr().err
