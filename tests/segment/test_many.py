"""Pictures, folders and videos: each has the bits that it has alone, once, whatever stops the
run.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="pictures are read by Pillow")

from PIL import Image

from backstride.pictures import cluster
from backstride.pictures.picture import ROW, palette
from backstride.pictures.run import Processed
from backstride.segment import Labelling, segment, segment_many
from backstride.segment.drawing import STRIP, Colouring
from backstride.segment.job import LabelJob
from road_pictures import save
from roads.prediction.reds import files_below, film, picture
from segment.reds import Reds, labels_of, loaded

Run = Callable[..., Processed]
SIZES = {
    "0.png": (48, 64),
    "1.png": (48, 64),
    "deep/2.bmp": (7, 90),
    "deep/3.png": (33, 5),
    "4.jpg": (60, 40),
}


@pytest.fixture
def reds(monkeypatch: pytest.MonkeyPatch) -> Reds:
    made = Reds()
    loaded(monkeypatch, made)
    return made


@pytest.fixture
def run(tmp_path: Path, reds: Reds) -> Run:
    """`segment_many` of tmp_path/photos into tmp_path/out, by `reds`."""
    _ = (tmp_path / "net.keras").write_bytes(b"the weights")
    assert not reds.shapes

    def call(
        *sources: Path, out: str = "out", write: tuple[str, ...] = (), **options: Any
    ) -> Processed:
        labelling = Labelling(tmp_path / "net.keras", **options)
        return segment_many(
            labelling, sources or (tmp_path / "photos",), tmp_path / out, write=write
        )

    return call


def photos(folder: Path) -> dict[str, np.ndarray]:
    """Noise, which no two tiles have alike; by name, as it is read back."""
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for name, size in SIZES.items():
        path = save(folder / "photos" / name, random.integers(0, 256, (*size, 3)).astype(np.uint8))
        made[name.rpartition(".")[0]] = read(path)
    return made


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_below(folder)}


def test_a_picture_in_a_folder_has_the_bits_that_it_has_alone(
    tmp_path: Path, run: Run, reds: Reds
) -> None:
    made = photos(tmp_path)
    found = run()
    assert [(outcome.name, outcome.frames, outcome.reason) for outcome in found.outcomes] == [
        (name, 1, "") for name in ("0", "1", "4", "deep/2", "deep/3")
    ]
    names = [f"{kind}/{name}.png" for kind in ("masks", "overlays") for name in made]
    assert files_below(tmp_path / "out") == sorted(["manifest.json", *names])
    assert {shape[0] for shape in reds.shapes} == {1}
    for name, pixels in made.items():
        (source,) = (tmp_path / "photos").glob(f"{name}.*")
        _ = segment(tmp_path / "net.keras", source, tmp_path / "alone.png")
        assert (tmp_path / "out" / "overlays" / f"{name}.png").read_bytes() == (
            tmp_path / "alone.png"
        ).read_bytes()
        np.testing.assert_array_equal(
            read(tmp_path / "out" / "masks" / f"{name}.png"), labels_of(pixels)
        )


def test_tiles_change_no_bit_and_the_network_sees_no_more_than_one(
    tmp_path: Path, run: Run, reds: Reds
) -> None:
    _ = photos(tmp_path)
    _ = run()
    reds.shapes.clear()
    _ = run(out="tiled", tile=28)
    assert max(max(shape[2:]) for shape in reds.shapes) < 28 + 4
    assert len(reds.shapes) > len(SIZES)
    assert contents(tmp_path / "tiled") == contents(tmp_path / "out")


def test_masks_show_the_colours_of_the_overlay(tmp_path: Path, run: Run) -> None:
    _ = save(tmp_path / "photos" / "a.png", picture(3))
    _ = run()
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert np.asarray(mask).dtype == np.uint8
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB"))[0, 0], palette(4)[3])


def test_labels_above_255_are_kept(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Reds(classes=1000)
    loaded(monkeypatch, many)
    made = photos(tmp_path)
    _ = run()
    for name, pixels in made.items():
        mask = read(tmp_path / "out" / "masks" / f"{name}.png")
        assert mask.dtype == np.uint16
        np.testing.assert_array_equal(mask, labels_of(pixels, 1000))


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from backstride.segment import Labelling, segment_many
from segment.reds import Reds, loaded
class Killed(Reds):
    def __call__(self, images):
        if len(self.shapes) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(images)
loaded(pytest.MonkeyPatch(), Killed())
segment_many(Labelling(Path("net.keras")), [Path("photos")], Path("out"))
"""


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, run: Run) -> None:
    _ = photos(tmp_path)
    _ = run(out="whole")
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert contents(tmp_path / "out") != contents(tmp_path / "whole")
    _ = run()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_interrupted_run_makes_nothing_twice(tmp_path: Path, run: Run, reds: Reds) -> None:
    _ = photos(tmp_path)
    reds.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        _ = run()
    done = json.loads((tmp_path / "out" / "manifest.json").read_text())["done"]
    assert 0 < len(done) <= 3
    reds.stop_after = None
    reds.shapes.clear()
    again = run()
    assert (again.resumed, len(again.outcomes)) == (len(done), len(SIZES) - len(done))
    assert len(reds.shapes) == len(again.outcomes)
    assert run().resumed == len(SIZES)


@pytest.mark.parametrize("change", ["network", "names", "mean", "std", "scale", "opacity"])
def test_other_settings_make_all_anew(tmp_path: Path, run: Run, change: str) -> None:
    _ = photos(tmp_path)
    _ = run()
    options: dict[str, Any] = {"mean": (0.1,), "std": (2.0,), "scale": 1 / 256, "opacity": 0.3}
    options = {change: options[change]} if change in options else {}
    if change == "network":
        _ = (tmp_path / "net.keras").write_bytes(b"other weights")
    if change == "names":
        _ = (tmp_path / "names.txt").write_text("a\nb\nc\nd")
        options = {"names": tmp_path / "names.txt"}
    assert len(run(**options).outcomes) == len(SIZES)
    assert run(**options).resumed == len(SIZES)


def test_frames_of_a_film_have_the_labels_of_pictures(tmp_path: Path, run: Run) -> None:
    av: Any = pytest.importorskip("av", reason="videos are read by PyAV")
    stamps = film(tmp_path / "drive.mp4", sound=True)
    (outcome,) = run(tmp_path / "drive.mp4").outcomes
    assert (outcome.name, outcome.frames, outcome.reason) == ("drive", 12, "")
    assert files_below(tmp_path / "out") == [
        "manifest.json",
        "masks/drive.mkv",
        "overlays/drive.mp4",
    ]

    def frames(path: Path, layout: str | None) -> tuple[list[float], list[np.ndarray], int]:
        with av.open(str(path)) as container:
            decoded = list(container.decode(video=0))
            sounds = len(container.streams.audio)
        return (
            [frame.time for frame in decoded],
            [frame.to_ndarray(format=layout) for frame in decoded],
            sounds,
        )

    _, sources, _ = frames(tmp_path / "drive.mp4", "rgb24")
    times, masks, _ = frames(tmp_path / "out" / "masks" / "drive.mkv", None)
    assert times == pytest.approx(stamps)
    shown, overlays, sounds = frames(tmp_path / "out" / "overlays" / "drive.mp4", "rgb24")
    assert (shown, sounds) == (pytest.approx(stamps), 1)
    for at, source in enumerate(sources):
        np.testing.assert_array_equal(masks[at], labels_of(source))
        _ = save(tmp_path / "frames" / f"{at}.png", source)
        assert overlays[at].shape == (48 + STRIP, 160, 3)  # the least legend is wider than the film
    _ = run(tmp_path / "frames", out="pictures")
    for at, mask in enumerate(masks):
        np.testing.assert_array_equal(read(tmp_path / "pictures" / "masks" / f"{at}.png"), mask)
        pictured = read(tmp_path / "pictures" / "overlays" / f"{at}.png")[:48, :64].astype(int)
        assert (
            abs(overlays[at][:48, :64] - pictured).mean() < 6
        )  # H.264 halves the colours' resolution


def test_a_stop_within_a_film_leaves_no_part(tmp_path: Path, run: Run) -> None:
    _ = pytest.importorskip("av", reason="videos are read by PyAV")
    _ = film(tmp_path / "drive.mp4")

    def progress(label: str, done: int, total: int | None) -> None:
        assert (label, total) == ("drive", 12)
        if done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ = segment_many(
            Labelling(tmp_path / "net.keras"),
            [tmp_path / "drive.mp4"],
            tmp_path / "out",
            progress=progress,
        )
    assert files_below(tmp_path / "out") == ["manifest.json"]
    assert run(tmp_path / "drive.mp4").outcomes[0].frames == 12


def test_the_legend_of_a_film_has_one_height() -> None:
    called = {0: "sky", 1: "a very long name of a class, longer than it"}
    style = Colouring(called)
    shapes: set[tuple[int, ...]] = set()
    for classes in (1, 2, 3, 40, 1000):
        labels = (np.arange(64 * 200) % classes).reshape(64, 200).astype(np.uint16)
        for _, drawn in style.frames(["overlay"], np.zeros((64, 200, 3), np.uint8), labels):
            shapes.add(drawn.shape)
    assert shapes == {(64 + 2 * ROW + 8, 200, 3)}


def test_what_cannot_be_read_is_named_and_the_rest_is_done(tmp_path: Path, run: Run) -> None:
    _ = photos(tmp_path)
    _ = (tmp_path / "photos" / "1.png").write_bytes(b"no picture")
    _ = (tmp_path / "photos" / "list.mp4").write_text(
        f"ffconcat version 1.0\nfile {tmp_path}/secret.ts\n"
    )
    found = run()
    assert len(found.done) == len(SIZES) - 1
    assert [outcome.name for outcome in found.failed] == ["1", "list"]
    reasons = [outcome.reason for outcome in found.failed]
    assert reasons[0].startswith(
        f"`photos` (='{tmp_path}/photos/1.png') is no picture that can be read; legal are BMP,"
    )
    assert reasons[1] == f"`photos` (='{tmp_path}/photos/list.mp4') is no video that can be read"


def test_a_worker_of_a_cluster_writes_the_same(tmp_path: Path, run: Run) -> None:
    made = photos(tmp_path)
    _ = run()
    job = LabelJob(Labelling(tmp_path / "net.keras"), tmp_path / "worker", Colouring({}), ("0",))
    job = pickle.loads(pickle.dumps(job.absolute()))
    with cluster.tried(job.out):
        work = cluster.Work(job)
        files = [next((tmp_path / "photos").glob(f"{name}.*")) for name in made]
        rows = work({"source": list(map(str, files)), "name": list(made)})["outcome"]
    assert [json.loads(row)["reason"] for row in rows] == [""] * len(made)
    assert contents(job.out) == {
        name: data for name, data in contents(tmp_path / "out").items() if name != "manifest.json"
    }


def test_messages(tmp_path: Path, run: Run) -> None:
    _ = photos(tmp_path)
    for options, words in (
        ({"write": ("masks",)}, r"^`write` \(='masks'\) must be some of overlay, mask$"),
        ({"tile": 0}, r"^`tile` \(=0\) must be at least 1; the nearest legal value is 1$"),
        ({"opacity": 2}, r"^`opacity` \(=2\) must be from 0 to 1$"),
    ):
        with pytest.raises(ValueError, match=words):
            _ = run(**options)
    with pytest.raises(ValueError, match=r"^`photos` \(='.*none.jpg'\) does not exist$"):
        _ = run(tmp_path / "none.jpg")
    with pytest.raises(
        ValueError, match=r"^`network` \(='.*net.pt'\) must be the path of an .onnx or .keras file$"
    ):
        _ = segment_many(Labelling(tmp_path / "net.pt"), [tmp_path / "photos"], tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        _ = segment_many(
            Labelling(tmp_path / "none.keras"), [tmp_path / "photos"], tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()
    _ = (tmp_path / "names.txt").write_text("sky\nsea")
    with pytest.raises(
        ValueError,
        match=r"^`names` \(='.*names.txt'\) has 2 names; give one for each of the 4 classes",
    ):
        _ = run(names=tmp_path / "names.txt")
    (tmp_path / "other").mkdir()
    _ = (tmp_path / "other" / "manifest.json").write_text('{"other": "program"}')
    with pytest.raises(
        ValueError,
        match=r"^`out` \(='.*other'\) has a manifest.json that backstride segment did not write; name",  # noqa: E501
    ):
        _ = run(out="other")
