"""Apply the rules to a graph from the image to the results."""

from __future__ import annotations

from dataclasses import replace

from backstride.surgery.model.graph import Gate, Graph, Node
from backstride.surgery.model.names import free_name
from backstride.surgery.model.values import Outcome, Refusal, Replaced, Rewrite, Rewriting, Value
from backstride.surgery.rewriting.attention import attention_behind
from backstride.surgery.rewriting.branches import fitted, immense
from backstride.surgery.rewriting.gates import gated, gates_of_one_cell
from backstride.surgery.rewriting.rule import Rule
from backstride.surgery.rewriting.rules import MEASURING, RULES
from backstride.surgery.rewriting.rules_pooling import UNSTATED

SILENT = ("constant", "scalar")
PASSING = (
    "permute",
    "square",
    "sqrt",
    "absolute",
    "negative",
    "scaled",
)  # of which a step is not named
NAMES = {
    "conv": "convolution",
    "permute": "channels first",
    "avg_pool": "average pooling",
    "max_pool": "max pooling",
    "edge_pad": "sliding pooling",
    "global_avg_pool": "global average pooling",
    "global_max_pool": "global max pooling",
    "join": "joined channels",
    "split": "split channels",
    "conv_transpose": "upsampling",
    "reorder": "channels in another order",
    "avg_bins": "bins of means",
    "max_bins": "bins of maxima",
    "local_norm": "sliding normalisation",
    "unshuffle": "positions as channels",
    "pad": "crop",
    "some": "some channels",
    "channelwise": "the same on each cell",
    "combine": "the same on each cell",
    "mean": "mean of channels",
    "sum": "sum of channels",
    "amax": "maximum of channels",
    "amin": "minimum of channels",
    "norm1": "norm of channels",
    "norm2": "norm of channels",
    "var": "variance of channels",
    "std": "deviation of channels",
}


def rewrite(graph: Graph, *, se: Gate | None = None, maps: bool = False) -> Rewriting:
    """Work out what every node becomes.

    Nodes behind a refused one are left out: their cause is named already. `se`: what becomes of the
    poolings whose result weighs the channels of a map. `maps`: results may be maps, and the sizes
    of branches are not compared beyond the native one.
    """
    if se is not None:
        graph = gated(graph, se, maps=maps)
    unstated = gates_of_one_cell(graph) if se is None else frozenset[str]()
    values: dict[str, Value] = {}
    replaced: dict[str, tuple[Node, ...]] = {}
    rewrites: list[Rewrite] = []
    refusals: list[Refusal] = []
    taken = set(graph.by_name)
    for node in graph:
        if node.kind == "input":
            values[node.name] = Value("map", node.shape[0], node.shape[1:])
        if node.kind == "input" or node.kind in SILENT or not _known(graph, node, values):
            continue
        if maps and node.kind == "output" and all(source in values for source in node.inputs):
            values[node.name] = values[node.inputs[0]]
            continue
        if node.name in unstated:
            refusals.append(Refusal(node.label, "weighs a map of one cell with one " + UNSTATED))
            continue
        name, outcome = _decide(graph, node, values, MEASURING if maps else RULES)
        if isinstance(outcome, Refusal):
            more = "" if refusals else attention_behind(graph, node)
            refusals.append(replace(outcome, reason=outcome.reason + more))
            continue
        values[node.name] = outcome.value
        if isinstance(outcome, Replaced):
            sources = tuple(source for source in node.inputs if source in values)
            replaced[node.name] = _chain(node, outcome, sources, taken)
            rewrites.append(Rewrite(node.label, name, _shown(outcome.nodes), outcome.reason))
    rewritten = _assemble(graph, values, replaced)
    if not refusals and not maps:
        rewritten, cut, refusals = fitted(rewritten)
        rewrites += cut
        refusals = refusals or immense(rewritten)
    return Rewriting(rewritten, replaced, values, tuple(rewrites), tuple(refusals))


def _known(graph: Graph, node: Node, values: dict[str, Value]) -> bool:
    return all(name in values or graph[name].kind in SILENT for name in node.inputs)


def _decide(
    graph: Graph, node: Node, values: dict[str, Value], rules: tuple[Rule, ...]
) -> tuple[str, Outcome]:
    inputs = [values[name] if name in values else graph[name] for name in node.inputs]
    if node.kind != "reshape" and any(
        isinstance(value, Node) and value.kind == "scalar" for value in inputs
    ):
        return "", Refusal(
            node.label, "computes with the size of the batch or the image, which may be any"
        )
    if node.kind == "reshape":
        inputs = [value for value in inputs if isinstance(value, Value)]
    for rule in rules:
        outcome = rule.apply(node, inputs)
        if outcome is not None:
            return rule.name, outcome
    if node.kind == "unbatched":
        return "", Refusal(
            node.label, f"gives {node.shape}, which has no axis for the images of a batch"
        )
    return "", Refusal(node.label, node.why)


def _chain(
    node: Node, outcome: Replaced, sources: tuple[str, ...], taken: set[str]
) -> tuple[Node, ...]:
    """The replacing nodes, named and linked.

    The last one keeps the name of the node it stands for.
    """
    chain: list[Node] = []
    for position, step in enumerate(outcome.nodes):
        last = position == len(outcome.nodes) - 1
        name = node.name if last else free_name(f"{node.name}_{position}", taken)
        chain.append(replace(step, name=name, inputs=sources))
        sources = (name,)
    return tuple(chain)


def _assemble(
    graph: Graph, values: dict[str, Value], replaced: dict[str, tuple[Node, ...]]
) -> Graph:
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph:
        if node.name not in values:
            continue
        if node.name in replaced and not replaced[node.name]:
            source = next(name for name in node.inputs if name in values)
            alias[node.name] = alias.get(source, source)
            continue
        for step in replaced.get(node.name, (node,)):
            inputs = tuple(
                alias.get(name, name)
                for name in step.inputs
                if name in values or name not in graph.by_name
            )
            shape = values[step.name].written if step.name in values else step.shape
            nodes.append(replace(step, inputs=inputs, shape=shape))
    return Graph(tuple(nodes))


def _shown(nodes: tuple[Node, ...]) -> str:
    if not nodes:
        return "nothing"
    node = next((step for step in reversed(nodes) if step.kind not in PASSING), nodes[-1])
    name = NAMES.get(node.kind, node.kind)
    windows = (
        [step.window.kernel for step in nodes if step.window is not None]
        if node.window is not None
        else []
    )
    kernel = " " + "x".join(map(str, map(max, zip(*windows, strict=True)))) if windows else ""
    return name.replace("_", " ") + kernel
