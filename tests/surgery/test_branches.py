"""Branches that meet with equal sizes at native size alone: their last, unpaired cells are left
out.
"""

from __future__ import annotations

from backstride.surgery.model.fields import sizes
from backstride.surgery.rewriting.branches import fitted
from backstride.surgery.rewriting.rewrite import rewrite
from surgery.graphs import Chain


def uneven() -> Chain:
    """Every second cell by a convolution of one tap, and means of pairs: on odd sizes the first has
    a cell more.
    """
    chain = (
        Chain(2, 6, 8)
        .slide("one", "conv", 1, 2, channels=3)
        .slide("two", "avg_pool", 2, 2, source="image")
    )
    return chain.node("both", "concat", 5, 3, 4, inputs=("one", "two"), axes=(1,))


def test_the_longer_branch_is_cut_and_the_report_says_so() -> None:
    graph = uneven().node("f", "reshape", 60).node("fc", "dense", 4).graph()
    rewriting = rewrite(graph)
    assert not rewriting.refusals
    assert rewriting.graph["both"].fits == ("one", "two")
    assert rewriting.fitted(graph["both"]) == ("one", "two")
    assert sizes(rewriting.graph, (7, 9))["both"] == (3, 4)
    (cut,) = [entry for entry in rewriting.rewrites if entry.layer == "both"]
    assert (cut.rule, cut.result) == ("branches of different sizes", "cut to the smallest branch")
    assert cut.reason == (
        "cell i is cell i of each branch; on an image of 7 x 9, 4 x 5 and 3 x 4 meet, and the last "
        "cells, which not all of them have, are no crop's"
    )


def test_branches_of_equal_sizes_stay() -> None:
    chain = (
        Chain(2, 6, 8)
        .slide("one", "conv", 2, 2, channels=3)
        .slide("two", "avg_pool", 2, 2, source="image")
    )
    graph = chain.node("both", "concat", 5, 3, 4, inputs=("one", "two"), axes=(1,)).graph()
    assert fitted(graph) == (graph, [], [])


def test_long_periods_are_not_searched() -> None:
    chain = Chain(2, 5000, 5000).slide("one", "conv", 1, 4999, channels=2)
    graph = (
        chain.slide("two", "max_pool", 2, 4999, source="image")
        .node("sum", "combine", inputs=("one", "two"))
        .graph()
    )
    made, (cut,), refusals = fitted(graph)
    assert made["sum"].fits == ("one", "two")
    assert cut.reason == "its branches may have different sizes on some images"
    assert not refusals
