"""Videos of what was made of each frame.

In colour as H.264 with the sound, numbers without loss.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from backstride.files import beside
from backstride.pictures.job import Outputs, Raster, Results
from backstride.pictures.reading import BT601, MPEG, SAFE, UNSPECIFIED, Facts, Frame

if TYPE_CHECKING:
    from av import AudioStream, Packet
    from av.container import InputContainer

SOUND = ("aac", "ac3", "alac", "mp2", "mp3", "opus")  # what MP4 takes as it is
TAGGED = (1, 4, 5, 6, 7, 9)  # H.273's matrices that FFmpeg converts by
Put: TypeAlias = Callable[[Frame, Results], None]


@contextmanager
def footage(to: Mapping[str, Path], source: Path, facts: Facts, style: Outputs) -> Generator[Put]:
    """Gives what writes a frame to all outputs of one video.

    The files take their places when the block ends well. Frames keep their time stamps, size and
    rate; pictures in colour keep the sound. Sides of an odd number of pixels make H.264 of the
    profile High 4:4:4, which not all players show.
    """
    with ExitStack() as stack:
        parts = {kind: stack.enter_context(beside(path)) for kind, path in to.items()}
        writers: dict[str, _Writer] = {}

        def put(frame: Frame, result: Results) -> None:
            for kind, image in style.frames(to, frame.pixels, result):
                if kind not in writers:  # the first frame says what the video is of
                    writers[kind] = stack.enter_context(_writer(parts[kind], image, facts, source))
                writers[kind].put(image, frame.stamp)

        yield put


@contextmanager
def _writer(path: Path, first: Raster, facts: Facts, source: Path) -> Generator[_Writer]:
    writer = _Writer(path, first, facts, source)
    try:
        yield writer
        writer.finish()
    finally:
        writer.close()


class _Writer:
    """One video file, of images like the first."""

    def __init__(self, path: Path, first: Raster, facts: Facts, source: Path) -> None:
        import av  # noqa: PLC0415  loads FFmpeg

        self._facts = facts
        self._layout = (
            "rgb24" if first.ndim == 3 else "gray16le" if first.dtype == np.uint16 else "gray"
        )
        film = self._layout == "rgb24"
        self._container: Any = av.open(
            f"file:{path}",
            "w",
            format="mp4" if film else "matroska",
            options={"movflags": "+faststart"} if film else {},
        )
        self._stream = self._coded(first.shape[0], first.shape[1], film=film)
        self._sound = _Sound(source, self._container) if film else None

    def finish(self) -> None:
        """Write what the encoder holds back, and the rest of the sound."""
        self._container.mux(self._stream.encode())
        if self._sound is not None:
            self._sound.pass_on(None)

    def close(self) -> None:
        """Write the index."""
        self._container.close()

    def put(self, image: Raster, stamp: int) -> None:
        """Encode an image."""
        from av import VideoFrame  # noqa: PLC0415  the same

        cells = image if image.flags.c_contiguous else image.copy()
        frame = VideoFrame.from_ndarray(cells, format=self._layout)
        if self._layout == "rgb24":
            matrix = self._facts.colours if self._facts.colours in TAGGED else BT601
            frame = frame.reformat(
                format=self._stream.pix_fmt, dst_colorspace=_named(matrix), dst_color_range=MPEG
            )
        frame.pts, frame.time_base = stamp, self._facts.time_base
        if self._sound is not None:
            self._sound.pass_on(stamp * self._facts.time_base)
        self._container.mux(self._stream.encode(frame))

    def _coded(self, rows: int, columns: int, *, film: bool) -> Any:
        codec = _h264() if film else "ffv1"
        stream: Any = self._container.add_stream(codec, rate=self._facts.rate)
        stream.height, stream.width, stream.pix_fmt = rows, columns, self._layout
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
        import av  # noqa: PLC0415  the same

        self._packets: Iterator[Packet[AudioStream]] = iter(())
        self._next: Packet[AudioStream] | None = None
        container = av.open(f"file:{source}", metadata_errors="replace", options=SAFE)
        streams = [
            stream for stream in container.streams.audio if stream.codec_context.name in SOUND
        ]
        if streams:
            self._target, self._stream = target, target.add_stream_from_template(streams[0])
            self._packets = self._read(container, streams[0])

    def pass_on(self, time: Fraction | None) -> None:
        """All packets up to a time, in seconds; None for the rest."""
        while (packet := self._next or next(self._packets, None)) is not None:
            self._next = packet
            if time is not None and (packet.pts or 0) * packet.time_base > time:
                return
            packet.stream = self._stream
            self._target.mux(packet)
            self._next = None

    @staticmethod
    def _read(container: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        """Packets with a time; a file that ends early has fewer."""
        from av.error import FFmpegError  # noqa: PLC0415  the same

        try:
            for packet in container.demux(stream):
                if packet.pts is not None and packet.dts is not None:
                    yield packet
        except FFmpegError:
            return
        finally:
            container.close()


def _h264() -> str:
    """The best encoder that this build of FFmpeg has; MPEG-4 part 2 is in each."""
    from av import codecs_available  # noqa: PLC0415  the same

    return next(name for name in ("libx264", "libopenh264", "mpeg4") if name in codecs_available)


def _named(matrix: int) -> int:
    """PyAV's number for an H.273 matrix: 5 and 6 are the same."""
    return BT601 if matrix == 6 else matrix
