"""Sphinx settings: MyST pages, furo, and the reference drawn from the docstrings."""

from __future__ import annotations

import re
from importlib.metadata import version as installed

project = "Backstride"
author = "The Backstride authors"
project_copyright = "The Backstride authors, Apache-2.0"
version = release = installed("backstride")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "roads-times.md"]  # a part of roads.md
autodoc_typehints = "none"
autodoc_member_order = "bysource"
default_role = "code"

html_theme = "furo"
html_title = "Backstride"
html_static_path = ["pictures", "style"]
html_css_files = ["wide.css"]


def as_restructured_text(lines: list[str]) -> list[str]:
    """Docstrings are written to be read as they stand: keep aligned lines as they are, take asterisks for products."""
    result: list[str] = []
    for paragraph in "\n".join(lines).split("\n\n"):
        rows = [row for row in paragraph.split("\n") if row.strip()]
        if not rows:
            continue
        if rows[0].lstrip().startswith(">>>"):
            result += rows
        elif any(re.search(r"\S {2,}\S|^ ", row) for row in rows):
            result += ["::", "", *(f"    {row}" for row in rows)]
        else:
            result += [re.sub(r"(?<!`)([*|])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", row) for row in rows]
        result.append("")
    return result


def setup(app: object) -> None:
    """Have every docstring read so."""

    def process(_app: object, _what: str, _name: str, _target: object, _options: object, lines: list[str]) -> None:
        lines[:] = as_restructured_text(lines)

    app.connect("autodoc-process-docstring", process)  # type: ignore[attr-defined]
