"""A drawing as pixels: animated GIF with Pillow, MP4 with PyAV."""

from __future__ import annotations

import importlib
import io
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from backstride.explain.drawing import Drawing, Item, Line, Rect, Shape, Text
from backstride.explain.palette import NONE, STYLES, Style, Theme
from backstride.explain.svg import SECONDS_PER_FRAME

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

DASH = 3
ANCHORS = {"start": "lm", "middle": "mm", "end": "rm"}
COLOURS = 96  # few, for small files; the letters' edges are the only in-between shades
HOLD = 3  # how many times longer the last frame stays


def to_gif(
    drawing: Drawing,
    *,
    theme: Theme = "light",
    seconds: float = SECONDS_PER_FRAME,
    scale: float = 1,
) -> bytes:
    """Write a drawing as an animated GIF of the colours it uses; needs Pillow."""
    frames = list(images(drawing, theme=theme, scale=scale))
    from PIL import Image as pillow  # noqa: N813, PLC0415  an extra

    palette = _palette(frames)
    indexed = [frame.quantize(palette=palette, dither=pillow.Dither.NONE) for frame in frames]
    last = len(frames) - 1
    file = io.BytesIO()
    indexed[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=[round(1000 * seconds * (HOLD if at == last else 1)) for at in range(len(frames))],
        loop=0,
        optimize=False,
    )
    return file.getvalue()


def to_mp4(
    drawing: Drawing,
    *,
    theme: Theme = "light",
    seconds: float = SECONDS_PER_FRAME,
    scale: float = 1.5,
) -> bytes:
    """Write a drawing as H.264 video, which every browser and messenger plays; needs PyAV."""
    with _needs("av", "mp4"):
        av: Any = importlib.import_module("av")  # untyped in part
    file = io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(1000, round(1000 * seconds)))
        stream.options = {"preset": "ultrafast", "tune": "animation"}
        for index, image in enumerate(images(drawing, theme=theme, scale=scale, even=True)):
            if not index:
                stream.width, stream.height, stream.pix_fmt = image.width, image.height, "yuv420p"
            hold = HOLD if index == drawing.frames - 1 else 1
            frame = av.VideoFrame.from_image(image)
            for _ in range(hold):
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def to_png(
    drawing: Drawing, *, theme: Theme = "light", scale: float = 2, frame: int | None = None
) -> bytes:
    """Write one frame as PNG, the still one by default; needs Pillow."""
    wanted = drawing.still if frame is None else frame
    file = io.BytesIO()
    next(images(drawing, theme=theme, scale=scale, only=wanted)).save(
        file, format="PNG", optimize=True
    )
    return file.getvalue()


def images(
    drawing: Drawing,
    *,
    theme: Theme = "light",
    scale: float = 1,
    even: bool = False,
    only: int | None = None,
) -> Iterator[Image]:
    """The frames as Pillow images. `even`: sides of an even number of pixels, which video wants."""
    with _needs("pillow", "gif"):
        from PIL import Image as pillow  # noqa: N813, PLC0415  an extra
    painter = _Painter(theme, scale)
    width, height = (round(side * scale) for side in (drawing.width, drawing.height))
    size = (width + width % 2, height + height % 2) if even else (width, height)
    ground = pillow.new("RGB", size, STYLES[theme]["paper"].fill)
    # What never changes at the bottom of the pile is painted once.
    pile = drawing.items
    fixed = next((at for at, item in enumerate(pile) if not _always(item, drawing)), len(pile))
    for item in pile[:fixed]:
        painter.paint(ground, item.shape)
    for frame in range(drawing.frames) if only is None else (only,):
        image = ground.copy()
        for item in pile[fixed:]:
            if item.first <= frame < item.last:
                painter.paint(image, item.shape)
        yield image


class _Painter:
    """Paints shapes of one theme and scale."""

    def __init__(self, theme: Theme, scale: float) -> None:
        with _needs("pillow", "gif"):
            from PIL import ImageDraw, ImageFont  # noqa: PLC0415  an extra
        self._styles, self._scale = STYLES[theme], scale
        self._draw, self._font = ImageDraw.Draw, ImageFont.load_default
        self._fonts: dict[float, FreeTypeFont | ImageFont] = {}

    def paint(self, image: Image, shape: Shape) -> None:
        """Paint one shape onto an image."""
        draw, style, scale = self._draw(image), self._styles[shape.style], self._scale
        match shape:
            case Rect(x, y, width, height):
                left, top, right, bottom = (
                    round(value * scale) for value in (x, y, x + width, y + height)
                )
                self._rectangle(draw, (left, top, right, bottom), style)
            case Text(x, y, text, _, size, anchor):
                bold = 0.4 * scale if style.width > 1 else 0
                font = self._fonts.get(size) or self._fonts.setdefault(
                    size, self._font(size * scale)
                )
                draw.text(
                    (x * scale, y * scale),
                    text,
                    fill=style.fill,
                    font=font,
                    anchor=ANCHORS[anchor],
                    stroke_width=bold,
                )
            case Line(x1, y1, x2, y2):
                ends = tuple(value * scale for value in (x1, y1, x2, y2))
                draw.line(ends, fill=style.stroke, width=max(1, round(style.width * scale)))

    def _rectangle(self, draw: ImageDraw, box: tuple[int, int, int, int], style: Style) -> None:
        left, top, right, bottom = box
        if style.fill != NONE:
            draw.rectangle(box, fill=style.fill)
        width = max(1, round(style.width * self._scale))
        if style.dashed:
            dash = round(DASH * self._scale)
            for x in range(left, right, 2 * dash):
                for y in (top, bottom):
                    draw.line((x, y, min(x + dash, right), y), fill=style.stroke, width=width)
            for y in range(top, bottom, 2 * dash):
                for x in (left, right):
                    draw.line((x, y, x, min(y + dash, bottom)), fill=style.stroke, width=width)
        elif style.stroke != NONE:
            # The stroke lies on the middle of the edge, as in SVG.
            half = width // 2
            draw.rectangle(
                (left - half, top - half, right + half, bottom + half),
                outline=style.stroke,
                width=width,
            )


def _palette(frames: Sequence[Image]) -> Image:
    """The most used colours of some frames, spread over the film, as a palette."""
    from PIL import Image as pillow  # noqa: N813, PLC0415  an extra

    counts: Counter[tuple[int, ...]] = Counter()
    for frame in frames[:: max(1, len(frames) // 8)]:
        for count, colour in frame.getcolors(frame.width * frame.height) or ():
            assert isinstance(colour, tuple)
            counts[colour] += count
    colours = [colour for colour, _ in counts.most_common(COLOURS)]
    palette = pillow.new("P", (1, 1))
    palette.putpalette([channel for colour in colours for channel in colour])
    return palette


def _always(item: Item, drawing: Drawing) -> bool:
    return item.first == 0 and item.last == drawing.frames


@contextmanager
def _needs(package: str, option: str) -> Generator[None]:
    """Say what to install where an import fails."""
    try:
        yield
    except ModuleNotFoundError as problem:
        message = f'`{option}` needs {package}: pip install "backstride[pictures]"'
        raise ImportError(message) from problem
