"""A PyTorch module becomes a `Graph`.

Traced by torch.fx, shapes from fake tensors, no weight copied or run. The module is traced on a
skeleton, a copy whose weights are fake, once in training and once in evaluation mode. Calls that
differ only in `training` are functional dropout: they become modules, so that the network's train()
and eval() reach them as they did in the classifier.

Longer than other files: one reader keeps what is known of each value while it follows the calls.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.fx.proxy import TraceError
from torch.utils import _pytree

from backstride.surgery.model.graph import BATCH, Graph, Node
from backstride.surgery.model.heads import Choice, Head
from backstride.surgery.model.meaning import Meaning
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting
from backstride.surgery.rewriting.scores import UNGROUPED
from backstride.surgery.torch.arguments import Given, Results, bound, named
from backstride.surgery.torch.effects import settle, versions
from backstride.surgery.torch.functions import (
    DROPOUTS,
    FILLED,
    called,
    fed,
    function_operation,
    is_plain,
    parts_axis,
)
from backstride.surgery.torch.heads import heads_of, keep_alone, leaves, packs
from backstride.surgery.torch.layers import copied, layers_of
from backstride.surgery.torch.modules import (
    TRANSPOSED,
    hooks_of,
    makes_weights,
    module_operation,
    resized,
    transposed_to,
)
from backstride.surgery.torch.numbers import kind_of_filled, kind_of_number
from backstride.surgery.torch.tracer import ShapeTracer, UntracedError, original

ADVICE = {  # by what Python or torch says of a traced tensor
    "does not support item assignment": (
        "writes into a part of a tensor, which a graph of calls cannot hold; use torch.cat, "
        "torch.where or F.pad"
    ),
    "Variable data has to be a tensor": (
        "makes a torch.autograd.Variable, which every tensor is since PyTorch 0.4; use the tensor "
        "itself"
    ),
    "expected np.ndarray": (
        "computes with NumPy, which the trace of the image cannot follow; use torch's functions"
    ),
}


@dataclass(frozen=True)
class TorchReading:
    """A traced module.

    The given `model`, its fx graph, what each fx node gave, and the plain graph. `stored`: the
    weights and constants that the graph names itself, by target. `switched`: the calls of
    functional dropout that follow the training flag. `notes`: what the network will not have.
    """

    model: nn.Module
    traced: fx.Graph
    stored: Mapping[str, torch.Tensor]
    results: Results
    graph: Graph
    switched: frozenset[str]
    notes: tuple[Refusal, ...]
    heads: tuple[Head, ...]
    head: Head | None

    @property
    def name(self) -> str:
        """The model's class."""
        return type(self.model).__name__

    @property
    def layers(self) -> Mapping[str, str]:
        """The layer that each node calls, by its path."""
        return {
            node.name: str(node.target) for node in self.traced.nodes if node.op == "call_module"
        }

    def obstacle(self, score: str) -> str:
        """Why the layer that gives the scores cannot give another number of them.

        "" where it can.
        """
        (node,) = (node for node in self.traced.nodes if node.name == score)
        if node.op == "call_module":
            layer = self.model.get_submodule(str(node.target))
            plain = isinstance(layer, nn.Linear) or (
                isinstance(layer, nn.Conv2d) and layer.groups == 1
            )
            once = list(self.layers.values()).count(str(node.target)) == 1
        elif self.graph[score].kind == "dense":
            return (
                ""
                if is_plain(node)
                else "gives the scores with computed weights; `classes` needs a layer there"
            )
        else:
            plain, once = False, True
        return "" if plain and once else f"{UNGROUPED} that is called once"


class _Shapes(fx.Interpreter):
    """Runs a graph on fake tensors and keeps what every node gave."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.results: dict[fx.Node, object] = {}
        self.current: fx.Node | None = None
        self.writers: list[fx.Node] = []

    def run_node(self, n: fx.Node) -> object:
        self.current = n
        before = versions(n.all_input_nodes, self.results)
        self.results[n] = super().run_node(n)
        if before != versions(n.all_input_nodes, self.results):
            self.writers.append(n)
        return self.results[n]


@contextmanager
def _quiet() -> Generator[None]:
    """What torch logs of shapes that do not fit, with a traceback, is said in the error."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    silence = logging.Filter("what no logger is called")
    log.addFilter(silence)
    try:
        yield
    finally:
        log.removeFilter(silence)


@_quiet()
def read(model: nn.Module, input_shape: tuple[int, ...], choice: Choice) -> TorchReading:
    """Trace `model` for images of `input_shape` (C, H, W), all of it or a chosen head.

    Raises `RefusedError` where its control flow depends on the image, and `ValueError` where a
    layer does not take images of this shape.
    """
    model = _uncompiled(model)
    name = type(model).__name__
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    skeleton = _skeleton(model, mode)
    _check_inputs(name, skeleton)
    _check_hooks(name, model)
    like = next(
        (tensor for tensor in skeleton.parameters() if tensor.is_floating_point()), torch.empty(0)
    )
    with mode:
        image = torch.empty((BATCH, *input_shape), dtype=like.dtype, device=like.device)
    tracers = [ShapeTracer(mode, image) for _ in range(2)]
    trained, evaluated = (
        _trace(name, skeleton.train(training), tracer, input_shape)
        for training, tracer in zip((True, False), tracers, strict=True)
    )
    traced = fx.GraphModule(skeleton, evaluated, name)
    with mode:
        shapes = _run(name, traced, image)
    switched, same = _compare(trained, evaluated)
    results = shapes.results
    _settle(name, evaluated, shapes, traced)
    heads = heads_of(evaluated, results, lambda node: _label(node, traced))
    head = choice.among(name, tuple(heads))
    if head is not None:
        keep_alone(evaluated, heads[head])
    stored = _stored(model, skeleton, evaluated)
    known: dict[str, Node] = {}
    for node in evaluated.nodes:
        if not packs(node):
            known[node.name] = _describe(node, traced, results, known)
    notes = [
        *(
            []
            if same
            else ["computes more in training mode; the network does what it does in eval()"]
        ),
        *(
            f"has a gradient of its own in {kind}; the network has that of its calls"
            for kind in sorted(set(tracers[1].own_gradients))
        ),
        *(
            ["computes under torch.no_grad; the network has gradients there"]
            if tracers[1].without_gradient
            else []
        ),
    ]
    refusals = tuple(Refusal("forward", note) for note in notes)
    graph = Graph(tuple(known.values()))
    return TorchReading(
        model, evaluated, stored, results, graph, switched, refusals, tuple(heads), head
    )


def _skeleton(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """A copy of the model without weights."""
    memo: dict[int, object] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(tensor):
            reason = "has no size before its first run; run the model once, then try again"
            raise RefusedError(type(model).__name__, (Refusal(name, reason),))
        fake = mode.from_tensor(tensor.detach())
        memo[id(tensor)] = (
            nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
        )
    return copied(model, memo)


def _uncompiled(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` took; what `torch.jit` made has no Python left to trace."""
    model = original(model)
    for name, module in layers_of(model).items():
        if isinstance(module, torch.jit.ScriptModule):
            reason = (
                "is made by torch.jit, which leaves no layers to turn; give the module that it was "
                "made from"
            )
            raise RefusedError(type(model).__name__, (Refusal(name or "the model", reason),))
    return model


def _check_inputs(name: str, skeleton: nn.Module) -> None:
    """One input is the image; others have defaults."""
    _, *others = inspect.signature(skeleton.forward).parameters.values()
    named = [
        other for other in others if other.kind not in (other.VAR_POSITIONAL, other.VAR_KEYWORD)
    ]
    required = [other.name for other in named if other.default is other.empty]
    if required:
        reason = f"takes {len(required) + 1} inputs; a classifier takes the image alone"
        raise RefusedError(name, (Refusal("forward", reason),))


def _check_hooks(name: str, model: nn.Module) -> None:
    """A hook on the model itself runs around `forward`, which is all that is traced."""
    if has_hooks(model):
        reason = (
            "runs around it, and the network would not have it; remove it, or transpose "
            "nn.Sequential(model)"
        )
        raise RefusedError(name, (Refusal("a forward hook of the model", reason),))


def has_hooks(module: nn.Module) -> bool:
    """Whether calling a module does more than its `forward`."""
    return any(not makes_weights(module, hook) for hook in hooks_of(module))


def refuse_hooks(reading: TorchReading, rewriting: Rewriting) -> None:
    """Refuse hooks of layers that others take the place of; those that stay keep theirs."""
    found = tuple(
        Refusal(
            reading.graph[node.name].label,
            "has a forward hook, which what replaces it would not have; remove it",
        )
        for node in reading.traced.find_nodes(op="call_module")
        if node.name in rewriting.replaced
        and reading.graph[node.name].kind != "conv"  # which stays, in its atrous form
        and has_hooks(reading.model.get_submodule(str(node.target)))
    )
    if found:
        raise RefusedError(reading.name, found)


def _trace(name: str, skeleton: nn.Module, tracer: ShapeTracer, shape: tuple[int, ...]) -> fx.Graph:
    try:
        return tracer.trace(skeleton)
    except TraceError as error:
        reason = f"cannot be traced, since what it does depends on the image's values ({error})"
        raise RefusedError(name, (Refusal(tracer.where(error), reason),)) from error
    except UntracedError as error:
        raise RefusedError(name, (Refusal(tracer.where(error), str(error)),)) from error
    except Exception as error:  # the model's own code runs here
        unmet = tracer.unmet(error)
        if unmet is not None:
            raise _unfit(name, skeleton, shape, error, unmet) from error
        where, said = tracer.where(error), f"raises {type(error).__name__}{_cause(error)}"
        if tracer.is_raised_untraced(error):
            message = f"`input_shape` (={shape}) does not fit `model` (={name}): {where} {said}"
            raise ValueError(message) from error
        reason = next(
            (advice for words, advice in ADVICE.items() if words in str(error)),
            f"cannot be traced, since on what stands for the image it {said}",
        )
        raise RefusedError(name, (Refusal(where, reason),)) from error


def _cause(error: Exception) -> str:
    """What the model's author says, in a line; what torch says of the tracer's values in words."""
    line = str(error).strip().partition("\n")[0].rstrip(".")
    return (
        f": {line}".replace("'_Shaped' object", "a traced tensor").replace(
            "_Shaped", "a traced tensor"
        )
        if line
        else ""
    )


def _unfit(
    name: str,
    root: nn.Module,
    shape: tuple[int, ...],
    error: Exception,
    unmet: tuple[fx.Node, Results],
) -> ValueError:
    """What to raise where a node does not take its inputs."""
    failed, known = unmet
    met = [
        "(" + ", ".join(["N", *map(str, result.shape[1:])]) + ")"
        for source in failed.all_input_nodes
        if isinstance(result := known.get(source), torch.Tensor)
    ]
    inside = [
        f" in {path} ({kind.__name__})"
        for path, kind in failed.meta.get("nn_module_stack", {}).values()
        if path
    ]
    where = _label(failed, root) + (inside[-1] if inside and failed.op != "call_module" else "")
    if isinstance(error, DataDependentOutputException):
        return RefusedError(
            name,
            (Refusal(where, "makes a Python number of the image's values, which no graph holds"),),
        )
    return ValueError(
        f"`input_shape` (={shape}) does not fit `model` (={name}): {where} "
        f"does not take {' and '.join(met) or 'its input'}"
    )


def _stored(model: nn.Module, skeleton: nn.Module, graph: fx.Graph) -> Mapping[str, torch.Tensor]:
    """The tensors that the graph names: the model's own, and constants that the trace met."""
    found: dict[str, torch.Tensor] = {}
    for node in graph.find_nodes(op="get_attr"):
        target = str(node.target)
        try:
            found[target] = _attribute(model, target)
        except AttributeError:
            found[target] = _attribute(skeleton, target)
        if isinstance(found[target], FakeTensor):
            reason = "computes with weights alone, which the trace cannot follow"
            raise RefusedError(type(model).__name__, (Refusal("forward", reason),))
    return found


def _attribute(model: nn.Module, target: str) -> torch.Tensor:
    owner, _, name = target.rpartition(".")
    return getattr(model.get_submodule(owner), name)


def _compare(trained: fx.Graph, evaluated: fx.Graph) -> tuple[frozenset[str], bool]:
    """The dropout calls that follow the training flag, and whether the graphs are else alike."""
    switched: set[str] = set()
    pairs = list(zip(trained.nodes, evaluated.nodes, strict=False))
    for first, second in pairs:
        if (first.op, first.target) != (second.op, second.target):
            return frozenset(switched), False
        if (
            called(second) in DROPOUTS
            and _dropout_options(first)[1] is not _dropout_options(second)[1]
        ):
            switched.add(second.name)
    return frozenset(switched), len(trained.nodes) == len(evaluated.nodes)


def _dropout_options(node: fx.Node) -> tuple[float, bool]:
    """(p, training) of a functional dropout."""
    given = cast("Given", named(node, "input p training"))
    return given.get("p", 0.5), given.get("training", given.get("train", True))


def dropout_module(node: fx.Node) -> nn.Module:
    """The module that a functional dropout is."""
    return DROPOUTS[called(node)](_dropout_options(node)[0])


def _settle(name: str, graph: fx.Graph, shapes: _Shapes, traced: fx.GraphModule) -> None:
    """Have later readers of what is changed in place read the change."""
    unsettled = settle(graph, shapes.results, shapes.writers)
    if unsettled is not None:
        writer, view = (_label(node, traced) for node in unsettled)
        reason = (
            f"changes in place what is read behind it in another view, as {view}; use the call "
            "that gives a new tensor"
        )
        raise RefusedError(name, (Refusal(writer, reason),))


def _run(name: str, traced: fx.GraphModule, image: torch.Tensor) -> _Shapes:
    shapes = _Shapes(traced)
    try:
        with torch.no_grad():
            _ = shapes.run(image)
    except Exception as error:  # the model's own code runs here
        assert shapes.current is not None
        raise _unfit(
            name, traced, tuple(image.shape[1:]), error, (shapes.current, shapes.results)
        ) from error
    return shapes


def _describe(
    node: fx.Node, traced: fx.GraphModule, results: Results, known: Mapping[str, Node]
) -> Node:
    """The plain node for an fx node; what the dictionaries lack is of kind "other"."""
    result, label = results[node], _label(node, traced)
    inputs = tuple(source.name for source in node.all_input_nodes)
    if node.op == "output":
        given = [leaf.name for _, leaf in leaves(node.args[0]) if isinstance(leaf, fx.Node)]
        tensors = tuple(name for name in given if known[name].kind != "scalar")
        return Node(node.name, "output", tensors, (), "the result")
    if not isinstance(result, torch.Tensor):
        return _describe_several(node, label, results, known)
    filled = called(node) in FILLED  # by the sizes of an image, not by its numbers
    if (
        node.op == "get_attr"
        or filled
        or (inputs and all(known[name].kind in ("constant", "scalar") for name in inputs))
    ):
        return Node(node.name, kind_of_filled(node, results, known), (), tuple(result.shape), label)
    if result.ndim == 0 or result.shape[0] != BATCH:
        return Node(node.name, "unbatched", inputs, tuple(result.shape), label)
    if node.op == "placeholder":
        return Node(node.name, "input", (), tuple(result.shape[1:]), label)
    given = any(
        isinstance(results[source], torch.Tensor | tuple | list) for source in node.all_input_nodes
    )
    found = _operation(node, traced, results) if given else Meaning("other")
    return found.node(node.name, inputs[: found.data], tuple(result.shape[1:]), label)


def _describe_several(
    node: fx.Node, label: str, results: Results, known: Mapping[str, Node]
) -> Node:
    """The plain node for a tuple of tensors, or for a number."""
    inputs = tuple(source.name for source in node.all_input_nodes)
    axis = parts_axis(node, results)
    if axis is not None:
        return Node(
            node.name, "parts", inputs[:1], tuple(fed(node, results).shape[1:]), label, axes=axis
        )
    if called(node) in ("max", "min"):  # along an axis they give the places, too
        found = function_operation(node, results)
        values: torch.Tensor = results[node][0]
        return Node(
            node.name, found.kind, inputs[:1], tuple(values.shape[1:]), label, axes=found.axes
        )
    holds = any(isinstance(entry, torch.Tensor) for entry in _pytree.tree_leaves(results[node]))
    if holds:
        return Node(node.name, "other", inputs, (), label)
    return Node(node.name, kind_of_number(node, results, known), (), (), label)


def _operation(node: fx.Node, traced: fx.GraphModule, results: Results) -> Meaning:
    if node.op == "call_module":
        layer = traced.get_submodule(str(node.target))
        if isinstance(layer, nn.Upsample):
            return resized(vars(layer), fed(node, results).shape[2:], results[node].shape[2:])
        if (
            isinstance(layer, TRANSPOSED)
            and bound(node, results, "input output_size").get("output_size") is not None
        ):
            return transposed_to(layer, fed(node, results).shape[2:], results[node].shape[2:])
        return module_operation(layer, fed(node, results).ndim)
    return function_operation(node, results)


def _label(node: fx.Node, traced: nn.Module) -> str:
    """How the user knows a node: `features.0 (Conv2d)`, or `flatten` for a call."""
    if node.op == "call_module":
        return f"{node.target} ({type(traced.get_submodule(str(node.target))).__name__})"
    return node.name
