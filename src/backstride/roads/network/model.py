"""The road network.

An encoder, transposed by `backstride.transpose` into FCN-8s, fed as the encoder was trained.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from backstride.roads.config import ModelConfig, check_model
from backstride.roads.network.encoders import Encoder, encoder
from backstride.roads.network.weights import load_encoder
from backstride.surgery import Report, transpose
from backstride.torch import accelerate


class Network(nn.Module):
    """(N, 3, H, W), RGB from 0 to 1, to logits (N, classes, H, W), for H and W from `native` on.

    `segmenter`: what `backstride.transpose` gave. `report`: its report. `mean`, `std`: of what the
    encoder was trained on; `caffe`: BGR from 0 to 255 instead of RGB from 0 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, segmenter: nn.Module, report: Report, fed: Encoder) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.report = report
        self.native = report.input_shape
        self.caffe = fed.caffe
        self.register_buffer("mean", torch.tensor(fed.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(fed.std)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of every pixel."""
        if self.caffe:
            image = image.flip(1) * 255
        fed = (image - self.mean) / self.std
        return self.segmenter(fed.contiguous(memory_format=torch.channels_last))


def build(config: ModelConfig) -> nn.Module:
    """The network of a config.

    Its weights come from `config.weights` where that names a file, or else at random.

    >>> network = build(ModelConfig("mobilenetv3-minimal"))
    >>> network(torch.zeros(1, 3, 48, 96)).shape
    torch.Size([1, 2, 48, 96])

    Draws from torch's global stream. Before training, each step of the decoder is bilinear
    interpolation. Raises `ValueError` for what no encoder has, `ImportError` where its library is
    missing.
    """
    check_model(config)
    made = encoder(config)
    if config.weights:
        load_encoder(made.classifier, Path(config.weights))
    network, report = _transposed(made, config)
    road = Network(network, report, made)
    _ = cast("Callable[..., nn.Module]", road.to)(
        memory_format=torch.channels_last
    )  # its types know no formats
    # In evaluation, ordinary convolutions stay PyTorch's: what computes must not depend on the
    # steps before.
    return accelerate(road, convolutions="training", measure=False).model if config.engine else road


def _transposed(made: Encoder, config: ModelConfig) -> tuple[nn.Module, Report]:
    """By the first native size that has the taps."""

    def at(native: tuple[int, int, int]) -> tuple[nn.Module, Report]:
        return transpose(
            made.classifier.train(),
            native,
            classes=config.classes,
            skips=config.skips,
            decoder=config.decoder,
            init=config.init,
            se=config.se,
        )

    for native in made.natives[:-1]:
        try:
            return at(native)
        except ValueError:
            continue
    return at(made.natives[-1])


def encoder_parameters(
    network: nn.Module,
) -> tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]]:
    """The named parameters of the encoder, and those of the score layer and the decoder."""
    report: Report = vars(network)["report"]
    assert report.decoder is not None
    score = report.decoder.score.replace("_", ".")
    encoder_part: list[tuple[str, nn.Parameter]] = []
    decoder_part: list[tuple[str, nn.Parameter]] = []
    for name, parameter in network.named_parameters():
        layer = name.removeprefix("segmenter.backbone.").rpartition(".")[0]
        below = name.startswith("segmenter.backbone.") and layer.replace("_", ".") != score
        (encoder_part if below else decoder_part).append((name, parameter))
    return encoder_part, decoder_part
