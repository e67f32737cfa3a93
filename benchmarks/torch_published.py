"""Models as their authors publish them.

Weight norm at several lengths, weights made for each call, half precision.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch_models import MODELS as PAPERS
from torch_models import Builder, Entry, dcgan, hifigan, pix2pix
from torch_others import MODELS as OTHERS

Norm = Callable[[nn.Module], nn.Module]


class Snake(nn.Module):
    """x + sin^2(a x) / a, with an a for each channel (Ziyin et al., arXiv 2006.08195)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.ones(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(self.rate * x) ** 2 / (self.rate + 1e-9)


def hooked(layer: nn.Module) -> nn.Module:
    """Weight norm by a hook, as the vocoders were published."""
    with (
        warnings.catch_warnings(),
        torch.no_grad(),
    ):  # a weight that leads to no graph can be copied
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


def vocoder(small: bool, frames: int, norm: Norm) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """HiFi-GAN V1 with weight norm on every convolution, as its authors train and publish it."""
    model, _ = hifigan(small)
    return normed(model, norm), (torch.randn(1, 80, 4 if small else frames),)


def normed(model: nn.Module, norm: Norm) -> nn.Module:
    """A model with weight norm on every convolution."""
    for module in list(model.modules()):
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            _ = norm(module)
    return model


def oobleck(small: bool, cells: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The decoder of Stable Audio Open's autoencoder, half as wide.

    Snake, weight norm, 2048 samples a cell.
    """
    width = 16 if small else 1024
    layers: list[nn.Module] = [nn.Conv1d(64, width, 7, padding=3)]
    for stride in (8, 8, 4, 4, 2):
        layers += [
            Snake(width),
            nn.ConvTranspose1d(width, max(width // 2, 1), 2 * stride, stride, stride // 2),
        ]
        width = max(width // 2, 1)
        layers += [Dilated(width, dilation) for dilation in (1, 3, 9)]
    layers += [Snake(width), nn.Conv1d(width, 2, 7, padding=3)]
    return normed(nn.Sequential(*layers), parametrizations.weight_norm), (
        torch.randn(1, 64, 2 if small else cells),
    )


class Dilated(nn.Module):
    """A residual unit of a dilated and a pointwise convolution."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        dilated = nn.Conv1d(width, width, 7, padding=3 * dilation, dilation=dilation)
        self.unit = nn.Sequential(Snake(width), dilated, Snake(width), nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.unit(x)


def demucs(small: bool, seconds: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The decoder of Demucs v2: gated convolutions, and kernels of 8 taps at stride 4."""
    width, length = (64, 8) if small else (2048, -(-44100 * seconds // 4**6))
    layers: list[nn.Module] = []
    for step in range(6):
        narrow = 8 if step == 5 else width // 2
        layers += [
            nn.Conv1d(width, 2 * width, 3, padding=1),
            nn.GLU(1),
            nn.ConvTranspose1d(width, narrow, 8, 4),
        ]
        layers += [] if step == 5 else [nn.ReLU()]
        width //= 2
    return nn.Sequential(*layers), (torch.randn(1, 64 if small else 2048, length),)


class Modulated(nn.Module):
    """StyleGAN2's upsampling layer: a weight for each image, applied as groups."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(two, one, 3, 3))
        self.style = nn.Linear(64, one)

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        weight = self.weight[None] * self.style(latent)[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        images, channels, *size = x.shape
        kernels = weight.transpose(1, 2).flatten(0, 1)
        y = functional.conv_transpose2d(
            x.reshape(1, images * channels, *size), kernels, stride=2, groups=images
        )
        return functional.avg_pool2d(y.view(images, -1, *y.shape[2:]), 2, 1)


class StyleGan(nn.Module):
    """A chain of modulated layers from 4x4 cells."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Modulated(one, two) for one, two in itertools.pairwise(widths))

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        for layer in self.layers:
            x = functional.leaky_relu(layer(x, latent), 0.2)
        return x


def stylegan(small: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """StyleGAN2's upsampling layers from 4x4 to 128x128, batch 2."""
    widths = (8, 8, 4) if small else (512, 512, 512, 512, 256, 128)
    return StyleGan(widths), (torch.randn(2, widths[0], 4, 4), torch.randn(2, 64))


def lowered(build: Builder) -> Builder:
    """The same in bfloat16."""

    def made(small: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
        model, inputs = build(small)
        return model.bfloat16(), tuple(tensor.bfloat16() for tensor in inputs)

    return made


RADFORD, ISOLA = (
    "Radford et al., arXiv 1511.06434, figure 1",
    "Isola et al., arXiv 1611.07004, section 6.1",
)
NORMS: dict[str, Norm] = {"hook": hooked, "parametrized": parametrizations.weight_norm}
MODELS = (
    *PAPERS,
    *(
        Entry(
            f"HiFi-GAN V1, weight norm ({name}), {frames} frames",
            partial(vocoder, frames=frames, norm=norm),
            "Kong et al., arXiv 2010.05646; Salimans & Kingma, arXiv 1602.07868",
            False,
        )
        for name, norm in NORMS.items()
        for frames in (8, 32, 100)
    ),
    *(
        Entry(
            f"Oobleck decoder, {cells} cells",
            partial(oobleck, cells=cells),
            "Evans et al., arXiv 2407.14358",
            False,
        )
        for cells in (4, 16)
    ),
    Entry(
        "Demucs decoder, 2 s",
        partial(demucs, seconds=2),
        "Defossez et al., arXiv 1911.13254, section 4",
        False,
    ),
    Entry(
        "StyleGAN2 upsampling, batch 2",
        stylegan,
        "Karras et al., arXiv 1912.04958, section 2 and appendix B",
    ),
    Entry("DCGAN generator, batch 16, bfloat16", lowered(dcgan), RADFORD),
    Entry("pix2pix U-Net 256, bfloat16", lowered(pix2pix), ISOLA),
    Entry("DCGAN generator, batch 16, autocast", dcgan, RADFORD, autocast=True),
    Entry("pix2pix U-Net 256, autocast", pix2pix, ISOLA, autocast=True),
    *(
        Entry(f"pix2pix U-Net {size}, 32 channels", partial(pix2pix, base=32, size=size), ISOLA)
        for size in (128, 256)
    ),
    Entry(
        "pix2pix U-Net 128, 32 channels, bfloat16",
        lowered(partial(pix2pix, base=32, size=128)),
        ISOLA,
    ),
    *OTHERS,
)
