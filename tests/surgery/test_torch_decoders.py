"""The decoders beside FCN, how transposed convolutions start, freezing, and the size of every
output.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.surgery import transpose
from surgery.classifiers import BY_NAME, CASES, Case, lenet

SINGLE = tuple(case for case in CASES if case.name != "heads")
each = pytest.mark.parametrize("case", SINGLE, ids=lambda case: case.name)
DECODERS = ("fcn", "unet", "linknet")
INITS = ("bilinear", "nearest", "icnr")


def small_resnet() -> nn.Module:
    return BY_NAME["resnet"].build()


def small_vgg() -> nn.Module:
    return BY_NAME["vgg"].build()


ARCHITECTURES: dict[str, Any] = {"vgg": (small_vgg, 32), "resnet": (small_resnet, 28)}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_output_has_the_images_size(name: str, decoder: Any) -> None:
    make, native = ARCHITECTURES[name]
    network, _ = transpose(make(), (3, native, native), classes=2, decoder=decoder)
    with torch.no_grad():
        for rows, columns in ((32, 200), (33, 61), (63, 64), (97, 95), (200, 47)):
            assert network(torch.zeros(1, 3, rows, columns)).shape == (1, 2, rows, columns)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "decoder"), list(product(ARCHITECTURES, DECODERS)))
def test_every_size_from_32_to_200(name: str, decoder: Any) -> None:
    make, native = ARCHITECTURES[name]
    network, _ = transpose(make(), (3, native, native), classes=2, decoder=decoder)
    with torch.no_grad():
        for rows in range(32, 201):
            columns = 232 - rows
            assert network(torch.zeros(1, 3, rows, columns)).shape == (1, 2, rows, columns)


@each
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("decoder", ["unet", "linknet"])
def test_before_training_features_add_nothing(case: Case, decoder: Any, init: Any) -> None:
    plain, _ = transpose(case.build(), case.shape, init=init)
    joined, _ = transpose(case.build(), case.shape, init=init, decoder=decoder)
    image = torch.randn(1, case.shape[0], case.shape[1] + 13, case.shape[2] + 6)
    missing = joined.load_state_dict(plain.state_dict(), strict=False).missing_keys
    with torch.no_grad():
        difference = joined(image) - plain(image)
    assert all(name.startswith(("fusion", "skips")) for name in missing)
    assert not difference.any()


@each
def test_nearest_gives_each_pixel_the_nearest_cell(case: Case) -> None:
    network, report = transpose(case.build(), case.shape, skips=(), init="nearest")
    image = torch.randn(1, case.shape[0], case.shape[1] + 17, case.shape[2] + 10)
    with torch.no_grad():
        values, wanted = network.coarse(image), network.result
        for axis, (stride, offset) in enumerate(
            zip(report.outputs[0].stride, report.outputs[0].offset, strict=True)
        ):
            places = (torch.arange(image.shape[axis + 2]) - float(offset)) / float(stride)
            cells = torch.floor(places + 0.5).long().clamp(0, values.shape[axis + 2] - 1)
            values = values.index_select(axis + 2, cells)
        assert torch.equal(network(image), wanted(values))


def test_icnr_starts_without_checkerboard() -> None:
    """Each cell's block of pixels has one value, and the classes are mixed a little."""
    network, report = transpose(lenet().eval(), (1, 28, 28), skips=(), init="icnr")
    image = torch.randn(1, 1, 60, 60)
    with torch.no_grad():
        coarse, result = network.coarse(image), network(image)
    stride = int(report.outputs[0].stride[0])
    first = 14 - stride // 2  # of the block whose middle is the first cell, at pixel 13.5
    blocks = result[:, :, first : first + 4 * stride, first : first + 4 * stride]
    blocks = blocks.unfold(2, stride, stride).unfold(3, stride, stride)
    assert torch.equal(blocks, blocks[..., :1, :1].expand_as(blocks))
    torch.testing.assert_close(blocks[..., 0, 0], coarse[:, :, :4, :4], rtol=0.5, atol=0.5)
    assert not torch.allclose(blocks[..., 0, 0], coarse[:, :, :4, :4])


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders_learn(decoder: Any) -> None:
    network, _ = transpose(lenet().train(), (1, 28, 28), classes=2, decoder=decoder)
    image = torch.randn(2, 1, 37, 41)
    labels = (image[:, 0] > 0).long()
    optimizer: Any = torch.optim.Adam(network.parameters(), lr=0.005)
    losses: list[float] = []
    for _ in range(10):
        optimizer.zero_grad()
        loss: Any = F.cross_entropy(network(image), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_frozen_classifier_trains_its_scores_and_the_decoder(decoder: Any) -> None:
    network, _ = transpose(lenet(), (1, 28, 28), classes=3, decoder=decoder, freeze=True)
    still = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert still == {
        f"backbone.{layer}.{part}" for layer in (0, 3, 7) for part in ("weight", "bias")
    }
    assert network.backbone.get_submodule("10").weight.requires_grad


def test_the_report_says_what_the_decoder_does() -> None:
    _, report = transpose(lenet(), (1, 28, 28), decoder="unet", init="nearest", skips=(2,))
    assert report.steps == (
        (
            "transposed convolution 2x2, stride 2x2, to stride 2, features beside 4 (ReLU), two "
            "3x3 convolutions; borders repeated 2 before and 3 after, crop 1"
        ),
        (
            "transposed convolution 2x2, stride 2x2, to the image; borders repeated 4 before and 4 "
            "after, crop 2"
        ),
        "1x1 scores of the features, zero at first, plus the scores",
    )


def test_a_network_with_features_can_be_copied_and_stored() -> None:
    network, _ = transpose(lenet().eval(), (1, 28, 28), decoder="linknet")
    again, _ = transpose(lenet().eval(), (1, 28, 28), decoder="linknet")
    with torch.no_grad():
        for parameter in network.parameters():
            _ = parameter.normal_()
    _ = again.load_state_dict(network.state_dict())
    image: Tensor = torch.randn(1, 1, 41, 33)
    assert torch.equal(again(image), network(image))
