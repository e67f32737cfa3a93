"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.register_profile("slow", parent=settings.get_profile("default"), max_examples=2000)
settings.load_profile("ci" if os.environ.get("CI") else "default")
