"""What is used of frameworks that carry no types, or are missing where types are checked.

A protocol names what the runners use, and a function for each framework loads it. Functions whose
names are put together, such as `conv2d_transpose`, are looked up in a module by `getattr`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeAlias, TypeVar, cast

from backstride.layout import AnyArray

P = ParamSpec("P")
R = TypeVar("R")


class Tensor(Protocol):
    """An array of any framework, which `numpy.asarray` reads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        ...


Operation: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # y of x and the kernel


class Versioned(Protocol):
    """A package that says its version."""

    __version__: str


class Evaluated(Tensor, Protocol):
    """A tensor of TensorFlow that has values."""

    numpy: Callable[[], AnyArray]


class Tape(Protocol):
    """`tf.GradientTape`."""

    watch: Callable[[Sequence[Tensor]], None]
    gradient: Callable[..., Sequence[Tensor]]

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class TensorFlow(Versioned, Protocol):
    """`tensorflow`."""

    nn: object
    constant: Callable[[AnyArray], Tensor]
    function: Callable[..., Callable[[AnyArray, AnyArray], Evaluated]]
    GradientTape: Callable[[], Tape]


class KerasVariable(Protocol):
    """The kernel of a layer."""

    value: Tensor
    assign: Callable[[AnyArray], object]


class KerasLayer(Protocol):
    """`keras.layers.Conv*DTranspose`."""

    kernel: KerasVariable
    build: Callable[[tuple[int, ...]], None]
    stateless_call: Callable[..., tuple[Tensor, object]]

    def __call__(self, x: Tensor) -> Tensor:
        """Its output."""
        ...


class KerasOps(Protocol):
    """`keras.ops`."""

    convert_to_tensor: Callable[[AnyArray], Tensor]
    convert_to_numpy: Callable[[Tensor], AnyArray]


class Keras(Versioned, Protocol):
    """`keras`."""

    layers: object
    ops: KerasOps


class JaxRandom(Protocol):
    """`jax.random`."""

    PRNGKey: Callable[[int], object]


class JaxLax(Protocol):
    """`jax.lax`."""

    conv_transpose: Callable[..., Tensor]


class Jax(Versioned, Protocol):
    """`jax`."""

    lax: JaxLax
    random: JaxRandom
    eval_shape: Callable[[Operation, AnyArray, AnyArray], Tensor]
    vjp: Callable[
        [Operation, Tensor, Tensor], tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]
    ]
    vmap: Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]]

    def jit(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, compiled."""
        ...


class FlaxNnx(Protocol):
    """`flax.nnx`."""

    Rngs: Callable[[int], object]
    ConvTranspose: Callable[..., Callable[[Tensor], Tensor]]


class Weighted(Protocol):
    """A layer of Equinox."""

    weight: Tensor


class EquinoxLayers(Protocol):
    """`equinox.nn`."""

    ConvTranspose: type[Weighted]


class Equinox(Versioned, Protocol):
    """`equinox`."""

    nn: EquinoxLayers
    filter_eval_shape: Callable[..., Weighted]
    tree_at: Callable[[Callable[[Weighted], Tensor], Weighted, Tensor], Callable[[Tensor], Tensor]]


class OnnxSettings(Protocol):
    """`onnxruntime.SessionOptions`."""

    intra_op_num_threads: int


class OnnxSession(Protocol):
    """`onnxruntime.InferenceSession`."""

    run: Callable[[None, Mapping[str, AnyArray]], list[AnyArray]]


class OnnxRuntime(Versioned, Protocol):
    """`onnxruntime`."""

    set_default_logger_severity: Callable[[int], None]
    SessionOptions: Callable[[], OnnxSettings]
    InferenceSession: Callable[..., OnnxSession]


class OnnxReference(Protocol):
    """`onnx.reference`."""

    ReferenceEvaluator: Callable[[object], OnnxSession]


class OnnxChecker(Protocol):
    """`onnx.checker`."""

    check_model: Callable[..., None]


class Onnx(Versioned, Protocol):
    """What of `onnx` is partly untyped."""

    checker: OnnxChecker
    reference: OnnxReference


class OpenVinoCore(Protocol):
    """`openvino.Core`."""

    compile_model: Callable[
        [object, str, Mapping[str, object]], Callable[[list[AnyArray]], Mapping[int, AnyArray]]
    ]


class OpenVino(Versioned, Protocol):
    """`openvino`."""

    Core: Callable[[], OpenVinoCore]
    Model: Callable[[list[object], list[object]], object]


class Opset(Protocol):
    """`openvino.opset13`."""

    constant: Callable[[AnyArray], object]
    parameter: Callable[[list[int], type], object]


def tensorflow() -> TensorFlow:
    """TensorFlow."""
    return cast("TensorFlow", importlib.import_module("tensorflow"))


def keras() -> Keras:
    """Keras, on the backend that KERAS_BACKEND names."""
    return cast("Keras", importlib.import_module("keras"))


def jax() -> Jax:
    """JAX."""
    return cast("Jax", importlib.import_module("jax"))


def flax() -> tuple[Versioned, FlaxNnx]:
    """Flax, and its layers."""
    return cast("Versioned", importlib.import_module("flax")), cast(
        "FlaxNnx", importlib.import_module("flax.nnx")
    )


def equinox() -> Equinox:
    """Equinox."""
    return cast("Equinox", importlib.import_module("equinox"))


def onnxruntime() -> OnnxRuntime:
    """ONNX Runtime."""
    return cast("OnnxRuntime", importlib.import_module("onnxruntime"))


def onnx() -> Onnx:
    """ONNX, with its own evaluator."""
    _ = importlib.import_module("onnx.reference")
    return cast("Onnx", importlib.import_module("onnx"))


def openvino() -> tuple[OpenVino, Opset]:
    """OpenVINO, and its operations."""
    operations = importlib.import_module("openvino.opset13")
    return cast("OpenVino", importlib.import_module("openvino")), cast("Opset", operations)
