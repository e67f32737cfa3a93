"""Videos in and out: frames, time stamps, size and sound stay; what cannot be read is skipped,
counted and named.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="videos are read by PyAV")
pytest.importorskip("PIL", reason="overlays are painted by Pillow")

import av

from backstride.pictures.reading import Film, Frame
from backstride.roads.prediction import Outcome, Skipped, predict
from backstride.roads.prediction.loading import Loader
from roads.prediction.reds import Reds, files_below, film, meant, picture

loose: Any = av
Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`predict` of one video into tmp_path/out, by `Reds`."""
    checkpoint = tmp_path / "net.safetensors"
    _ = checkpoint.write_bytes(b"the weights")

    def load(self: Loader) -> Reds:
        assert self.checkpoint == checkpoint
        return Reds()

    monkeypatch.setattr(Loader, "load", load)
    monkeypatch.setattr(Loader, "meaning", meant)

    def call(source: Path, **options: Any) -> Outcome:
        (outcome,) = predict([source], checkpoint, tmp_path / "out", **options).outcomes
        return outcome

    return call


def read(path: Path, layout: str | None = None) -> tuple[list[float], list[np.ndarray], Any]:
    """Time stamps, frames, and the stream."""
    with loose.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        facts = {
            "rate": stream.average_rate,
            "codec": stream.codec_context.name,
            "kinds": len(container.streams),
        }
    return (
        [frame.time for frame in frames],
        [frame.to_ndarray(format=layout) for frame in frames],
        facts,
    )


def test_what_is_written(tmp_path: Path, run: Run) -> None:
    stamps = film(tmp_path / "drive.mp4")
    assert run(tmp_path / "drive.mp4", write=["overlay", "mask", "probability"]) == Outcome(
        "drive", 12
    )
    out = tmp_path / "out"
    assert files_below(out) == [
        "manifest.json",
        "masks/drive.mkv",
        "overlays/drive.mp4",
        "probabilities/drive.mkv",
    ]
    _, sources, facts = read(tmp_path / "drive.mp4", "rgb24")
    times, overlays, made = read(out / "overlays" / "drive.mp4", "rgb24")
    assert times == pytest.approx(stamps)
    assert (made["rate"], made["codec"]) == (facts["rate"], "h264")
    assert overlays[0].shape == (48, 64, 3)
    for at, (overlay, source) in enumerate(zip(overlays, sources, strict=True)):
        assert (
            abs(overlay[:, 4 * at + 12 :].astype(int) - source[:, 4 * at + 12 :]).mean() < 3
        )  # off the road
    times, masks, made = read(out / "masks" / "drive.mkv", "gray")
    assert times == pytest.approx(stamps)
    assert made["codec"] == "ffv1"
    for mask, source in zip(masks, sources, strict=True):
        np.testing.assert_array_equal(mask, np.where(source[..., 0] >= 128, 255, 0))
    _, levels, _ = read(out / "probabilities" / "drive.mkv")
    assert levels[0].dtype == np.uint16
    for level, source in zip(levels, sources, strict=True):
        np.testing.assert_array_equal(level, source[..., 0].astype(np.uint16) * 257)


def test_no_probabilities_unless_asked_for(tmp_path: Path, run: Run) -> None:
    _ = film(tmp_path / "drive.mp4", 3)
    _ = run(tmp_path / "drive.mp4")
    assert files_below(tmp_path / "out") == [
        "manifest.json",
        "masks/drive.mkv",
        "overlays/drive.mp4",
    ]


@pytest.mark.parametrize("stamps", [[0, 40, 100, 104, 500, 540], [500, 540, 580], [0, 33, 67, 100]])
def test_time_stamps_of_any_pace_stay(tmp_path: Path, run: Run, stamps: list[int]) -> None:
    _ = film(tmp_path / "drive.mkv", stamps=stamps)
    _ = run(tmp_path / "drive.mkv")
    before, _, _ = read(tmp_path / "drive.mkv")
    for name in ("overlays/drive.mp4", "masks/drive.mkv"):
        times, _, _ = read(tmp_path / "out" / name)
        assert times == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(33, 50), (34, 51)])
def test_odd_sides_stay(tmp_path: Path, run: Run, rows: int, columns: int) -> None:
    _ = film(tmp_path / "drive.mp4", 3, rows, columns)
    _ = run(tmp_path / "drive.mp4")
    _, overlays, _ = read(tmp_path / "out" / "overlays" / "drive.mp4", "rgb24")
    assert [overlay.shape for overlay in overlays] == [(rows, columns, 3)] * 3


def test_sound_is_kept(tmp_path: Path, run: Run) -> None:
    _ = film(tmp_path / "drive.mp4", 20, sound=True)
    _ = run(tmp_path / "drive.mp4")

    def sound(path: Path) -> list[bytes]:
        with loose.open(str(path)) as container:
            return [
                bytes(packet)
                for packet in container.demux(container.streams.audio[0])
                if packet.size
            ]

    assert len(sound(tmp_path / "drive.mp4")) > 5
    assert sound(tmp_path / "out" / "overlays" / "drive.mp4") == sound(tmp_path / "drive.mp4")


def test_a_damaged_frame_is_skipped_and_the_rest_stays_in_place(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "drive.mkv"
    stamps = film(path, 12, group=1)
    data = bytearray(path.read_bytes())
    with loose.open(str(path)) as container:
        packets = [
            (packet.pos, packet.size)
            for packet in container.demux(container.streams.video[0])
            if packet.size
        ]
    where, size = packets[5]
    data[where + 24 : where + size] = bytes(size - 24)
    _ = path.write_bytes(data)
    found = run(path)
    assert found.frames == 11
    assert [(entry.time, entry.frames) for entry in found.skipped] == [
        (pytest.approx(stamps[5]), 1)
    ]
    times, masks, _ = read(tmp_path / "out" / "masks" / "drive.mkv", "gray")
    assert times == pytest.approx([*stamps[:5], *stamps[6:]])
    np.testing.assert_array_equal(masks[7][0] > 0, picture(8)[0, :, 0] >= 128)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["done"]["drive"]["skipped"][0]["frames"] == 1


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4"])
def test_a_truncated_video_finishes_what_can_be_read(tmp_path: Path, run: Run, suffix: str) -> None:
    path = tmp_path / f"drive.{suffix}"
    _ = film(path, 40)
    if suffix == "mp4":  # the index first, as a stream from the net has it
        moved = tmp_path / "moved.mp4"
        with (
            loose.open(str(path)) as one,
            loose.open(str(moved), "w", options={"movflags": "faststart"}) as other,
        ):
            stream = other.add_stream_from_template(one.streams.video[0])
            for packet in one.demux(one.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    other.mux(packet)
        _ = moved.replace(path)
    data = path.read_bytes()
    _ = path.write_bytes(data[: len(data) * 3 // 4])
    found = run(path)
    assert not found.reason
    assert 5 < found.frames < 40
    times, _, _ = read(tmp_path / "out" / "overlays" / "drive.mp4")
    assert len(times) == found.frames
    if suffix == "mp4":
        assert found.frames + sum(entry.frames for entry in found.skipped) == 40
        assert "the video ends early: 40 frames were promised" in [
            entry.reason for entry in found.skipped
        ]


def test_what_is_no_video_fails_with_a_reason(tmp_path: Path, run: Run) -> None:
    _ = film(tmp_path / "whole.mp4", 5)
    data = (tmp_path / "whole.mp4").read_bytes()
    for name, content in (
        ("noise.mp4", os.urandom(999)),
        ("empty.mkv", b""),
        ("cut.mp4", data[: len(data) // 2]),
    ):
        _ = (tmp_path / name).write_bytes(content)
        assert (
            run(tmp_path / name).reason
            == f"`images` (='{tmp_path / name}') is no video that can be read"
        )
    assert files_below(tmp_path / "out") == ["manifest.json"]


def test_a_playlist_in_disguise_opens_no_other_file(tmp_path: Path, run: Run) -> None:
    _ = film(tmp_path / "secret.ts", 5)
    for name, text in (
        (
            "list.mp4",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n",
        ),
        ("concat.mp4", f"ffconcat version 1.0\nfile {tmp_path}/secret.ts\n"),
    ):
        _ = (tmp_path / name).write_text(text)
        assert run(tmp_path / name).reason.endswith("is no video that can be read")


def test_an_interrupt_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ = film(tmp_path / "drive.mp4", 30)
    _ = (tmp_path / "net.safetensors").write_bytes(b"")

    def load(self: Loader) -> Reds:
        assert self.device == "cpu"
        return Reds(stop_after=12)

    monkeypatch.setattr(Loader, "load", load)
    monkeypatch.setattr(Loader, "meaning", meant)
    with pytest.raises(KeyboardInterrupt):
        _ = predict([tmp_path / "drive.mp4"], tmp_path / "net.safetensors", tmp_path / "out")
    assert files_below(tmp_path / "out") == ["manifest.json"]


def test_a_turned_film_is_read_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ = film(tmp_path / "drive.mp4", 2)
    upright = next(
        entry for entry in Film(tmp_path / "drive.mp4") if isinstance(entry, Frame)
    ).pixels

    class Turned:
        """A frame as cameras note it that were held on their side."""

        def __init__(self, frame: Any) -> None:
            self._frame = frame

        def __getattr__(self, name: str) -> Any:
            return 90 if name == "rotation" else getattr(self._frame, name)

    picture_of: Any = Film.picture

    def turned(self: Film, frame: Any) -> Any:
        return picture_of(self, Turned(frame))

    monkeypatch.setattr(Film, "picture", turned)
    found = Film(tmp_path / "drive.mp4")
    assert found.facts.size == (64, 48)
    first = next(entry for entry in found if isinstance(entry, Frame)).pixels
    np.testing.assert_array_equal(first, np.rot90(upright))


def test_skipped_frames_add_up(tmp_path: Path) -> None:
    _ = film(tmp_path / "drive.mp4", 6)
    entries = list(Film(tmp_path / "drive.mp4"))
    assert len([entry for entry in entries if isinstance(entry, Frame)]) == 6
    assert not [entry for entry in entries if isinstance(entry, Skipped)]


def test_a_full_disk_names_the_video_and_leaves_no_part(tmp_path: Path, run: Run) -> None:
    _ = film(tmp_path / "drive.mp4", 60, 240, 320)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (4096, before[1])
    )  # Python ignores the signal: a write fails instead
    try:
        with pytest.raises(
            OSError,
            match=r"^.*/out/(overlays|masks)/drive.m.. cannot be written: File too large; 0 fin",
        ):
            _ = run(tmp_path / "drive.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [name for name in files_below(tmp_path / "out") if name.endswith(".part")]
    assert run(tmp_path / "drive.mp4").frames == 60
