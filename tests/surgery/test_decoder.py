from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from backstride.surgery.decoding.decoder import Decoder, plan_decoder
from backstride.surgery.model.fields import IMAGE, fields, sizes
from backstride.surgery.model.graph import Graph
from backstride.surgery.model.values import Rewriting
from backstride.surgery.rewriting.rewrite import rewrite
from surgery.graphs import Chain


def rewritten(graph: Graph) -> Rewriting:
    found = rewrite(graph)
    assert not found.refusals
    return found


def caffe_vgg(pad: int) -> Graph:
    """VGG-16 as the reference FCNs use it: 100 cells of padding in the first layer, poolings that
    round up.
    """
    chain = Chain(3, 224, 224)
    for block, (depth, channels) in enumerate(
        ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), start=1
    ):
        for layer in range(1, depth + 1):
            first = (block, layer) == (1, 1)
            _ = chain.slide(
                f"conv{block}_{layer}", "conv", 3, 1, pad if first else 1, channels=channels
            )
        _ = chain.slide(f"pool{block}", "max_pool", 2, 2, ceil_mode=True)
    size = chain.nodes[-1].shape[1]
    _ = (
        chain.slide("fc6", "conv", 7, channels=4096)
        .slide("fc7", "conv", 1)
        .slide("score", "conv", 1, channels=21)
    )
    return chain.slide("mean", "avg_pool", size - 6).graph()


def offsets(decoder: Decoder) -> list[int]:
    """The crop offsets of Caffe's FCN, which crops each tap to the climbing map, and the image at
    last.

    Here each climbing map is cropped to the whole tap; both say where the two grids lie to each
    other."""
    found: list[int] = []
    cut = 0  # cells that Caffe has cropped off the last tap
    for step in decoder.steps:
        (factor, _), (crop, _), (before, _) = step.factor, step.crop, step.extend[0]
        start = (
            crop - factor * before - factor * cut
        )  # of the fine grid, in cells of the full output
        cut = -start
        found.append(abs(start))
    return found


def reference_offsets(skips: tuple[int, ...]) -> list[int]:
    """The scores without the mean over them, as in the reference networks."""
    graph = caffe_vgg(100)
    nodes = tuple(node for node in graph if node.name not in ("mean", "output"))
    found = Rewriting(
        Graph((*nodes, Chain(1).node("output", "output", inputs=("score",)).nodes[-1])),
        {},
        {},
        (),
        (),
    )
    values = rewrite(graph).values
    return offsets(plan_decoder("vgg", Rewriting(found.graph, {}, values, (), ()), skips))


def test_the_offsets_of_the_reference_networks() -> None:
    """voc-fcn8s/train.prototxt crops at 5, 9 and 31; voc-fcn16s at 5 and 27; voc-fcn32s at 19."""
    assert reference_offsets((16, 8)) == [5, 9, 31]
    assert reference_offsets((16,)) == [5, 27]
    assert reference_offsets(()) == [19]


@st.composite
def classifiers(draw: st.DrawFn) -> Graph:
    """Convolutions and poolings, padded or not, down to a stride of at most 12, with a dense layer
    on what is left.
    """
    chain = Chain(1, draw(st.integers(9, 24)), draw(st.integers(9, 24)))
    total = 1
    for number in range(draw(st.integers(1, 4))):
        kernel = draw(st.integers(1, 5))
        stride = draw(st.integers(1, min(3, 12 // total)))
        total *= stride
        _ = assume(min(chain.nodes[-1].shape[1:]) >= kernel)
        pad = draw(st.integers(0, kernel // 2))
        if draw(st.booleans()):
            _ = chain.slide(f"conv{number}", "conv", kernel, stride, pad, channels=number + 2)
        else:
            _ = chain.slide(
                f"pool{number}", "max_pool", kernel, stride, pad, ceil_mode=draw(st.booleans())
            )
    shape = chain.nodes[-1].shape
    _ = assume(min(shape) >= 1)
    return (
        chain.node("flat", "reshape", shape[0] * shape[1] * shape[2]).node("fc", "dense", 3).graph()
    )


@given(classifiers(), st.integers(0, 40), st.integers(0, 40), st.booleans())
def test_every_fine_cell_lies_between_two_coarse_ones(
    graph: Graph, rows: int, columns: int, skips: bool
) -> None:
    """The law of the decoder: at every size, each step's transposed convolution covers the fine
    grid, in its place.
    """
    network = rewritten(graph)
    plan = plan_decoder("drawn", network, "auto" if skips else ())
    image = tuple(
        cells + extra for cells, extra in zip(graph.input.shape[1:], (rows, columns), strict=True)
    )
    cells, found = sizes(network.graph, image), fields(network.graph)
    nodes = [plan.top, *(tap.node for tap in plan.taps)]
    fine = [*((cells[tap.node], found[tap.node]) for tap in plan.taps), (image, (IMAGE, IMAGE))]
    for step, source, (size, target) in zip(plan.steps, nodes, fine, strict=True):
        geometry = step.geometry(cells[source], size)
        assert geometry.output == size
        for axis, (field, goal) in enumerate(zip(found[source], target, strict=True)):
            factor, kernel, (before, after) = (
                step.factor[axis],
                step.kernel[axis],
                step.extend[axis],
            )
            crop, ending = geometry.crop[axis]
            # the places of the fine grid's ends, counted in extended coarse cells
            first = (crop - Fraction(kernel - 1, 2)) / factor
            last = (geometry.full[axis] - 1 - ending - Fraction(kernel - 1, 2)) / factor
            assert 0 <= first <= last <= geometry.input[axis] - 1
            coarse = field.offset + (first - before) * field.stride
            assert coarse == goal.offset
            assert min(before, after) >= 0


@given(classifiers())
def test_taps_are_the_last_maps_of_their_strides(graph: Graph) -> None:
    network = rewritten(graph)
    plan = plan_decoder("drawn", network, "auto")
    found = fields(network.graph)
    strides = [tap.stride for tap in plan.taps]
    assert strides == sorted(set(strides), reverse=True)
    for tap in plan.taps:
        names = [node.name for node in network.graph if node.name in found]
        later = names[names.index(tap.node) + 1 :]
        assert all(tuple(field.stride for field in found[name]) != tap.stride for name in later)
    assert plan.top == "fc"
    assert plan.score == "fc"
