"""Passes on rewritten graphs: other classes, shared layers and denser cells; no framework takes
part.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from backstride.surgery.model.graph import Graph
from backstride.surgery.model.values import RefusedError, Rewriting
from backstride.surgery.rewriting.dense import stitched, valid
from backstride.surgery.rewriting.kernels import with_classes
from backstride.surgery.rewriting.rewrite import rewrite
from backstride.surgery.rewriting.scores import rescored
from backstride.surgery.rewriting.sharing import check_shared
from surgery.graphs import Chain

START = "`model` (=drawn) cannot become fully convolutional: "


def rewritten(graph: Graph) -> Rewriting:
    found = rewrite(graph)
    assert not found.refusals
    return found


def classifier(features: int | None = None) -> Rewriting:
    chain = (
        Chain(1, 8, 8)
        .slide("c", "conv", 3, 1, channels=4)
        .slide("p", "max_pool", 2, 2)
        .node("f", "reshape", 36)
    )
    return rewritten(
        chain.node("fc", "dense", 3).node("a", "activation", features=features).graph()
    )


def test_another_number_of_classes_is_that_of_the_score_layer_alone() -> None:
    plain = classifier()
    found = rescored("drawn", plain, "fc", 5, "")
    assert (found.classes, plain.classes) == ({"fc": 5}, {})
    assert found.graph is plain.graph


@pytest.mark.parametrize(
    ("features", "obstacle", "said"),
    [
        (3, "", "a: has a weight for each class behind the scores; `classes` cannot replace them"),
        (3, "is in the way", "fc: is in the way"),
        (1, "is in the way", "fc: is in the way"),
    ],
)
def test_what_stands_in_the_way_of_other_classes_is_said(
    features: int, obstacle: str, said: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        _ = rescored("drawn", classifier(features), "fc", 5, obstacle)
    assert str(caught.value) == START + said


def test_one_weight_for_all_classes_stays() -> None:
    assert rescored("drawn", classifier(1), "fc", 5, "").classes == {"fc": 5}


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("classes", [1, 3, 5])
def test_the_first_classes_are_kept_and_new_ones_are_zero(classes: int, axis: int) -> None:
    weights = np.arange(1, 10, dtype=np.float32).reshape(3, 3)
    found = np.moveaxis(with_classes(weights, classes, axis), axis, 0)
    kept = np.moveaxis(weights, axis, 0)
    assert found.dtype == np.float32
    assert found.shape == (classes, 3)
    assert np.array_equal(found[:3], kept[:classes])
    assert not found[3:].any()


def twice(kernel: int) -> tuple[Graph, Rewriting]:
    """A convolution before and behind a pooling, and two dense layers."""
    chain = Chain(4, 7, 7).slide("c", "conv", kernel, channels=4).slide("p", "max_pool", 2, 2)
    chain = chain.slide("d", "conv", kernel, channels=4)
    cells = 4 * chain.nodes[-1].shape[1] * chain.nodes[-1].shape[2]
    graph = chain.node("f", "reshape", cells).node("a", "dense", 4).node("b", "dense", 4).graph()
    return graph, rewritten(graph)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            {"c": "one", "d": "one"},
            "d: is called at two strides, which makes different dilations of its kernel",
        ),
        (
            {"a": 1, "b": 1},
            (
                "b: is called on maps of different sizes, which makes different convolutions of "
                "its weights"
            ),
        ),
    ],
)
def test_calls_of_one_layer_must_become_one_layer(
    layers: Mapping[str, str | int], said: str
) -> None:
    graph, plain = twice(2)
    check_shared("drawn", graph, stitched("drawn", plain), {})
    with pytest.raises(RefusedError) as caught:
        check_shared("drawn", graph, stitched("drawn", plain), layers)
    assert str(caught.value) == START + said


def test_a_kernel_of_one_cell_has_every_dilation() -> None:
    graph, plain = twice(1)
    check_shared("drawn", graph, stitched("drawn", plain), {"c": "one", "d": "one"})


def test_layers_that_slide_are_replaced_by_their_atrous_forms() -> None:
    plain = classifier()
    found = stitched("drawn", plain)
    assert set(found.replaced) - set(plain.replaced) == {"c", "p"}
    windows = {name: steps[0].window for name, steps in found.replaced.items() if steps}
    assert {name: window and window.dilation for name, window in windows.items()} == {
        "c": (1, 1),
        "p": (1, 1),
        "fc": (2, 2),
    }
    assert all(window and set(window.strides) == {1} for window in windows.values())
    assert found.crops == (((0, 0), (0, 0)),)
    assert valid("drawn", plain).replaced == plain.replaced
    assert plain.crops == ()
