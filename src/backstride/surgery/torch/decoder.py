"""The decoder as a PyTorch module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx, nn

from backstride.surgery.decoding.decoder import Decoder
from backstride.surgery.decoding.features import lifts
from backstride.surgery.decoding.influence import Influence, influence
from backstride.surgery.model.values import Rewriting
from backstride.surgery.torch.fusion import Fusion, fusion, zero_score
from backstride.surgery.torch.reader import TorchReading
from backstride.surgery.torch.ups import climb, up_scores
from backstride.surgery.torch.writer import TorchWriter


class Segmenter(nn.Module):
    """A classifier that labels every pixel.

    (N, C, H, W) to (N, classes, H, W), for H and W from the native size on. `backbone`: the fully
    convolutional classifier; it gives the coarse scores and the tapped maps. `skips`: a 1x1 score
    layer for each tap, zero at first. `ups`: a transposed convolution for each step. All are named
    by the stride they lead to, the last by `image`. `fusion`: the features' way up beside the
    scores, in the decoders `unet` and `linknet`. `influence`: what tiling needs to know.
    """

    def __init__(
        self, backbone: fx.GraphModule, decoder: Decoder, native: Sequence[int], known: Influence
    ) -> None:
        super().__init__()
        self.influence = known
        self.backbone = backbone
        self.native = tuple(native)
        self.steps = decoder.steps
        classes = decoder.classes
        like = next(backbone.parameters())
        taps = decoder.taps if decoder.kind == "fcn" else ()
        self.skips = nn.ModuleDict(
            {tap.key: zero_score(tap.channels, classes, like) for tap in taps}
        )
        self.ups = nn.ModuleDict(
            {step.key: up_scores(step, classes, decoder.init, like) for step in decoder.steps}
        )
        self.fusion: Fusion | None = None
        self.result: nn.Module = nn.Identity()

    def coarse(self, image: torch.Tensor) -> torch.Tensor:
        """The scores before the decoder, (N, classes, h, w)."""
        return self.backbone(image)[0]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores of every pixel."""
        self._check(image)
        scores, *taps = self.backbone(image)
        features = taps.pop() if self.fusion is not None else scores
        for step, tap in zip(self.steps, (*taps, None), strict=True):
            scores = climb(
                scores, self.ups[step.key], step, (image if tap is None else tap).shape[2:]
            )
            if tap is not None and step.key in self.skips:
                scores = scores + self.skips[step.key](tap)
        if self.fusion is not None:
            scores = scores + self.fusion(features, taps, image.shape[2:])
        return self.result(scores)

    def _check(self, image: torch.Tensor) -> None:
        channels, *size = self.native
        fits = image.ndim == 4 and image.shape[1] == channels
        if not fits or any(have < least for have, least in zip(image.shape[2:], size, strict=True)):
            message = (
                f"`image` has shape {tuple(image.shape)}; it must be (N, {channels}, H, W) with "
                f"H >= {size[0]} and W >= {size[1]}, the classifier's size"
            )
            raise ValueError(message)


def segmenter(
    reading: TorchReading, rewriting: Rewriting, decoder: Decoder, *, freeze: bool = False
) -> Segmenter:
    """Write the backbone and put the decoder on it.

    `freeze` holds all of the classifier but its scores.
    """
    writer = TorchWriter(reading, rewriting)
    behind = () if decoder.kind == "fcn" else (decoder.features,)
    backbone = writer.write((decoder.top, *(tap.node for tap in decoder.taps), *behind))
    graph = rewriting.graph
    count = decoder.classes
    ways = lifts(decoder, graph, count)
    network = Segmenter(
        backbone, decoder, graph.input.shape, influence(graph, decoder.top, count, ways)
    )
    if ways:
        network.fusion = fusion(ways, decoder.init, count, next(backbone.parameters()))
    if decoder.softmax is not None:
        network.result = (
            nn.LogSoftmax(1) if writer.is_log_softmax(decoder.softmax) else nn.Softmax(1)
        )
    if freeze:
        _freeze(backbone, writer.module_name(decoder.score))
    for module in (network, network.result, *_new(network)):
        module.training = reading.model.training
    return network


def _new(network: Segmenter) -> list[nn.Module]:
    parts: list[nn.Module] = [
        network.skips,
        network.ups,
        *([network.fusion] if network.fusion is not None else []),
    ]
    return [module for part in parts for module in part.modules()]


def _freeze(backbone: nn.Module, score: str) -> None:
    for name, parameter in backbone.named_parameters():
        if name.rpartition(".")[0] != score:
            _ = parameter.requires_grad_(False)
