"""Keras as it is used here, typed: it has no types of its own, so this is the border to it.

Classes and modules are stated by what is read or called of them, and by no more. What a layer keeps
besides is read by name: `calls.KerasCall.option`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self, TypeAlias, TypeVar, cast

from backstride.layout import AnyArray

Shape: TypeAlias = tuple[int | None, ...]
Shapes: TypeAlias = Shape | Sequence[Shape]  # of one tensor or several
Size: TypeAlias = "int | Tensor"  # a tensor where the graph leaves it open
Operand: TypeAlias = "Tensor | float"
Config: TypeAlias = dict[str, object]
Structure = TypeVar("Structure")
Class = TypeVar("Class", bound=type)


class Tensor(Protocol):
    """A symbolic tensor, or one of the backend."""

    @property
    def shape(self) -> Sequence[int | None]:
        """With the batch axis; None for sizes that are open."""
        ...

    @property
    def dtype(self) -> object:
        """A name, or the backend's own."""
        ...

    def __getitem__(self, index: object, /) -> Tensor: ...
    def __add__(self, other: Operand, /) -> Tensor: ...
    def __radd__(self, other: Operand, /) -> Tensor: ...
    def __sub__(self, other: Operand, /) -> Tensor: ...
    def __mul__(self, other: Operand, /) -> Tensor: ...
    def __truediv__(self, other: Operand, /) -> Tensor: ...


class Symbol(Tensor, Protocol):
    """A tensor of a model's graph."""

    @property
    def name(self) -> str:
        """Its name."""
        ...


class Arguments(Protocol):
    """What a node of a model's graph calls its operation with."""

    @property
    def keras_tensors(self) -> Sequence[Symbol]:
        """The tensors among them."""
        ...

    def fill_in(
        self, tensor_dict: Mapping[int, object], /
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments with others in the place of the tensors of these ids."""
        ...


if TYPE_CHECKING:

    class Operation:
        """keras.Operation; those that are called here give one tensor."""

        name: str

        def __call__(self, *args: object, **options: object) -> Tensor: ...
        def compute_output_spec(self, *args: object, **options: object) -> object: ...
        def get_config(self) -> Config: ...
        @classmethod
        def from_config(cls, config: Config) -> Operation: ...

    class Layer(Operation):
        """keras.layers.Layer."""

        trainable: bool
        output: Symbol

        def __init__(self, *args: object, **options: object) -> None: ...
        def build(self, input_shape: Shapes) -> None: ...
        def add_weight(self, *, shape: Shape, initializer: str, name: str) -> Tensor: ...
        def get_weights(self) -> list[AnyArray]: ...
        def set_weights(self, weights: Sequence[AnyArray]) -> None: ...
        def save_own_variables(self, store: dict[str, object]) -> None: ...
        def load_own_variables(self, store: dict[str, object]) -> None: ...

    class Wrapper(Layer):
        """keras.layers.Wrapper."""

        layer: Operation

    class Function(Operation):
        """keras.Function."""

        inputs: list[Symbol]
        outputs: list[Symbol]

    class Model(Layer):
        """keras.Model."""

        inputs: list[Symbol]
        input: Symbol
        layers: list[Layer]

        def get_layer(self, name: str) -> Layer: ...
        def save(self, filepath: Path) -> None: ...

    class Sequential(Model):
        """keras.Sequential."""

    class Dataset:
        """h5py.Dataset."""

        nbytes: int
        size: int
        shape: tuple[int, ...]
        external: object
        is_virtual: bool

    class Hdf5File:
        """h5py.File."""

        def __init__(self, file: BinaryIO, mode: str) -> None: ...
        def __enter__(self) -> Self: ...
        def __exit__(self, *error: object) -> None: ...
        def visititems(self, visit: Callable[[str, object], None]) -> None: ...


class Node(Protocol):
    """A node of a model's graph."""

    @property
    def operation(self) -> Operation:
        """What it calls."""
        ...

    @property
    def arguments(self) -> Arguments:
        """What it calls it with."""
        ...

    @property
    def outputs(self) -> Sequence[Symbol]:
        """What it gives."""
        ...

    @property
    def is_input(self) -> bool:
        """Whether it stands for an input."""
        ...


class Reduction(Protocol):
    """What takes the numbers along axes together."""

    def __call__(
        self, x: Tensor, /, *, axis: int | Sequence[int], keepdims: bool = False
    ) -> Tensor: ...


class Ops(Protocol):
    """keras.ops."""

    max: Reduction
    min: Reduction
    mean: Reduction
    std: Reduction
    sum: Reduction
    var: Reduction
    norm: Callable[..., Tensor]

    def absolute(self, x: Tensor, /) -> Tensor: ...
    def negative(self, x: Tensor, /) -> Tensor: ...
    def sqrt(self, x: Tensor, /) -> Tensor: ...
    def square(self, x: Tensor, /) -> Tensor: ...
    def add(self, x1: Operand, x2: Operand, /) -> Tensor: ...
    def maximum(self, x1: Operand, x2: Operand, /) -> Tensor: ...
    def minimum(self, x1: Operand, x2: Operand, /) -> Tensor: ...
    def shape(self, x: Tensor, /) -> tuple[Size, ...]: ...
    def reshape(self, x: Tensor, newshape: Sequence[Size], /) -> Tensor: ...
    def full_like(self, x: Tensor, fill_value: float, /) -> Tensor: ...
    def repeat(self, x: Tensor, repeats: int, axis: int, /) -> Tensor: ...
    def concatenate(self, xs: Sequence[Tensor], /, *, axis: int) -> Tensor: ...
    def average_pool(
        self,
        inputs: Tensor,
        pool_size: tuple[int, int],
        strides: int,
        padding: str,
        data_format: str,
        /,
    ) -> Tensor: ...
    def convert_to_tensor(self, x: AnyArray, /) -> Tensor: ...
    def convert_to_numpy(self, x: object, /) -> AnyArray: ...


class Layers(Protocol):
    """keras.layers."""

    Activation: type[Layer]
    Add: type[Layer]
    AveragePooling2D: type[Layer]
    Concatenate: type[Layer]
    Conv2D: type[Layer]
    Conv2DTranspose: type[Layer]
    Cropping2D: type[Layer]
    GlobalAveragePooling2D: type[Layer]
    GlobalMaxPooling2D: type[Layer]
    MaxPooling2D: type[Layer]
    SpectralNormalization: type[Wrapper]
    UpSampling2D: type[Layer]
    ZeroPadding2D: type[Layer]


class Trees(Protocol):
    """keras.tree."""

    def flatten(self, structure: object, /) -> list[object]: ...
    def flatten_with_path(
        self, structure: object, /
    ) -> list[tuple[tuple[object, ...], object]]: ...
    def map_structure(
        self, func: Callable[[object], object], structure: Structure, /
    ) -> Structure: ...
    def pack_sequence_as(self, structure: object, flat_sequence: Sequence[object], /) -> object: ...


class Saving(Protocol):
    """keras.saving."""

    def register_keras_serializable(self, *, package: str) -> Callable[[Class], Class]: ...
    def load_model(self, filepath: Path, /, *, compile: bool, safe_mode: bool) -> Model: ...
    def deserialize_keras_object(self, config: object, /, *, safe_mode: bool) -> object: ...


class Backend(Protocol):
    """keras.backend."""

    def backend(self) -> str: ...
    def standardize_dtype(self, dtype: object, /) -> str: ...


class Random(Protocol):
    """keras.random."""

    def normal(self, shape: tuple[int, ...], /) -> Tensor: ...


class Keras(Protocol):
    """The package."""

    backend: Backend
    layers: Layers
    ops: Ops
    random: Random
    saving: Saving
    tree: Trees
    KerasTensor: Callable[..., Symbol]
    Input: Callable[..., Symbol]
    StatelessScope: Callable[..., AbstractContextManager[object]]


class States(Protocol):
    """keras.src.backend.common.global_state, where variables wait for their numbers."""

    def get_global_attribute(self, name: str, /) -> object: ...
    def set_global_attribute(self, name: str, value: object, /) -> None: ...


keras = cast("Keras", importlib.import_module("keras"))
states = cast("States", importlib.import_module("keras.src.backend.common.global_state"))

if not TYPE_CHECKING:
    import h5py

    Operation, Layer, Wrapper = keras.Operation, keras.layers.Layer, keras.layers.Wrapper
    Function, Model, Sequential = keras.Function, keras.Model, keras.Sequential
    Dataset, Hdf5File = h5py.Dataset, h5py.File


def functional_of(model: object) -> Function | None:
    """The graph of a functional or sequential model that is built, or of a function.

    None for all else.
    """
    if isinstance(model, Sequential):
        return getattr(model, "_functional", None)
    return cast("Function", model) if hasattr(model, "_nodes_by_depth") else None


def packed_outputs(functional: Function) -> object:
    """The outputs as the model packs them: Keras has no public name for it."""
    return vars(functional)["_outputs_struct"]


def nodes_by_depth(functional: Function) -> Mapping[int, Sequence[Node]]:
    """The nodes by how far they are from the outputs: the same."""
    return vars(functional)["_nodes_by_depth"]


def maker(tensor: Symbol) -> tuple[Operation, int]:
    """The operation that gives a tensor, and which of its outputs it is: the same."""
    operation, _, place = vars(tensor)["_keras_history"]
    return operation, place


def parts(layer: Layer) -> Sequence[Layer]:
    """The layer itself and all that are in it: the same."""
    return [*methodcaller("_flatten_layers")(layer)]
