"""The applier for ONNX.

Read a model or its file, write the network, put a decoder on it, run either.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import onnx

from backstride.surgery.decoding.decoder import Decoder
from backstride.surgery.model.heads import Choice
from backstride.surgery.model.values import Rewriting
from backstride.surgery.onnx.decoder import segmenter
from backstride.surgery.onnx.file import checked, load
from backstride.surgery.onnx.quantised import unquantised
from backstride.surgery.onnx.reader import OnnxReading, read
from backstride.surgery.onnx.runner import runner
from backstride.surgery.onnx.writer import OnnxWriter
from backstride.surgery.proving.proof import Run


class OnnxApplier:
    """What `surgery.applier.Applier` asks for, for onnx.ModelProto and files of one."""

    framework: ClassVar[str] = "ONNX"

    def read(self, model: object, input_shape: tuple[int, ...], choice: Choice) -> OnnxReading:
        """Work out the shapes of the graph."""
        return read(_loaded(model), _name(model), input_shape, choice)

    def write(self, reading: OnnxReading, rewriting: Rewriting) -> onnx.ModelProto:
        """The fully convolutional model."""
        return OnnxWriter(reading, rewriting).write()

    def segment(
        self, reading: OnnxReading, rewriting: Rewriting, decoder: Decoder, *, freeze: bool
    ) -> onnx.ModelProto:
        """The fully convolutional model with a decoder.

        There is no training here to freeze weights in.
        """
        if freeze:
            message = "`freeze` (=True) must be False for ONNX models, which hold no gradients"
            raise ValueError(message)
        return segmenter(reading, rewriting, decoder)

    def runner(self, model: object, output: int) -> Run:
        """Run a model on NumPy arrays."""
        return runner(_loaded(model), output)


def _loaded(model: object) -> onnx.ModelProto:
    found = (
        checked(model, _name(model)) if isinstance(model, onnx.ModelProto) else load(_path(model))
    )
    return unquantised(found)


def _name(model: object) -> str:
    return (
        (model.graph.name or "model") if isinstance(model, onnx.ModelProto) else _path(model).name
    )


def _path(model: object) -> Path:
    assert isinstance(model, str | Path)
    return Path(model)
