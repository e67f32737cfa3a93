"""A predictor that needs no network: the redder, the more road."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backstride.roads.meaning import Meaning
from backstride.surgery.decoding.influence import Influence


class Reds:
    """Probability = red / 255.
    Counts the pictures that it saw; `stop_after` raises then, as an interrupt does.
    """

    def __init__(self, size: tuple[int, ...] = (), stop_after: int | None = None) -> None:
        self.known, self.classes = Influence((1, 1), 1, 1, 1), 2
        self.device = "cpu"
        self.size = size
        self.stop_after = stop_after
        self.seen = 0
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen += len(pictures)
        self.shapes.append(pictures.shape)
        if self.stop_after is not None and self.seen > self.stop_after:
            raise KeyboardInterrupt
        return pictures[..., 0].astype(np.float32) / np.float32(255)

    def free(self) -> int:
        return 1 << 40

    def settle(self, pictures: Any, tile: int) -> Reds:
        _ = pictures, tile
        return self  # a pixel's own red is all that it sees


def meant(loader: object) -> Meaning:
    """What stands in for `Loader.meaning`: the files of these tests are no checkpoints."""
    _ = loader
    return Meaning(threshold=0.5)


def film(
    path: Path, frames: int = 12, rows: int = 48, columns: int = 64, **options: Any
) -> list[float]:
    """Write a video whose frame i is grey, but for a red bar of i columns; returns its time stamps
    in seconds.

    `stamps`: in milliseconds; by default 25 frames a second. `sound`: add a tone.
    """
    import av  # noqa: PLC0415  only where it is installed

    loose: Any = av
    stamps: list[int] = options.get("stamps") or [40 * at for at in range(frames)]
    with loose.open(str(path), "w") as container:
        stream: Any = container.add_stream(options.get("codec", "libx264"), rate=25)
        stream.width, stream.height = columns, rows
        stream.pix_fmt = "yuv444p" if rows % 2 or columns % 2 else "yuv420p"
        stream.codec_context.gop_size = options.get("group", 4)
        stream.codec_context.time_base = Fraction(1, 1000)
        sound: Any = (
            container.add_stream("aac", rate=16000, layout="mono") if options.get("sound") else None
        )
        for at, stamp in enumerate(stamps):
            frame: Any = loose.VideoFrame.from_ndarray(picture(at, rows, columns), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            for at in range(len(stamps)):
                tone = (1000 * np.sin(np.arange(640) / 5)).astype(np.int16)[None]
                samples: Any = loose.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
                samples.sample_rate, samples.pts = 16000, 640 * at
                container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return [stamp / 1000 for stamp in stamps]


def picture(at: int, rows: int = 48, columns: int = 64) -> NDArray[np.uint8]:
    """Grey, but for a red bar of 2 + 4 * at columns."""
    made = np.full((rows, columns, 3), 60, np.uint8)
    made[:, : 2 + 4 * at] = (230, 30, 30)
    return made


def files_below(folder: Path) -> list[str]:
    """All files, hidden ones too, but for the lock."""
    found = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
    return sorted(path.relative_to(folder).as_posix() for path in found if path.name != ".lock")
