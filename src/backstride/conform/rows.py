"""The rows of the table: which runtime is held to which rule, and the environment it starts in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from backstride.conform import edge, gradients, runtimes
from backstride.conform.grid import SIZE
from backstride.conform.runtimes import Runtime


@dataclass(frozen=True, slots=True)
class FrameworkRow:
    """One row: `needs` are the modules it imports, `calls` how many of the grid it runs.

    `grid` names the calls where they are not all of the convention's. `legal`: only calls that the
    rule takes, for a runtime that checks nothing. `gradient`: the gradients by x and kernel instead
    of the output.
    """

    title: str
    convention: str
    runtime: Callable[[], Runtime]
    needs: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict[str, str])
    calls: int = SIZE
    grid: str = ""
    legal: bool = False
    gradient: bool = False


# Rows that stand beside a full row of the same framework: gradients, and those that compile every
# call; both at once.
SLOW = 600
SLOWEST = 200


def _gradient(
    title: str,
    convention: str,
    runtime: Callable[[], Runtime],
    *needs: str,
    calls: int = SLOW,
    **environment: str,
) -> FrameworkRow:
    return FrameworkRow(
        f"{title}, gradients", convention, runtime, needs, environment, calls, gradient=True
    )


def _keras_gradient(
    backend: str, module: str, calls: int = SLOW, **environment: str
) -> FrameworkRow:
    settings = {"KERAS_BACKEND": module, **environment}
    runtime = partial(gradients.keras, module)
    return _gradient(
        f"Keras on {backend}", "keras", runtime, "keras", module, calls=calls, **settings
    )


def _keras(backend: str, module: str, calls: int = SIZE, **environment: str) -> FrameworkRow:
    settings = {"KERAS_BACKEND": module, **environment}
    return FrameworkRow(
        f"Keras on {backend}", "keras", runtimes.keras, ("keras", module), settings, calls
    )


# XLA's algebraic simplifier aborts the process on some legal calls of this row: docs/findings.md.
WITHOUT_ABORT = "--xla_disable_hlo_passes=algsimp"

ROWS = {
    "torch": FrameworkRow("PyTorch", "torch", runtimes.torch, ("torch",)),
    "tensorflow": FrameworkRow(
        "TensorFlow, CPU kernels", "tensorflow", runtimes.tensorflow, ("tensorflow",)
    ),
    "tensorflow-xla": FrameworkRow(
        "TensorFlow, XLA",
        "tensorflow",
        partial(runtimes.tensorflow, compiled=True),
        ("tensorflow",),
        calls=SLOW,
    ),
    "keras": _keras("TensorFlow", "tensorflow"),
    "keras-jax": _keras("JAX", "jax", SLOW, XLA_FLAGS=WITHOUT_ABORT),
    "keras-torch": _keras("PyTorch", "torch"),
    "jax": FrameworkRow("JAX", "jax", runtimes.jax, ("jax",)),
    "flax": FrameworkRow("Flax", "flax", runtimes.flax, ("flax", "jax")),
    "equinox": FrameworkRow("Equinox", "equinox", runtimes.equinox, ("equinox", "jax")),
    "onnxruntime": FrameworkRow(
        "ONNX Runtime", "onnxruntime", runtimes.onnxruntime, ("onnxruntime", "onnx")
    ),
    "onnx-onnxruntime": FrameworkRow(
        "ONNX Runtime against ONNX's text", "onnx", runtimes.onnxruntime, ("onnxruntime", "onnx")
    ),
    "onnx-reference": FrameworkRow(
        "ONNX ReferenceEvaluator", "onnx", runtimes.onnx_reference, ("onnx",)
    ),
    "openvino": FrameworkRow("OpenVINO", "openvino", runtimes.openvino, ("openvino",)),
    "torch-gradient": _gradient("PyTorch", "torch", gradients.torch, "torch"),
    "tensorflow-gradient": _gradient(
        "TensorFlow, CPU kernels", "tensorflow", gradients.tensorflow, "tensorflow"
    ),
    "keras-gradient": _keras_gradient("TensorFlow", "tensorflow"),
    "keras-jax-gradient": _keras_gradient("JAX", "jax", SLOWEST, XLA_FLAGS=WITHOUT_ABORT),
    "keras-torch-gradient": _keras_gradient("PyTorch", "torch"),
    "jax-gradient": _gradient("JAX", "jax", gradients.jax, "jax", calls=SLOWEST),
    "flax-gradient": _gradient("Flax", "flax", gradients.flax, "flax", "jax", calls=SLOWEST),
    "equinox-gradient": _gradient(
        "Equinox", "equinox", gradients.equinox, "equinox", "jax", calls=SLOWEST
    ),
    "litert": FrameworkRow(
        "LiteRT",
        "tensorflow",
        edge.litert,
        ("ai_edge_litert", "flatbuffers"),
        grid="litert",
        legal=True,
        calls=SLOW,
    ),
    "ncnn": FrameworkRow("ncnn", "torch", edge.ncnn, ("ncnn",), grid="ncnn", legal=True),
}

# One thread, the CPU only, and no chatter: the same for every row.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
