from __future__ import annotations

import functools
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backstride import cli
from backstride.cli import roads
from backstride.cli.roads import counting
from backstride.roads.lines import Lines
from backstride.roads.network.checkpoint import keep_threshold, meaning_of
from backstride.roads.synthetic import SyntheticDataset

_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

TRAIN = (
    "--scenes 4 --size 64x96 --batch 2 --encoder mobilenetv3-minimal --accelerator cpu --augment "
    "none"
)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["roads", *words])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("backstride: ").strip()


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "predict", "export", "synthesize", "labels", "import"]
)
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(command, "--help") == 0
    assert re.search(rf"Examples?:\s+backstride roads {command} ", capsys.readouterr().out)


def test_examples_of_the_help_fit_a_line_so_that_they_can_be_pasted() -> None:
    for command in roads.COMMANDS:
        word = "import_" if command == "import" else command
        function = getattr(importlib.import_module(f"backstride.cli.roads.{word}"), word)
        examples = [line for line in function.__doc__.splitlines() if "backstride roads " in line]
        assert examples
        assert all(len(line.strip()) <= 78 for line in examples)


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("train", "evaluate", "synthesize"))


def test_from_scenes_to_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenes, out = str(tmp_path / "scenes"), str(tmp_path / "run")
    assert run("synthesize", "--out", scenes, "--count", "6", "--size", "64x96") == 0
    assert len(list((tmp_path / "scenes" / "training" / "gt_image_2").iterdir())) == 6
    _ = capsys.readouterr()
    assert (
        run("train", "--data", scenes, *TRAIN.split()[2:], "--epochs", "1", "--out", out, "--json")
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert result["epochs"] == 1
    assert Path(result["best"]).is_file()
    assert run("evaluate", "--checkpoint", out, "--out", str(tmp_path / "figures"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["views"]["perspective"]["all"]["maxf"] == pytest.approx(result["maxf"], abs=2e-3)
    assert "bird's eye" in found["views"]
    assert (
        meaning_of(Path(out)).threshold == found["threshold"]
    )  # that of the held-out pictures, from training
    _ = keep_threshold(Path(out), 0.25)
    assert (
        run("evaluate", "--checkpoint", out, "--out", str(tmp_path / "figures"), "--data", scenes)
        == 0
    )
    printed = capsys.readouterr().out
    numbers = [
        re.findall(r"\d+\.\d\d\b", line)
        for line in printed.splitlines()
        if re.match(r"perspective|bird", line)
    ]
    assert len(numbers) >= 4  # whole, in the 80 columns that a file has
    assert all(len(row) == 8 for row in numbers)
    assert "F is at a threshold of 0.25, MaxF at" in printed
    assert "; --keep-threshold keeps that one with the checkpoint" in printed
    words = [
        "--checkpoint",
        out,
        "--out",
        str(tmp_path / "figures"),
        "--data",
        scenes,
        "--keep-threshold",
    ]
    assert run("evaluate", *words, "--json") == 0
    best = json.loads(capsys.readouterr().out)["best_threshold"]
    assert meaning_of(Path(out)).threshold == best
    assert run("evaluate", *words[:-1], "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["threshold"] == best
    assert "holds a run; add --resume" in refused(capsys, "train", "--out", out, *TRAIN.split())
    assert run("train", "--out", out, "--resume") == 0
    other = refused(capsys, "train", "--out", out, "--resume", "--epochs", "4")
    assert other.startswith("`epochs` (=4) differs from that of the run in ")


def test_clear_scenes_are_written_when_asked_for(tmp_path: Path) -> None:
    for words in ((), ("--clear",)):
        assert (
            run(
                "synthesize",
                "--out",
                str(tmp_path),
                "--count",
                "1",
                "--size",
                "64x96",
                "--seed",
                "4",
                *words,
            )
            == 0
        )
        wanted = SyntheticDataset(1, (64, 96), 4, clear=bool(words))
        with Image.open(tmp_path / "training/image_2" / f"{wanted.samples[0].name}.png") as picture:
            assert (np.asarray(picture) == wanted.image(0)).all()


def test_a_config_may_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.toml"
    _ = path.write_text("[train]\nepoch = 3\n")
    message = refused(capsys, "train", "--config", str(path), "--out", str(tmp_path / "run"))
    assert message == f"`train.epoch` in {path} is no key; the nearest is `train.epochs`"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --out OUT --data nowhere", "`data` (='nowhere') is no folder; "),
        ("train --out OUT --size 64", "`size` (='64') must be rows x columns; for example 192x352"),
        ("train --out OUT --encoder vgg", "`encoder` (='vgg') must be "),
        ("train --out OUT --weights nowhere", "`weights` (='nowhere') does not exist"),
        ("train --out OUT --balance 1", "`balance` (='1') must be "),
        (
            "train --out OUT --freeze block9",
            "`freeze` (='block9') begins the name of no layer of the encoder; ",
        ),
        ("evaluate --checkpoint nowhere --out OUT", "`checkpoint` (='nowhere') does not exist"),
        ("synthesize --out OUT --size 4", "`size` (='4') must be rows x columns; "),
        ("train", "Missing option '--out'"),
        (
            "import coco FROM OUT",
            "`source` (='FROM'): the folder has no JSON file; name the one of the labels",
        ),
        ("labels FROM --out OUT", "`data` (='FROM') has no photographs; it must have "),
    ],
)
def test_refuses_in_one_sentence(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "from").mkdir()
    given = (
        words.replace("OUT", str(tmp_path / "out")).replace("FROM", str(tmp_path / "from")).split()
    )
    scenes = (
        ["--scenes", "2", "--epochs", "1"] if given[0] == "train" and "--data" not in given else []
    )
    assert (
        refused(capsys, *given, *scenes).replace(str(tmp_path / "from"), "FROM").startswith(message)
    )


def test_what_is_drawn_says_nothing_but_that_where_errors_go_to_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run("synthesize", "--out", str(tmp_path / "scenes"), "--count", "1", "--size", "64x96") == 0
    )
    assert run("labels", str(tmp_path / "scenes"), "--out", str(tmp_path / "drawn")) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.endswith(f"1 drawings written to {tmp_path / 'drawn'}\n")


def test_work_that_takes_long_says_so_where_errors_go_to_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "Lines", functools.partial(Lines, pause=0))
    with counting.counting("picture") as count:
        for done in (1, 2):
            count(done, 9)
    with counting.counting("picture", quiet=True) as count:
        count(1, 9)
    printed = capsys.readouterr().err
    assert re.fullmatch(r"picture 2 of 9, .* a second, .* to go\n", printed)
