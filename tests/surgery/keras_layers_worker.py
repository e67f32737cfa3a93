"""Keras layers by themselves, in a process of its own: `python keras_layers_worker.py FOLDER`; prints one JSON line."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backstride.surgery import RefusedError, convolutionalize, prove

keras: Any = importlib.import_module("keras")
layers: Any = keras.layers
DRAWN = np.random.default_rng(0)


def network(*parts: Any) -> Any:
    """A classifier with these parts before its convolution."""
    head = [layers.Conv2D(8, 3), layers.GlobalAveragePooling2D(), layers.Dense(4)]
    return keras.Sequential([keras.Input((12, 12, 3)), *parts, *head])


def adapted(axis: int | None) -> Any:
    """Statistics that no config has."""
    layer = layers.Normalization(axis=axis)
    layer.adapt(DRAWN.normal(100, 30, (8, 12, 12, 3)).astype(np.float32))
    return network(layer)


def spectral() -> Any:
    """A wrapper that acts in training alone, after some training."""
    model = network(layers.SpectralNormalization(layers.Conv2D(6, 3)))
    _ = model(np.ones((2, 12, 12, 3), np.float32), training=True)
    return model


def augmented() -> Any:
    """What changes images in training alone."""
    return network(layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomContrast(0.5), layers.Solarization())


def largest() -> Any:
    """A global maximum before the dense layer."""
    image = keras.Input((12, 12, 3))
    return keras.Model(image, layers.Dense(3)(layers.GlobalMaxPooling2D()(layers.Conv2D(8, 3)(image))))


Conv2D: Any = layers.Conv2D


class Doubled(Conv2D):
    """A class of the user's, with a name that Keras has, too."""

    def call(self, inputs: Any) -> Any:
        """Twice what Keras's layer gives."""
        return 2 * Conv2D.call(self, inputs)


Doubled.__name__ = "Conv2D"


def replaced() -> Any:
    """A layer that computes other than its class."""
    layer = layers.Conv2D(6, 3)
    plain: Callable[[Any], Any] = layer.call

    def more(inputs: Any) -> Any:
        return plain(inputs) + 1

    layer.call = more
    return network(layer)


def adapter() -> Any:
    """A kernel in two parts."""
    layer = layers.Conv2D(6, 3)
    model = network(layer)
    layer.enable_lora(2)
    return model


HOLD: dict[str, Callable[[], Any]] = {
    "adapted": lambda: adapted(-1),
    "adapted as a whole": lambda: adapted(None),
    "given statistics": lambda: network(layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])),
    "spectral": spectral,
    "augmented": augmented,
    "channel factors": lambda: network(layers.Rescaling([0.5, 0.25, 2.0], 1.0)),
    "largest": largest,
    "upsampled": lambda: network(layers.UpSampling2D((2, 3))),
    "transposed": lambda: network(layers.Conv2DTranspose(5, 3, 2)),
    "transposed and cropped": lambda: network(layers.Conv2DTranspose(5, (3, 2), (2, 3), padding="same")),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "an own class": lambda: network(Doubled(6, 3)),
    "an own call": replaced,
    "an adapter": adapter,
    "a factor for each pixel": lambda: network(layers.Rescaling(np.ones((12, 12, 3)))),
    "bilinear": lambda: network(layers.UpSampling2D(2, interpolation="bilinear")),
    "a random crop": lambda: network(layers.RandomCrop(8, 8)),
}

FRAMES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "first": ((1, 0), (1, 0)),  # the stride leaves the last rows out
    "both": ((2, 0), (1, 2)),
    "far": ((3, 3), (3, 3)),
}


def bordered(mode: str, frame: str, stride: int) -> dict[str, Any]:
    """Each cell of a network that pads, on its own against the classifier on its crop."""
    rows, columns = FRAMES[frame]
    pad = layers.ZeroPadding2D((rows, columns))
    if mode != "layer":
        pad = functools.partial(keras.ops.pad, pad_width=((0, 0), rows, columns, (0, 0)), mode=mode)
    image = keras.Input((8, 8, 1))
    x = layers.ReLU()(layers.Conv2D(4, 3, stride)(pad(layers.Conv2D(4, 1)(image))))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    made, report = convolutionalize(model, (1, 8, 8))
    picture = DRAWN.normal(size=(18, 19, 1)).astype(np.float32)
    claimed = prove(model, made, report, picture.transpose(2, 0, 1)).expected
    cells = keras.ops.convert_to_numpy(made(picture[None]))[0]
    alike: list[bool] = []
    right: list[bool] = []
    for row, column in np.ndindex(*claimed.shape):
        top, left = row * stride, column * stride
        crop = picture[None, top : top + 8, left : left + 8]
        if crop.shape[1:3] == (8, 8):
            alone = keras.ops.convert_to_numpy(model(crop))[0]
            alike.append(bool(np.allclose(cells[row, column], alone, rtol=1e-5, atol=1e-5)))
            right.append(alike[-1] == claimed[row, column])
    return {"right": all(right), "differ": alike.count(False), "alike": alike.count(True)}


BORDERED = [
    (mode, frame, stride)
    for mode in ("constant", "reflect", "symmetric", "circular", "replicate", "layer")
    for frame in FRAMES
    for stride in (2, 5)
]


def proved(model: Any, source: Any) -> dict[str, Any]:
    """What is measured of a model, read from itself or from its file."""
    made, report = convolutionalize(source, (3, 12, 12))
    image = DRAWN.normal(100, 30, (3, 12, 12)).astype(np.float32)
    data = image.transpose(1, 2, 0)[None]
    found, wanted = (keras.ops.convert_to_numpy(entry(data, training=False)) for entry in (made, model))
    proof = prove(model, made, report, DRAWN.normal(100, 30, (3, 12, 12)).astype(np.float32))
    close = bool(np.allclose(found[:, 0, 0], wanted, rtol=1e-5, atol=1e-4))
    return {"close": close, "holds": proof.holds, "notes": [str(note) for note in report.refusals]}


def refusal(model: Any) -> str:
    """What a model without a rule gets."""
    try:
        _ = convolutionalize(model, (3, 12, 12))
    except RefusedError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    found: dict[str, Any] = {}
    for name, make in HOLD.items():
        classifier = make()
        path = Path(sys.argv[1]) / "model.keras"
        classifier.save(path)
        found[name] = [proved(classifier, classifier), proved(classifier, path)]
    borders = {" ".join(map(str, case)): bordered(*case) for case in BORDERED}
    print(
        json.dumps(
            {"borders": borders, "hold": found, "refused": {name: refusal(make()) for name, make in REFUSED.items()}}
        )
    )
