"""What is written in the cells of a picture is what the definition computes."""

from __future__ import annotations

import math
from itertools import product
from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backstride import reference
from backstride.explain import View, draw, trace
from backstride.explain.drawing import Drawing, Rect, Text
from backstride.explain.painters.stage import CELL
from backstride.explain.palette import STYLES
from backstride.explain.trace import flat
from backstride.explain.values import Values
from backstride.explain.views import CELL_VIEWS
from backstride.explain.window import window
from backstride.geometry import Geometry, geometry
from strategies import geometries


def numbered(where: Geometry, view: View) -> Values:
    """Integers short enough to be written out in full."""
    random = np.random.default_rng(0)
    size = where.output if view == "convolution" else where.input
    x, w = (random.integers(-9, 10, math.prod(shape)).tolist() for shape in (size, where.kernel))
    return Values(tuple(x), size, tuple(w), where.kernel)


def labels(drawing: Drawing, panel: str, frame: int) -> dict[int, str]:
    """The uppermost text in each cell of a panel in a frame."""
    seen = [item.shape for item in drawing.items if item.first <= frame < item.last]
    texts = {(shape.x, shape.y): shape.text for shape in seen if isinstance(shape, Text)}
    cells = [
        shape for shape in seen if isinstance(shape, Rect) and shape.cell and shape.cell[0] == panel
    ]
    found: dict[int, str] = {}
    for shape in cells:
        assert shape.cell is not None
        text = texts.get((shape.x + CELL / 2, shape.y + CELL / 2))
        if text is not None:
            found[shape.cell[1]] = text
    return found


def arrays(values: Values) -> tuple[np.ndarray, np.ndarray]:
    x = np.array(values.x).reshape(1, *values.x_size, 1)
    return x, np.array(values.w).reshape(*values.w_size, 1, 1)


def drawn(where: Geometry, panel: Literal["input", "output"]) -> list[int]:
    """The flat indices of the cells that are drawn."""
    cells, size = (getattr(found, panel) for found in (window(where), where))
    return [flat(cell, size) for cell in product(*cells)]


small = geometries(ranks=(1, 2)).filter(lambda where: max(where.full + where.output) <= 20)
LARGER = (
    geometry(40, 4, strides=2, padding=1),
    geometry((64, 20), 3, strides=(2, 3), padding="same"),
    geometry((45, 40), (3, 2), strides=2, padding=[(1, 0), (0, 3)]),
    geometry(500, 5, strides=3, dilation=2, padding=[(-2, 4)]),
    geometry(30, 64, strides=16, padding=32),
    geometry(90, 41, padding=20),
    geometry((7, 9, 8), (3, 2, 2), strides=2, padding=[(1, 1), (0, 1), (1, 0)]),
    geometry((2, 3, 2), 2, strides=2),
)
layers = small | st.sampled_from(LARGER)


@given(layers)
@settings(max_examples=40)
def test_scatter_ends_with_the_sums(where: Geometry) -> None:
    values = numbered(where, "scatter")
    drawing = draw(where, "scatter", values)
    exact = reference.conv_transpose(*arrays(values), where).ravel()
    written = labels(drawing, "output", drawing.frames - 1)
    sums = dict(
        zip(drawn(where, "output"), trace(where, window(where)).by_output().values(), strict=True)
    )
    reached = {place for place, meetings in sums.items() if meetings}
    assert {place: int(text) for place, text in written.items()} == {
        place: exact[place] for place in reached
    }


@given(layers)
@settings(max_examples=40)
def test_gather_writes_one_sum_a_frame(where: Geometry) -> None:
    values = numbered(where, "gather")
    drawing = draw(where, "gather", values)
    exact, cells = (
        reference.conv_transpose(*arrays(values), where).ravel().tolist(),
        drawn(where, "output"),
    )
    frame = drawing.frames // 2
    written = labels(drawing, "output", frame)
    assert {place: int(text) for place, text in written.items()} == {
        place: exact[place] for place in cells[: frame + 1]
    }
    assert drawing.frames == len(cells)


@given(layers)
@settings(max_examples=40)
def test_the_convolution_is_the_adjoint(where: Geometry) -> None:
    values = numbered(where, "convolution")
    drawing = draw(where, "convolution", values)
    exact = reference.conv(*arrays(values), where).ravel().tolist()
    written = labels(drawing, "output", drawing.frames - 1)
    assert {place: int(text) for place, text in written.items()} == {
        place: exact[place] for place in drawn(where, "input")
    }


@given(layers)
@settings(max_examples=40)
def test_the_heat_map_counts_products(where: Geometry) -> None:
    drawing = draw(where, "coverage")
    counts = where.coverage()
    exact = [math.prod(pair) for pair in product(*counts)]
    written = labels(drawing, "output", 0)
    assert {place: int(text) for place, text in written.items()} == {
        place: exact[place] for place in drawn(where, "output")
    }


@given(layers, st.sampled_from(CELL_VIEWS))
@settings(max_examples=40)
def test_everything_lies_on_the_drawing_in_known_styles(where: Geometry, view: View) -> None:
    drawing = draw(where, view)
    assert 0 <= drawing.still < drawing.frames
    for item in drawing.items:
        assert 0 <= item.first < item.last <= drawing.frames
        for styles in STYLES.values():
            assert item.shape.style in styles
        if isinstance(item.shape, Rect):
            assert item.shape.x >= 0
            assert item.shape.y >= 0
            assert item.shape.x + item.shape.width <= drawing.width
            assert item.shape.y + item.shape.height <= drawing.height
