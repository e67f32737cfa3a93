"""Every group held out once, by networks in which it had no say."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")
_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig, changed  # noqa: E402
from backstride.roads.data.sources import open_part, open_split  # noqa: E402
from backstride.roads.evaluation.evaluate import evaluate  # noqa: E402
from backstride.roads.network import checkpoint  # noqa: E402
from backstride.roads.toml import read_config  # noqa: E402
from backstride.roads.training.crossvalidate import CrossValidation, Fold, crossvalidate  # noqa: E402
from backstride.roads.training.run import train  # noqa: E402
from roads.toy import Toy  # noqa: E402

QUIET = Console(quiet=True)
DRIVES = {"city/a": 6, "city/b": 6, "hills": 7}
TRAIN = TrainConfig(epochs=1, batch=4, rate=1e-2, accelerator="cpu")


@pytest.fixture(name="config", scope="module")
def config_of_drives(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """Pictures of three drives, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("drives")
    for seed, (drive, count) in enumerate(DRIVES.items()):
        toy = Toy(count, seed)
        for place in range(count):
            for kind, pixels in (("images", toy.image(place)), ("masks", toy.mask(place))):
                path = folder / kind / drive / f"{place}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    data = DataConfig(str(folder), group="folder", augment="flip", tune=4)
    return RunConfig(ModelConfig("mobilenetv3-minimal"), data, TRAIN)


@pytest.fixture(name="found", scope="module")
def finished(
    config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CrossValidation, Path, str]:
    out = tmp_path_factory.mktemp("cross") / "new"
    console = Console(file=io.StringIO(), width=120)
    found = crossvalidate(config, out, console=console)
    assert isinstance(console.file, io.StringIO)
    return found, out, console.file.getvalue()


def test_each_drive_is_held_out_once(found: tuple[CrossValidation, Path, str]) -> None:
    result, out, printed = found
    assert {fold.group: fold.images for fold in result.folds} == DRIVES
    assert [path.name for path in sorted(out.glob("0*"))] == ["01-city-a", "02-city-b", "03-hills"]
    assert [line for line in printed.splitlines() if line.startswith("held out")] == [
        "held out 1/3: city/a", "held out 2/3: city/b", "held out 3/3: hills",
    ]  # fmt: skip
    assert (
        json.loads((out / "crossvalidation.json").read_text(encoding="utf-8")) == result.as_dict()
    )
    values = [fold.maxf for fold in result.folds]
    assert result.as_dict()["mean"]["maxf"] == pytest.approx(float(np.mean(values)), rel=1e-15)
    assert result.as_dict()["worst"]["maxf"] == min(values)


def test_the_figures_are_those_of_the_network_that_is_kept(
    found: tuple[CrossValidation, Path, str],
) -> None:
    result, out, _ = found
    for fold, run in zip(result.folds, sorted(out.glob("0*")), strict=True):
        network, config = checkpoint.load(run)
        assert config.data.held_out == (fold.group,)
        assert fold.threshold == checkpoint.meaning_of(run).threshold
        again = evaluate(network, open_part(config, None, ""), threshold=fold.threshold)
        one = again.views["perspective"]["all"]
        assert (one.maxf, one.f, again.best_threshold) == (fold.maxf, fold.f, fold.best_threshold)
        assert fold.f <= fold.maxf


def test_a_drive_held_out_has_no_say(config: RunConfig, tmp_path: Path) -> None:
    """Its masks turned round change what is measured, and not one number of the network or its
    threshold.
    """
    own = changed(config, data__held_out=("hills",))
    split = open_split(own.data, 0)
    assert split.tuning is not None
    kept = {sample.name for pictures in (split.train, split.tuning) for sample in pictures.samples}
    assert not kept & {sample.name for sample in split.held_out.samples}
    assert len(kept) == len(split.train.samples) + len(split.tuning.samples) == 12
    turned = replace(split, held_out=Toy(3, seed=8))
    runs = [
        train(own, tmp_path / name, split=one, console=QUIET)
        for name, one in (("a", split), ("b", turned))
    ]
    first, second = (checkpoint.load(run.out)[0].state_dict() for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert len({checkpoint.meaning_of(run.out).threshold for run in runs}) == 1


def test_goes_on_where_it_was_stopped(
    config: RunConfig, found: tuple[CrossValidation, Path, str]
) -> None:
    result, out, _ = found
    before = {path: path.stat().st_mtime_ns for path in out.rglob("best.safetensors")}
    (out / "03-hills" / "held-out.json").unlink()
    assert crossvalidate(config, out, resume=True, console=QUIET) == result
    assert {path: path.stat().st_mtime_ns for path in out.rglob("best.safetensors")} == before
    with pytest.raises(ValueError, match=r"holds a run; add --resume to go on with it"):
        _ = crossvalidate(config, out, console=QUIET)


def test_starts_from_another_run(
    config: RunConfig, found: tuple[CrossValidation, Path, str], tmp_path: Path
) -> None:
    run = found[1] / "01-city-a"
    still = changed(
        config, train__rate=0.0, train__decay=0.0, train__epochs=1, train__start=str(run)
    )
    still = changed(still, data__held_out=("city/a",))
    result = train(still, tmp_path / "on", console=QUIET)
    given, begun = (checkpoint.load(path)[0] for path in (run, result.out))
    for (name, one), (_, other) in zip(
        given.named_parameters(), begun.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    assert (
        "start" in (result.out / "config.toml").read_text(encoding="utf-8").partition("[hashes]")[2]
    )
    assert read_config(result.out / "config.toml").train.start == str(run)
    wider = changed(still, model__encoder="resnet34")
    with pytest.raises(ValueError, match=r"belongs to another architecture"):
        _ = train(wider, tmp_path / "other", console=QUIET)
    with pytest.raises(
        ValueError, match=r"^`checkpoint` \(='.*nowhere'\)|^`start` \(='.*nowhere'\)"
    ):
        _ = train(
            changed(still, train__start=str(tmp_path / "nowhere")),
            tmp_path / "third",
            console=QUIET,
        )


def test_refuses_what_cannot_be_held_out_in_turn(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"^`data` \(=''\) has no groups: synthetic scenes are all apart; from 2 to 32",
    ):
        _ = crossvalidate(changed(config, data__folder=""), tmp_path, console=QUIET)
    one = Path(config.data.folder) / "images" / "hills"
    flat = tmp_path / "flat"
    for kind in ("images", "masks"):
        (flat / kind).mkdir(parents=True)
        for path in (one.parents[1] / kind / "hills").iterdir():
            _ = (flat / kind / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"has 1 groups; from 2 to 32 can be held out in turn"):
        _ = crossvalidate(changed(config, data__folder=str(flat)), tmp_path / "out", console=QUIET)
    for tune, message in (
        (1, r"^`tune` \(=1\) must be 0, or at least 2"),
        (99, r"^`tune` \(=99\) chooses none of 12"),
    ):
        with pytest.raises(ValueError, match=message):
            _ = open_split(replace(config.data, tune=tune, held_out=("hills",)), 0)


def test_worst_and_mean_count_drives_alike() -> None:
    folds = (Fold("a", 90, *[0.9] * 8), Fold("b", 10, *[0.7] * 8))
    found = CrossValidation(folds)
    assert (found.mean("f"), found.worst("f")) == (pytest.approx(0.8), 0.7)
