"""Frames out of a video file that may be anything.

What cannot be read is skipped, counted and named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backstride.pictures.manifest import Skipped
from backstride.pictures.picture import LARGEST, Pixels

if TYPE_CHECKING:
    from av import VideoFrame
    from av.error import FFmpegError

# Only containers of one file: a playlist in disguise would have FFmpeg open other files and
# addresses.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "avi",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "h264",
    "hevc",
    "asf",
    "flv",
)
SAFE = {"format_whitelist": ",".join(DEMUXERS), "protocol_whitelist": "file"}
UNSPECIFIED, BT601, MPEG = 2, 5, 1  # ITU-T H.273; FFmpeg's limited range


@dataclass(frozen=True, slots=True)
class Frame:
    """An upright picture (rows, columns, 3) and its time stamp in units of `time_base`."""

    pixels: Pixels
    stamp: int


@dataclass(frozen=True, slots=True)
class Facts:
    """`size`: (rows, columns), upright.

    `frames`: how many the header promises, None where it does not say. `colours`: H.273's number of
    the matrix between RGB and YUV.
    """

    size: tuple[int, int]
    rate: Fraction
    time_base: Fraction
    frames: int | None
    colours: int


class Film:
    """An open video, to be read once.

    Raises `ValueError` for what is none, or has no frame that can be read. `argument`: the path's
    name, for messages. `extra`: what installs PyAV beside all else that is needed.
    """

    facts: Facts

    def __init__(self, path: Path, argument: str = "images", extra: str = "pictures") -> None:
        try:
            import av  # noqa: PLC0415  loads FFmpeg
            from av.error import FFmpegError  # noqa: PLC0415  the same
        except ModuleNotFoundError:
            message = (
                "videos need PyAV, which is missing; install it with: pip install "
                f"'backstride[{extra}]'"
            )
            raise ImportError(message) from None
        try:
            self._container = av.open(f"file:{path}", metadata_errors="replace", options=SAFE)
            self._stream = self._container.streams.video[0]
        except (FFmpegError, IndexError):
            message = f"`{argument}` (={str(path)!r}) is no video that can be read"
            raise ValueError(message) from None
        self._frames = self._read()
        self._early: list[Frame | Skipped] = []
        for entry in self._frames:
            self._early.append(entry)
            if isinstance(entry, Frame):
                # once, here: PyAV's streams must not be asked when their container is closed
                rows, columns, _ = entry.pixels.shape
                self.facts = Facts(
                    (rows, columns), self._rate(), self._base(), self._promised(), self._colours
                )
                break
        else:
            message = f"`{argument}` (={str(path)!r}) has no frame that can be read"
            raise ValueError(message)

    def __iter__(self) -> Iterator[Frame | Skipped]:
        try:
            yield from self._early
            yield from self._frames
        finally:
            self._container.close()

    def _base(self) -> Fraction:
        return self._stream.time_base or 1 / self._rate()

    def _rate(self) -> Fraction:
        rate = self._stream.guessed_rate or self._stream.average_rate
        return Fraction(rate) if rate and 0 < rate <= 1000 else Fraction(25)

    def _promised(self) -> int | None:
        if self._stream.frames:
            return int(self._stream.frames)
        seconds = (self._container.duration or 0) / 1e6
        return math.ceil(seconds * self._rate()) or None

    def _read(self) -> Iterator[Frame | Skipped]:
        count, lost, last, size = 0, 0, -1, None
        step = max(1, round(1 / (self._rate() * self._base())))
        for decoded in self._decoded():
            if isinstance(decoded, Skipped):
                lost += decoded.frames
                yield decoded
                continue
            found = decoded.pts
            last = max(found, last + 1) if found is not None else last + step if count else 0
            picture = self.picture(decoded)
            if isinstance(picture, str) or size not in (None, picture.shape):
                reason = (
                    picture
                    if isinstance(picture, str)
                    else f"it has another size, {_shown(picture)}"
                )
                lost += 1
                yield Skipped(float(last * self._base()), reason)
                continue
            size = picture.shape
            count += 1
            yield Frame(picture, last)
        promised = self._stream.frames
        if promised > count + lost:
            reason = f"the video ends early: {promised} frames were promised"
            yield Skipped(float(max(last, 0) * self._base()), reason, promised - count - lost)

    def _decoded(self) -> Iterator[VideoFrame | Skipped]:
        from av.error import FFmpegError  # noqa: PLC0415  the same

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                yield Skipped(None, f"the file cannot be read on: {_words(error)}", 0)
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except FFmpegError as error:
                time = None if packet.pts is None else float(packet.pts * self._base())
                yield Skipped(time, _words(error))
                continue
            yield from frames

    def picture(self, frame: VideoFrame) -> Pixels | str:
        """A decoded frame as an upright picture, or why it is none."""
        if frame.is_corrupt:
            return "its data is damaged"
        if frame.width * frame.height > LARGEST:
            return f"it has more than {LARGEST} pixels"
        self._colours = int(frame.colorspace)
        pixels = frame.reformat(format="rgb24", src_color_range=frame.color_range).to_ndarray()
        turns = round(frame.rotation / 90) % 4  # counterclockwise, as the camera was held
        return np.ascontiguousarray(np.rot90(pixels, turns), np.uint8)


def _shown(picture: Pixels) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"


def _words(error: FFmpegError) -> str:
    return str(error.strerror or error)
