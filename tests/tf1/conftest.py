"""Every test begins with an empty graph."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import backstride.tf1 as tf


@pytest.fixture(autouse=True)
def fresh_graph() -> Iterator[None]:
    tf.reset_default_graph()
    yield
    tf.reset_default_graph()
