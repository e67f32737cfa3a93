"""Pictures in and out."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="pictures need Pillow")

from PIL import Image

from backstride.pictures.picture import LARGEST, palette, read_picture
from backstride.segment.picture import as_input, overlay


def saved(path: Path, size: tuple[int, int] = (7, 5), mode: str = "RGB") -> Path:
    drawn = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(drawn).convert(mode).save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp", "a.tif", "a.gif"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats(name: str, mode: str, tmp_path: Path) -> None:
    found = read_picture(saved(tmp_path / name, mode=mode))
    assert (found.shape, found.dtype) == ((5, 7, 3), np.uint8)


def test_a_camera_s_turn_is_taken_back(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (7, 5)).save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (7, 5, 3)


def bomb(width: int, height: int) -> bytes:
    """A small PNG that claims a size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(100)), b"IEND")
    written = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def test_what_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    _ = path.write_bytes(b"text")
    with pytest.raises(
        ValueError, match=r"is no picture that can be read; legal are BMP, GIF, JPEG"
    ):
        _ = read_picture(path)
    whole = saved(path, (60, 50)).read_bytes()
    for end in range(0, len(whole) - 20, 501):
        _ = path.write_bytes(whole[:end])
        with pytest.raises(
            ValueError, match=r"^`photo` \(='[^\n]*\) is (no picture|a damaged)[^\n]*$"
        ):
            _ = read_picture(path)
    for side in (2**16, 13000):
        _ = path.write_bytes(bomb(side, side))
        with pytest.raises(
            ValueError, match=rf"has more than {LARGEST} pixels, the most that are read$"
        ):
            _ = read_picture(path)
    with pytest.raises(ValueError, match=r"is a folder; name a picture in it$"):
        _ = read_picture(tmp_path)


def test_numbers_for_the_network() -> None:
    pixels = np.array([[[0, 51, 255]]], np.uint8)
    found = as_input(pixels, 3, (0.5,), (0.5, 1, 2), 1 / 255)
    np.testing.assert_allclose(found[:, 0, 0], [-1, -0.3, 0.25], rtol=1e-6)
    assert as_input(np.full((2, 3, 3), 255, np.uint8), 1, (0,), (1,), 1.0).shape == (1, 2, 3)
    for channels, mean, std, said in (
        (4, (0.0,), (1.0,), "`network` takes 4 channels"),
        (3, (0.0, 1.0), (1.0,), r"`mean` \(=\(0.0, 1.0\)\) must have 1 or 3 numbers"),
        (3, (0.0,), (0.0,), r"`std` \(=\(0.0,\)\), `mean` and `scale` must be finite"),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            _ = as_input(pixels, channels, mean, std, 1.0)


def test_the_overlay_mixes_colours_and_has_a_legend() -> None:
    pixels = np.full((40, 200, 3), 100, np.uint8)
    labels = np.zeros((40, 200), np.uint16)
    labels[:, 100:] = 3
    data = overlay(pixels, labels, [(0, "sky 50%"), (3, "road 50%")], 0.5)
    found = np.asarray(Image.open(io.BytesIO(data)))
    colours = palette(4)
    assert found.shape[0] > 60
    np.testing.assert_allclose(found[10, 10], 50 + colours[0] / 2, atol=1)
    np.testing.assert_allclose(found[10, 150], 50 + colours[3] / 2, atol=1)
    legend = found[40:].reshape(-1, 3)
    assert all((legend == colours[kind]).all(1).sum() > 100 for kind in (0, 3))


def test_neighbouring_classes_have_different_colours() -> None:
    colours = palette(40).astype(int)
    assert len({tuple(colour) for colour in colours.tolist()}) == 40
    assert np.abs(np.diff(colours, axis=0)).sum(1).min() > 100
