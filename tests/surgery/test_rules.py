"""The rules on graphs written by hand: no framework takes part."""

from __future__ import annotations

import pytest

from backstride.surgery.model.graph import Graph, Kind
from backstride.surgery.rewriting.rewrite import rewrite
from backstride.surgery.rewriting.rules import RULES
from surgery.graphs import Chain


def kinds(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
    """What runs in the rewritten network, with windows."""
    found = rewrite(graph)
    assert not found.refusals
    return [(node.kind, node.window.kernel if node.window else ()) for node in found.graph][1:-1]


def refusals(graph: Graph) -> list[str]:
    return [str(refusal) for refusal in rewrite(graph).refusals]


def test_a_flattened_map_gives_the_kernel_and_later_layers_are_1x1() -> None:
    chain = (
        Chain(1, 9, 8)
        .slide("c", "conv", 3, 2, channels=5)
        .node("f", "reshape", 5 * 4 * 3)
        .node("d", "dropout")
    )
    graph = (
        chain.node("fc", "dense", 7)
        .node("n", "batch_norm")
        .node("a", "activation")
        .node("gc", "dense", 2)
        .graph()
    )
    assert kinds(graph) == [
        *(
            ("conv", (3, 3)),
            ("dropout", ()),
            ("conv", (4, 3)),
            ("batch_norm", ()),
            ("activation", ()),
            ("conv", (1, 1)),
        ),
    ]
    assert rewrite(graph).graph["fc"].order == "chw"
    assert rewrite(graph).graph["fc"].inputs == ("d",)
    assert rewrite(graph).graph["d"].inputs == ("c",)


def test_the_order_of_the_flattening_is_kept() -> None:
    chain = Chain(3, 4, 5).node("p", "permute", 4, 5, 3, axes=(0, 2, 3, 1)).node("f", "reshape", 60)
    found = rewrite(chain.node("fc", "dense", 2).graph())
    assert found.graph["fc"].order == "hwc"
    assert [node.kind for node in found.replaced["f"]] == ["permute"]
    assert found.graph["f"].axes == (0, 3, 1, 2)


@pytest.mark.parametrize("keep", [True, False])
def test_a_mean_over_the_map_is_a_window_of_its_size(keep: bool) -> None:
    shape = (3, 1, 1) if keep else (3,)
    chain = Chain(3, 4, 5).node("m", "mean", *shape, axes=(2, 3))
    assert kinds(chain.node("fc", "dense", 2).graph() if not keep else chain.graph()) == [
        ("avg_pool", (4, 5)),
        *([] if keep else [("conv", (1, 1))]),
    ]


def test_a_mean_of_a_channels_last_map_turns_it_back() -> None:
    chain = (
        Chain(3, 4, 5)
        .node("p", "permute", 4, 5, 3, axes=(0, 2, 3, 1))
        .node("m", "mean", 3, axes=(1, 2))
    )
    found = rewrite(chain.node("fc", "dense", 2).graph())
    assert [node.kind for node in found.replaced["m"]] == ["permute", "avg_pool"]
    assert [node.name for node in found.graph] == ["image", "p", "m_0", "m", "fc", "output"]


def test_pooling_to_the_maps_own_size_is_dropped() -> None:
    chain = (
        Chain(3, 7, 7)
        .node("pool", "adaptive_avg_pool", 3, 7, 7)
        .node("f", "reshape", 147)
        .node("fc", "dense", 2)
    )
    assert kinds(chain.graph()) == [("conv", (7, 7))]


def test_reshapes_that_split_and_join_the_same_axes_are_dropped() -> None:
    chain = (
        Chain(3, 2, 2)
        .node("f", "reshape", 12)
        .node("back", "reshape", 3, 2, 2)
        .slide("c", "conv", 2, channels=4)
    )
    graph = (
        chain.node("s", "reshape", 4, 1)
        .node("v", "reshape", 4)
        .node("up", "reshape", 4, 1, 1)
        .graph()
    )
    assert kinds(graph) == [("conv", (2, 2))]


REASONS: dict[Kind, str] = {
    "softmax": "sums over positions, so its result depends on the image's size",
    "layer_norm": "normalises over positions, so its result depends on the image's size",
    "permute": "permutes the axes (), which are not those of a map",
    "concat": "joins positions, whose number is fixed",
    "mean": "reduces over the images of the batch",
    "dense": "mixes the columns of the map, whose number is fixed",
}


@pytest.mark.parametrize("kind", REASONS)
def test_refusals_have_a_reason(kind: Kind) -> None:
    found = refusals(Chain(3, 4, 4).node("it", kind).graph())
    assert found == [f"it: {REASONS[kind]} (it meets a map of 3 channels, 4 x 4)"]


def test_unknown_operations_are_refused() -> None:
    assert refusals(Chain(3, 4, 4).node("it", "other").graph()) == [
        "it: no rule knows this operation"
    ]


def test_sliding_over_a_vector_is_refused() -> None:
    chain = Chain(3, 4, 4).node("f", "reshape", 48).node("p", "max_pool", 48)
    assert refusals(chain.graph()) == [
        "p: slides over a map (N, C, h, w) only (it meets a flattened map of 3 channels, 4 x 4)"
    ]


def test_weights_per_position_are_refused() -> None:
    chain = (
        Chain(3, 4, 4)
        .node("f", "reshape", 48)
        .node("prelu", "activation", features=48)
        .node("fc", "dense", 2)
    )
    reason = "has one weight for each position of the map, whose number is fixed"
    assert refusals(chain.graph()) == [
        f"prelu: {reason} (it meets a flattened map of 3 channels, 4 x 4)"
    ]


def test_constants_must_meet_every_position_alike() -> None:
    def added(*shape: int) -> Graph:
        chain = Chain(3, 4, 4)
        _ = chain.node("w", "constant", *shape).node(
            "sum", "combine", 3, 4, 4, inputs=("image", "w")
        )
        return chain.node("f", "reshape", 48).node("fc", "dense", 2).graph()

    assert refusals(added(3, 1, 1)) == []
    assert refusals(added(1)) == []
    assert refusals(added(3, 4, 4)) == [
        (
            "sum: adds weights of shape (3, 4, 4), which fix the number of positions (it meets a "
            "map of 3 channels, 4 x 4)"
        )
    ]


def test_every_rule_states_its_law() -> None:
    assert all("Law: " in (rule.apply.__doc__ or "") for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
