"""The decoder as a PyTorch module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import fx, nn

from backstride.initializers import bilinear
from backstride.surgery.decoder import Decoder, Step
from backstride.surgery.torch_reader import TorchReading
from backstride.surgery.torch_writer import Writer
from backstride.surgery.values import Rewriting


class Segmenter(nn.Module):
    """A classifier that labels every pixel: (N, C, H, W) to (N, classes, H, W), for H and W from the native size on.

    `backbone`: the fully convolutional classifier; it gives the coarse scores and the tapped maps.
    `skips`: a 1x1 score layer for each tap, zero at first. `ups`: a transposed convolution for each
    step, bilinear at first. All are named by the stride they lead to, the last by `image`.
    """

    def __init__(self, backbone: fx.GraphModule, decoder: Decoder, native: Sequence[int], classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.native = tuple(native)
        self.steps = decoder.steps
        like = next(backbone.parameters())
        self.skips = nn.ModuleDict({tap.key: _zero_score(tap.channels, classes, like) for tap in decoder.taps})
        self.ups = nn.ModuleDict({step.key: _bilinear(step, classes, like) for step in decoder.steps})
        self.result: nn.Module = nn.Identity()

    def coarse(self, image: torch.Tensor) -> torch.Tensor:
        """The scores before the decoder, (N, classes, h, w)."""
        return self.backbone(image)[0]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores of every pixel."""
        self._check(image)
        scores, *taps = self.backbone(image)
        for step, tap in zip(self.steps, (*taps, None), strict=True):
            size = (image if tap is None else tap).shape[2:]
            scores = climb(scores, self.ups[step.key], step, size)
            if tap is not None:
                scores = scores + self.skips[step.key](tap)
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


def climb(scores: torch.Tensor, up: nn.Module, step: Step, size: Sequence[int]) -> torch.Tensor:
    """Lift scores to `size` cells: repeat the border, transpose-convolve, crop."""
    (top, bottom), (left, right) = step.extend
    extended = F.pad(scores, (left, right, top, bottom), mode="replicate")
    full: torch.Tensor = up(extended)
    (row, column), (rows, columns) = step.crop, size
    return full[:, :, row : row + rows, column : column + columns]


def segmenter(reading: TorchReading, rewriting: Rewriting, decoder: Decoder, classes: int | None) -> Segmenter:
    """Write the backbone and put the decoder on it."""
    rescored = {} if classes is None else {decoder.score: classes}
    writer = Writer(reading, rewriting, rescored)
    backbone = writer.write((decoder.top, *(tap.node for tap in decoder.taps)))
    native = rewriting.graph.input.shape
    count = classes or rewriting.graph[decoder.score].shape[0]
    network = Segmenter(backbone, decoder, native, count)
    if decoder.softmax is not None:
        network.result = nn.LogSoftmax(1) if writer.is_log_softmax(decoder.softmax) else nn.Softmax(1)
    for module in (network, network.result, *network.skips.modules(), *network.ups.modules()):
        module.training = reading.model.training
    return network


def _zero_score(channels: int, classes: int, like: torch.Tensor) -> nn.Conv2d:
    layer = nn.Conv2d(channels, classes, 1, device=like.device, dtype=like.dtype)
    _ = nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    _ = nn.init.zeros_(layer.bias)
    return layer


def _bilinear(step: Step, classes: int, like: torch.Tensor) -> nn.ConvTranspose2d:
    layer = nn.ConvTranspose2d(
        classes,
        classes,
        (step.kernel[0], step.kernel[1]),
        (step.factor[0], step.factor[1]),
        bias=False,
        device=like.device,
        dtype=like.dtype,
    )
    kernel = bilinear(step.kernel, step.factor, classes, data_format="channels_first", dtype="float64")
    with torch.no_grad():
        _ = layer.weight.copy_(torch.as_tensor(kernel))
    return layer
