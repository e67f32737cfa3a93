"""Another number of classes: which layer gives the scores, and what stands in the way."""

from __future__ import annotations

from dataclasses import replace

from backstride.surgery.model.values import Refusal, RefusedError, Rewriting

UNGROUPED = "gives the scores, and `classes` needs an ungrouped layer there"


def rescored(
    model: str, rewriting: Rewriting, score: str, classes: int, obstacle: str
) -> Rewriting:
    """The network with `classes` scores from the layer `score`; the first are the classifier's.

    `obstacle`: why this layer can have no others, "" where it can. Raises `RefusedError` where
    there is one, and where a layer behind has a weight for each class.
    """
    graph = rewriting.graph
    refusals = [Refusal(graph[score].label, obstacle)] if obstacle else []
    for node in graph:
        if not refusals and (node.features or 1) > 1 and score in graph.ancestors(node.name):
            reason = "has a weight for each class behind the scores; `classes` cannot replace them"
            refusals.append(Refusal(node.label, reason))
    if refusals:
        raise RefusedError(model, tuple(refusals))
    return replace(rewriting, classes={score: classes})
