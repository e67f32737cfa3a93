"""Whole models with transposed convolutions, from their papers' layer tables, with random weights.

Each builder takes `small`, which divides channels and sizes so that a test can run it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, tuple[Tensor, ...]]
Builder = Callable[[bool], Built]


@dataclass(frozen=True)
class Entry:
    """A model's name, how to build it, its source, and whether it mostly decodes.

    `build_step` gives smaller data for a training step, `step` says which. `autocast`: it runs
    under that, to bfloat16.
    """

    name: str
    build: Builder
    source: str
    decoder_heavy: bool = True
    build_step: Builder | None = None
    step: str = ""
    autocast: bool = False

    @property
    def trained(self) -> str:
        """The name of the row of a training step."""
        return f"{self.name}, step of {self.step}" if self.step else self.name


def dcgan(small: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The generator for 64x64 images, batch 16."""
    base = 8 if small else 64
    widths = [100, base * 8, base * 4, base * 2, base]
    layers: list[nn.Module] = []
    for index, (one, two) in enumerate(itertools.pairwise(widths)):
        options = (4, 1, 0) if index == 0 else (4, 2, 1)
        layers += [
            nn.ConvTranspose2d(one, two, *options, bias=False),
            nn.BatchNorm2d(two),
            nn.ReLU(inplace=True),
        ]
    layers += [nn.ConvTranspose2d(base, 3, 4, 2, 1, bias=False), nn.Tanh()]
    return nn.Sequential(*layers), (torch.randn(2 if small else 16, 100, 1, 1),)


class UnetBlock(nn.Module):
    """pix2pix: down, what is inside, up, and the input beside the result."""

    def __init__(
        self, outer: int, inner: int, submodule: nn.Module | None, data: int | None = None
    ) -> None:
        super().__init__()
        down = nn.Conv2d(data or outer, inner, 4, 2, 1, bias=False)
        self.outermost = data is not None
        up = nn.ConvTranspose2d(
            inner if submodule is None else 2 * inner,
            3 if data else outer,
            4,
            2,
            1,
            bias=bool(data),
        )
        if self.outermost:
            layers = [down, submodule, nn.ReLU(), up, nn.Tanh()]
        elif submodule is None:
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, nn.BatchNorm2d(outer)]
        else:
            norms = nn.BatchNorm2d(inner), nn.BatchNorm2d(outer)
            layers = [nn.LeakyReLU(0.2), down, norms[0], submodule, nn.ReLU(), up, norms[1]]
        self.model = nn.Sequential(*(layer for layer in layers if layer is not None))

    def forward(self, x: Tensor) -> Tensor:
        y = self.model(x)
        return y if self.outermost else torch.cat([x, y], 1)


def pix2pix(small: bool, base: int = 64, size: int = 256) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The U-Net of 8 levels for 256x256 images; of 7 for 128x128."""
    base, size = (4, 32) if small else (base, size)
    block = UnetBlock(base * 8, base * 8, None)
    for _ in range(size.bit_length() - 6):
        block = UnetBlock(base * 8, base * 8, block)
    for outer, inner in ((4, 8), (2, 4), (1, 2)):
        block = UnetBlock(base * outer, base * inner, block)
    return UnetBlock(3, base, block, data=3), (torch.randn(1, 3, size, size),)


class Residual(nn.Module):
    """CycleGAN's block: two reflected 3x3 convolutions with instance norm, and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = (nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width))
        other = (nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width))
        self.layers = nn.Sequential(*half, nn.ReLU(inplace=True), *other)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def cyclegan(small: bool, size: int = 256) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The generator of 9 residual blocks for 256x256 images."""
    size = 32 if small else size
    base = 4 if small else 64
    layers: list[nn.Module] = [
        nn.ReflectionPad2d(3),
        nn.Conv2d(3, base, 7),
        nn.InstanceNorm2d(base),
        nn.ReLU(),
    ]
    for width in (base, 2 * base):
        layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
    layers += [Residual(4 * base) for _ in range(2 if small else 9)]
    for width in (4 * base, 2 * base):
        up = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1)
        layers += [up, nn.InstanceNorm2d(width // 2), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(base, 3, 7), nn.Tanh()]
    return nn.Sequential(*layers), (torch.randn(1, 3, size, size),)


def double(one: int, two: int, rank: int = 2) -> nn.Sequential:
    """Two 3x3 convolutions with ReLU, padded so that sizes stay."""
    conv: Any = nn.Conv2d if rank == 2 else nn.Conv3d
    return nn.Sequential(
        conv(one, two, 3, padding=1), nn.ReLU(), conv(two, two, 3, padding=1), nn.ReLU()
    )


class Unet(nn.Module):
    """The U-Net of 4 levels with 2x2 up-convolutions."""

    def __init__(self, base: int) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(5)]
        self.down = nn.ModuleList(double(*pair) for pair in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, 2) for width in reversed(widths[:-1])
        )
        self.join = nn.ModuleList(double(2 * width, width) for width in reversed(widths[:-1]))
        self.score = nn.Conv2d(base, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for level, layer in enumerate(self.down):
            x = layer(functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(kept[:-1]), strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        return self.score(x)


def unet(small: bool, size: int = 512) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """512x512."""
    size = 32 if small else size
    return Unet(4 if small else 64), (torch.randn(1, 1, size, size),)


class Fcn8s(nn.Module):
    """The head of FCN-8s on the maps of VGG16: scores, and three transposed convolutions."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(width, 21, 1) for width in widths)
        self.twice = nn.ConvTranspose2d(21, 21, 4, 2, bias=False)
        self.again = nn.ConvTranspose2d(21, 21, 4, 2, bias=False)
        self.eight = nn.ConvTranspose2d(21, 21, 16, 8, bias=False)

    def forward(self, pool3: Tensor, pool4: Tensor, fc7: Tensor) -> Tensor:
        x = self.twice(self.scores[2](fc7))
        height, width = x.shape[2:]
        x = self.again(x + self.scores[1](pool4)[:, :, 5 : 5 + height, 5 : 5 + width])
        height, width = x.shape[2:]
        return self.eight(x + self.scores[0](pool3)[:, :, 9 : 9 + height, 9 : 9 + width])[
            :, :, 31:-31, 31:-31
        ]


def fcn8s(small: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The maps of a 500x500 image, padded by 100 as in the paper."""
    widths = (8, 16, 32) if small else (256, 512, 4096)
    sizes = (36, 20, 4) if small else (88, 44, 16)
    return Fcn8s(widths), tuple(
        torch.randn(1, width, size, size) for width, size in zip(widths, sizes, strict=True)
    )


class Fusion(nn.Module):
    """HiFi-GAN's multi-receptive field: the mean of residual stacks of three kernel sizes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(
                    nn.LeakyReLU(0.1),
                    nn.Conv1d(
                        width, width, taps, padding=dilation * (taps // 2), dilation=dilation
                    ),
                    nn.LeakyReLU(0.1),
                    nn.Conv1d(width, width, taps, padding=taps // 2),
                )
                for dilation in (1, 3, 5)
            )
            for taps in (3, 7, 11)
        )

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for stack in self.stacks:
            y = x
            for layer in cast("nn.ModuleList", stack):
                y = y + layer(y)
            total = total + y
        return total / 3


def hifigan(small: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """V1: 86 frames of 80 mel bands to 1 second at 22,050 Hz."""
    model = generator(80, 16 if small else 512, ((8, 16), (8, 16), (2, 4), (2, 4)))
    return model, (torch.randn(1, 80, 4 if small else 86),)


def generator(bands: int, width: int, ups: tuple[tuple[int, int], ...]) -> nn.Sequential:
    """HiFi-GAN's generator; `ups`: stride and taps of the transposed convolutions."""
    layers: list[nn.Module] = [nn.Conv1d(bands, width, 7, padding=3)]
    for stride, taps in ups:
        up = nn.ConvTranspose1d(width, width // 2, taps, stride, (taps - stride) // 2)
        layers += [nn.LeakyReLU(0.1), up, Fusion(width // 2)]
        width //= 2
    layers += [nn.LeakyReLU(0.1), nn.Conv1d(width, 1, 7, padding=3), nn.Tanh()]
    return nn.Sequential(*layers)


class Decoder3d(nn.Module):
    """The expanding half of the 3-D U-Net.

    2x2x2 up-convolutions, joined with maps of the other half.
    """

    def __init__(self, base: int) -> None:
        super().__init__()
        widths = (8 * base, 4 * base, 2 * base)
        self.up = nn.ModuleList(nn.ConvTranspose3d(2 * width, 2 * width, 2, 2) for width in widths)
        self.join = nn.ModuleList(double(3 * width, width, 3) for width in widths)
        self.score = nn.Conv3d(2 * base, 3, 1)

    def forward(self, x: Tensor, *skips: Tensor) -> Tensor:
        for up, join, skip in zip(self.up, self.join, skips, strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        return self.score(x)


def unet3d(small: bool, depth: int = 4) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """From 512 channels of 4x8x8 to 32x64x64."""
    base = 2 if small else 32
    depth, side = (1, 2) if small else (depth, 2 * depth)
    shapes = [(1, 16 * base, depth, side, side)]
    shapes += [
        (1, base * 2**level, *(n * 2 ** (4 - level) for n in (depth, side, side)))
        for level in (3, 2, 1)
    ]
    return Decoder3d(base), tuple(torch.randn(shape) for shape in shapes)


def fsrcnn(small: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """FSRCNN(56, 12, 4), three times larger, from 85x85 as in Set5."""
    layers: list[nn.Module] = [
        nn.Conv2d(1, 56, 5, padding=2),
        nn.PReLU(56),
        nn.Conv2d(56, 12, 1),
        nn.PReLU(12),
    ]
    for _ in range(4):
        layers += [nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12)]
    layers += [nn.Conv2d(12, 56, 1), nn.PReLU(56), nn.ConvTranspose2d(56, 1, 9, 3, 4, 2)]
    return nn.Sequential(*layers), (torch.randn(1, 1, *(12, 12) if small else (85, 85)),)


MODELS = (
    Entry("DCGAN generator, batch 16", dcgan, "Radford et al., arXiv 1511.06434, figure 1"),
    Entry("pix2pix U-Net 256", pix2pix, "Isola et al., arXiv 1611.07004, section 6.1"),
    Entry(
        "CycleGAN generator 256",
        cyclegan,
        "Zhu et al., arXiv 1703.10593, section 7.2",
        False,
        partial(cyclegan, size=128),
        "128x128",
    ),
    Entry(
        "U-Net 512",
        unet,
        "Ronneberger et al., arXiv 1505.04597, figure 1",
        False,
        partial(unet, size=256),
        "256x256",
    ),
    Entry("FCN-8s head", fcn8s, "Long et al., arXiv 1411.4038, and voc-fcn8s/net.py"),
    Entry(
        "HiFi-GAN V1, 1 s",
        hifigan,
        "Kong et al., arXiv 2010.05646, appendix A",
        decoder_heavy=False,
    ),
    Entry(
        "3-D U-Net decoder",
        unet3d,
        "Cicek et al., arXiv 1606.06650, figure 2",
        False,
        partial(unet3d, depth=2),
        "2x4x4",
    ),
    Entry("FSRCNN x3", fsrcnn, "Dong et al., arXiv 1608.00367, section 3.3"),
)
