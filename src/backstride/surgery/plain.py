"""What the ONNX and Keras writers do not write is refused, with what they write instead."""

from __future__ import annotations

from backstride.surgery.decoder import Decoder
from backstride.surgery.dense import Densified


def check_dense(framework: str, dense: Densified | None) -> None:
    """Refuse other cells than the network's own."""
    if dense is not None:
        message = f'`dense` must be "padded" for {framework} models; "valid" and "shift_and_stitch" need PyTorch'
        raise ValueError(message)


def check_decoder(framework: str, decoder: Decoder) -> None:
    """Refuse decoders other than FCN's, and random starts."""
    if decoder.kind != "fcn":
        message = f'`decoder` (={decoder.kind!r}) must be "fcn" for {framework} models; the others need PyTorch'
        raise ValueError(message)
    if decoder.init == "icnr":
        message = f'`init` (="icnr") must be "bilinear" or "nearest" for {framework} models'
        raise ValueError(message)
