"""Keras layers by themselves, in a process of its own: `python keras_layers_worker.py FOLDER`;
prints one JSON line.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backstride.surgery import RefusedError, convolutionalize, prove, receptive_field

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
    return network(
        layers.RandomFlip(),
        layers.RandomRotation(0.2),
        layers.RandomContrast(0.5),
        layers.Solarization(),
    )


def largest() -> Any:
    """A global maximum before the dense layer."""
    image = keras.Input((12, 12, 3))
    return keras.Model(
        image, layers.Dense(3)(layers.GlobalMaxPooling2D()(layers.Conv2D(8, 3)(image)))
    )


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
    "given statistics": lambda: network(
        layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])
    ),
    "spectral": spectral,
    "augmented": augmented,
    "channel factors": lambda: network(layers.Rescaling([0.5, 0.25, 2.0], 1.0)),
    "largest": largest,
    "upsampled": lambda: network(layers.UpSampling2D((2, 3))),
    "cropped": lambda: network(layers.CenterCrop(9, 10)),
    "transposed": lambda: network(layers.Conv2DTranspose(5, 3, 2)),
    "transposed and cropped": lambda: network(
        layers.Conv2DTranspose(5, (3, 2), (2, 3), padding="same")
    ),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "an own class": lambda: network(Doubled(6, 3)),
    "an own call": replaced,
    "an adapter": adapter,
    "a factor for each pixel": lambda: network(layers.Rescaling(np.ones((12, 12, 3)))),
    "a kept aspect ratio": lambda: network(layers.Resizing(8, 16, crop_to_aspect_ratio=True)),
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


def grown(name: str, factor: int) -> dict[str, Any]:
    """Interpolation between two layers, with the cells at the border left out behind it."""
    kind, mode = name.split()
    cells = 8 * factor
    made_of: dict[str, Callable[[Any], Any]] = {
        "upsampling": layers.UpSampling2D(factor, interpolation=mode),
        "resizing": layers.Resizing(cells, cells, interpolation=mode),
        "operation": lambda x: keras.ops.image.resize(x, (cells, cells), interpolation=mode),
    }
    image = keras.Input((17, 17, 1))
    x = layers.Cropping2D(2 * factor)(made_of[kind](layers.Conv2D(4, 2, 2)(image)))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.ReLU()(x))))
    made, report = convolutionalize(model, (1, 17, 17))
    proof = prove(model, made, report, DRAWN.normal(size=(1, 23, 24)).astype(np.float32))
    compared = ~np.isnan(proof.deviation)
    right = bool(np.array_equal(proof.expected[compared], proof.exact[compared]))
    return {"holds": proof.holds, "right": right, "exact": int(proof.exact.sum())}


GROWN = [
    (f"{kind} {mode}", factor)
    for kind in ("upsampling", "resizing", "operation")
    for mode in ("nearest", "bilinear", "bicubic")
    for factor in (2, 3)
]


def layer(name: str, rank: int, *args: Any, up: bool = False, **options: Any) -> Any:
    """A layer of this rank; the third axis of a volume has no window."""
    spread = {
        key: tuple([*value] * min(rank, 2) + [1] * (rank == 3)) for key, value in options.items()
    }
    return getattr(layers, f"{name}{rank}D{'Transpose' * up}")(*args, **spread)


def both(pair: tuple[int, int], rank: int) -> Any:
    """A padding or crop of the first two axes."""
    return pair if rank == 1 else (pair, pair, (0, 0))[:rank]


STACKS: dict[str, Callable[[int], list[Any]]] = {
    "convolution": lambda rank: [
        layer("Conv", rank, 1, kernel_size=(3,), strides=(2,)),
        layer("Conv", rank, 1, kernel_size=(2,), dilation_rate=(3,)),
    ],
    "pooling": lambda rank: [
        layer("AveragePooling", rank, pool_size=(3,), strides=(2,)),
        layer("MaxPooling", rank, pool_size=(2,), strides=(1,)),
    ],
    "padded": lambda rank: [
        getattr(layers, f"ZeroPadding{rank}D")(both((2, 1), rank)),
        layer("Conv", rank, 1, kernel_size=(3,), strides=(2,)),
        getattr(layers, f"Cropping{rank}D")(both((0, 2), rank)),
        layers.Dense(1),
    ],
    "transposed": lambda rank: [
        layer("Conv", rank, 1, kernel_size=(3,)),
        layer("Conv", rank, 1, up=True, kernel_size=(5,), strides=(3,)),
    ],
    "vocoder": lambda rank: [
        layer("Conv", rank, 1, kernel_size=(7,)),
        layer("Conv", rank, 1, up=True, kernel_size=(8,), strides=(4,)),
        layers.LeakyReLU(),
        layer("Conv", rank, 1, kernel_size=(3,), dilation_rate=(3,)),
    ],
    "repeated": lambda rank: [
        layer("Conv", rank, 1, kernel_size=(2,), strides=(2,)),
        getattr(layers, f"UpSampling{rank}D")(2 if rank == 1 else (2, 2, 1)[:rank]),
    ],
    "causal": lambda _: [layers.Conv1D(1, 3, padding="causal", dilation_rate=2)],
}


def field(name: str, rank: int) -> dict[str, Any]:
    """Whether what moves a cell is its receptive field, of a network with positive weights."""
    side = 23
    sizes = (side, side + 1, 2)[:rank]
    stack = keras.Sequential([keras.Input((*sizes, 1)), *STACKS[name](rank)])
    stack.set_weights([np.ones_like(weight) for weight in stack.get_weights()])
    (output,) = receptive_field(stack, (1, *sizes))
    images = np.zeros((1 + side, *sizes, 1), np.float32)
    for place in range(side):
        images[1 + place, place] = 1
    results = keras.ops.convert_to_numpy(stack(images))[..., 0]
    seen = (np.abs(results[1:] - results[0]).reshape(side, results.shape[1], -1).max(2) > 0).T
    gaps: list[tuple[float, float]] = []
    within = True
    for cell, places in enumerate(seen):
        start = output.offset[0] + cell * output.stride[0] - (output.receptive_field[0] - 1) / 2
        end = start + output.receptive_field[0]
        first, last = int(np.flatnonzero(places)[0]), int(np.flatnonzero(places)[-1])
        within = within and start <= first <= last < end
        if start >= 0 and end <= side:
            gaps.append((float(first - start), float(end - last - 1)))
    return {
        "within": within,
        "size": len(output.size) == rank and output.size[0] == len(seen),
        "gap": max(min(gap) for gap in zip(*gaps, strict=True)),
        "most": max(map(max, gaps)),
        "bound": output.bound,
    }


FIELDS = [(name, rank) for name in STACKS for rank in (1, 2, 3) if name != "causal" or rank == 1]


def proved(model: Any, source: Any) -> dict[str, Any]:
    """What is measured of a model, read from itself or from its file."""
    made, report = convolutionalize(source, (3, 12, 12))
    image = DRAWN.normal(100, 30, (3, 12, 12)).astype(np.float32)
    data = image.transpose(1, 2, 0)[None]
    found, wanted = (
        keras.ops.convert_to_numpy(entry(data, training=False)) for entry in (made, model)
    )
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
    more = {
        "fields": {f"{name} {rank}": field(name, rank) for name, rank in FIELDS},
        "grown": {f"{name} {factor}": grown(name, factor) for name, factor in GROWN},
        "refused": {name: refusal(make()) for name, make in REFUSED.items()},
    }
    print(json.dumps({"borders": borders, "hold": found, **more}))
