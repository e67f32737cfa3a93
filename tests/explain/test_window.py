"""Of a larger layer the front and the back are drawn: its own cells, with its own sums, in bounded
pictures.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backstride as bs
from backstride.calls import parse
from backstride.explain import draw, explain, matrix_text, trace
from backstride.explain.drawing import Drawing, Rect, Text
from backstride.explain.page import contents
from backstride.explain.svg import to_svg
from backstride.explain.trace import LARGEST_TRACE, flat
from backstride.explain.values import counted
from backstride.explain.views import CELL_VIEWS, VIEWS
from backstride.explain.window import LARGEST_SIDE, window
from backstride.geometry import Geometry, geometry
from strategies import geometries

LARGE = (
    geometry(64, 4, strides=2, padding=1),
    geometry((64, 64), 4, strides=2, padding=1),
    geometry((500, 30), 3, strides=2, padding="same"),
    geometry((1000, 1000), 5, strides=3, padding=1, output_padding=2),
    geometry(10**6, 16, strides=8, padding=4),
    geometry(10**6, 4, dilation=9, padding=[(-3, 7)]),
    geometry(200, 1024, strides=256, padding=512),
    geometry((64, 64), 31, padding=15),
    geometry((16, 64, 64), 3, strides=2, padding=1, output_padding=1),
    geometry(2**50, 4, strides=4),
)


def texts(drawing: Drawing) -> list[str]:
    return [item.shape.text for item in drawing.items if isinstance(item.shape, Text)]


@st.composite
def larger(draw_: Any) -> Geometry:
    """A layer of more cells than are drawn, small enough to be traced whole."""
    where = draw_(geometries(ranks=(1,)))
    cells = draw_(st.integers(34, 70))
    return Geometry((cells,), where.kernel, where.strides, where.dilation, where.crop)


@given(larger())
def test_what_meets_in_a_window_is_what_meets_in_the_layer(where: Geometry) -> None:
    whole, part = trace(where), trace(where, window(where))
    assert set(part.meetings) <= set(whole.meetings)
    for cells, known in (
        (part.by_output(), whole.by_output()),
        (part.by_input(), whole.by_input()),
    ):
        assert cells == {index: known[index] for index in cells}


@given(larger())
def test_a_window_holds_both_ends_in_order(where: Geometry) -> None:
    found = window(where)
    assert not found.whole
    assert (found.output[0][0], found.output[0][-1]) == (0, where.output[0] - 1)
    assert set(found.input[0]) <= set(range(where.input[0]))
    for axis in (
        found.input,
        found.kernel,
        found.output,
        found.full,
        found.stretched,
        found.padded,
    ):
        assert all(one < other for one, other in pairwise(axis[0]))
    assert len(found.output[0]) <= LARGEST_SIDE


@given(geometries())
@settings(max_examples=200)
def test_coverage_is_counted_without_its_cells(where: Geometry) -> None:
    large = Geometry(
        tuple(i + 50 for i in where.input), where.kernel, where.strides, where.dilation, where.crop
    )
    for layer in (where, large):
        assert layer.coverage_counts() == tuple(
            dict(sorted(Counter(counts).items())) for counts in layer.coverage()
        )


def test_a_layer_of_a_million_cells_is_explained_and_drawn() -> None:
    found = explain("nn.ConvTranspose1d(64, 32, 16, 8, 4)", input=(64, 10**6))
    assert found.axes[0].coverage == {1: 8, 2: 8 * 10**6 - 8}
    assert (
        "drawn: output cells 0 to 15 and 7999984 to 7999999 of 8000000; what is left out goes on "
        "in the same way" in (texts(found.drawing("gather")))
    )


@pytest.mark.parametrize("where", LARGE, ids=str)
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_draws_large_layers_within_bounds(where: Geometry, view: Any) -> None:
    drawing = draw(where, view, maps=(256, 128))
    assert drawing.frames <= 32 * 32
    assert len(drawing.items) < 2 * LARGEST_TRACE
    assert max(drawing.width, drawing.height) < 8000
    places = [
        item.shape.cell
        for item in drawing.items
        if isinstance(item.shape, Rect) and item.shape.cell
    ]
    sizes = {"input": where.input, "output": where.output, "kernel": where.kernel}
    if view in {"convolution", "subsampling"}:
        sizes = {
            "input": where.output,
            "output": tuple(2**60 for _ in where.input),
            "kernel": where.kernel,
        }
    for panel, cell in places:
        count = 1
        for side in sizes[panel]:
            count *= side
        assert 0 <= cell < count


def test_the_layer_that_people_have() -> None:
    found = explain("nn.ConvTranspose2d(256, 128, 4, 2, 1)", input=(1, 256, 64, 64))
    for view in VIEWS:
        drawing = found.drawing(view)
        assert any(text.startswith("drawn: ") for text in texts(drawing))
    said = texts(found.drawing("scatter"))
    assert "full 130 x 130, framed: output 128 x 128" in said
    assert (
        "drawn: output cells 0 to 7 and 120 to 127 of 128 of each axis; what is left out goes on "
        "in the same way" in said
    )
    assert "2 cells cropped, 1 off each end of each axis" in said
    assert "1 to 4" in texts(found.drawing("coverage"))
    assert (
        "output [120,1] = x[59,0]·w[3,2] + x[59,1]·w[3,0] + x[60,0]·w[1,2] + x[60,1]·w[1,0]"
        in texts(found.drawing("gather"))
    )


def test_a_small_layer_says_nothing_of_windows() -> None:
    for view in CELL_VIEWS:
        assert not any(
            text.startswith("drawn: ")
            for text in texts(draw(geometry((14, 14), 4, strides=2, padding=1), view))
        )


def test_three_axes_are_planes_below_each_other() -> None:
    where = geometry((2, 3, 3), 2, strides=2)
    drawing = draw(where, "gather", counted(where.input, where.kernel))
    rows = {
        item.shape.y: item.shape.cell[1] // 6
        for item in drawing.items
        if isinstance(item.shape, Rect) and item.shape.cell and item.shape.cell[0] == "output"
    }
    assert [rows[y] for y in sorted(rows)] == list(range(4 * 6))
    assert {"0,0", "3,5"} <= set(texts(drawing))


def test_kernels_too_wide_for_a_picture_are_refused() -> None:
    where = geometry((64, 64), 100)
    with pytest.raises(
        ValueError, match=r"^`kernel` \(=\(100, 100\)\) has 10000 taps, too many to draw"
    ) as caught:
        _ = draw(where)
    assert str(caught.value).endswith(
        "give a smaller kernel, or --json for the explanation as data"
    )


def test_a_page_says_how_many_cells_a_tap_reaches_in_the_whole_layer() -> None:
    call = parse("nn.ConvTranspose2d(1, 1, 3, 2, 1)").at((40, 50))
    where = call.geometry()
    content = contents(bs.explain(call), CELL_VIEWS)
    counts = dict.fromkeys(range(9), 0)
    for meeting in trace(where).meetings:
        counts[flat(meeting.tap, where.kernel)] += meeting.output is not None
    assert dict(content["trace"]["reached"]) == counts
    named = re.findall(r'data-panel="output" data-cell="(\d+)"', content["drawings"]["gather"])
    assert set(map(int, named)) == {
        flat(cell, where.output) for cell in product(*window(where).output)
    }
    assert json.dumps(content["trace"])


def test_a_matrix_too_large_to_print_shows_its_corners() -> None:
    _ = pytest.importorskip("scipy.sparse", reason="matrices need SciPy")
    from backstride.explain.matrix import corners, matrices  # noqa: PLC0415

    where = geometry((7, 7), 3, strides=2)
    small, big = (0, 1, 2, 30, 48), (0, 1, 40, 200, 224)
    part, whole = corners(where, small, big), matrices(trace(where))
    assert part.holds
    assert (
        part.transposed.toarray() == whole.transposed.toarray()[list(big)][:, list(small)]
    ).all()
    assert (
        part.convolution.toarray() == whole.convolution.toarray()[list(small)][:, list(big)]
    ).all()
    text = matrix_text(where)
    assert "0 to 9 and 39 to 48 of 49, 0 to 9 and 215 to 224 of 225; the proof is of these" in text
    assert len(text.splitlines()) == 25


def test_a_large_drawing_is_a_small_file() -> None:
    assert len(to_svg(draw(geometry((1000, 1000), 4, strides=2, padding=1), "gather"))) < 2**20
