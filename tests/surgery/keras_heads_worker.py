"""Keras networks with several outputs, on one backend: `python keras_heads_worker.py FOLDER`;
prints one JSON line.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backstride.segment.network import load_network
from backstride.surgery import convolutionalize, prove, receptive_field, transpose

keras: Any = importlib.import_module("keras")  # untyped
layers: Any = keras.layers

SHAPE = (3, 12, 12)
IMAGE = np.random.default_rng(0).normal(size=(3, 19, 17)).astype(np.float32)


def refine(pack: Callable[[Any, Any], Any]) -> Any:
    """As MTCNN's second network: classes with a softmax, and boxes."""
    image = keras.Input((12, 12, 3))
    maps = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(4, 3)(image))
    vector = layers.Dense(6, activation="relu")(
        layers.Flatten()(layers.Permute((2, 1, 3))(layers.MaxPooling2D()(maps)))
    )
    kinds = layers.Dense(2, activation="softmax", name="kinds")(vector)
    return keras.Model(image, pack(kinds, layers.Dense(4, name="boxes")(vector)), name="refine")


def wrapped() -> Any:
    """A network around one of two heads."""
    image = keras.Input((12, 12, 3))
    return keras.Model(
        image, refine(lambda kinds, boxes: (kinds, boxes))(image * 0.5), name="wrapped"
    )


def recurrent() -> Any:
    """A head beside one that gives several tensors, and one that no rule knows."""
    image = keras.Input((12, 12, 3))
    maps = layers.Conv2D(16, 3, 2)(image)
    _, state = layers.GRU(4, return_state=True)(layers.Reshape((25, 16))(maps))
    scores = layers.Dense(3, name="scores")(layers.GlobalMaxPooling2D()(maps))
    inner = keras.Model(image, [scores, state], name="inner")
    image = keras.Input((12, 12, 3))
    return keras.Model(image, [*inner(image)], name="recurrent")


MODELS: dict[str, Any] = {
    "list": lambda: refine(lambda kinds, boxes: [kinds, boxes]),
    "tuple": lambda: refine(lambda kinds, boxes: (boxes, kinds)),
    "dict": lambda: refine(lambda kinds, boxes: {"z": kinds, "b": boxes}),
    "nested": lambda: refine(lambda kinds, boxes: {"z": kinds, "b": [boxes, kinds]}),
    "one twice": lambda: refine(lambda _, boxes: [boxes, boxes]),
    "one": lambda: refine(lambda kinds, _: {"z": kinds}),
    "wrapped": wrapped,
    "recurrent": recurrent,
}


def drawn(name: str) -> Any:
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    return MODELS[name]()


def transposed(model: Any, head: Any) -> dict[str, Any]:
    """What is measured of the network of one head, or what is said."""
    try:
        network, report = transpose(model, SHAPE, head=head)
    except (TypeError, ValueError) as error:
        return {"said": str(error)}
    return {
        "shape": list(network(IMAGE.transpose(1, 2, 0)[None]).shape),
        "holds": prove(model, network, report, IMAGE).holds,
        "kept": [layer.name for layer in network.layers if layer.name in ("kinds", "boxes", "gru")],
        "left_out": len(
            [refusal for refusal in report.refusals if refusal.layer.startswith("head ")]
        ),
    }


def alone() -> dict[str, Any]:
    """One head without a decoder, and with other classes."""
    model = drawn("nested")
    network, report = convolutionalize(model, SHAPE, head="b.0")
    rescored, _ = transpose(model, SHAPE, head="b.0", classes=7)
    return {
        "shape": list(network(IMAGE.transpose(1, 2, 0)[None]).shape),
        "holds": prove(model, network, report, IMAGE, head="b.0", timed=True).holds,
        "classes": rescored.output_shape[-1],
    }


def together(name: str) -> dict[str, Any]:
    """The network that keeps all heads."""
    model = drawn(name)
    try:
        network, report = convolutionalize(model, SHAPE)
    except ValueError as error:
        return {"said": str(error)}
    cells = receptive_field(model, SHAPE)
    return {
        "heads": [head.name for head in report.heads],
        "holds": [
            prove(model, network, report, IMAGE, head=head.key).holds for head in report.heads
        ],
        "cells": [output.head for output in cells],
        "packed": str(keras.tree.map_structure(np.ndim, network(IMAGE.transpose(1, 2, 0)[None]))),
    }


def pictures(folder: Path) -> list[list[int]]:
    """The scores of each output of a network's file."""
    image = keras.Input((None, None, 3))
    outputs = [layers.Conv2D(2, 1, name="kinds")(image), layers.Conv2D(5, 1, name="depth")(image)]
    path = folder / "pixels.keras"
    keras.Model(image, outputs).save(path)
    return [
        list(load_network(path, head).run(np.zeros((1, 3, 9, 8))).shape)
        for head in ("depth", 0, "1")
    ]


if __name__ == "__main__":
    found: dict[str, Any] = {
        "together": {name: together(name) for name in MODELS},
        "alone": alone(),
    }
    asked = (None, 1, -1, "kinds", "boxes", "z", "b.1", "scores", True, 7, "box")
    for name in MODELS:
        found[name] = {str(head): transposed(drawn(name), head) for head in asked}
    print(json.dumps({**found, "pictures": pictures(Path(sys.argv[1]))}))
