"""backstride roads predict and export: what is printed, exit codes, one line for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL", reason="pictures are read by Pillow")

from rich.progress import Progress

from backstride.cli import main
from backstride.cli.runs import Rates
from backstride.roads.prediction.loading import Loader
from road_pictures import save
from roads.prediction.reds import Reds, film, meant, picture


class Shell:
    """Runs backstride roads in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys

    def __call__(self, command: str, *words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["roads", command, *words])
        printed = self._capsys.readouterr()
        code: Any = caught.value.code
        return code, printed.out, printed.err

    def predict(self, *words: str) -> tuple[int, str, str]:
        return self("predict", *words, "--checkpoint", "net.safetensors", "--out", "road")


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    _ = Path("net.safetensors").write_bytes(b"the weights")

    def load(self: Loader) -> Reds:
        assert self.runtime == "torch"
        return Reds()

    monkeypatch.setattr(Loader, "load", load)
    monkeypatch.setattr(Loader, "meaning", meant)
    for at in range(3):
        _ = save(Path("photos") / f"{at}.png", picture(at))
    return Shell(tmp_path, capsys)


def test_a_folder(shell: Shell) -> None:
    code, out, err = shell.predict("photos")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("3 predicted")
    assert out.splitlines()[1:] == ["road from a probability of 0.5 on", "written to road"]
    assert shell.predict("photos")[1].splitlines()[0] == "0 predicted, 3 finished before"
    assert "road from a probability of 0.9 on" in shell.predict("photos", "--threshold", "0.9")[1]


def test_failures_are_listed_and_counted(shell: Shell) -> None:
    _ = Path("photos/1.png").write_bytes(b"no picture")
    code, out, err = shell.predict("photos")
    assert (code, err) == (1, "")
    assert out.splitlines()[0].startswith(
        "1: `images` (='photos/1.png') is no picture that can be read"
    )
    assert out.splitlines()[1].startswith("2 predicted")
    assert "1 failed" in out.splitlines()[1]
    assert shell.predict("photos/1.png")[0] == 2


def test_skipped_frames_are_listed(shell: Shell) -> None:
    _ = pytest.importorskip("av", reason="videos are read by PyAV")
    _ = film(Path("drive.ts"), 30)
    data = Path("drive.ts").read_bytes()
    _ = Path("drive.ts").write_bytes(
        data[: len(data) // 2] + bytes(3000) + data[len(data) // 2 + 3000 :]
    )
    code, out, _ = shell.predict("drive.ts")
    found = json.loads(Path("road/manifest.json").read_text())["done"]["drive"]
    lost = sum(entry["frames"] for entry in found["skipped"])
    assert code == 0
    assert 0 < found["frames"] < 30
    assert (f"drive: {lost} frames skipped" in out) == (lost > 0)
    assert f"1 predicted, {found['frames']} frames" in out


def test_json(shell: Shell) -> None:
    code, out, err = shell.predict(
        "photos", "--json", "--write", "mask, overlay", "--size", "24x32", "--batch", "2"
    )
    found = json.loads(out)
    assert (code, err, found["resumed"]) == (0, "", 0)
    assert [entry["name"] for entry in found["outcomes"]] == ["0", "1", "2"]
    assert sorted(path.name for path in Path("road").iterdir() if path.is_dir()) == [
        "masks",
        "overlays",
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["none.jpg"], "`images` (='none.jpg') does not exist"),
        (
            ["photos", "--write", "all"],
            "`write` (='all') must be some of overlay, mask, probability",
        ),
        (["photos", "--size", "big"], "`size` (='big')"),
        (["photos", "--threshold", "2"], "`threshold` (=2.0) must be from 0 to 1"),
        (["photos", "--device", "tpu"], '`device` (=\'tpu\') must be "cpu" or "cuda"'),
    ],
)
def test_bad_input_is_one_line(shell: Shell, words: list[str], line: str) -> None:
    code, out, err = shell.predict(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"backstride: {line}")
    assert err.count("\n") == 1


def test_a_wrong_checkpoint_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    _ = pytest.importorskip("safetensors", reason="checkpoints are safetensors files")
    _ = pytest.importorskip("torch", reason="road networks are PyTorch modules")
    monkeypatch.chdir(tmp_path)
    _ = save(Path("photos") / "0.png", picture(0))
    _ = Path("net.safetensors").write_bytes(b"no weights")
    for command, words in (
        ("predict", ["photos", "--out", "road"]),
        ("export", ["--output", "net.onnx"]),
    ):
        code, _, err = Shell(tmp_path, capsys)(command, *words, "--checkpoint", "net.safetensors")
        assert code == 2
        assert err.startswith(
            "backstride: `checkpoint` (='net.safetensors') is no safetensors file"
        )
        assert err.count("\n") == 1
    assert not Path("net.onnx").exists()


def test_frames_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 11.0, 12.0, 14.0])
    monkeypatch.setattr("backstride.cli.runs.time.monotonic", lambda: next(clock))
    rates = Rates(Progress(disable=True))
    rates("pictures", 4, 12)
    assert rates.speed() is None
    rates("pictures", 8, 12)
    assert rates.speed() == pytest.approx(4)
    rates("drive", 2, None)
    assert rates.speed() == pytest.approx(3)
    rates("drive", 10, 20)
    assert rates.speed() == pytest.approx(14 / 4)


def test_help_has_examples(shell: Shell) -> None:
    for command in ("predict", "export"):
        code, out, _ = shell(command, "--help")
        assert code == 0
        assert f"backstride roads {command} " in " ".join(out.split())
