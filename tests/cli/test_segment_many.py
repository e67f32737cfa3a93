"""backstride segment of many pictures: what is printed, exit codes, one line for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL", reason="pictures are read by Pillow")

from backstride.cli import main
from road_pictures import save
from roads.prediction.reds import files_below, film, picture
from segment.reds import Reds, loaded

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """Runs backstride segment in a folder with three photos; every network is `Reds`."""
    monkeypatch.chdir(tmp_path)
    loaded(monkeypatch, Reds())
    _ = Path("net.keras").write_bytes(b"the weights")
    for at in range(3):
        _ = save(Path("photos") / f"{at}.png", picture(at))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["segment", *words])
        printed = capsys.readouterr()
        code: Any = caught.value.code
        return code, printed.out, printed.err

    return call


def test_a_folder(shell: Shell) -> None:
    code, out, err = shell("net.keras", "photos", "--out", "labelled")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("3 labelled")
    assert out.splitlines()[1:] == ["written to labelled"]
    assert (
        shell("net.keras", "photos", "--out", "labelled")[1].splitlines()[0]
        == "0 labelled, 3 finished before"
    )
    assert shell("net.keras", "photos/0.png")[0] == 0
    assert Path("overlay.png").read_bytes() == Path("labelled/overlays/0.png").read_bytes()


def test_pictures_and_videos_together(shell: Shell) -> None:
    _ = pytest.importorskip("av", reason="videos are read by PyAV")
    _ = film(Path("drive.mp4"), 5)
    words = (
        "photos/0.png",
        "photos/1.png",
        "drive.mp4",
        "--out",
        "labelled",
        "--write",
        "mask",
        "--json",
    )
    code, out, err = shell("net.keras", *words)
    found = json.loads(out)
    assert (code, err, found["resumed"]) == (0, "", 0)
    assert [(entry["name"], entry["frames"]) for entry in found["outcomes"]] == [
        ("0", 1),
        ("1", 1),
        ("drive", 5),
    ]
    assert files_below(Path("labelled")) == [
        "manifest.json",
        "masks/0.png",
        "masks/1.png",
        "masks/drive.mkv",
    ]


def test_failures_are_listed_and_counted(shell: Shell) -> None:
    _ = Path("photos/1.png").write_bytes(b"no picture")
    code, out, err = shell("net.keras", "photos", "--out", "labelled")
    assert (code, err) == (1, "")
    assert out.splitlines()[0].startswith(
        "1: `photos` (='photos/1.png') is no picture that can be read"
    )
    assert out.splitlines()[1].startswith("2 labelled")
    assert "1 failed" in out.splitlines()[1]
    assert shell("net.keras", "photos/1.png", "--out", "other")[0] == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "photos",
            (
                "`photos` (='photos') is more than one picture and needs a folder for what is "
                "written; name it, for"
            ),
        ),
        (
            "photos/0.png photos/1.png",
            "`photos` (='photos/0.png, photos/1.png') is more than one picture and needs a",
        ),
        ("drive.mp4", "`photos` (='drive.mp4') is more than one picture and needs a folder"),
        (
            "photos/0.png --write mask",
            "`write` needs a folder for what is written; name it, for example --out labelled",
        ),
        (
            "photos/0.png --ray",
            "`ray` needs a folder for what is written; name it, for example --out labelled",
        ),
        (
            "photos --out a --output b.png",
            "`output` (='b.png') is for one picture and `out` (='a') a folder; give one",
        ),
        ("photos --out a --write all", "`write` (='all') must be some of overlay, mask"),
        ("none.jpg --out a", "`photos` (='none.jpg') does not exist"),
        (
            "photos --out no/a",
            "`out` (='no/a') lies in a folder that does not exist; make it first: mkdir -p no",
        ),
    ],
)
def test_bad_input_is_one_line(shell: Shell, words: str, line: str) -> None:
    code, out, err = shell("net.keras", *words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"backstride: {line}"), err
    assert err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["net.keras", "photos"]
