"""Write the tables and pictures of docs/architecture.md and docs/kernels.md from lists.

docs/layers.toml has the layers of the library, docs/kernels.toml the way of a call through native/.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE, PICTURE, LISTS = (
    DOCS / "architecture.md",
    DOCS / "pictures" / "layers.svg",
    DOCS / "layers.toml",
)
KERNELS, KERNELS_PICTURE, STEPS = (
    DOCS / "kernels.md",
    DOCS / "pictures" / "kernels.svg",
    DOCS / "kernels.toml",
)
LEFT, WIDTH, ROW, BOX, GAP = (
    130,
    1060,
    82,
    60,
    8,
)  # pixels: where boxes begin, of the picture, a layer, a box, a gap
LABEL = "The parts of Backstride, each layer importing only from those below"
KERNELS_LABEL = "The files that a call passes, from Python to the loops that multiply"
STYLE = """
svg { background: #ffffff; font-family: system-ui, sans-serif; }
rect { fill: #eef4fb; stroke: #3b6ea5; stroke-width: 1.2; }
text { text-anchor: middle; fill: #16202b; }
.layer { text-anchor: start; font-size: 14px; fill: #52606d; }
.part { font-size: 13px; font-weight: 600; font-family: ui-monospace, monospace; }
.what { font-size: 11px; fill: #3d4a57; }
.arrow { stroke: #3b6ea5; stroke-width: 1.6; }
"""
TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="6" markerHeight="6" '
    'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#3b6ea5"/></marker></defs>'
)


def lists() -> dict[str, list[list[str]]]:
    """Per package, its layers from the lowest on, each a list of names.

    "" is the library itself.
    """
    data = tomllib.loads(LISTS.read_text(encoding="utf-8"))
    packages: dict[str, list[str]] = data.pop("packages")
    found = {package: [layer.split() for layer in layers] for package, layers in packages.items()}
    for package, layers in data.items():
        found["" if package == "backstride" else package] = [
            list(layer["parts"]) for layer in layers
        ]
    return found


def described(package: str) -> list[tuple[str, dict[str, tuple[str, str, str]]]]:
    """The layers of a package from the highest on: its name, and per part the words about it."""
    data: dict[str, Any] = tomllib.loads(LISTS.read_text(encoding="utf-8"))
    return [(layer["layer"], layer["parts"]) for layer in reversed(data[package])]


def shown(package: str, part: str) -> str:
    """A folder with a slash behind it."""
    home = DOCS.parent / "src" / "backstride" / ("" if package == "backstride" else package)
    return f"{part}/" if (home / part).is_dir() else part


def table(package: str) -> str:
    """The table of a package's parts, in Markdown."""
    rows = ["| layer | part | what stands there | what does not |", "|---|---|---|---|"]
    for layer, parts in described(package):
        for place, (part, (_, what, without)) in enumerate(parts.items()):
            rows.append(
                f"| {'' if place else layer} | `{shown(package, part)}` | {what} | {without} |"
            )
    return "\n".join(rows)


def picture() -> str:
    """The library's layers as an SVG."""
    rows = [
        (layer, {shown("backstride", part): few for part, (few, _, _) in parts.items()})
        for layer, parts in described("backstride")
    ]
    return drawn(rows, LABEL)


def steps() -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """The way of a call: the name of each step, and per file a few words and what it does."""
    data: dict[str, Any] = tomllib.loads(STEPS.read_text(encoding="utf-8"))
    return [(row["step"], row["files"]) for row in data["steps"]]


def kernels_picture() -> str:
    """The way of a call as an SVG."""
    rows = [
        (step, {file: few for file, (few, _) in files.items() if few}) for step, files in steps()
    ]
    return drawn([row for row in rows if row[1]], KERNELS_LABEL)


def kernels_page(text: str) -> str:
    """The page of the kernels with its table of files made anew."""
    rows = ["| step | file | what it does |", "|---|---|---|"]
    for step, files in steps():
        for place, (file, (_, what)) in enumerate(files.items()):
            rows.append(f"| {'' if place else step} | `{file}` | {what} |")
    before, mark, rest = re.split(r"(<!-- steps,[^>]*-->\n)", text)
    return "\n".join([before + mark, *rows, "", "<!-- end -->"]) + rest.partition("<!-- end -->")[2]


def drawn(rows: Sequence[tuple[str, Mapping[str, str]]], label: str) -> str:
    """Rows of boxes as an SVG, each a name above a few words; an arrow leads to the row below."""
    height = len(rows) * ROW + 2 * GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" '
    )
    lines = [f'{head}role="img" aria-label="{label}">', f"<style>{STYLE}</style>", TIP]
    for row, (title, boxes) in enumerate(rows):
        top = 2 * GAP + row * ROW
        lines.append(f'<text x="16" y="{top + BOX / 2 + 5}" class="layer">{title}</text>')
        width = (WIDTH - 2 * GAP - LEFT + GAP) / len(boxes) - GAP
        for place, (name, few) in enumerate(boxes.items()):
            left = LEFT + place * (width + GAP)
            middle = left + width / 2
            lines += [
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BOX}" rx="8"/>',
                f'<text x="{middle:.1f}" y="{top + 25}" class="part">{name}</text>',
                f'<text x="{middle:.1f}" y="{top + 44}" class="what">{escape(few)}</text>',
            ]
        if row + 1 < len(rows):
            middle = (LEFT + WIDTH - 2 * GAP) / 2
            lines.append(
                f'<path d="M{middle} {top + BOX + 3} v12" class="arrow" marker-end="url(#tip)"/>'
            )
    return "\n".join([*lines, "</svg>\n"])


def page(text: str) -> str:
    """The page with its tables, each between two comments, made anew."""
    for package in ("backstride", "surgery"):
        before, mark, rest = re.split(rf"(<!-- layers of {package},[^>]*-->\n)", text)
        text = (
            f"{before}{mark}\n{table(package)}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
        )
    return text


if __name__ == "__main__":
    _ = PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    _ = KERNELS.write_text(kernels_page(KERNELS.read_text(encoding="utf-8")), encoding="utf-8")
    _ = PICTURE.write_text(picture(), encoding="utf-8")
    _ = KERNELS_PICTURE.write_text(kernels_picture(), encoding="utf-8")
