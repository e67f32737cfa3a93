"""Keras classifiers.

Keras.applications with random weights, on the backend that Keras is set to.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import numpy as np

from backstride.surgery import convolutionalize
from backstride.surgery.keras.runner import runner
from backstride.survey.row import Converted, Entry

keras = importlib.import_module("keras")  # untyped

ZOO: tuple[tuple[str, int, str | None], ...] = (  # keras.applications' name, native size, se
    ("VGG16", 224, None),
    ("VGG19", 224, None),
    ("ResNet50", 224, None),
    ("ResNet50V2", 224, None),
    ("DenseNet121", 224, None),
    ("MobileNet", 224, None),
    ("MobileNetV2", 224, None),
    ("MobileNetV3Small", 224, "local"),
    ("EfficientNetB0", 224, "local"),
    ("EfficientNetB0", 224, "global"),
    ("EfficientNetV2B0", 224, "local"),
    ("InceptionV3", 299, None),
    ("InceptionResNetV2", 299, None),
    ("Xception", 299, None),
    ("NASNetMobile", 224, None),
    ("ConvNeXtTiny", 224, None),
)


def entries() -> list[Entry]:
    """All rows of Keras."""
    return [
        Entry(
            name,
            "Keras",
            "keras.applications",
            (3, size, size),
            partial(convert, name, size, se),
            _chosen(se),
        )
        for name, size, se in ZOO
    ]


def convert(name: str, size: int, se: str | None) -> Converted:
    """Build one with random weights and make it fully convolutional."""
    keras.utils.set_random_seed(0)
    build = getattr(keras.applications, name)
    model = settled(
        build(weights=None, input_shape=(size, size, 3), classifier_activation=None), size
    )
    network, report = convolutionalize(model, (3, size, size), se=se)
    return runner(model), runner(network), report


def settled(model: Any, size: int) -> Any:
    """The model with weights by which every layer matters: see `torch_entries.settled`."""
    for place, weight in enumerate(model.trainable_variables):
        values = keras.ops.convert_to_numpy(weight)
        if (values == values.flat[0]).all():
            generator = np.random.default_rng(place)
            bias = weight.name.endswith(("bias", "beta"))
            weight.assign(
                generator.normal(0, 0.1, values.shape)
                if bias
                else generator.uniform(0.5, 1.5, values.shape)
            )
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    _ = model(keras.random.normal((2, size, size, 3), seed=0), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model


def _chosen(se: str | None) -> str:
    return f'se="{se}"' if se else ""
