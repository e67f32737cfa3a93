from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backstride.surgery.proving.exactness import exactness, padded_layers
from backstride.surgery.proving.proof import Proof, compare
from backstride.surgery.rewriting.rewrite import rewrite
from surgery.graphs import Chain

Images = NDArray[Any]


def sums(images: Images, size: int, pad: int) -> Images:
    """A padded convolution with a 3x3 kernel of ones, then the sum over windows of `size` by
    `size`: (N, 1, h, w).
    """
    padded = np.pad(images.sum(1, keepdims=True), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    once = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)).sum((-1, -2))
    return np.lib.stride_tricks.sliding_window_view(once, (size, size), axis=(2, 3)).sum((-1, -2))


def prove(pad: int, *, error: float = 0.0) -> Proof:
    size = 6 + 2 * pad - 2
    chain = (
        Chain(2, 6, 6)
        .slide("conv", "conv", 3, 1, pad, channels=1)
        .node("f", "reshape", size * size)
    )
    graph = rewrite(chain.node("fc", "dense", 1).graph()).graph
    image = np.random.default_rng(1).normal(size=(2, 9, 8))

    def wrong(images: Images) -> Images:
        result = sums(images, size, pad)
        result[..., -1, -1] += error
        return result

    return compare(lambda crops: sums(crops, size, pad)[..., 0, 0], wrong, graph, image, batch=5)


def test_without_padding_every_cell_is_exact() -> None:
    proof = prove(0)
    assert proof.holds
    assert proof.expected.all()
    assert proof.exact.all()
    assert proof.deviation.shape == (4, 3)
    assert proof.padded == ()
    assert proof.largest_other == 0
    assert str(proof).splitlines()[1:] == [
        (
            "On the larger image, 12 of 4 x 3 cells were compared with the classifier on their "
            "crops; 12 are equal within 1e-05 of the largest score."
        ),
        (
            "12 must be equal: they read no padding that their crops read otherwise; "
            f"largest deviation {proof.largest_expected:.2g}."
        ),
    ]


def test_padding_is_named_and_no_cell_is_promised() -> None:
    proof = prove(1)
    assert proof.holds
    assert not proof.expected.any()
    assert not proof.exact.any()
    assert proof.padded == ("conv",)
    assert proof.largest_other > 0.01
    assert str(proof).splitlines()[-1] == (
        "No cell must be equal, because all crops have padding at the borders where the image has "
        f"pixels (conv); largest deviation {proof.largest_other:.2g}."
    )


def test_a_proof_can_fail() -> None:
    """One wrong cell on the larger image, and the result at native size."""
    proof = prove(0, error=0.01)
    assert not proof.holds
    assert not proof.native_equal
    assert proof.exact.sum() == 11
    assert str(proof).startswith(
        "At native size the network DIFFERS FROM the classifier: largest difference 0.01."
    )
    assert proof.to_html().count('class="fails"') == 1


def test_cells_at_a_common_border_are_exact_despite_padding() -> None:
    """An image as wide as the crop has the same padding left and right of it."""
    graph = rewrite(
        Chain(1, 6, 6)
        .slide("conv", "conv", 3, 1, 1)
        .node("f", "reshape", 36)
        .node("fc", "dense", 1)
        .graph()
    ).graph
    found = exactness(graph, "fc", (6, 8))
    assert found.exact == ((True,), (False, False, False))
    assert found.starts == ((0,), (0, 1, 2))


def test_a_pooling_that_rounds_up_pads_only_where_it_runs_over() -> None:
    """5 cells pool to 3, the last window half empty; in a larger image that window has pixels."""
    chain = Chain(1, 5, 5).slide("pool", "max_pool", 2, 2, ceil_mode=True).node("f", "reshape", 9)
    graph = rewrite(chain.node("fc", "dense", 1).graph()).graph
    assert padded_layers(graph) == ("pool",)
    even = Chain(1, 6, 6).slide("pool", "max_pool", 2, 2, ceil_mode=True).node("f", "reshape", 9)
    assert padded_layers(rewrite(even.node("fc", "dense", 1).graph()).graph) == ()
    found = exactness(graph, "fc", (7, 8))
    assert found.exact[0] == (False, True)
    assert found.starts[1] == (0, 2)


def test_cells_whose_crops_leave_the_image_are_not_compared() -> None:
    chain = Chain(1, 6, 6).slide("pool", "max_pool", 2, 2, ceil_mode=True).node("f", "reshape", 9)
    found = exactness(rewrite(chain.node("fc", "dense", 1).graph()).graph, "fc", (7, 8))
    assert found.starts == ((0, None), (0, 2))
    assert found.exact == ((True, False), (True, True))
