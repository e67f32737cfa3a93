"""The page of a call.

Every view to step through and to point at, what there is to say, the code elsewhere. One file
without outside references, or the same page served live with sliders (`backstride.explore`).
Whatever comes from the call is escaped on its way into the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

from backstride.explain.record import Elsewhere, Record
from backstride.explain.svg import to_svg
from backstride.explain.trace import trace
from backstride.explain.values import Values
from backstride.explain.views import CELL_VIEWS, View, draw
from backstride.explain.window import window
from backstride.explain.words import Section, headline, sections

KEYS = (
    ("Space", "play"),
    ("← →", "step"),
    ("Home End", "first and last"),
    ("s g c h", "scatter, gather, convolution, coverage"),
    ("Tab, arrows", "walk over the cells"),
)
VERDICTS = {"exact": "exact", "exact with a crop": "crop"}


def page(explanation: Record, *, values: Values | None = None, view: View = "scatter") -> str:
    """The page as one file, all views inside.

    `values` are the input's numbers, or with the view "convolution" those of the convolution's
    input.
    """
    content = contents(
        explanation, CELL_VIEWS, values=values, view=view if view in CELL_VIEWS else "scatter"
    )
    style, script = asset("page.css"), asset("page.js")
    return document(
        explanation, content, head=f"<style>{style}</style>", script=f"<script>{script}</script>"
    )


def contents(
    explanation: Record,
    views: Iterable[View],
    *,
    values: Values | None = None,
    view: View = "scatter",
) -> dict[str, Any]:
    """What the page's script draws.

    The trace, the drawings by view, the words and the code as HTML.
    """
    known = trace(explanation.geometry, window(explanation.geometry))
    drawings = {
        name: to_svg(
            draw(explanation.geometry, name, _fitting(values, explanation, name), known=known),
            driven=True,
        )
        for name in views
    }
    return {
        "view": view,
        "trace": known.as_data(),
        "drawings": drawings,
        "headline": headline(explanation),
        "call": explanation.call,
        "facts": "".join(map(_section, _said(explanation))),
        "code": "".join(map(_code, explanation.elsewhere)),
    }


def document(
    explanation: Record, content: dict[str, Any], *, head: str, script: str, controls: str = ""
) -> str:
    """The whole page around what `contents` gave."""
    view = content["view"]
    boxes = "".join(
        '<label><input type="radio" name="view" '
        f'value="{name}"{" checked" if name == view else ""}>{name}</label>'
        for name in CELL_VIEWS
    )
    keys = " &nbsp; ".join(f"<kbd>{escape(key)}</kbd> {escape(what)}" for key, what in KEYS)
    elsewhere = (
        "<section><h2>The same layer elsewhere</h2><div "
        f'id="code">{content["code"]}</div></section>'
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backstride: {escape(explanation.call[:120])}</title>
{head}
</head>
<body data-axes="{len(explanation.geometry.input)}">
<header><h1 id="headline">{escape(content["headline"])}</h1>
<code class="call soft" id="asked">{escape(explanation.call)}</code></header>
{controls}
<main>
<fieldset class="views"><legend>View</legend>{boxes}</fieldset>
<div class="stage" id="stage"></div>
<div class="player">
<button id="play" type="button" aria-pressed="false">Play</button>
<button id="back" type="button" aria-label="Step back">&#9664;</button>
<button id="step" type="button" aria-label="Step forward">&#9654;</button>
<input id="frame" type="range" min="0" value="0" aria-label="Step">
<output id="count" for="frame"></output>
</div>
<p id="about" class="mono" aria-live="polite"></p>
<p class="keys soft">{keys}</p>
<div class="columns" id="facts">{content["facts"]}</div>
{elsewhere if content["code"] or controls else '<div id="code"></div>'}
</main>
<script type="application/json" id="data">{embedded(content)}</script>
{script}
</body>
</html>
"""


def asset(name: str) -> str:
    """A file that stands beside this one."""
    return files("backstride.explain").joinpath(name).read_text(encoding="utf-8")


def embedded(data: object) -> str:
    """JSON that cannot end the element it stands in."""
    return (
        json.dumps(data)
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _said(explanation: Record) -> list[Section]:
    return [
        section for section in sections(explanation) if section.title != "The same layer elsewhere"
    ]


def _fitting(values: Values | None, explanation: Record, view: View) -> Values | None:
    """The numbers, where they are of the map that the view puts in."""
    size = explanation.geometry.output if view == "convolution" else explanation.geometry.input
    return values if values and values.x_size == size else None


def _section(section: Section) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in section.lines)
    if not section.rows:
        return f"<section><h2>{escape(section.title)}</h2>{lines}</section>"
    header = "".join(f"<th>{escape(cell)}</th>" for cell in section.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in section.rows
    )
    table = f'<div class="scroll"><table><tr>{header}</tr>{rows}</table></div>'
    return f"<section><h2>{escape(section.title)}</h2>{lines}{table}</section>"


def _code(entry: Elsewhere) -> str:
    kind = VERDICTS.get(entry.verdict, "no")
    reason = "".join(f"<p>{escape(line)}</p>" for line in (entry.reason, *entry.notes) if line)
    copy = '<button type="button" class="copy">Copy</button>' if entry.code else ""
    code = f"<pre><code>{escape(entry.code)}</code></pre>" if entry.code else ""
    return (
        f'<details class="code"><summary class="head"><strong>{escape(entry.framework)}<span '
        'class="verdict '
        f'{kind}">{escape(entry.verdict)}</span></strong></summary>{reason}{copy}{code}</details>'
    )
