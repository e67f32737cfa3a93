"""A drawing as one SVG file: no script, no outside reference, moving by CSS alone.

Light or dark as the reader's screen is. Where motion is unwanted, on paper, and in renderers that
do not animate, the drawing's still frame is seen.
"""

from __future__ import annotations

import zlib
from html import escape
from itertools import groupby
from typing import Literal

from backstride.explain.drawing import Drawing, Item, Line, Rect, Shape, Text
from backstride.explain.palette import NONE, STYLES, Style, Theme

SECONDS_PER_FRAME = 0.7
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def to_svg(
    drawing: Drawing,
    *,
    theme: Theme | Literal["auto"] = "auto",
    seconds: float = SECONDS_PER_FRAME,
    driven: bool = False,
) -> str:
    """Write a drawing as SVG.

    `theme`: "auto" follows the reader. `seconds`: the time of a frame. `driven`: leave the frames
    to the page's script (`data-first`, `data-last` on each group) instead of animating.
    """
    body = "".join(_groups(drawing, driven=driven))
    scope = f"b{zlib.crc32(body.encode()):08x}"
    width, height = _number(drawing.width), _number(drawing.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{scope} backstride" viewBox="0 0 {width} '
        f'{height}" width="{width}" height="{height}" role="img" font-family="{FONT}" '
        f'data-frames="{drawing.frames}" data-still="{drawing.still}">'
        f"<title>{escape(drawing.title)}</title><desc>{escape(drawing.description)}</desc>"
        f"<style>{_css(drawing, scope, theme, 0 if driven else seconds)}</style>"
        f'<rect class="paper" width="{width}" height="{height}"/>'
        f"{body}</svg>\n"
    )


def _groups(drawing: Drawing, *, driven: bool) -> list[str]:
    parts: list[str] = []
    for (first, last), items in groupby(drawing.items, lambda item: (item.first, item.last)):
        shapes = "".join(_shape(item.shape) for item in items)
        if (first, last) == (0, drawing.frames):
            parts.append(shapes)
            continue
        hidden = "" if first <= drawing.still < last else ' visibility="hidden"'
        frames = (
            f' data-first="{first}" data-last="{last}"' if driven else f' class="f{first}-{last}"'
        )
        parts.append(f"<g{frames}{hidden}>{shapes}</g>")
    return parts


def _shape(shape: Shape) -> str:
    match shape:
        case Rect(x, y, width, height, style, cell):
            name = "" if cell is None else f' data-panel="{cell[0]}" data-cell="{cell[1]}"'
            return (
                f'<rect class="{style}" x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
                f'height="{_number(height)}"{name}/>'
            )
        case Text(x, y, text, style, size, anchor):
            side = "" if anchor == "start" else f' text-anchor="{anchor}"'
            # Baselines, since dominant-baseline is not honoured by every renderer.
            return (
                f'<text class="{style}" x="{_number(x)}" y="{_number(y + 0.35 * size)}" '
                f'font-size="{_number(size)}"{side}>{escape(text)}</text>'
            )
        case Line(x1, y1, x2, y2, style):
            return (
                f'<path class="{style}" d="M{_number(x1)} {_number(y1)}L{_number(x2)} '
                f'{_number(y2)}"/>'
            )


def _css(drawing: Drawing, scope: str, theme: Theme | Literal["auto"], seconds: float) -> str:
    used = {"paper", *(item.shape.style for item in drawing.items)}
    texts = {item.shape.style for item in drawing.items if isinstance(item.shape, Text)}
    base = _rules(scope, used, texts, "light" if theme == "auto" else theme)
    parts = [f".{scope} :is(text,rect:not([data-panel]),path){{pointer-events:none}}", base]
    if theme == "auto":
        parts.append(f"@media (prefers-color-scheme:dark){{{_rules(scope, used, texts, 'dark')}}}")
        parts.append(f"@media print{{{base}}}")
    if seconds:
        parts.append(_animation(drawing, scope, seconds))
    return "".join(parts)


def _rules(scope: str, used: set[str], texts: set[str], theme: Theme) -> str:
    return "".join(
        f".{scope} .{name}{{{_declarations(STYLES[theme][name], text=name in texts)}}}"
        for name in sorted(used)
    )


def _declarations(style: Style, *, text: bool) -> str:
    if text:
        return f"fill:{style.fill}" + (f";font-weight:{style.width}" if style.width != 1 else "")
    parts = [f"fill:{style.fill}"]
    if style.stroke != NONE:
        parts += [f"stroke:{style.stroke}", f"stroke-width:{_number(style.width)}"]
    if style.dashed:
        parts.append("stroke-dasharray:3 3")
    return ";".join(parts)


def _animation(drawing: Drawing, scope: str, seconds: float) -> str:
    moving = sorted({_frames(item) for item in drawing.items} - {(0, drawing.frames)})
    if not moving:
        return ""
    rules = [f".{scope} g{{animation:{_number(drawing.frames * seconds)}s step-end infinite}}"]
    for first, last in moving:
        begin, end = (f"{_number(100 * frame / drawing.frames, 3)}%" for frame in (first, last))
        stops = f"{begin}{{visibility:visible}}" + (
            f"{end}{{visibility:hidden}}" if last < drawing.frames else ""
        )
        hidden = "0%{visibility:hidden}" if first else ""
        name = f"{scope}-{first}-{last}"
        rules.append(
            f".{scope} .f{first}-{last}{{animation-name:{name}}}@keyframes "
            f"{name}{{{hidden}{stops}}}"
        )
    # `screen` keeps paper still; whoever asks for less motion sees the still frame too.
    return f"@media screen and (prefers-reduced-motion:no-preference){{{''.join(rules)}}}"


def _frames(item: Item) -> tuple[int, int]:
    return item.first, item.last


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
