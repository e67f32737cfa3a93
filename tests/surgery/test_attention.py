"""Attention behind a refused node is named; other softmaxes and products are not."""

from __future__ import annotations

from backstride.surgery.rewriting.attention import attention_behind
from surgery.graphs import Chain


def test_a_softmax_that_multiplies_a_matrix_is_attention() -> None:
    chain = (
        Chain(3, 8, 8)
        .node("tokens", "reshape", 3, 64)
        .node("weights", "softmax", 64, 64, axes=(2,))
    )
    graph = chain.node("matmul_1", "other", 64, 3, inputs=("weights", "tokens")).graph()
    said = "; attention behind it (matmul_1) makes every place depend on the whole image"
    assert attention_behind(graph, graph["tokens"]) == said


def test_a_named_operation_is_attention() -> None:
    graph = (
        Chain(3, 8, 8)
        .node("tokens", "reshape", 3, 64)
        .node("block (MultiHeadAttention)", "other", 64, 3)
        .graph()
    )
    assert "(block (MultiHeadAttention))" in attention_behind(graph, graph["tokens"])
    named = attention_behind(graph, graph["block (MultiHeadAttention)"])
    assert named == "; attention makes every place depend on the whole image"


def test_a_classifier_s_softmax_is_none() -> None:
    graph = (
        Chain(3, 8, 8)
        .node("tokens", "reshape", 3, 64)
        .node("matmul", "other", 5)
        .node("s", "softmax", 5)
        .graph()
    )
    assert not attention_behind(graph, graph["tokens"])
