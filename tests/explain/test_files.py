"""The files: SVG without outside references, the right frames in CSS and pixels, GIF and MP4 that
open.
"""

from __future__ import annotations

import io
import re
import time
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from backstride.explain import draw
from backstride.explain.drawing import Drawing, Rect
from backstride.explain.palette import STYLES
from backstride.explain.svg import to_svg
from backstride.explain.values import counted
from backstride.geometry import geometry

WHERE = geometry((4, 4), 4, strides=2, padding=1)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return draw(WHERE, "gather", counted(WHERE.input, WHERE.kernel))


def test_an_svg_stands_alone(drawing: Drawing) -> None:
    text = to_svg(drawing)
    root = ET.fromstring(text)  # noqa: S314  our own text
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "text", "path", "g"}
    assert "href" not in text
    assert "url(" not in text
    assert "prefers-color-scheme:dark" in text
    assert "prefers-reduced-motion:no-preference" in text


def test_each_group_is_visible_in_its_frames_and_no_other(drawing: Drawing) -> None:
    text = to_svg(drawing)
    root = ET.fromstring(text)  # noqa: S314  our own text
    films = dict(re.findall(r"@keyframes b[0-9a-f]+-(\d+-\d+)\{(.*?\})\}", text))
    groups = root.findall(f"{SVG}g")
    assert {group.attrib["class"].removeprefix("f") for group in groups} == set(films)
    for name, rules in films.items():
        first, last = map(int, name.split("-"))
        stops = [
            (float(at), state) for at, state in re.findall(r"([\d.]+)%\{visibility:(\w+)\}", rules)
        ]
        for frame in range(drawing.frames):
            middle = 100 * (frame + 0.5) / drawing.frames
            states = [state for at, state in stops if at <= middle]
            assert (states[-1] == "visible") == (first <= frame < last)
    for group in groups:
        first, last = map(int, group.attrib["class"].removeprefix("f").split("-"))
        hidden = group.attrib.get("visibility") == "hidden"
        assert hidden != (first <= drawing.still < last)


def test_a_fixed_theme_asks_nothing_of_the_reader(drawing: Drawing) -> None:
    text = to_svg(drawing, theme="dark")
    assert "prefers-color-scheme" not in text
    assert STYLES["dark"]["paper"].fill in text
    assert STYLES["light"]["paper"].fill not in text


def test_text_in_a_drawing_is_escaped() -> None:
    hostile = Drawing("<script>", "&", frames=1, still=0, width=1, height=1)
    assert "<script>" not in to_svg(hostile)


def test_a_gif_has_every_frame_and_takes_under_two_seconds(drawing: Drawing) -> None:
    image_module: Any = pytest.importorskip("PIL.Image", reason="GIF needs Pillow")
    from backstride.explain.raster import to_gif  # noqa: PLC0415

    start = time.process_time()
    content = to_gif(drawing)
    assert time.process_time() - start < 2
    image = image_module.open(io.BytesIO(content))
    assert (image.format, image.n_frames) == ("GIF", drawing.frames)
    assert image.size == (drawing.width, drawing.height)
    cell = next(
        item
        for item in drawing.items
        if isinstance(item.shape, Rect) and item.shape.style == "output-on"
    )
    image.seek(cell.first)
    red, green, blue = image.convert("RGB").getpixel((int(cell.shape.x) + 6, int(cell.shape.y) + 6))  # type: ignore[union-attr]
    assert f"#{red:02x}{green:02x}{blue:02x}" == STYLES["light"]["output-on"].fill


def test_a_video_has_every_frame() -> None:
    av: Any = pytest.importorskip("av", reason="MP4 needs PyAV")
    _ = pytest.importorskip("PIL.Image", reason="MP4 needs Pillow")
    from backstride.explain.raster import HOLD, to_mp4  # noqa: PLC0415

    film = draw(geometry(3, 3, strides=2), "scatter")
    with av.open(io.BytesIO(to_mp4(film))) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == film.frames - 1 + HOLD
