"""Scenes, coarse scores and label maps as pictures.

The ten colours stay apart for every common kind of colour vision: see `COLOURS`. Panels are as dark
as the scenes; what lies around them is transparent, with grey words that can be read on light and
on dark pages.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backstride.demo.digits import Images, required
from backstride.demo.scenes import LabelMaps

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

# Found by maximising the least OKLab distance between any two, and to the background, as seen by
# normal, protanopic, deuteranopic and tritanopic eyes (Machado, Oliveira & Fernandes 2009, severity
# 1); a test holds the distance.
COLOURS = (
    "#30c9ff",
    "#f4f933",
    "#a71b83",
    "#70ffdb",
    "#815c24",
    "#8485fc",
    "#f0b866",
    "#d76ba3",
    "#959807",
    "#2e55d1",
)
DARK = "#14161c"
WORDS = "#768390"
SCALE = 3
FULL = 0.95  # the share of cells that are less than fully bright
GAP = 16

Pixels = NDArray[np.uint8]


def rgb(colour: str) -> NDArray[np.uint8]:
    """`#30c9ff` as three numbers."""
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)


PALETTE: Pixels = np.stack([rgb(colour) for colour in (*COLOURS, DARK)])


def grey(image: Images) -> Pixels:
    """A scene (H, W) in [0, 1] as RGB."""
    return np.repeat(np.rint(255 * image).astype(np.uint8)[:, :, None], 3, axis=2)


def coloured(labels: LabelMaps) -> Pixels:
    """A label map (H, W) as RGB."""
    return PALETTE[labels]


@dataclass(frozen=True, slots=True)
class Grid:
    """Where coarse cells lie on the image.

    Cell i is drawn on `stride` pixels from `first + i*stride`.
    """

    stride: int
    first: int


def heat(scores: NDArray[np.floating], grid: Grid, size: tuple[int, int]) -> Pixels:
    """Coarse scores (classes, h, w) as RGB of the image's size.

    The winner's colour, brighter the surer it is. The brightness is the winner's lead over the mean
    score, full for the top twentieth of the cells. Black beyond the outermost cells, where no crop
    of the classifier's size fits.
    """
    lead = scores.max(axis=0) - scores.mean(axis=0)
    strength = np.minimum(lead / np.quantile(lead, FULL), 1)[:, :, None] ** 1.5
    cells = PALETTE[-1] + strength * (
        PALETTE[scores.argmax(axis=0)].astype(np.float64) - PALETTE[-1]
    )
    return _placed(cells, grid, size)


def heat_of(scores: NDArray[np.floating], kind: int, grid: Grid, size: tuple[int, int]) -> Pixels:
    """One class's coarse scores (classes, h, w) as RGB of the image's size.

    Bright is its lead over the mean.
    """
    lead = scores - scores.mean(axis=0)
    strength = np.clip(lead[kind] / np.quantile(lead.max(axis=0), FULL), 0, 1)[:, :, None]
    return _placed(
        PALETTE[-1] + strength * (PALETTE[kind].astype(np.float64) - PALETTE[-1]), grid, size
    )


def _placed(cells: NDArray[np.float64], grid: Grid, size: tuple[int, int]) -> Pixels:
    blocks = np.rint(cells).astype(np.uint8).repeat(grid.stride, 0).repeat(grid.stride, 1)
    picture = np.broadcast_to(PALETTE[-1] // 2, (*size, 3)).copy()
    rows, columns = blocks.shape[:2]
    picture[grid.first : grid.first + rows, grid.first : grid.first + columns] = blocks
    return picture


def png(picture: Pixels, scale: int = 1) -> bytes:
    """RGB (H, W, 3) or RGBA (H, W, 4) as a PNG file, each pixel a square of `scale`."""
    file = io.BytesIO()
    required("PIL.Image").fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


def sheet(rows: Sequence[Sequence[Pixels]], titles: Sequence[str]) -> Pixels:
    """Rows of pictures of one size under their titles, with the legend below, as RGBA."""
    image, draw, fonts = required("PIL.Image"), required("PIL.ImageDraw"), required("PIL.ImageFont")
    height, width = (SCALE * side for side in rows[0][0].shape[:2])
    title, legend = 40, 64
    size = (len(titles) * (width + GAP) - GAP, title + len(rows) * (height + GAP) - GAP + legend)
    canvas = image.new("RGBA", size, (*rgb(WORDS).tolist(), 0))
    pen, font = draw.Draw(canvas), fonts.load_default(20)
    for column, words in enumerate(titles):
        pen.text(
            (column * (width + GAP) + width // 2, title // 2 - 2), words, WORDS, font, anchor="mm"
        )
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            large = image.fromarray(picture.repeat(SCALE, 0).repeat(SCALE, 1))
            canvas.paste(large, (column * (width + GAP), title + row * (height + GAP)))
    _legend(pen, font, size)
    return np.asarray(canvas)


def _legend(pen: ImageDraw, font: FreeTypeFont | ImageFont, size: tuple[int, int]) -> None:
    """Swatches 0 to 9 and background, along the middle of the last 64 rows."""
    middle, swatch, step = size[1] - 24, 26, 84
    left = (size[0] - 11 * step - 70) // 2
    for entry, colour in enumerate((*COLOURS, DARK)):
        x = left + entry * step
        pen.rounded_rectangle(
            (x, middle - swatch // 2, x + swatch, middle + swatch // 2), 5, colour, WORDS
        )
        words = str(entry) if entry < len(COLOURS) else "background"
        pen.text((x + swatch + 12, middle), words, WORDS, font, anchor="lm")
