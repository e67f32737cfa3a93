"""Networks of others, from their published descriptions, at three lengths of input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch_models import Builder, Built, Entry, generator

TAPS = 12  # of the low-pass filters


class Filtered(nn.Module):
    """BigVGAN's activation.

    Twice as many samples, x + sin^2(a x) / b, and back, each through a low-pass filter.
    """

    kernel: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.zeros(1, width, 1))
        self.share = nn.Parameter(torch.zeros(1, width, 1))
        # A windowed sinc that passes half of the frequencies, with a transition of 0.6 (Kaiser's
        # rule for the window).
        attenuation = 2.285 * (TAPS // 2 - 1) * math.pi * 0.6 + 7.95
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
        times = torch.arange(TAPS) - (TAPS - 1) / 2
        kernel = torch.kaiser_window(TAPS, periodic=False, beta=beta) * torch.sinc(times / 2)
        self.register_buffer("kernel", (kernel / kernel.sum()).repeat(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        width, half = len(self.kernel), TAPS // 2
        x = functional.pad(x, (half, half), mode="replicate")
        x = (
            2
            * functional.conv_transpose1d(x, self.kernel, stride=2, groups=width)[
                ..., 3 * half - 1 : 1 - 3 * half
            ]
        )
        x = x + torch.sin(torch.exp(self.rate) * x) ** 2 / (torch.exp(self.share) + 1e-9)
        x = functional.pad(x, (half - 1, half), mode="replicate")
        return functional.conv1d(x, self.kernel, stride=2, groups=width)


class Periodic(nn.Module):
    """A stack of dilated convolutions between filtered activations."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(
                Filtered(width),
                nn.Conv1d(width, width, taps, padding=dilation * (taps // 2), dilation=dilation),
                Filtered(width),
                nn.Conv1d(width, width, taps, padding=taps // 2),
            )
            for dilation in (1, 3, 5)
        )

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = x + step(x)
        return x


class Mean(nn.Module):
    """The mean of several branches."""

    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.branches]).mean(0)


def bigvgan(small: bool, frames: int) -> Built:
    """A generator of the base kind, a quarter as wide.

    16 frames of 80 mel bands to 4096 samples.
    """
    width = 16 if small else 128
    layers: list[nn.Module] = [nn.Conv1d(80, width, 7, padding=3)]
    for stride in (8, 8, 2, 2):
        width //= 2
        up = nn.ConvTranspose1d(2 * width, width, 2 * stride, stride, stride // 2)
        layers += [up, Mean([Periodic(width, taps) for taps in (3, 7, 11)])]
    layers += [Filtered(width), nn.Conv1d(width, 1, 7, padding=3), nn.Tanh()]
    model = nn.Sequential(*layers)
    for module in list(model.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            _ = parametrizations.weight_norm(module)
    return model, (torch.randn(1, 80, 2 if small else frames),)


class Conditioned(nn.Module):
    """VITS's decoder: the first convolution sees the speaker, later ones have weight norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, *rest = generator(192, width, ((8, 16), (8, 16), (2, 4), (2, 4)))
        self.first, self.rest = first, nn.Sequential(*rest)
        self.speaker = nn.Conv1d(256, width, 1)
        for module in list(self.rest.modules()):
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and module.out_channels > 1:
                _ = parametrizations.weight_norm(module)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        return self.rest(self.first(x) + self.speaker(speaker))


def vits(small: bool, frames: int) -> Built:
    """Frames of 192 channels, 256 samples each."""
    return Conditioned(16 if small else 512), (
        torch.randn(1, 192, 2 if small else frames),
        torch.randn(1, 256, 1),
    )


class Spectrogram(nn.Module):
    """SpeechT5's vocoder takes (N, frames, bands), and norms each band."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean, self.scale = nn.Parameter(torch.zeros(80)), nn.Parameter(torch.ones(80))
        self.generator = generator(80, width, ((4, 8), (4, 8), (4, 8), (4, 8)))

    def forward(self, x: Tensor) -> Tensor:
        return self.generator(((x - self.mean) / self.scale).transpose(1, 2)).squeeze(1)


def speecht5(small: bool, frames: int) -> Built:
    """Four upsamplings by 4."""
    return Spectrogram(16 if small else 512), (torch.randn(1, 2 if small else frames, 80),)


def unit(one: int, two: int, *, stride: int = 1, last: bool = False) -> nn.Sequential:
    """A 3x3 convolution, batch norm and PReLU; the convolution alone at the end of the network."""
    conv = nn.Conv2d(one, two, 3, stride, 1)
    return nn.Sequential(conv) if last else nn.Sequential(conv, nn.BatchNorm2d(two), nn.PReLU())


class ResidualUnit(nn.Module):
    """Units with a convolution beside them."""

    def __init__(self, one: int, two: int, units: nn.Sequential, stride: int = 1) -> None:
        super().__init__()
        self.units = units
        self.beside: Any = nn.Identity()
        if stride > 1 or one != two:
            self.beside = nn.Conv2d(
                one, two, 3 if stride > 1 else 1, stride, 1 if stride > 1 else 0
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.units(x) + self.beside(x)


class Level(nn.Module):
    """Half the size, what is below, both joined, and back by a 3x3 transpose of stride 2."""

    def __init__(self, outer: int, data: int, widths: Sequence[int]) -> None:
        super().__init__()
        inner, top = widths[0], data != outer
        self.down = ResidualUnit(
            data, inner, nn.Sequential(unit(data, inner, stride=2), unit(inner, inner)), 2
        )
        if len(widths) > 2:
            self.below: nn.Module = Level(inner, inner, widths[1:])
            joined = 2 * inner
        else:
            deep = widths[1]
            self.below = ResidualUnit(
                inner, deep, nn.Sequential(unit(inner, deep), unit(deep, deep))
            )
            joined = inner + deep
        up = nn.ConvTranspose2d(joined, outer, 3, 2, 1, 1)
        self.up = nn.Sequential(up, nn.BatchNorm2d(outer), nn.PReLU())
        self.smooth = ResidualUnit(outer, outer, unit(outer, outer, last=top))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return self.smooth(self.up(torch.cat([x, self.below(x)], 1)))


def monai(small: bool, size: int) -> Built:
    """Five levels from 16 channels, two units a level, three classes, batch 1."""
    widths = (4, 4, 8) if small else (16, 32, 64, 128, 256)
    return Level(3, 1, widths), (torch.randn(1, 1, *(16, 16) if small else (size, size)),)


class Demucs(nn.Module):
    """A separator of waveforms.

    Strided convolutions, an LSTM of both directions, and transposed ones.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [1, *(width * 2**level for level in range(depth))]
        pairs = list(itertools.pairwise(widths))
        self.encoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(one, two, 8, 4), nn.ReLU(), nn.Conv1d(two, 2 * two, 1), nn.GLU(1)
            )
            for one, two in pairs
        )
        self.memory = nn.LSTM(widths[-1], widths[-1], 2, bidirectional=True)
        self.linear = nn.Linear(2 * widths[-1], widths[-1])
        self.decoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(two, 2 * two, 3, padding=1),
                nn.GLU(1),
                nn.ConvTranspose1d(two, 4 if one == 1 else one, 8, 4),
                nn.Identity() if one == 1 else nn.ReLU(),
            )
            for one, two in reversed(pairs)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for layer in self.encoder:
            x = layer(x)
            kept.append(x)
        x = self.linear(self.memory(x.permute(2, 0, 1))[0]).permute(1, 2, 0)
        for layer in self.decoder:
            x = layer(x + kept.pop())
        return x


def demucs(small: bool, cells: int) -> Built:
    """32 channels, depth 4; `cells` reach the LSTM."""
    depth = 2 if small else 4
    length = 3 if small else cells
    for _ in range(depth):
        length = 4 * (length - 1) + 8
    return Demucs(4 if small else 32, depth), (torch.randn(1, 1, length),)


def _sized(
    name: str, build: Callable[[bool, int], Built], source: str, sizes: tuple[int, ...]
) -> tuple[Entry, ...]:
    def at(size: int) -> Builder:
        return lambda small: build(small, size)

    return tuple(Entry(name.format(size), at(size), source, decoder_heavy=False) for size in sizes)


MODELS = (
    *_sized(
        "BigVGAN-like, {} frames", bigvgan, "Lee et al., arXiv 2206.04658, section 3", (16, 64, 256)
    ),
    *_sized(
        "VITS decoder, {} frames", vits, "Kim et al., arXiv 2106.06103, section 2.5", (8, 32, 100)
    ),
    *_sized("SpeechT5 HiFi-GAN, {} frames", speecht5, "Ao et al., arXiv 2110.07205", (8, 32, 100)),
    *_sized(
        "MONAI U-Net 2-D, {} pixels",
        monai,
        "Kerfoot et al., LNCS 11395, 2019, figure 1",
        (64, 128, 256),
    ),
    *_sized(
        "Demucs, depth 4, {} cells",
        demucs,
        "Defossez et al., arXiv 1911.13254, section 4",
        (16, 63, 250),
    ),
)
