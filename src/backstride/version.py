"""The version of this installation, as its package says it."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("backstride")
