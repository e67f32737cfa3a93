"""The decoder as Keras layers behind the fully convolutional classifier."""

from __future__ import annotations

import importlib
from typing import Any

from backstride.initializers import bilinear, nearest
from backstride.surgery.decoder import Decoder, Step
from backstride.surgery.influence import influence
from backstride.surgery.keras_layers import Coarse, CropLike, Padding
from backstride.surgery.keras_operations import softmax_name
from backstride.surgery.keras_reader import KerasReading
from backstride.surgery.keras_writer import Writer
from backstride.surgery.values import Rewriting

keras: Any = importlib.import_module("keras")  # untyped

COARSE, RESULT = "backstride_coarse", "backstride_result"


def segmenter(
    reading: KerasReading, rewriting: Rewriting, decoder: Decoder, classes: int | None, *, freeze: bool
) -> Any:
    """Write the classifier and the decoder behind it: (N, H, W, C) to (N, H, W, classes)."""
    rescored = {} if classes is None else {decoder.score: classes}
    softmax = next((call for call in reading.calls.calls if call.name == decoder.softmax), None)
    inside = decoder.softmax is not None and decoder.top == f"{decoder.softmax}/scores"
    writer = Writer(reading, rewriting, rescored, bare=decoder.softmax or "" if inside else "")
    writer.write_calls()
    count = classes or rewriting.graph[decoder.score].shape[0]
    if freeze:
        writer.freeze(decoder.score)
    known = influence(rewriting.graph, decoder.top, count).to_json()
    scores: Any = Coarse(known, name=COARSE)(writer.find(decoder.top))
    for step, tap in zip(decoder.steps, (*decoder.taps, None), strict=True):
        fine = writer.image if tap is None else writer.find(tap.node)
        scores = _climb(scores, step, count, fine, decoder.init)
        if tap is not None:
            skip: Any = keras.layers.Conv2D(count, 1, kernel_initializer="zeros", name=f"skip_{step.key}")
            scores = keras.layers.Add(name=f"sum_{step.key}")([scores, skip(fine)])
    if softmax is not None:
        log = softmax_name(softmax) == "log_softmax" or type(softmax.operation).__name__ == "LogSoftmax"
        scores = keras.layers.Activation("log_softmax" if log else "softmax", name=RESULT)(scores)
    return keras.Model(writer.image, scores, name=reading.model.name)


def _climb(scores: Any, step: Step, classes: int, fine: Any, init: str) -> Any:
    """Lift scores to the cells of `fine`: repeat the border, transpose-convolve, crop."""
    extended = Padding(step.extend, name=f"extend_{step.key}")(scores)
    up: Any = keras.layers.Conv2DTranspose(
        classes, step.kernel, step.factor, padding="valid", use_bias=False, name=f"up_{step.key}"
    )
    full: Any = up(extended)
    make = bilinear if init == "bilinear" else nearest
    up.set_weights([make(step.kernel, step.factor, classes)])
    return CropLike(step.crop, name=f"crop_{step.key}")([full, fine])
