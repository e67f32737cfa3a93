"""What calls are ported to.

One row for each, with its rule, its emitter, and the modules that run its programs.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass

from backstride.calls.arguments import nearest
from backstride.port import (
    coreml_code,
    equinox_code,
    flax_code,
    jax_code,
    keras_code,
    mlx_code,
    onnx_code,
    openvino_code,
    tensorflow_code,
    tflite_code,
    torch_code,
)
from backstride.port.rule import Ability, Fit
from backstride.port.text import Body


@dataclass(frozen=True, slots=True)
class Target:
    """A row; `platform` is the only `sys.platform` that runs the programs, "" for any."""

    name: str
    title: str
    ability: Ability
    emit: Callable[[Fit], Body]
    modules: tuple[str, ...]
    platform: str = ""

    def missing(self) -> str | None:
        """Why programs cannot run here; None where they can."""
        absent = [module for module in self.modules if importlib.util.find_spec(module) is None]
        if absent:
            return f"{', '.join(absent)} is not installed here"
        if self.platform and sys.platform != self.platform:
            return f"{self.title} runs on {PLATFORMS.get(self.platform, self.platform)} only"
        return None


# Other names that people have for them.
ALIASES = {
    "pytorch": "torch",
    "tensorflow": "tf",
    "tf.keras": "keras",
    "flax.nnx": "flax",
    "nnx": "flax",
    "eqx": "equinox",
    "onnxruntime": "onnx",
    "ov": "openvino",
    "core-ml": "coreml",
    "coremltools": "coreml",
    "tensorflow-lite": "tflite",
    "litert": "tflite",
}
PLATFORMS = {"darwin": "macOS"}

TARGETS = {
    target.name: target
    for target in (
        Target("torch", "PyTorch", torch_code.ABILITY, torch_code.emit, ("torch",)),
        Target("keras", "Keras", keras_code.ABILITY, keras_code.emit, ("keras",)),
        Target("tf", "TensorFlow", tensorflow_code.ABILITY, tensorflow_code.emit, ("tensorflow",)),
        Target("jax", "JAX", jax_code.ABILITY, jax_code.emit, ("jax",)),
        Target("flax", "Flax", flax_code.ABILITY, flax_code.emit, ("flax",)),
        Target("equinox", "Equinox", equinox_code.ABILITY, equinox_code.emit, ("equinox",)),
        Target("onnx", "ONNX", onnx_code.ABILITY, onnx_code.emit, ("onnx", "onnxruntime")),
        Target("openvino", "OpenVINO", openvino_code.ABILITY, openvino_code.emit, ("openvino",)),
        Target(
            "coreml", "Core ML", coreml_code.ABILITY, coreml_code.emit, ("coremltools",), "darwin"
        ),
        Target(
            "tflite",
            "TensorFlow Lite",
            tflite_code.ABILITY,
            tflite_code.emit,
            ("tensorflow", "ai_edge_litert"),
        ),
        Target("mlx", "MLX", mlx_code.ABILITY, mlx_code.emit, ("mlx",)),
    )
}


def target_of(name: str, value: str) -> Target:
    """The target of this name, in any case, or of another name that people have for it.

    >>> target_of("to", "PyTorch").name
    'torch'

    Raises `ValueError` for others, with the nearest; `name` is the argument to blame.
    """
    lower = value.lower().replace(" ", "").replace("_", "-")
    known = ALIASES.get(lower, lower)
    if known not in TARGETS:
        message = f"`{name}` (={value!r}) is not known; {nearest(value, TARGETS)}"
        raise ValueError(message)
    return TARGETS[known]
