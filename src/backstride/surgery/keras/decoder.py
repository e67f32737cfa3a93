"""The decoder as Keras layers behind the fully convolutional classifier."""

from __future__ import annotations

from collections.abc import Sequence

from backstride.layout import AnyArray
from backstride.surgery.decoding.decoder import Decoder, Init, Step
from backstride.surgery.decoding.features import Lift, lifts
from backstride.surgery.decoding.influence import influence
from backstride.surgery.decoding.starts import among
from backstride.surgery.keras.layers import Coarse, CropLike, Padding
from backstride.surgery.keras.library import Model, Tensor, keras
from backstride.surgery.keras.operations import which_softmax
from backstride.surgery.keras.reader import KerasReading
from backstride.surgery.keras.writer import KerasWriter
from backstride.surgery.model.values import Rewriting

COARSE, RESULT = "backstride_coarse", "backstride_result"


def segmenter(reading: KerasReading, rewriting: Rewriting, decoder: Decoder, *, freeze: bool) -> Model:
    """Write the classifier and the decoder behind it: (N, H, W, C) to (N, H, W, classes)."""
    softmax = next((call for call in reading.calls.calls if call.name == decoder.softmax), None)
    inside = decoder.softmax is not None and decoder.top == f"{decoder.softmax}/scores"
    writer = KerasWriter(reading, rewriting, bare=decoder.softmax or "" if inside else "")
    writer.write_calls()
    count = decoder.classes
    if freeze:
        writer.freeze(decoder.score)
    ways = lifts(decoder, rewriting.graph, count)
    known = influence(rewriting.graph, decoder.top, count, ways).to_json()
    fine = [writer.find(tap.node) for tap in decoder.taps]
    scores = Coarse(known, name=COARSE)(writer.find(decoder.top))
    for step, target in zip(decoder.steps, (*fine, writer.image), strict=True):
        scores = _climb(scores, step, count, target, init=decoder.init, name=step.key)
        if target is not writer.image and not ways:
            scores = keras.layers.Add(name=f"sum_{step.key}")([scores, _zero_score(target, count, f"skip_{step.key}")])
    if ways:
        features = _features(writer.find(decoder.features), [*fine, writer.image], ways, decoder.init)
        scores = keras.layers.Add(name="sum_features")([scores, _zero_score(features, count, "features_scores")])
    if softmax is not None:
        scores = keras.layers.Activation(which_softmax(softmax), name=RESULT)(scores)
    return Model(writer.image, scores, name=reading.model.name)


def _features(features: Tensor, fine: Sequence[Tensor], ways: tuple[Lift, ...], init: Init) -> Tensor:
    """The features behind the scores, lifted to the image and joined with the taps on the way."""
    for lift, target in zip(ways, fine, strict=True):
        name = f"features_{lift.step.key}"
        features = keras.layers.Conv2D(lift.width, 1, name=f"{name}_narrow")(features)
        features = _climb(features, lift.step, lift.width, target, init=init, name=name)
        if lift.tap is not None and len(lift.blocks) > 1:
            features = keras.layers.Concatenate(name=f"{name}_joined")([features, target])
        elif lift.tap is not None:
            beside = keras.layers.Conv2D(lift.width, 1, name=f"{name}_tap")(target)
            features = keras.layers.Add(name=f"{name}_joined")([features, beside])
        for place in range(len(lift.blocks)):
            layer = keras.layers.Conv2D(lift.width, 3, padding="same", activation="relu", name=f"{name}_{place}")
            features = layer(features)
    return features


def _climb(maps: Tensor, step: Step, channels: int, fine: Tensor, *, init: Init, name: str) -> Tensor:
    """Lift maps to the cells of `fine`: repeat the border, transpose-convolve, crop."""
    extended = Padding(step.extend, name=f"extend_{name}")(maps)
    up = keras.layers.Conv2DTranspose(
        channels, step.kernel, step.factor, padding="valid", use_bias=False, name=f"up_{name}"
    )
    full = up(extended)
    up.set_weights([among(step, channels, init, _normal).transpose(2, 3, 1, 0)])
    return CropLike(step.crop, name=f"crop_{name}")([full, fine])


def _zero_score(maps: Tensor, classes: int, name: str) -> Tensor:
    return keras.layers.Conv2D(classes, 1, kernel_initializer="zeros", name=name)(maps)


def _normal(shape: tuple[int, ...]) -> AnyArray:
    return keras.ops.convert_to_numpy(keras.random.normal(shape))
