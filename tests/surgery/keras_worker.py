"""Every Keras check on one backend, in a process of its own: `python keras_worker.py FOLDER`;
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

from backstride.surgery import RefusedError, convolutionalize, prove, transpose
from backstride.surgery.keras.file import load
from backstride.surgery.keras.runner import runner

keras: Any = importlib.import_module("keras")
layers: Any = keras.layers


def lenet() -> Any:
    """Flatten and dense, in HWC order; a batch normalisation of vectors; a softmax inside the last
    layer.
    """
    return keras.Sequential(
        [
            *(
                keras.Input((20, 24, 1)),
                layers.Conv2D(4, 5, activation="relu"),
                layers.MaxPooling2D(),
            ),
            *(
                layers.Conv2D(6, 3),
                layers.PReLU(shared_axes=[1, 2]),
                layers.AveragePooling2D(2),
                layers.Flatten(),
            ),
            *(layers.Dense(12), layers.PReLU(), layers.BatchNormalization(), layers.Dropout(0.5)),
            layers.Dense(5, activation="softmax"),
        ]
    )


def same() -> Any:
    """Padding "same" at strides above 1, a residual sum, operations, a mean that keeps its axes."""
    image = keras.Input((18, 14, 3))
    x = layers.Conv2D(6, 3, 2, padding="same", activation="relu")(image)
    x = layers.BatchNormalization()(layers.MaxPooling2D(3, 2, padding="same")(x))
    x = layers.Add()([layers.SeparableConv2D(6, 3, padding="same")(x), x])
    x = keras.ops.relu(x) * 0.5 + 0.1
    x = layers.Conv2D(5, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(image, layers.Activation("softmax")(layers.Reshape((5,))(x)))


def nested() -> Any:
    """A model in a model, two results, a layer norm of vectors."""
    inner = keras.Input((None, None, 3))
    body = keras.Model(inner, layers.LeakyReLU()(layers.Conv2D(4, 3)(layers.Rescaling(0.5)(inner))))
    image = keras.Input((12, 10, 3))
    x = layers.Flatten()(layers.MaxPooling2D(2)(body(image, training=False)))
    x = layers.LayerNormalization()(layers.Dense(6)(x))
    return keras.Model(
        image, {"kind": layers.Dense(3)(x), "colour": layers.Dense(2, use_bias=False)(x)}
    )


def excited() -> Any:
    """Squeeze and excitation."""
    image = keras.Input((12, 12, 2))
    x = layers.Conv2D(4, 3, activation="relu")(image)
    y = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Conv2D(4, 1, activation="sigmoid")(y)])
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def uneven() -> Any:
    """Every second cell beside means of pairs: on images of odd sizes the first branch has a cell
    more.
    """
    image = keras.Input((6, 8, 2))
    x = layers.Concatenate()([layers.Conv2D(3, 1, 2)(image), layers.AveragePooling2D(2)(image)])
    x = layers.Add()([x, layers.LeakyReLU()(x)])
    return keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))


def cut() -> Any:
    """Crops behind strides, beside a pooling, and strided slices."""
    image = keras.Input((17, 19, 2))
    x = layers.Conv2D(4, 3, 2)(image)
    x = layers.Add()([layers.Cropping2D(((2, 0), (1, 1)))(x), layers.AveragePooling2D(3, 1)(x)])
    x = layers.ReLU()(x[:, 1::2, 2:-1])
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.CenterCrop(2, 3)(x))))


def flat(x: Any) -> Any:
    return layers.Dense(4)(layers.Flatten()(x))


SPELLINGS: dict[str, Callable[[Any], Any]] = {  # of what becomes of a map of 6 channels, 7 x 8
    "mean, then mean": lambda x: keras.ops.mean(keras.ops.mean(x, axis=2), axis=1),
    "mean of a view": lambda x: keras.ops.mean(layers.Reshape((56, 6))(x), axis=1),
    "mean of tokens": lambda x: layers.GlobalAveragePooling1D()(
        layers.LayerNormalization()(layers.Dense(6, "relu")(layers.Reshape((56, 6))(x)))
    ),
    "largest token": lambda x: layers.GlobalMaxPooling1D()(
        layers.BatchNormalization()(layers.Reshape((-1, 6))(x))
    ),
    "pooled to a size": lambda x: flat(
        layers.AdaptiveMaxPooling2D((7, 4))(layers.AdaptiveAveragePooling2D((7, 8))(x))
    ),
    "pooled to bins": lambda x: flat(layers.ReLU()(layers.AdaptiveAveragePooling2D((3, 5))(x))),
    "largest of bins": lambda x: flat(layers.AdaptiveMaxPooling2D((4, 3))(x)),
    "pooled to one cell": lambda x: flat(layers.AdaptiveAveragePooling2D(1)(x)),
    "maximum": lambda x: keras.ops.max(x, axis=(1, 2)),
    "minimum that keeps its axes": lambda x: layers.Flatten()(
        keras.ops.min(x, axis=[1, 2], keepdims=True)
    ),
    "sum": lambda x: keras.ops.sum(x, axis=(-3, -2)) * 0.02,
    "square": lambda x: keras.ops.sqrt(keras.ops.mean(x**2, axis=(1, 2))),
    "length": lambda x: keras.ops.norm(layers.Reshape((56, 6))(x), axis=1),
    "layer norm, spelled out": lambda x: flat(
        (x - keras.ops.mean(x, axis=-1, keepdims=True))
        / keras.ops.sqrt(keras.ops.var(x, axis=-1, keepdims=True) + 0.1)
    ),
    "root mean square": lambda x: flat(layers.RMSNormalization()(x)),
    "root mean square of vectors": lambda x: layers.RMSNormalization()(
        layers.GlobalAveragePooling2D()(x)
    ),
    "length one": lambda x: flat(layers.UnitNormalization()(x)),
    "length one of vectors": lambda x: keras.ops.normalize(layers.GlobalMaxPooling2D()(x), axis=-1),
    "columns before rows": lambda x: flat(layers.Permute((2, 1, 3))(x)),
    "MTCNN": lambda x: flat(layers.Permute((3, 2, 1))(x)),
    "channels first": lambda x: flat(keras.ops.transpose(x, (0, 3, 1, 2))),
    "map of tokens": lambda x: flat(
        layers.Conv2D(3, 3)(layers.Reshape((7, 8, 6))(layers.Reshape((56, 6))(x)))
    ),
    "every second cell": lambda x: flat(x[:, ::2, ::2]),
    "a crop": lambda x: flat(x[:, 1:4, -5:-1, 1:]),
    "one row": lambda x: keras.ops.mean(x[:, 3], axis=1),
    "the middle cell": lambda x: x[:, 3, 4, :],
}


def spelled(name: str) -> dict[str, Any]:
    """One spelling at native size and on a larger image."""
    image = keras.Input((9, 10, 3))
    x = SPELLINGS[name](layers.Conv2D(6, 3)(image))
    model = drawn(keras.Model(image, layers.Dense(3)(x)))
    network, report = convolutionalize(model, (3, 9, 10))
    proof = prove(
        model, network, report, np.random.default_rng(2).normal(size=(3, 14, 13)).astype(np.float32)
    )
    compared = ~np.isnan(proof.deviation)
    return {
        "holds": proof.holds,
        "difference": proof.native_difference,
        "cells": int(compared.sum()),
        "must": bool(proof.expected[compared].all()),
    }


def normed() -> Any:
    """Group normalisation of a map and of vectors, with a global response normalisation between."""
    image = keras.Input((12, 12, 2))
    x = layers.GroupNormalization(2)(layers.Conv2D(4, 3)(image))
    size = keras.ops.norm(x, axis=(1, 2), keepdims=True)
    x = x * (size / (keras.ops.mean(size, axis=-1, keepdims=True) + 1e-6)) + x
    x = layers.GroupNormalization(-1)(layers.Conv2D(4, 3)(x))
    return keras.Model(
        image, layers.Dense(3)(layers.GroupNormalization(2)(layers.GlobalAveragePooling2D()(x)))
    )


def over_mean(size: Any) -> Any:
    return size / (keras.ops.mean(size, axis=-1, keepdims=True) + 1e-6)


def responding() -> Any:
    """A global response normalisation of vectors, a mean of everything, and both again on a map of
    one cell.
    """
    image = keras.Input((12, 12, 2))
    x = layers.Conv2D(4, 3)(image)
    for kernel in (3, 8):
        x = x * layers.Reshape((1, 1, 4))(over_mean(keras.ops.norm(x, axis=(1, 2)))) + x
        x = layers.Conv2D(4, kernel)(x * keras.ops.mean(x, axis=(1, 2, 3), keepdims=True))
    x = x * over_mean(keras.ops.sqrt(keras.ops.sum(x**2, axis=(1, 2), keepdims=True))) + x
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


CASES: dict[str, tuple[Callable[[], Any], tuple[int, int, int], str | None]] = {
    "lenet": (lenet, (1, 20, 24), None),
    "same": (same, (3, 18, 14), None),
    "nested": (nested, (3, 12, 10), None),
    "uneven": (uneven, (2, 6, 8), None),
    "cut": (cut, (2, 17, 19), None),
    "local": (excited, (2, 12, 12), "local"),
    "norm local": (normed, (2, 12, 12), "local"),
    "norm global": (normed, (2, 12, 12), "global"),
    "global": (excited, (2, 12, 12), "global"),
    "response local": (responding, (2, 12, 12), "local"),
    "response global": (responding, (2, 12, 12), "global"),
}


def drawn(model: Any) -> Any:
    """The model with random statistics."""
    generator = np.random.default_rng(0)
    for weight in model.weights:
        if "variance" in weight.path:
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif "kernel" not in weight.path:
            weight.assign(generator.normal(0.1, 0.3, weight.shape))
    return model


def check(name: str, folder: Path) -> dict[str, Any]:
    """What is measured of one model."""
    make, shape, se = CASES[name]
    model = drawn(make())
    network, report = convolutionalize(model, shape, se=se)
    image = (
        np.random.default_rng(1)
        .normal(size=(shape[0], shape[1] + 5, shape[2] + 6))
        .astype(np.float32)
    )
    proofs = [
        prove(model, network, report, image, head=output) for output in range(len(report.outputs))
    ]
    found: dict[str, Any] = {
        "holds": [proof.holds for proof in proofs],
        "difference": max(proof.native_difference for proof in proofs),
        "exact": [int(proof.exact.sum()) for proof in proofs],
        "expected": [int(proof.expected.sum()) for proof in proofs],
        "cells": [int(np.sum(~np.isnan(proof.deviation))) for proof in proofs],
        "framework": report.framework,
    }
    if len(proofs) == 1:
        path = folder / f"{name}.keras"
        model.save(path)
        made, _ = transpose(path, shape, se=se)
        found["coarse"] = prove(model, made, report, image).holds
        made.save(folder / "network.keras")
        again = load(folder / "network.keras")
        data = image.transpose(1, 2, 0)[None]
        first, second = (keras.ops.convert_to_numpy(entry(data)) for entry in (made, again))
        found["shape"], found["size"] = first.shape[1:3], data.shape[1:3]
        found["saved"] = bool(np.array_equal(first, second))
        found["classes"] = transpose(model, shape, se=se, classes=2)[0].output_shape[-1]
    return found


def densified(name: str) -> dict[str, Any]:
    """Cells without padding, at every pixel where the model pads nowhere."""
    make, shape, se = CASES[name]
    model = drawn(make())
    image = (
        np.random.default_rng(1)
        .normal(size=(shape[0], shape[1] + 5, shape[2] + 6))
        .astype(np.float32)
    )
    network, report = convolutionalize(model, shape, se=se, dense="shift_and_stitch")
    proofs = [
        prove(model, network, report, image, head=output) for output in range(len(report.outputs))
    ]
    return {
        "holds": [proof.holds for proof in proofs],
        "expected": [int(proof.expected.sum()) for proof in proofs],
        "cells": proofs[0].deviation.shape,
    }


def valid() -> dict[str, Any]:
    """Valid cells of an image, alone and inside a larger one."""
    make, shape, se = CASES["same"]
    network, report = convolutionalize(drawn(make()), shape, se=se, dense="valid")
    call = runner(network)
    world = np.random.default_rng(1).normal(size=(1, 3, 80, 80)).astype(np.float32)
    inside, alone = call(world), call(world[:, :, 16:-16, 16:-16])
    rows, columns = alone.shape[2:]
    at = 16 // int(report.outputs[0].stride[0])
    part = inside[:, :, at : at + rows, at : at + columns]
    return {"cells": min(rows, columns), "difference": float(np.abs(part - alone).max())}


def joined(name: str, decoder: str, folder: Path) -> dict[str, Any]:
    """A decoder that lifts features beside the scores, before training."""
    make, shape, se = CASES[name]
    model = drawn(make())
    image = (
        np.random.default_rng(1)
        .normal(size=(1, shape[0], shape[1] + 5, shape[2] + 6))
        .astype(np.float32)
    )
    plain, made = (transpose(model, shape, se=se, decoder=kind)[0] for kind in ("fcn", decoder))
    before, after = (runner(network, coarse=False)(image) for network in (plain, made))
    made.save(folder / "joined.keras")
    again = runner(load(folder / "joined.keras"), coarse=False)(image)
    head = made.get_layer("features_scores")
    generator = np.random.default_rng(0)
    head.set_weights([generator.normal(size=weight.shape) for weight in head.get_weights()])
    trained = runner(made, coarse=False)(image)
    return {
        "adds": float(np.abs(after - before).max()),
        "saved": bool(np.array_equal(after, again)),
        "size": after.shape[2:] == image.shape[2:],
        "reach": float(np.abs(trained - after).min()),
    }


def icnr() -> float:
    """How far the start near repetition is from repetition."""
    image = np.random.default_rng(1).normal(size=(1, 1, 24, 30)).astype(np.float32)
    model = lenet()
    made = [transpose(model, (1, 20, 24), init=init)[0] for init in ("icnr", "nearest")]
    first, second = (runner(network, coarse=False)(image) for network in made)
    return float(np.abs(first - second).max())


def refusals() -> dict[str, str]:
    """What models without a rule get."""
    image = keras.Input((8, 8, 2))
    tokens = layers.Softmax(axis=1)(layers.Reshape((36, 4))(layers.Conv2D(4, 3)(image)))
    x = layers.Conv2D(4, 3)(image)
    matrix = layers.GlobalAveragePooling2D()(
        x * keras.ops.norm(x, ord=2, axis=(1, 2), keepdims=True)
    )
    said: dict[str, str] = {}
    for name, model in {
        "tokens": keras.Model(
            image, layers.Dense(2)(layers.GlobalAveragePooling1D()(tokens)), name="tokens"
        ),
        "excited": excited(),
        "responding": responding(),
        "matrix": keras.Model(image, layers.Dense(2)(matrix), name="matrix"),
    }.items():
        try:
            _ = convolutionalize(model, tuple(model.input_shape[axis] for axis in (3, 1, 2)))
        except RefusedError as refusal:
            said[name] = str(refusal)
    return said


def rescored() -> dict[str, Any]:
    """Another number of scores from a layer that is called twice, and where each score has a weight
    behind it.
    """
    image = keras.Input((8, 8, 2))
    vector = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    dense = layers.Dense(4)
    twice = keras.Model(image, dense(dense(vector)), name="twice")
    weighed = keras.Model(image, layers.PReLU()(layers.Dense(4)(vector)), name="weighed")
    said = ""
    try:
        _ = transpose(weighed, (2, 8, 8), classes=2)
    except RefusedError as refusal:
        said = str(refusal)
    return {"twice": transpose(twice, (2, 8, 8), classes=3)[0].output_shape[-1], "weighed": said}


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    place = Path(sys.argv[1])
    results = {name: check(name, place) for name in CASES}
    more = {
        "spelled": {name: spelled(name) for name in SPELLINGS},
        "densified": {name: densified(name) for name in ("lenet", "nested", "uneven", "cut")},
        "valid": valid(),
        "joined": [
            joined(name, kind, place) for name in ("same", "uneven") for kind in ("unet", "linknet")
        ],
        "icnr": icnr(),
        "rescored": rescored(),
    }
    print(
        json.dumps(
            {**more, "cases": results, "refusals": refusals(), "backend": keras.backend.backend()}
        )
    )
