"""The applier for Keras 3, on any backend.

Read a model or its file, write the network, add a decoder, run either.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from backstride.surgery.decoding.decoder import Decoder
from backstride.surgery.keras.decoder import segmenter
from backstride.surgery.keras.file import load
from backstride.surgery.keras.library import Model
from backstride.surgery.keras.reader import KerasReading, read
from backstride.surgery.keras.runner import runner
from backstride.surgery.keras.writer import KerasWriter
from backstride.surgery.model.heads import Choice
from backstride.surgery.model.values import Rewriting
from backstride.surgery.proving.proof import Run


class KerasApplier:
    """What `surgery.applier.Applier` asks for, for keras.Model and files of one."""

    framework: ClassVar[str] = "Keras"

    def read(self, model: object, input_shape: tuple[int, ...], choice: Choice) -> KerasReading:
        """Go through the calls of the model."""
        return read(_loaded(model), input_shape, choice)

    def write(self, reading: KerasReading, rewriting: Rewriting) -> Model:
        """The fully convolutional model."""
        return KerasWriter(reading, rewriting).write()

    def segment(
        self, reading: KerasReading, rewriting: Rewriting, decoder: Decoder, *, freeze: bool
    ) -> Model:
        """The fully convolutional model with a decoder."""
        return segmenter(reading, rewriting, decoder, freeze=freeze)

    def runner(self, model: object, output: int) -> Run:
        """Run a model on NumPy arrays."""
        return runner(_loaded(model), output)


def _loaded(model: object) -> Model:
    if isinstance(model, str | Path):
        return load(Path(model))
    assert isinstance(model, Model)
    return model
