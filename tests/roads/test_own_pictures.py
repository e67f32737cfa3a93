"""A user's own few pictures: polygons by hand, a split that holds something out, a table, a start
from another run.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")
_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

from backstride.cli.roads.config import given  # noqa: E402
from backstride.roads import lines  # noqa: E402
from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig  # noqa: E402
from backstride.roads.data import splits  # noqa: E402
from backstride.roads.data.folders import open_data, require_sound  # noqa: E402
from backstride.roads.data.polygons import FORMAT, VARIABLE  # noqa: E402
from backstride.roads.data.sources import Split, open_part, open_split  # noqa: E402
from backstride.roads.meaning import Meaning  # noqa: E402
from backstride.roads.network import checkpoint  # noqa: E402
from backstride.roads.network.model import build  # noqa: E402
from backstride.roads.training import bars  # noqa: E402
from backstride.roads.training.run import train  # noqa: E402
from road_pictures import save  # noqa: E402
from roads.test_splits import samples_of  # noqa: E402
from roads.toy import Toy  # noqa: E402

SMALL = ModelConfig("mobilenetv3-minimal")


def polygons(folder: Path, count: int = 4, suffix: str = ".png") -> None:
    """Photographs and what one writes by hand: names, sizes, roads."""
    toys = Toy(count)
    frames = [
        {"name": f"p{at}", "size": [96, 64], "road": [[[0, 40], [96, 40], [96, 64], [0, 64]]]}
        for at in range(count)
    ]
    folder.mkdir(exist_ok=True)
    _ = (folder / "polygons.json").write_text(json.dumps({"format": FORMAT, "frames": frames}))
    for at in range(count):
        _ = save(folder / f"p{at}{suffix}", toys.image(at))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPG", ".webp"])
def test_polygons_need_no_digest_no_group_and_no_jpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    polygons(tmp_path, 2, suffix)
    found = open_data(tmp_path)
    require_sound(found)
    assert [(sample.group, sample.category) for sample in found.samples] == [("p0", ""), ("p1", "")]
    assert found.mask(0).sum() == 24 * 96


def test_four_pictures_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    polygons(tmp_path)
    split = open_split(DataConfig(folder=str(tmp_path)), 0)
    assert len(split.held_out.samples) >= 1
    assert len(split.train.samples) + len(split.held_out.samples) == 4


@pytest.mark.parametrize("share", [1e-9, 0.2, 1 - 1e-9])
def test_a_share_leaves_no_side_empty(share: float) -> None:
    split = splits.by_group(samples_of(["a", "b", "b", "c"]), share)
    assert split.train
    assert split.validation
    with pytest.raises(
        ValueError,
        match=r"in 1 group, and a group is never on both sides; give the pictures at least tw",
    ):
        _ = splits.by_group(samples_of(["a", "a"]), share)


def test_other_pictures_are_read_by_their_own_table(tmp_path: Path) -> None:
    masks, images = tmp_path / "masks", tmp_path / "images"
    masks.mkdir()
    _ = save(images / "a.png", Toy(1).image(0))
    Image.fromarray(Toy(1).mask(0) * np.uint8(9)).save(masks / "a.png")
    own = tmp_path / "own.toml"
    _ = own.write_text(
        'rest = "background"\n[[class]]\nname = "background"\n[[class]]\nname = "road"\nids = [9]\n'
    )
    config = RunConfig(SMALL, DataConfig(folder="elsewhere", table="cityscapes"))
    found = open_part(config, str(tmp_path), "", str(own))
    np.testing.assert_array_equal(found.mask(0), Toy(1).mask(0))
    Image.fromarray(Toy(1).mask(0)).save(masks / "a.png")
    np.testing.assert_array_equal(open_part(config, str(tmp_path), "").mask(0), Toy(1).mask(0))


def test_a_run_starts_with_the_network_of_another(tmp_path: Path) -> None:
    first = build(SMALL)
    with torch.no_grad():
        for parameter in first.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    _ = checkpoint.save(tmp_path / "first", first, RunConfig(SMALL), meaning=Meaning())
    options: dict[str, object] = {"train__start": str(tmp_path / "first")}
    config = given(None, tmp_path / "run", options, resume=False)
    assert config.model.encoder == "mobilenetv3-minimal"
    still = TrainConfig(epochs=1, batch=4, rate=0.0, decay=0.0, accelerator="cpu", threads=1)
    _ = train(
        RunConfig(config.model, train=replace(still, start=config.train.start)),
        tmp_path / "run",
        split=Split(Toy(4), Toy(1, seed=1)),
        console=QUIET,
    )
    trained = checkpoint.load(tmp_path / "run")[0]
    assert all(
        torch.equal(value, dict(trained.named_parameters())[key])
        for key, value in first.named_parameters()
    )
    assert "start" in tomllib.loads((tmp_path / "run/config.toml").read_text())["hashes"]


class Skies(Toy):
    classes = ("background", "road", "sky")


def test_a_run_starts_with_the_encoder_of_a_network_of_other_classes(tmp_path: Path) -> None:
    first = build(SMALL)
    with torch.no_grad():
        for parameter in first.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    _ = checkpoint.save(tmp_path / "first", first, RunConfig(SMALL), meaning=Meaning())
    config = given(None, tmp_path / "run", {"train__start": str(tmp_path / "first")}, resume=False)
    still = TrainConfig(
        epochs=1, batch=4, rate=0.0, decay=0.0, accelerator="cpu", start=config.train.start
    )
    console = Console(file=io.StringIO(), width=300)
    split = Split(Skies(4), Skies(1, seed=1))
    _ = train(RunConfig(config.model, train=still), tmp_path / "run", split=split, console=console)
    assert isinstance(console.file, io.StringIO)
    said = (
        f"{tmp_path / 'first'} has 2 classes and the pictures have 3: its encoder is taken over, "
        "and what gives the "
    )
    assert console.file.getvalue().startswith(f"{said}scores starts anew\n")
    trained, kept = (
        dict(checkpoint.load(tmp_path / "run")[0].named_parameters()),
        dict(first.named_parameters()),
    )
    assert trained.keys() == kept.keys()
    anew = {key for key, value in kept.items() if value.shape != trained[key].shape}
    assert anew
    assert not any(".features." in key for key in anew)
    assert all(torch.equal(kept[key], trained[key]) for key in kept.keys() - anew)
    _ = checkpoint.save(tmp_path / "other", build(WIDE), RunConfig(WIDE), meaning=Meaning())
    with pytest.raises(ValueError, match=r"^`checkpoint` .* belongs to another architecture: "):
        _ = checkpoint.begin(build(replace(SMALL, classes=3)), tmp_path / "other", 3)


WIDE = ModelConfig("mobilenetv3-minimal", skips=(16,))
QUIET = Console(quiet=True)


def test_lines_where_the_output_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Often(lines.Lines):
        def __init__(self, say: Any) -> None:
            super().__init__(say, pause=0)

    monkeypatch.setattr(bars, "Lines", Often)
    console = Console(file=io.StringIO(), width=120)
    config = RunConfig(SMALL, train=TrainConfig(epochs=1, batch=1, accelerator="cpu", threads=1))
    _ = train(config, tmp_path, split=Split(Toy(3), Toy(1, seed=1)), console=console)
    assert isinstance(console.file, io.StringIO)
    assert "epoch 1/1, batch 3 of 3, " in console.file.getvalue()


def test_files_that_a_config_names_may_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "configs"
    (place / "pictures").mkdir(parents=True)
    _ = (place / "own.toml").write_text('[data]\nfolder = "pictures"\n')
    monkeypatch.chdir(tmp_path)
    assert (
        given(Path("configs/own.toml"), Path("run"), {}, resume=False).data.folder
        == "configs/pictures"
    )
    Path("pictures").mkdir()
    assert given(Path("configs/own.toml"), Path("run"), {}, resume=False).data.folder == "pictures"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "train --out run --epochs 3 --schedule step",
            "`schedule` (='step') must be one of poly, cosine, constant",
        ),
        ("train --out run --encoder vgg", "`encoder` (='vgg') must be vgg16, resnet34, "),
        ("train --out run --data nowhere", "`data` (='nowhere') is no folder; "),
        ("evaluate --checkpoint nowhere --out figures", "`checkpoint` (='nowhere') does not exist"),
        (
            "export --checkpoint nowhere --output net.onnx",
            "`checkpoint` (='nowhere') does not exist",
        ),
        (
            "predict nowhere.jpg --checkpoint nowhere --out road",
            "`images` (='nowhere.jpg') does not exist",
        ),
        (
            "train --out run --epochs 1",
            '`roads` needs torch, which is not installed: pip install "backstride[roads]"',
        ),
    ],
)
def test_what_needs_no_library_is_checked_without_one(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = without_torch(words)
    assert found[0] == 2
    assert found[1].startswith(f"backstride: {message}")
    assert found[1].count("\n") == 1


def without_torch(words: str) -> tuple[int, str]:
    """The exit code and the error of a command in a process that has no PyTorch."""
    program = (
        "import importlib.abc, sys\n"
        "class Missing(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'lightning'):\n"
        "            raise ModuleNotFoundError(f\"No module named '{name}'\", name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from backstride.cli import main\n"
        f"main({['roads', *words.split()]!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr
