"""What a framework's folder gives.

A reading of a model, and an applier, the only code that knows the framework. The type checker
compares both with each folder. docs/architecture.md says what stands in its files.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from backstride.surgery.decoding.decoder import Decoder
from backstride.surgery.model.graph import Graph
from backstride.surgery.model.heads import Choice, Head
from backstride.surgery.model.names import is_of, suffix_of
from backstride.surgery.model.values import Refusal, Rewriting
from backstride.surgery.proving.proof import Run

AnyReading = TypeVar("AnyReading", bound="Reading")


class Reading(Protocol):
    """A model that was read; what else the framework's writer needs stands beside these.

    `notes`: parts of the model that the graph leaves out. `heads`: all that it has; `head`: the one
    that the graph gives alone, None where it gives all.
    """

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def graph(self) -> Graph:
        """The model as plain data."""
        ...

    @property
    def notes(self) -> tuple[Refusal, ...]:
        """What was left out, with the reason."""
        ...

    @property
    def heads(self) -> tuple[Head, ...]:
        """The model's results."""
        ...

    @property
    def head(self) -> Head | None:
        """The chosen one."""
        ...

    @property
    def layers(self) -> Mapping[str, Hashable]:
        """What each node calls, equal where they call one layer; none where calls share nothing."""
        ...

    def obstacle(self, score: str) -> str:
        """Why the layer that gives the scores cannot give another number of them.

        "" where it can.
        """
        ...


class Applier(Protocol[AnyReading]):
    """Reads models of a framework into graphs, and writes rewritten graphs as its models."""

    framework: ClassVar[str]

    def read(self, model: object, input_shape: tuple[int, ...], choice: Choice) -> AnyReading:
        """The model as a graph, with all that `write` needs.

        What a chosen head does not need is left out.
        """
        ...

    def write(self, reading: AnyReading, rewriting: Rewriting) -> object:
        """The fully convolutional network."""
        ...

    def segment(
        self, reading: AnyReading, rewriting: Rewriting, decoder: Decoder, *, freeze: bool
    ) -> object:
        """The network with a decoder.

        `freeze` holds the classifier's weights but those of the scores.
        """
        ...

    def runner(self, model: object, output: int) -> Run:
        """A function from a batch of images to the model's result number `output`, in NumPy."""
        ...


def applier_for(name: str, model: object) -> Applier[Any]:
    """The applier of the framework that `model` comes from.

    Frameworks that are not loaded stay so.
    """
    suffix = suffix_of(model)
    if suffix == ".onnx" or is_of(model, "onnx", "ModelProto"):
        from backstride.surgery.onnx.applier import OnnxApplier, OnnxReading  # noqa: PLC0415  loads ONNX

        onnx_applier: Applier[OnnxReading] = OnnxApplier()
        return onnx_applier
    if suffix == ".keras" or is_of(model, "keras", "Model"):
        from backstride.surgery.keras.applier import KerasApplier, KerasReading  # noqa: PLC0415  loads Keras

        keras_applier: Applier[KerasReading] = KerasApplier()
        return keras_applier
    if is_of(
        model, "torch.nn", "Module"
    ):  # after Keras, whose models are torch's, too, on that backend
        from backstride.surgery.torch.applier import TorchApplier, TorchReading  # noqa: PLC0415  loads torch

        torch_applier: Applier[TorchReading] = TorchApplier()
        return torch_applier
    shown = repr(model)
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    message = (
        f"`{name}` (={shown}) must be a torch.nn.Module, an onnx.ModelProto, a keras.Model, or the "
        f"path of an .onnx or .keras file, not {type(model).__name__}"
    )
    raise TypeError(message)
