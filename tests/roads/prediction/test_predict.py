"""Pictures through the job: right outputs, whole or absent; nothing twice; every failure named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="pictures are read by Pillow")

from PIL import Image

from backstride.roads.prediction import Summary, predict
from backstride.roads.prediction.loading import Loader
from road_pictures import save
from roads.prediction.reds import Reds, files_below, meant, picture

Run = Callable[..., Summary]


@pytest.fixture
def reds() -> Reds:
    return Reds()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reds: Reds) -> Run:
    """`predict` of tmp_path/photos into tmp_path/out, by `reds`."""
    checkpoint = tmp_path / "net.safetensors"
    _ = checkpoint.write_bytes(b"the weights")

    def load(self: Loader) -> Reds:
        assert self.checkpoint == checkpoint
        return reds

    monkeypatch.setattr(Loader, "load", load)
    monkeypatch.setattr(Loader, "meaning", meant)

    def call(*sources: Path, **options: Any) -> Summary:
        return predict(sources or (tmp_path / "photos",), checkpoint, tmp_path / "out", **options)

    return call


def photos(folder: Path, count: int = 5) -> None:
    for at in range(count):
        _ = save(folder / "photos" / f"{at}.png", picture(at))


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_what_is_written(tmp_path: Path, run: Run) -> None:
    photos(tmp_path)
    _ = save(tmp_path / "photos" / "deep" / "wide.jpg", picture(3, 40, 90))
    found = run()
    assert [(outcome.name, outcome.frames, outcome.reason) for outcome in found.outcomes] == [
        *((str(at), 1, "") for at in range(5)),
        ("deep/wide", 1, ""),
    ]
    names = [*map(str, range(5)), "deep/wide"]
    assert files_below(tmp_path / "out") == sorted(
        [
            "manifest.json",
            *(f"masks/{name}.png" for name in names),
            *(f"overlays/{name}.jpg" for name in names),
            *(f"probabilities/{name}.png" for name in names),
        ]
    )
    red = picture(2)[..., 0]
    mask = read(tmp_path / "out" / "masks" / "2.png")
    np.testing.assert_array_equal(mask, red >= 128)
    assert mask.dtype == np.uint8
    levels = read(tmp_path / "out" / "probabilities" / "2.png")
    assert levels.dtype == np.uint16
    np.testing.assert_array_equal(levels, red.astype(np.uint16) * 257)
    overlay = read(tmp_path / "out" / "overlays" / "2.jpg").astype(int)
    assert abs(overlay[:, 14:] - 60).max() <= 6  # background stays
    assert (
        abs(
            overlay[20, 4] - (0.55 * np.array([230, 30, 30]) + 0.45 * np.array([40, 220, 120]))
        ).max()
        <= 12
    )
    assert overlay[20, 9].min() > 180  # the road's edge


def test_pictures_of_one_size_run_together(tmp_path: Path, run: Run, reds: Reds) -> None:
    photos(tmp_path)
    _ = save(tmp_path / "photos" / "2a.png", picture(1, 20, 20))
    _ = run(batch=2)
    assert [shape[:3] for shape in reds.shapes] == [
        (2, 48, 64),
        (1, 48, 64),
        (1, 20, 20),
        (2, 48, 64),
    ]


def test_what_is_asked_for(tmp_path: Path, run: Run) -> None:
    photos(tmp_path, 1)
    _ = run(write=["mask"], threshold=0.95)
    assert files_below(tmp_path / "out") == ["manifest.json", "masks/0.png"]
    assert read(tmp_path / "out" / "masks" / "0.png").max() == 0


def test_the_network_sees_the_size_that_it_was_trained_at(
    tmp_path: Path, run: Run, reds: Reds
) -> None:
    photos(tmp_path, 3)
    reds.size = (24, 32)
    _ = run()
    assert reds.shapes == [(3, 24, 32, 3)]
    levels = read(tmp_path / "out" / "probabilities" / "2.png") / 65535
    assert levels.shape == (48, 64)
    assert abs(levels - picture(2)[..., 0] / 255)[:, :7].max() < 0.01
    assert abs(levels - picture(2)[..., 0] / 255)[:, 14:].max() < 0.01
    _ = run(size=())
    _ = run(size=(12, 16))
    assert [shape[1:3] for shape in reds.shapes[1:]] == [(48, 64), (12, 16)]


def test_a_second_run_makes_nothing_twice(tmp_path: Path, run: Run, reds: Reds) -> None:
    photos(tmp_path)
    assert run().resumed == 0
    before = {
        name: (tmp_path / "out" / name).stat().st_mtime_ns
        for name in files_below(tmp_path / "out")[1:]
    }
    again = run()
    assert (again.resumed, again.outcomes, reds.seen) == (5, (), 5)
    assert before == {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in before}

    _ = save(tmp_path / "photos" / "3.png", picture(7))  # changed
    (tmp_path / "out" / "masks" / "1.png").unlink()
    assert [outcome.name for outcome in run().outcomes] == ["1", "3"]
    np.testing.assert_array_equal(
        read(tmp_path / "out" / "masks" / "3.png"), picture(7)[..., 0] >= 128
    )


@pytest.mark.parametrize("change", ["checkpoint", "threshold", "opacity", "size"])
def test_other_settings_make_all_anew(tmp_path: Path, run: Run, change: str) -> None:
    photos(tmp_path)
    _ = run()
    options = {
        "threshold": {"threshold": 0.4},
        "opacity": {"opacity": 0.3},
        "size": {"size": (24, 32)},
    }.get(change, {})
    if change == "checkpoint":
        _ = (tmp_path / "net.safetensors").write_bytes(b"other weights")
    assert len(run(**options).outcomes) == 5
    assert run(**options).resumed == 5


def test_a_network_that_does_not_load_leaves_what_another_made(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path, 2)
    _ = run()
    before = files_below(tmp_path / "out")
    _ = (tmp_path / "net.safetensors").write_bytes(b"no weights")

    def load(self: Loader) -> Reds:
        message = f"{self.checkpoint} is none"
        raise ValueError(message)

    monkeypatch.setattr(Loader, "load", load)
    with pytest.raises(ValueError, match=r"is none$"):
        _ = run()
    assert files_below(tmp_path / "out") == before


def test_an_interrupted_run_goes_on(tmp_path: Path, run: Run, reds: Reds) -> None:
    photos(tmp_path, 9)
    reds.stop_after = 6
    with pytest.raises(KeyboardInterrupt):
        _ = run(batch=2)
    done = json.loads((tmp_path / "out" / "manifest.json").read_text())["done"]
    assert 0 < len(done) <= 6
    assert not [name for name in files_below(tmp_path / "out") if name.endswith(".part")]
    reds.stop_after = None
    again = run()
    assert again.resumed == len(done)
    assert len(again.outcomes) == 9 - len(done)
    assert len(files_below(tmp_path / "out")) == 1 + 3 * 9


def test_what_cannot_be_read_is_named_and_the_rest_is_done(tmp_path: Path, run: Run) -> None:
    photos(tmp_path)
    whole = (tmp_path / "photos" / "2.png").read_bytes()
    _ = (tmp_path / "photos" / "2.png").write_bytes(whole[: len(whole) // 2])
    _ = (tmp_path / "photos" / "4.png").write_text("no picture")
    found = run()
    assert [outcome.name for outcome in found.done] == ["0", "1", "3"]
    assert [(outcome.name, outcome.reason.split("/")[-1]) for outcome in found.failed] == [
        ("2", "2.png') is a damaged or truncated picture"),
        (
            "4",
            (
                "4.png') is no picture that can be read; legal are BMP, GIF, JPEG, PNG, PPM, TIFF, "
                "WEBP"
            ),
        ),
    ]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["failed"]) == {"2", "4"}
    _ = (tmp_path / "photos" / "2.png").write_bytes(whole)
    again = run()
    assert ([outcome.name for outcome in again.done], again.resumed) == (["2"], 3)
    assert set(json.loads((tmp_path / "out" / "manifest.json").read_text())["failed"]) == {"4"}


def test_a_full_disk_stops_in_one_sentence_and_leaves_whole_files(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path)
    written = 0
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        nonlocal written
        written += 1
        if written == 8:
            _ = write(self, data[:10])
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        OSError,
        match=r"^.*out/overlays/2.jpg cannot be written: No space left on device; \d finished b",
    ):
        _ = run(batch=1)
    monkeypatch.undo()
    names = files_below(tmp_path / "out")
    assert not [name for name in names if name.endswith(".part")]
    for name in names[1:]:
        _ = read(tmp_path / "out" / name)  # whole


def test_two_runs_do_not_share_a_folder(tmp_path: Path, run: Run, reds: Reds) -> None:
    photos(tmp_path, 2)
    problems: list[str] = []
    call = reds.__class__.__call__

    class Second(Reds):
        def __call__(self, pictures: np.ndarray) -> np.ndarray:
            with pytest.raises(
                ValueError, match=r"^`out` \(='.*out'\) is in use by another run; wait for it"
            ) as found:
                _ = run()
            problems.append(str(found.value))
            return call(self, pictures)

    reds.__class__ = Second
    _ = run()
    assert len(problems) == 1


def test_no_output_takes_the_place_of_an_input(tmp_path: Path, run: Run) -> None:
    read_from = save(tmp_path / "out" / "masks" / "a.png", picture(1))
    before = read_from.read_bytes()
    for source in (read_from, tmp_path / "out" / "masks"):
        with pytest.raises(
            ValueError,
            match=r"^`out` \(='.*out'\): .*masks/.*a.png is read as one of `images` and would be written ov",  # noqa: E501
        ):
            _ = run(source, write=["mask"])
    assert files_below(tmp_path / "out") == ["masks/a.png"]
    assert read_from.read_bytes() == before


def test_leftovers_of_a_killed_run_go(tmp_path: Path, run: Run) -> None:
    photos(tmp_path, 1)
    (tmp_path / "out" / "overlays").mkdir(parents=True)
    _ = (tmp_path / "out" / "overlays" / ".drive.mp4.abcd.part").write_bytes(b"half")
    _ = run()
    assert not [name for name in files_below(tmp_path / "out") if name.endswith(".part")]


def test_progress(tmp_path: Path, run: Run) -> None:
    photos(tmp_path, 3)
    seen: list[tuple[str, int, int | None]] = []

    def progress(label: str, done: int, total: int | None) -> None:
        seen.append((label, done, total))

    _ = run(batch=1, progress=progress)
    assert seen == [("pictures", 1, 3), ("pictures", 2, 3), ("pictures", 3, 3)]


def test_messages(tmp_path: Path, run: Run) -> None:
    photos(tmp_path, 1)
    for options, words in (
        ({"threshold": 1.5}, r"^`threshold` \(=1.5\) must be from 0 to 1$"),
        (
            {"write": ["masks"]},
            r"^`write` \(='masks'\) must be some of overlay, mask, probability$",
        ),
        ({"batch": 0}, r"^`batch` \(=0\) must be at least 1; the nearest legal value is 1$"),
        ({"device": "tpu"}, r'^`device` \(=\'tpu\'\) must be "cpu" or "cuda"$'),
        ({"runtime": "keras"}, r'^`runtime` \(=\'keras\'\) must be "torch" or "onnx"$'),
        (
            {"size": (3,)},
            r"^`size` \(=\(3,\)\) must be \(rows, columns\), or \(\) for each picture's own$",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            _ = run(**options)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    _ = (tmp_path / "out" / "manifest.json").write_text('{"other": "program"}')
    with pytest.raises(
        ValueError,
        match=r"^`out` \(='.*out'\) has a manifest.json that backstride roads predict did n",
    ):
        _ = run()
    with pytest.raises(ValueError, match=r"^`checkpoint` \(='.*none'\) does not exist$"):
        _ = predict([tmp_path / "photos"], tmp_path / "none", tmp_path / "out")
