"""The applier for PyTorch: read a module, write the network, put a decoder on it, run either."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from backstride.surgery.decoding.decoder import Decoder
from backstride.surgery.model.heads import Choice
from backstride.surgery.model.values import Rewriting
from backstride.surgery.proving.proof import Run
from backstride.surgery.torch.decoder import segmenter
from backstride.surgery.torch.reader import TorchReading, read, refuse_hooks
from backstride.surgery.torch.runner import runner
from backstride.surgery.torch.writer import TorchWriter


class TorchApplier:
    """What `surgery.applier.Applier` asks for, for torch.nn.Module."""

    framework: ClassVar[str] = "PyTorch"

    def read(self, model: object, input_shape: tuple[int, ...], choice: Choice) -> TorchReading:
        """Trace the module."""
        return read(_module(model), input_shape, choice)

    def write(self, reading: TorchReading, rewriting: Rewriting) -> nn.Module:
        """The fully convolutional module."""
        refuse_hooks(reading, rewriting)
        return TorchWriter(reading, rewriting).write()

    def segment(
        self, reading: TorchReading, rewriting: Rewriting, decoder: Decoder, *, freeze: bool
    ) -> nn.Module:
        """The fully convolutional module with a decoder."""
        refuse_hooks(reading, rewriting)
        return segmenter(reading, rewriting, decoder, freeze=freeze)

    def runner(self, model: object, output: int) -> Run:
        """Run a module on NumPy arrays."""
        return runner(_module(model), output)


def _module(model: object) -> nn.Module:
    assert isinstance(model, nn.Module)
    return model
