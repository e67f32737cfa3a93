"""TensorFlow Lite: TRANSPOSE_CONV through TensorFlow's converter, run by its interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry
from backstride.port.problem import Problem
from backstride.port.rule import PER_GROUP, Ability, Arguments, Fit
from backstride.port.tensorflow_code import ACTIVATIONS, PAD, bias_name, by_name, operation, whole
from backstride.port.text import Body, stuffing, tail


def candidates(where: Geometry) -> Iterator[Arguments]:
    """SAME and VALID only: the operation has no pairs."""
    yield from by_name(where)
    yield whole(where)


def _groups(_: Problem) -> str:
    return "TRANSPOSE_CONV takes no groups: one for each group"


def _dilation(_: Problem) -> str:
    return "TRANSPOSE_CONV takes no dilation: the kernel is written out with its zeros"


RECORD = replace(CONVENTIONS["tensorflow"], name="tflite", grouped_layout=PER_GROUP)
ABILITY = Ability(RECORD, candidates, _groups, _dilation)


def emit(fit: Fit) -> Body:
    """TensorFlow's function, converted to bytes, and an interpreter of them."""
    after = tail(fit, "channels_last", pad=PAD, bias=bias_name(fit), activation=ACTIVATIONS)
    shape = list(fit.problem.shape("channels_last"))
    setup = [
        *stuffing(fit, 0),
        "",
        f"@tf.function(input_signature=[tf.TensorSpec({shape}, tf.float32)])",
        "def network(x):",
        *(f"    {line}" for line in (*operation(fit), *after)),
        "",
        "",
        "concrete = network.get_concrete_function()",
        "model = tf.lite.TFLiteConverter.from_concrete_functions([concrete], network).convert()",
        "interpreter = Interpreter(model_content=model)",
        "interpreter.allocate_tensors()",
    ]
    lines = (
        'interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)',
        "interpreter.invoke()",
        'return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])',
    )
    imports = (
        "import numpy as np",
        "import tensorflow as tf",
        "from ai_edge_litert.interpreter import Interpreter",
    )
    return Body(imports, tuple(setup), lines, "up(x)")
