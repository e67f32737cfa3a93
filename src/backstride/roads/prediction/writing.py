"""Videos of what was predicted: the road over each frame, as H.264; masks and probabilities without loss."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from backstride.files import beside
from backstride.roads.prediction.drawing import Kind, Style, confidence_of, mask_of, paint
from backstride.roads.prediction.predictor import Levels
from backstride.roads.prediction.reading import BT601, MPEG, SAFE, UNSPECIFIED, Facts, Frame, library

SOUND = ("aac", "ac3", "alac", "mp2", "mp3", "opus")  # what MP4 takes as it is
TAGGED = (1, 4, 5, 6, 7, 9)  # H.273's matrices that FFmpeg converts by
Put: TypeAlias = Callable[[Frame, Levels], None]


@contextmanager
def footage(to: dict[Kind, Path], source: Path, facts: Facts, style: Style) -> Generator[Put]:
    """Gives what writes a frame to all outputs of one video; the files take their places when the block ends well.

    Frames keep their time stamps, size and rate; the overlay keeps the sound. Sides of an odd
    number of pixels make H.264 of the profile High 4:4:4, which not all players show.
    """
    with ExitStack() as stack:
        writers: dict[Kind, _Writer] = {}
        for kind, path in to.items():
            part = stack.enter_context(beside(path))
            below = style.legend(facts.size[1]) if kind == "overlay" else None
            size = facts.size if below is None else (facts.size[0] + below.shape[0], below.shape[1])
            writers[kind] = stack.enter_context(_writer(part, kind, replace(facts, size=size), source))

        def put(frame: Frame, levels: Levels) -> None:
            mask = mask_of(levels, style)
            for kind, writer in writers.items():
                if kind == "overlay":
                    writer.put(paint(frame.pixels, mask, style), "rgb24", frame.stamp)
                elif kind == "mask":  # with two classes as players show it
                    writer.put(mask * np.uint8(255) if len(style.classes) == 2 else mask, "gray", frame.stamp)
                else:
                    writer.put(confidence_of(levels), "gray16le", frame.stamp)

        yield put


@contextmanager
def _writer(path: Path, kind: Kind, facts: Facts, source: Path) -> Generator[_Writer]:
    writer = _Writer(path, kind, facts, source)
    try:
        yield writer
        writer.finish()
    finally:
        writer.close()


class _Writer:
    """One video file."""

    def __init__(self, path: Path, kind: Kind, facts: Facts, source: Path) -> None:
        self._av = library()
        self._facts = facts
        film = kind == "overlay"
        options = {"movflags": "+faststart"} if film else {}
        self._container: Any = self._av.open(f"file:{path}", "w", format="mp4" if film else "matroska", options=options)
        self._stream = self._coded(film, "gray16le" if kind == "probability" else "gray")
        self._sound = _Sound(source, self._container) if film else None

    def finish(self) -> None:
        """Write what the encoder holds back, and the rest of the sound."""
        self._container.mux(self._stream.encode())
        if self._sound is not None:
            self._sound.pass_on(None)

    def close(self) -> None:
        """Write the index."""
        self._container.close()

    def put(self, pixels: NDArray[Any], layout: str, stamp: int) -> None:
        """Encode a picture."""
        frame: Any = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=layout)
        if layout == "rgb24":
            matrix = self._facts.colours if self._facts.colours in TAGGED else BT601
            frame = frame.reformat(format=self._stream.pix_fmt, dst_colorspace=_named(matrix), dst_color_range=MPEG)
        frame.pts, frame.time_base = stamp, self._facts.time_base
        if self._sound is not None:
            self._sound.pass_on(stamp * self._facts.time_base)
        self._container.mux(self._stream.encode(frame))

    def _coded(self, film: bool, layout: str) -> Any:
        rows, columns = self._facts.size
        codec = _h264(self._av) if film else "ffv1"
        stream: Any = self._container.add_stream(codec, rate=self._facts.rate)
        stream.height, stream.width, stream.pix_fmt = rows, columns, layout
        if film:
            stream.pix_fmt = "yuv444p" if rows % 2 or columns % 2 else "yuv420p"
            stream.codec_context.color_range = MPEG
            if self._facts.colours != UNSPECIFIED:
                stream.codec_context.colorspace = self._facts.colours
        if codec == "libx264":
            stream.options = {"preset": "veryfast", "crf": "20"}
        stream.codec_context.time_base = self._facts.time_base
        return stream


class _Sound:
    """The sound of the source, passed on as it is, no later than the frames beside it."""

    def __init__(self, source: Path, target: Any) -> None:
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        container: Any = library().open(f"file:{source}", metadata_errors="replace", options=SAFE)
        streams = [stream for stream in container.streams.audio if stream.codec_context.name in SOUND]
        if streams:
            self._target, self._stream = target, target.add_stream_from_template(streams[0])
            self._packets = self._read(container, streams[0])

    def pass_on(self, time: Fraction | None) -> None:
        """All packets up to a time, in seconds; None for the rest."""
        while (packet := self._next or next(self._packets, None)) is not None:
            self._next = packet
            if time is not None and packet.pts * packet.time_base > time:
                return
            packet.stream = self._stream
            self._target.mux(packet)
            self._next = None

    @staticmethod
    def _read(container: Any, stream: Any) -> Iterator[Any]:
        """Packets with a time; a file that ends early has fewer."""
        try:
            for packet in container.demux(stream):
                if packet.pts is not None and packet.dts is not None:
                    yield packet
        except library().FFmpegError:
            return
        finally:
            container.close()


def _h264(av: Any) -> str:
    """The best encoder that this build of FFmpeg has; MPEG-4 part 2 is in each."""
    return next(name for name in ("libx264", "libopenh264", "mpeg4") if name in av.codecs_available)


def _named(matrix: int) -> int:
    """PyAV's number for an H.273 matrix: 5 and 6 are the same."""
    return BT601 if matrix == 6 else matrix
