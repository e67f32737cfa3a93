"""Sphinx settings: MyST pages, furo, and the reference drawn from the docstrings."""

from __future__ import annotations

from importlib.metadata import version as installed

project = "Backstride"
author = "The Backstride authors"
project_copyright = "The Backstride authors, Apache-2.0"
version = release = installed("backstride")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
napoleon_numpy_docstring = False
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
