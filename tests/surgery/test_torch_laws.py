"""One law in the many spellings that people write: each equals the classifier at native size and
cell by cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.surgery import RefusedError, convolutionalize, prove
from surgery.classifiers import Calls

loose: Any = torch  # some of it is untyped
Forward = Callable[[Tensor, Any], Tensor]
SIZE = (7, 8)  # of the map of 6 channels that each spelling gets
CELLS = SIZE[0] * SIZE[1]


def vector(function: Callable[[Tensor], Tensor]) -> Forward:
    """A head on a vector of 6 features."""
    return lambda x, layers: layers["head"](function(layers["conv"](x)))


def flattened(function: Callable[[Tensor], Tensor]) -> Forward:
    """A head on a whole map, of 6 channels unless it says otherwise."""
    return lambda x, layers: layers["whole"](function(layers["conv"](x)).flatten(1))


def spelled(x: Tensor, layers: Any) -> Tensor:
    """LayerNorm2d as ConvNeXt's authors wrote it."""
    y = layers["conv"](x)
    mean = y.mean(1, keepdim=True)
    spread = (y - mean).pow(2).mean(1, keepdim=True)
    y = (y - mean) / torch.sqrt(spread + 1e-6)
    y = layers["norm"].weight[:, None, None] * y + layers["norm"].bias[:, None, None]
    return layers["head"](y.mean((-2, -1)))


def generalised(x: Tensor, layers: Any) -> Tensor:
    """GeM pooling (arXiv 1711.02512)."""
    y = layers["conv"](x).clamp(min=1e-6).pow(3.0)
    return layers["head"](F.avg_pool2d(y, (y.size(-2), y.size(-1))).pow(1.0 / 3.0).flatten(1))


def cosine(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x).mean((2, 3))
    return 16 * F.linear(F.normalize(y), F.normalize(layers["head"].weight))


def cosine_of_map(x: Tensor, layers: Any) -> Tensor:
    return F.linear(
        layers["conv"](x).flatten(1),
        F.normalize(layers["whole"].weight, dim=1),
        layers["whole"].bias,
    )


def product(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x).amax((2, 3))
    y = y / loose.linalg.vector_norm(y, dim=1, keepdim=True)
    return y @ layers["head"].weight.t() + layers["head"].bias


def rms(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x)
    y = (
        y
        * torch.rsqrt(y.square().mean(1, keepdim=True) + 1e-6)
        * layers["norm"].weight.view(1, -1, 1, 1)
    )
    y = layers["rms"](y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return layers["head"](layers["rms"](y.mean((2, 3))))


def tokens(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x).flatten(2).transpose(1, 2)
    y = y + layers["mix"](F.gelu(layers["norm"](y)))
    return layers["head"](layers["norm"](y).mean(dim=1))


def focus(x: Tensor, layers: Any) -> Tensor:
    """YOLOv5's first layer."""
    x = x[:, :, 1:]
    y = torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
    return layers["head"](layers["four"](y).mean((2, 3)))


def gated(x: Tensor, layers: Any) -> Tensor:
    y = F.dropout2d(F.glu(layers["conv"](x), dim=1), 0.3, training=layers.training)
    return layers["three"](y.mean((2, 3)))


def skipping(mode: str, *, stated: bool) -> Forward:
    """A U-shaped classifier that grows to the size of its skip, which the image's size may not
    allow.
    """

    def forward(x: Tensor, layers: Any) -> Tensor:
        y = layers["conv"](x)[:, :, :6]
        coarse = F.max_pool2d(y, 2)
        options: Any = {"size": y.shape[-2:]} if stated else {"scale_factor": 2}
        grown = F.interpolate(coarse, mode=mode, **options)
        return layers["head"]((y * grown).mean((2, 3)))

    return forward


UPSAMPLING: dict[str, Forward] = {
    f"{mode} by {'size' if stated else 'factor'}": skipping(mode, stated=stated)
    for mode in ("nearest", "bilinear", "bicubic")
    for stated in (True, False)
}
UPSAMPLING["shuffle"] = lambda x, layers: layers["one"](
    F.pixel_shuffle(layers["even"](layers["conv"](x)), 2).mean((2, 3))
)
SPELLINGS: dict[str, Forward] = {
    "mean, then mean": vector(lambda y: y.mean(3).mean(2)),
    "mean of rows, then of columns": vector(lambda y: y.mean(2, keepdim=True).mean(3).squeeze(2)),
    "mean of a flattened map": vector(lambda y: y.flatten(2).mean(-1)),
    "mean of a view": vector(lambda y: y.view(y.size(0), y.size(1), -1).mean(dim=2)),
    "mean of tokens": vector(lambda y: y.flatten(2).transpose(1, 2).mean(1)),
    "mean of channels last": vector(lambda y: y.permute(0, 2, 3, 1).mean((1, 2))),
    "mean of channels last, step by step": vector(lambda y: y.permute(0, 2, 3, 1).mean(1).mean(1)),
    "amax": vector(lambda y: torch.amax(y, dim=(2, 3))),
    "max, then max": vector(lambda y: y.max(dim=3)[0].max(2).values),
    "max of a view": vector(lambda y: torch.max(y.view(y.size(0), 6, -1), 2)[0]),
    "min": vector(lambda y: y.flatten(2).min(-1)[0]),
    "sum": vector(lambda y: y.sum((2, 3)) / CELLS),
    "sum, then sum": vector(lambda y: y.sum(-1).sum(-1) * 0.01),
    "length": vector(lambda y: loose.norm(y.flatten(2), dim=2)),
    "vector_norm": vector(lambda y: loose.linalg.vector_norm(y, 1, dim=(2, 3)) * 0.1),
    "square": vector(lambda y: (y**2).mean((2, 3)).sqrt()),
    "adaptive and mean": vector(lambda y: F.adaptive_max_pool2d(y, 1).squeeze() + y.mean([2, 3])),
    "max beside mean": vector(lambda y: y.max(2)[0].max(2)[0] + y.mean((2, 3))),
    "generalised mean": generalised,
    "mean of channels": flattened(lambda y: y * y.mean(1, keepdim=True)),
    "mean of channels, then unsqueeze": flattened(lambda y: y - y.mean(1).unsqueeze(1)),
    "largest channel": flattened(lambda y: y - y.max(1, keepdim=True)[0]),
    "largest of channels "
    "last": flattened(lambda y: (z := y.permute(0, 2, 3, 1)) - z.max(-1, keepdim=True).values),
    "variance of "
    "channels": flattened(lambda y: y / (y.var(1, keepdim=True, unbiased=False) + 1).sqrt()),
    "length one": flattened(lambda y: F.normalize(y, dim=1)),
    "length one of vectors": vector(lambda y: F.normalize(y.mean((2, 3)))),
    "length one of channels last": flattened(lambda y: F.normalize(y.permute(0, 2, 3, 1), dim=-1)),
    "layer norm, spelled out": spelled,
    "root mean square": rms,
    "cosine": cosine,
    "cosine of a flattened map": cosine_of_map,
    "product with a stored matrix": product,
    "tokens": tokens,
    "columns before rows": flattened(lambda y: y.permute(0, 3, 2, 1).contiguous()),
    "columns and rows exchanged": flattened(lambda y: y.transpose(2, 3)),
    "rows, channels, columns": flattened(lambda y: y.transpose(1, 2)),
    "channels last, turned": flattened(lambda y: y.permute(0, 2, 3, 1).permute(0, 2, 1, 3)),
    "split channels, flattened": flattened(lambda y: y.view(-1, 2, 3, *SIZE).transpose(1, 2)),
    "every second "
    "cell": lambda x, layers: layers["quarter"](layers["conv"](x)[:, :, ::2, ::2].flatten(1)),
    "a crop": lambda x, layers: layers["crop"](layers["conv"](x)[:, :, 1:4, -6:-1].flatten(1)),
    "a crop of "
    "two": lambda x, layers: layers["crop"](layers["conv"](x).narrow(2, 2, 3)[..., 1:6].flatten(1)),
    "every second "
    "channel": lambda x, layers: layers["three"](layers["conv"](x)[:, ::2].mean((2, 3))),
    "one row": lambda x, layers: layers["head"](layers["conv"](x)[:, :, 3].mean(2)),
    "the middle cell": vector(lambda y: y[:, :, 3, 4]),
    "pooled to a size that does not divide": lambda x, layers: layers["crop"](
        F.adaptive_avg_pool2d(layers["conv"](x), (3, 5)).relu().flatten(1)
    ),
    "maxima of a size that does not divide": lambda x, layers: layers["quarter"](
        torch.flatten(F.adaptive_max_pool2d(F.avg_pool2d(layers["conv"](x), 2), (4, 4)), 1)
    ),
    "focus": focus,
    "positions as channels": lambda x, layers: layers["head"](
        layers["four"](F.pixel_unshuffle(x[:, :, 1:], 2)).mean((2, 3))
    ),
    "gated linear unit": gated,
    "gated linear unit of "
    "vectors": lambda x, layers: layers["three"](F.glu(layers["conv"](x).mean((2, 3)))),
}  # fmt: skip


def model(name: str) -> nn.Module:
    generator = torch.get_rng_state()
    loose.manual_seed(3)
    layers = {
        "conv": nn.Conv2d(3, 6, 3),
        "four": nn.Conv2d(12, 6, 2),
        "mix": nn.Linear(6, 6),
        "norm": nn.LayerNorm(6),
    }
    layers |= {"even": nn.Conv2d(6, 4, 1)}
    heads = {"head": 6, "one": 1, "three": 3, "whole": 6 * CELLS, "quarter": 6 * 16, "crop": 6 * 15}
    layers |= {key: nn.Linear(count, 4) for key, count in heads.items()} | {"rms": nn.RMSNorm(6)}
    made = Calls((SPELLINGS | UPSAMPLING)[name], **layers)
    for layer in (layers["norm"], layers["rms"]):
        for weight in layer.parameters():
            _ = weight.data.uniform_(0.5, 1.5)
    torch.set_rng_state(generator)
    return made.eval()


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_equal_the_classifier_on_every_crop(name: str) -> None:
    classifier = model(name)
    network, report = convolutionalize(classifier, (3, 9, 10))
    x = torch.randn(3, 3, 9, 10)
    torch.testing.assert_close(network(x)[:, :, 0, 0], classifier(x), rtol=1e-5, atol=1e-5)
    proof = prove(classifier, network, report, torch.randn(3, 14, 15))
    assert proof.holds
    assert not report.padded
    compared = ~torch.isnan(torch.as_tensor(proof.deviation)).numpy()
    assert compared.sum() > 5
    assert proof.expected[compared].all()


@pytest.mark.parametrize("name", UPSAMPLING)
def test_upsampling_inside_is_a_transposed_convolution(name: str) -> None:
    """Equal at native size, and where crops start at multiples of the coarse stride and no border
    is read.
    """
    classifier = model(name)
    network, report = convolutionalize(classifier, (3, 9, 10))
    x = torch.randn(3, 3, 9, 10)
    torch.testing.assert_close(network(x)[:, :, 0, 0], classifier(x), rtol=1e-5, atol=1e-5)
    image = torch.randn(1, 3, 16, 17)
    cells = network(image)
    bare = name.startswith(("nearest", "shuffle"))
    assert bool(report.padded) == (not bare)
    if bare:
        for row in range(0, 6, 2):
            crop = image[:, :, row : row + 9, 4:14]
            at = (2 * row, 8) if name == "shuffle" else (row, 4)
            torch.testing.assert_close(
                cells[0, :, at[0], at[1]], classifier(crop)[0], rtol=1e-5, atol=1e-5
            )


def test_other_sizes_and_aligned_corners_have_no_law() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](
            F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True).mean((2, 3))
        )

    with pytest.raises(
        RefusedError, match="interpolate: resizes to 8 x 8, by no whole factor that all sizes have"
    ):
        _ = convolutionalize(Calls(forward, head=nn.Linear(3, 2)), (3, 4, 4))


def test_a_vgg_of_small_images_spreads_its_last_cell() -> None:
    """At 32 pixels the map has one cell, which torchvision's VGG pools to 7 x 7."""
    body = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(4, 5, 7)]
    vgg = nn.Sequential(
        *body,
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(5 * 49, 6),
        nn.ReLU(),
        nn.Linear(6, 2),
    )
    for dense in ("padded", "shift_and_stitch"):
        network, report = convolutionalize(vgg.eval(), (3, 32, 32), dense=dense)
        assert report.rewrites[0].result == "bins of means 1x1"
        proof = prove(vgg, network, report, torch.randn(3, 45, 41))
        assert proof.holds
        assert proof.expected.sum() >= 12


def test_bins_are_stitched() -> None:
    layers = (
        nn.Conv2d(3, 4, 3),
        nn.MaxPool2d(2),
        nn.AdaptiveMaxPool2d((3, 2)),
        nn.Flatten(),
        nn.Linear(24, 2),
    )
    model = nn.Sequential(*layers).eval()
    network, report = convolutionalize(model, (3, 12, 12), dense="shift_and_stitch")
    proof = prove(model, network, report, torch.randn(3, 17, 15))
    assert proof.holds
    assert proof.expected.sum() == 6 * 4


def test_bins_are_flattened_with_their_channels_last() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool, self.head = (
                nn.Conv2d(3, 6, 3),
                nn.AdaptiveAvgPool2d((3, 4)),
                nn.Linear(72, 4),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.pool(self.conv(x)).permute(0, 2, 3, 1).relu().flatten(1))

    model = Turned().double().eval()
    image = torch.randn(3, 13, 14, dtype=torch.float64)
    for dense in ("padded", "shift_and_stitch"):
        network, report = convolutionalize(model, (3, 10, 11), dense=dense)
        proof = prove(model, network, report, image)
        assert proof.holds
        assert proof.expected.all()
