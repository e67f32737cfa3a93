"""What is written in the cells of a picture is what the definition computes."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstride import reference
from backstride.explain import View, draw, trace
from backstride.explain.drawing import Drawing, Rect, Text
from backstride.explain.palette import STYLES
from backstride.explain.stage import CELL, LARGEST_SIDE
from backstride.explain.values import Values
from backstride.explain.views import CELL_VIEWS
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
    cells = [shape for shape in seen if isinstance(shape, Rect) and shape.cell and shape.cell[0] == panel]
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


TOO_LARGE = (
    f"`output` (=(61, 61)) is too large to draw, at most {LARGEST_SIDE} cells a side; give a smaller --input, or "
    "--json for the explanation as data"
)
small = geometries(ranks=(1, 2)).filter(lambda where: max(where.full + where.output) <= 20)


@given(small)
@settings(max_examples=40)
def test_scatter_ends_with_the_sums(where: Geometry) -> None:
    values = numbered(where, "scatter")
    drawing = draw(where, "scatter", values)
    exact = reference.conv_transpose(*arrays(values), where).ravel()
    written = labels(drawing, "output", drawing.frames - 1)
    reached = {place for place, meetings in enumerate(trace(where).by_output().values()) if meetings}
    assert {place: int(text) for place, text in written.items()} == {place: exact[place] for place in reached}


@given(small)
@settings(max_examples=40)
def test_gather_writes_one_sum_a_frame(where: Geometry) -> None:
    values = numbered(where, "gather")
    drawing = draw(where, "gather", values)
    exact = reference.conv_transpose(*arrays(values), where).ravel().tolist()
    frame = drawing.frames // 2
    written = labels(drawing, "output", frame)
    assert [int(written[place]) for place in sorted(written)] == exact[: frame + 1]
    assert drawing.frames == len(exact)


@given(small)
@settings(max_examples=40)
def test_the_convolution_is_the_adjoint(where: Geometry) -> None:
    values = numbered(where, "convolution")
    drawing = draw(where, "convolution", values)
    exact = reference.conv(*arrays(values), where).ravel().tolist()
    written = labels(drawing, "output", drawing.frames - 1)
    assert [int(written[place]) for place in sorted(written)] == exact


@given(small)
@settings(max_examples=40)
def test_the_heat_map_counts_products(where: Geometry) -> None:
    drawing = draw(where, "coverage")
    counts = where.coverage()
    exact = [math.prod(pair) for pair in product(*counts)]
    written = labels(drawing, "output", 0)
    assert [int(written[place]) for place in sorted(written)] == exact


@given(small, st.sampled_from(CELL_VIEWS))
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


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (geometry((3, 3, 3), 2), "`input` (=(3, 3, 3)) has 3 axes; 1 and 2 can be drawn; --json explains any"),
        (
            geometry((30, 30), 3, strides=2),
            TOO_LARGE,
        ),
    ],
)
def test_what_cannot_be_drawn_says_so(where: Geometry, message: str) -> None:
    with pytest.raises(ValueError, match="--json") as caught:
        _ = draw(where)
    assert str(caught.value) == message
