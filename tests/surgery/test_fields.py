from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from backstride.geometry import Geometry, convolution
from backstride.layout import AnyArray
from backstride.reference import conv, conv_transpose
from backstride.surgery.model.fields import fields, reach, sizes
from backstride.surgery.model.graph import Graph, Window
from surgery.graphs import Chain


@st.composite
def plans(draw: st.DrawFn) -> tuple[Graph, int]:
    """A chain of sliding layers whose windows leave no gaps, and the size of its image."""
    size = draw(st.integers(8, 16))
    chain = Chain(1, size, size)
    for number in range(draw(st.integers(1, 4))):
        stride = draw(st.integers(1, 3))
        kernel = draw(st.integers(stride, 4))
        _ = assume(chain.nodes[-1].shape[1] < 60)
        if draw(st.booleans()):
            _ = chain.slide(f"up{number}", "conv_transpose", kernel, stride)
        else:
            _ = assume(chain.nodes[-1].shape[1] >= kernel)
            _ = chain.slide(
                f"down{number}", "conv", kernel, stride, draw(st.integers(0, (kernel - 1) // 2))
            )
    return chain.graph(), size


def run(graph: Graph, row: AnyArray) -> AnyArray:
    """One row of an image through the graph, all weights 1, by the exact reference: (pixels,) to
    (cells,).
    """
    x = row[None, :, None]
    for node in graph:
        if node.window is None:
            continue
        (k, _), (s, _), (pads, _) = node.window.kernel, node.window.strides, node.window.padding
        ones = np.ones((k, 1, 1), int)
        if node.kind == "conv":
            where = convolution(x.shape[1], k, strides=s, padding=[pads])
            x = conv(x, ones, where.adjoint)
        else:
            x = conv_transpose(x, ones, Geometry((x.shape[1],), (k,), (s,), (1,), (pads,)))
    return x[0, :, 0]


@given(plans())
def test_reach_is_what_the_definition_reads(plan: tuple[Graph, int]) -> None:
    graph, size = plan
    name, found = graph.outputs[0].name, sizes(graph, (size, size))
    seen = (
        np.stack([run(graph, pixel) for pixel in np.eye(size, dtype=int)], axis=1) != 0
    )  # (cells, pixels)
    assert seen.shape[0] == found[name][0]
    for cell, row in enumerate(seen):
        first, last = reach(graph, found, name, 0, cell)["image"]
        pixels = np.flatnonzero(row)
        assert (max(first, 0), min(last, size - 1)) == (pixels[0], pixels[-1])


@given(plans())
def test_the_regular_field_holds_every_cells_reach(plan: tuple[Graph, int]) -> None:
    graph, size = plan
    name, found = graph.outputs[0].name, sizes(graph, (size, size))
    field = fields(graph)[name][0]
    for cell in range(found[name][0]):
        first, last = reach(graph, found, name, 0, cell)["image"]
        start = field.start + cell * field.stride
        assert start <= max(first, 0)
        assert min(last, size - 1) < start + field.size


@given(plans())
def test_without_transposed_layers_inner_cells_fill_the_field(plan: tuple[Graph, int]) -> None:
    graph, size = plan
    _ = assume(all(node.kind != "conv_transpose" for node in graph))
    name, found = graph.outputs[0].name, sizes(graph, (size, size))
    field = fields(graph)[name][0]
    for cell in range(found[name][0]):
        start = field.start + cell * field.stride
        if start >= 0 and start + field.size <= size:
            assert reach(graph, found, name, 0, cell)["image"] == (start, start + field.size - 1)


def test_known_fields() -> None:
    """VGG16 sees 212 pixels at pool5 and 404 at fc7, stride 32 (Araujo et al. 2019; Long et al.
    2015).
    """
    chain = Chain(3, 224, 224)
    for block, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for layer in range(1, depth + 1):
            _ = chain.slide(f"conv{block}_{layer}", "conv", 3, 1, 1)
        _ = chain.slide(f"pool{block}", "max_pool", 2, 2)
    found = fields(chain.slide("fc6", "conv", 7).slide("fc7", "conv", 1).graph())
    assert [found[name][0].size for name in ("pool5", "fc6", "fc7")] == [212, 404, 404]
    assert found["fc7"][0].stride == 32
    assert found["pool1"][0].offset == Fraction(1, 2)


def test_a_transposed_layer_divides_the_stride() -> None:
    graph = (
        Chain(1, 9, 9).slide("down", "conv", 3, 2, 1).slide("up", "conv_transpose", 3, 3).graph()
    )
    field = fields(graph)["up"][0]
    assert (field.stride, field.size, field.start) == (
        Fraction(2, 3),
        3 + Fraction(4, 3),
        Fraction(-7, 3),
    )


def test_branches_of_different_strides_have_no_field() -> None:
    chain = Chain(1, 8, 8).slide("a", "conv", 1).slide("b", "conv", 1, 2, source="image")
    with pytest.raises(ValueError, match=r"^`join` joins branches of stride 1 and 2$"):
        _ = fields(chain.node("join", "combine", 1, 4, 4, inputs=("a", "b")).graph())


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(5, 30))
def test_ceil_mode_adds_the_window_that_starts_inside_and_ends_outside(
    kernel: int, stride: int, pad: int, size: int
) -> None:
    """torch: windows may run over the padded end if they start inside the map or the leading
    padding.
    """
    _ = assume(pad <= kernel // 2)
    window = Window((kernel,), (stride,), ((pad, pad),), (1,), ceil_mode=True)
    starts = range(-pad, size, stride)  # a later window would start in the trailing padding
    complete = [start for start in starts if start + kernel <= size + pad]
    unread = size + pad > complete[-1] + kernel
    assert window.output(0, size) == len(complete) + (unread and len(starts) > len(complete))
