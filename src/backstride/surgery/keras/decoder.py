"""The decoder as Keras layers behind the fully convolutional classifier."""

from __future__ import annotations

from backstride.layout import AnyArray
from backstride.surgery.decoding.assembly import assemble
from backstride.surgery.decoding.decoder import Decoder, Init, Step
from backstride.surgery.decoding.features import lifts
from backstride.surgery.decoding.influence import influence
from backstride.surgery.decoding.starts import among
from backstride.surgery.keras.layers import Coarse, CropLike, Padding
from backstride.surgery.keras.library import Model, Tensor, keras
from backstride.surgery.keras.operations import which_softmax
from backstride.surgery.keras.reader import KerasReading
from backstride.surgery.keras.writer import KerasWriter
from backstride.surgery.model.values import Rewriting

COARSE, RESULT = "backstride_coarse", "backstride_result"


def segmenter(
    reading: KerasReading, rewriting: Rewriting, decoder: Decoder, *, freeze: bool
) -> Model:
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
    fine = [*(writer.find(tap.node) for tap in decoder.taps), writer.image]
    maps = (
        Coarse(known, name=COARSE)(writer.find(decoder.top)),
        writer.find(decoder.features if ways else decoder.top),
    )
    scores = assemble(_Parts(count, decoder.init), decoder, ways, maps, fine)
    if softmax is not None:
        scores = keras.layers.Activation(which_softmax(softmax), name=RESULT)(scores)
    return Model(writer.image, scores, name=reading.model.name)


class _Parts:
    """The parts of a decoder as Keras layers."""

    def __init__(self, classes: int, init: Init) -> None:
        self._classes = classes
        self._init: Init = init

    def climb(
        self, maps: Tensor, step: Step, channels: int, fine: Tensor, name: str, *, mixing: bool
    ) -> Tensor:
        """Repeat the border, transpose-convolve, crop; Keras has no groups of channels there."""
        _ = mixing
        extended = Padding(step.extend, name=f"extend_{name}")(maps)
        up = keras.layers.Conv2DTranspose(
            channels, step.kernel, step.factor, padding="valid", use_bias=False, name=f"up_{name}"
        )
        full = up(extended)
        up.set_weights([among(step, channels, self._init, _normal).transpose(2, 3, 1, 0)])
        return CropLike(step.crop, name=f"crop_{name}")([full, fine])

    def convolve(self, maps: Tensor, channels: int, width: int, kernel: int, name: str) -> Tensor:
        """A layer of `width` filters, which knows its channels."""
        _ = channels
        activation = "relu" if kernel > 1 else None
        return keras.layers.Conv2D(width, kernel, padding="same", activation=activation, name=name)(
            maps
        )

    def score(self, maps: Tensor, channels: int, name: str) -> Tensor:
        """A layer of zeros."""
        _ = channels
        return keras.layers.Conv2D(self._classes, 1, kernel_initializer="zeros", name=name)(maps)

    def meet(self, maps: Tensor, others: Tensor, name: str, *, beside: bool = False) -> Tensor:
        """A layer of its own."""
        return (keras.layers.Concatenate if beside else keras.layers.Add)(name=name)([maps, others])


def _normal(shape: tuple[int, ...]) -> AnyArray:
    return keras.ops.convert_to_numpy(keras.random.normal(shape))
