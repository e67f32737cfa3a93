"""ONNX classifiers.

The graphs that come with the onnx package, their constant weights drawn at random.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, version_converter

from backstride.surgery import convolutionalize
from backstride.surgery.onnx.runner import runner
from backstride.survey.row import Converted, Entry

OPSET = 17
ZOO = (  # name, file
    ("AlexNet", "bvlc_alexnet"),
    ("ZFNet-512", "zfnet512"),
    ("VGG-19", "vgg19"),
    ("SqueezeNet", "squeezenet"),
    ("Inception v1", "inception_v1"),
    ("Inception v2", "inception_v2"),
    ("ResNet-50", "resnet50"),
    ("DenseNet-121", "densenet121"),
    ("ShuffleNet", "shufflenet"),
)


def entries() -> list[Entry]:
    """All rows of ONNX."""
    return [
        Entry(name, "ONNX", "onnx", (3, 224, 224), partial(_convert, file)) for name, file in ZOO
    ]


def zoo_model(file: str) -> onnx.ModelProto:
    """One of the package's graphs in a newer operator set, with fixed random weights."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    content = (folder / f"light_{file}.onnx").read_bytes()
    model = version_converter.convert_version(onnx.load_model_from_string(content), OPSET)
    generator = np.random.default_rng(0)
    uses = {
        name: (node, place) for node in model.graph.node for place, name in enumerate(node.input)
    }
    shapes = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        user, place = uses[node.output[0]]
        drawn = _drawn(generator, tuple(shapes[node.input[0]].tolist()), user.op_type, place)
        model.graph.initializer.append(numpy_helper.from_array(drawn, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    weights = [entry for entry in model.graph.initializer if entry.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    model.ir_version = 8
    stored = {entry.name for entry in weights}
    inputs = [entry for entry in model.graph.input if entry.name in used - stored]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def _drawn(
    generator: np.random.Generator, shape: tuple[int, ...], operator: str, place: int
) -> NDArray[np.float32]:
    """Weights that keep the scale of what they meet; variances are positive."""
    if operator == "BatchNormalization":
        low, high = {1: (0.5, 1.5), 4: (0.5, 1.5)}.get(place, (-0.2, 0.2))
        return generator.uniform(low, high, shape).astype(np.float32)
    taps = int(np.prod(shape[1:])) or 1
    return (generator.normal(size=shape) * np.sqrt(2 / taps)).astype(np.float32)


def _convert(file: str) -> Converted:
    model = zoo_model(file)
    network, report = convolutionalize(model, (3, 224, 224))
    return runner(model), runner(network), report
