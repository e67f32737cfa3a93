"""The calls of a Keras model, nested models written out, with every tensor's shape at native size."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from backstride.surgery.names import free_name
from backstride.surgery.values import Refusal, RefusedError

keras: Any = importlib.import_module("keras")  # untyped

Shape = tuple[int | None, ...]
AUGMENTING = ("AugMix", "CutMix", "MixUp", "RandAugment", "Solarization")  # and all that are called Random


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the model by its name here, in place of one in the arguments of a call."""

    name: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation. `name`: its own; `args`, `kwargs`: with a `Ref` for each tensor."""

    name: str
    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Ref

    @property
    def sources(self) -> tuple[Ref, ...]:
        """The tensors that go in."""
        return tuple(entry for entry in keras.tree.flatten((self.args, self.kwargs)) if isinstance(entry, Ref))

    @property
    def kind(self) -> str:
        """The class of the layer or operation."""
        return type(self.operation).__name__


@dataclass(frozen=True, eq=False)
class Calls:
    """All calls in order, the image and the results, as the model packs them.

    `notes`: layers that do nothing at inference and are left out, with the reason.
    """

    image: Ref
    calls: tuple[Call, ...]
    packed: Any
    notes: tuple[Refusal, ...] = ()

    @property
    def results(self) -> tuple[Ref, ...]:
        """The results in order."""
        return tuple(keras.tree.flatten(self.packed))


def calls_of(model: Any, shape: tuple[int, int, int]) -> Calls:
    """Go through a built model for images of `shape` (H, W, C).

    Raises `RefusedError` for subclassed models and several inputs, `ValueError` where a layer does
    not take an image of this shape.
    """
    functional = _functional(model)
    if functional is None:
        reason = "is neither functional nor sequential, or not built, so its calls are not known"
        raise RefusedError(model.name, (Refusal(type(model).__name__, reason),))
    if len(functional.inputs) != 1 or len(functional.inputs[0].shape) != 4:
        reason = f"takes {len(functional.inputs)} inputs of {[tuple(entry.shape[1:]) for entry in functional.inputs]}"
        raise RefusedError(model.name, (Refusal("the model", f"{reason}; a classifier takes one image alone"),))
    walk = _Walk(model.name, shape)
    image = Ref("image", (None, *shape))
    results = walk.through(functional, [image])
    packed: Any = functional._outputs_struct  # noqa: SLF001  Keras has no public name for it
    return Calls(image, tuple(walk.calls), keras.tree.pack_sequence_as(packed, results), tuple(walk.notes))


def is_own(layer: Any) -> bool:
    """Whether a layer or operation is Keras's, computes as its class does, and is no class of the user's."""
    return type(layer).__module__.partition(".")[0] == "keras" and "call" not in vars(layer)


def restored(value: Any, find: Callable[[Ref], Any]) -> Any:
    """Arguments with tensors in place of their names."""

    def found(entry: Any) -> Any:
        return find(entry) if isinstance(entry, Ref) else entry

    return keras.tree.map_structure(found, value)


def _functional(model: Any) -> Any:
    if isinstance(model, keras.Sequential):
        return getattr(model, "_functional", None)
    return model if hasattr(model, "_nodes_by_depth") else None


class _Walk:
    def __init__(self, model: str, shape: tuple[int, int, int]) -> None:
        self.calls: list[Call] = []
        self.notes: list[Refusal] = []
        self._model = model
        self._shape = shape
        self._names: set[str] = {"image"}

    def through(self, functional: Any, given: list[Ref]) -> list[Ref]:
        """Walk a functional model on these inputs; gives its results."""
        known: dict[int, Ref] = {id(entry): ref for entry, ref in zip(functional.inputs, given, strict=True)}
        for node in _nodes(functional):
            if node.is_input or any(id(entry) not in known for entry in node.arguments.keras_tensors):
                continue
            args, kwargs = node.arguments.fill_in(known)
            inner = _functional(node.operation)
            if _augments(node.operation):
                results = [entry for entry in keras.tree.flatten(args) if isinstance(entry, Ref)]
                label = f"{node.operation.name} ({type(node.operation).__name__})"
                self.notes.append(Refusal(label, "changes images in training alone, and no labels with them"))
            elif inner is not None:
                refs = [entry for entry in keras.tree.flatten(args) if isinstance(entry, Ref)]
                results = self.through(inner, refs)
            else:
                results = [self._call(node.operation, args, kwargs, len(node.outputs))]
            known.update({id(entry): ref for entry, ref in zip(node.outputs, results, strict=False)})
        return [known[id(entry)] for entry in functional.outputs]

    def _call(self, operation: Any, args: Any, kwargs: dict[str, Any], outputs: int) -> Ref:
        while is_own(operation) and isinstance(operation, keras.layers.SpectralNormalization):
            operation = (
                operation.layer
            )  # whose kernel has been normalised in training; nothing else is done at inference
        name = free_name(operation.name, self._names)

        def symbolic(ref: Ref) -> Any:
            return keras.KerasTensor(ref.shape, dtype=getattr(operation, "compute_dtype", None) or "float32")

        try:
            spec = operation.compute_output_spec(*restored(args, symbolic), **restored(kwargs, symbolic))
        except Exception as error:  # the layer's own code runs here
            sources = [entry for entry in keras.tree.flatten((args, kwargs)) if isinstance(entry, Ref)]
            met = " and ".join(str(ref.shape[1:]) for ref in sources)
            rows, columns, channels = self._shape
            message = (
                f"`input_shape` (={(channels, rows, columns)}) does not fit `model` (={self._model}): {name} "
                f"({type(operation).__name__}) does not take {met}"
            )
            raise ValueError(message) from error
        if outputs != 1 or not hasattr(spec, "shape"):
            reason = f"gives {outputs} tensors; no rule knows this operation"
            raise RefusedError(self._model, (Refusal(f"{name} ({type(operation).__name__})", reason),))
        result = Ref(name, tuple(spec.shape))
        self.calls.append(Call(name, operation, args, kwargs, result))
        return result


def _augments(operation: Any) -> bool:
    name = type(operation).__name__
    return is_own(operation) and (name in AUGMENTING or (name.startswith("Random") and name != "RandomCrop"))


def _nodes(functional: Any) -> Iterator[Any]:
    """The nodes in an order in which they can run."""
    depths: dict[int, list[Any]] = functional._nodes_by_depth  # noqa: SLF001  Keras has no public name for it
    for depth in sorted(depths, reverse=True):
        yield from depths[depth]
