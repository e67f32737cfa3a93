"""The calls of a Keras model with every tensor's shape at native size.

Nested models are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from backstride.surgery.keras.library import (
    Function,
    Model,
    Node,
    Operation,
    Shape,
    Structure,
    Symbol,
    functional_of,
    keras,
    maker,
    nodes_by_depth,
    packed_outputs,
)
from backstride.surgery.model.heads import Choice, Head
from backstride.surgery.model.names import free_name
from backstride.surgery.model.values import Refusal, RefusedError

AUGMENTING = (
    "AugMix",
    "CutMix",
    "MixUp",
    "RandAugment",
    "Solarization",
)  # and all that are called Random


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the model by its name here, in place of one in the arguments of a call."""

    name: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class KerasCall:
    """One call of a layer or operation.

    `name`: its own; `args`, `kwargs`: with a `Ref` for each tensor. `spatial`: how many axes the
    model's image has beside its channels.
    """

    name: str
    operation: Operation
    args: tuple[object, ...]
    kwargs: dict[str, object]
    result: Ref
    spatial: int

    @property
    def sources(self) -> tuple[Ref, ...]:
        """The tensors that go in."""
        return _refs((self.args, self.kwargs))

    @property
    def kind(self) -> str:
        """The class of the layer or operation."""
        return type(self.operation).__name__

    def option(self, name: str, default: object = None) -> Any:
        """What the layer or operation keeps under a name.

        Keras states no type of it, so its reader does.
        """
        return getattr(self.operation, name, default)


@dataclass(frozen=True, eq=False)
class KerasCalls:
    """All calls in order, the image and the results, as packed, or the chosen head alone.

    `notes`: layers that do nothing at inference and are left out, with the reason. `heads`: all
    that the model has.
    """

    image: Ref
    calls: tuple[KerasCall, ...]
    packed: object
    heads: tuple[Head, ...]
    head: Head | None
    notes: tuple[Refusal, ...] = ()

    @property
    def results(self) -> tuple[Ref, ...]:
        """The results in order."""
        return _refs(self.packed)


def calls_of(model: Model, shape: tuple[int, ...], choice: Choice) -> KerasCalls:
    """Go through a built model for images of `shape`, such as (H, W, C).

    All of it is followed, or a chosen head. Raises `RefusedError` for subclassed models and several
    inputs, `ValueError` where a layer does not take an image of this shape.
    """
    functional = functional_of(model)
    if functional is None:
        reason = "is neither functional nor sequential, or not built, so its calls are not known"
        raise RefusedError(model.name, (Refusal(type(model).__name__, reason),))
    if len(functional.inputs) != 1 or len(functional.inputs[0].shape) != len(shape) + 1:
        reason = (
            f"takes {len(functional.inputs)} inputs of "
            f"{[tuple(entry.shape[1:]) for entry in functional.inputs]}"
        )
        raise RefusedError(
            model.name, (Refusal("the model", f"{reason}; a classifier takes one image alone"),)
        )
    heads = heads_of(model)
    head = choice.among(model.name, heads)
    walk = _Walk(model.name, shape)
    image = Ref("image", (None, *shape))
    results = walk.through(
        functional, [image], [entry.place for entry in heads] if head is None else [head.place]
    )
    packed = (
        keras.tree.pack_sequence_as(packed_outputs(functional), results)
        if head is None
        else results[0]
    )
    return KerasCalls(image, tuple(walk.calls), packed, heads, head, tuple(walk.notes))


def heads_of(model: object) -> tuple[Head, ...]:
    """The outputs of a model whose calls are known.

    They have the keys of what packs them in a dict, else the names that Keras gives them, where
    these are unlike.
    """
    functional = functional_of(model)
    if functional is None:
        return ()
    layers = _layers(functional, deep=True)
    called = [
        [layer.name for layer in known] for known in (_layers(functional, deep=False), layers)
    ]
    paths = keras.tree.flatten_with_path(packed_outputs(functional))
    heads: list[Head] = []
    for place, ((path, _), layer) in enumerate(zip(paths, layers, strict=True)):
        own = [names[place] for names in called if names.count(names[place]) == 1]
        keyed = any(isinstance(key, str) for key in path)
        name = ".".join(map(str, path)) if keyed else (*own, str(place))[0]
        heads.append(Head(place, name, f"{layer.name} ({type(layer).__name__})"))
    return tuple(heads)


def _layers(functional: Function, *, deep: bool) -> list[Operation]:
    """What gives each output: a nested model, or with `deep` the layer in it."""
    found: list[Operation] = []
    for entry in functional.outputs:
        operation, place = maker(entry)
        inner = functional_of(operation) if deep else None
        found.append(operation if inner is None else _layers(inner, deep=True)[place])
    return found


def is_own(layer: object) -> bool:
    """Whether a layer or operation is Keras's own and computes as its class does."""
    return type(layer).__module__.partition(".")[0] == "keras" and "call" not in vars(layer)


def restored(value: Structure, find: Callable[[Ref], object]) -> Structure:
    """Arguments with tensors in place of their names."""

    def found(entry: object) -> object:
        return find(entry) if isinstance(entry, Ref) else entry

    return keras.tree.map_structure(found, value)


def _refs(structure: object) -> tuple[Ref, ...]:
    return tuple(entry for entry in keras.tree.flatten(structure) if isinstance(entry, Ref))


class _Walk:
    def __init__(self, model: str, shape: tuple[int, ...]) -> None:
        self.calls: list[KerasCall] = []
        self.notes: list[Refusal] = []
        self._model = model
        self._shape = shape
        self._names: set[str] = {"image"}

    def through(
        self, functional: Function, given: Sequence[Ref], places: Sequence[int]
    ) -> list[Ref]:
        """Walk a functional model on these inputs; gives its results at these places."""
        known: dict[int, Ref] = {
            id(entry): ref for entry, ref in zip(functional.inputs, given, strict=True)
        }
        outputs = [functional.outputs[place] for place in places]
        needed = {id(entry) for entry in outputs}
        for node in _needed(functional, needed):
            args, kwargs = node.arguments.fill_in(known)
            inner = functional_of(node.operation)
            if _augments(node.operation):
                results = _refs(args)
                label = f"{node.operation.name} ({type(node.operation).__name__})"
                self.notes.append(
                    Refusal(label, "changes images in training alone, and no labels with them")
                )
            elif inner is not None:
                read = [place for place, entry in enumerate(node.outputs) if id(entry) in needed]
                results = self.through(inner, _refs(args), read)
                known.update(
                    {id(node.outputs[place]): ref for place, ref in zip(read, results, strict=True)}
                )
                continue
            else:
                results = [self._call(node.operation, args, kwargs, len(node.outputs))]
            known.update(
                {id(entry): ref for entry, ref in zip(node.outputs, results, strict=False)}
            )
        return [known[id(entry)] for entry in outputs]

    def _call(
        self,
        operation: Operation,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        outputs: int,
    ) -> Ref:
        while is_own(operation) and isinstance(operation, keras.layers.SpectralNormalization):
            operation = (
                operation.layer
            )  # its kernel was normalised in training; no more is done at inference
        name = free_name(operation.name, self._names)

        def symbolic(ref: Ref) -> Symbol:
            return keras.KerasTensor(
                ref.shape, dtype=getattr(operation, "compute_dtype", None) or "float32"
            )

        try:
            spec = operation.compute_output_spec(
                *restored(args, symbolic), **restored(kwargs, symbolic)
            )
        except Exception as error:  # the layer's own code runs here
            met = " and ".join(str(ref.shape[1:]) for ref in _refs((args, kwargs)))
            *cells, channels = self._shape
            message = (
                f"`input_shape` (={(channels, *cells)}) does not fit `model` (={self._model}): "
                f"{name} ({type(operation).__name__}) does not take {met}"
            )
            raise ValueError(message) from error
        shape: Shape | None = getattr(spec, "shape", None)
        if outputs != 1 or shape is None:
            reason = f"gives {outputs} tensors; no rule knows this operation"
            raise RefusedError(
                self._model, (Refusal(f"{name} ({type(operation).__name__})", reason),)
            )
        result = Ref(name, tuple(shape))
        self.calls.append(KerasCall(name, operation, args, kwargs, result, len(self._shape) - 1))
        return result


def _augments(operation: Operation) -> bool:
    name = type(operation).__name__
    return is_own(operation) and (
        name in AUGMENTING or (name.startswith("Random") and name != "RandomCrop")
    )


def _needed(functional: Function, needed: set[int]) -> list[Node]:
    """The nodes that the tensors of these ids need, in an order in which they can run.

    Their ids join them.
    """
    depths = nodes_by_depth(functional)
    found: list[Node] = []
    for depth in sorted(depths):
        for node in reversed(depths[depth]):
            if not node.is_input and any(id(entry) in needed for entry in node.outputs):
                found.append(node)
                needed.update(id(entry) for entry in node.arguments.keras_tensors)
    return found[::-1]
