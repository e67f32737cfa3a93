"""The prepared network is the trained one, and tiles leave no seam."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="road networks are PyTorch modules")
pytest.importorskip("safetensors", reason="checkpoints are safetensors files")

import torch
from torch import fx, nn

from backstride.pictures.picture import read_picture
from backstride.roads.prediction.folding import folded
from backstride.roads.prediction.predictor import LEVELS, levels
from backstride.roads.prediction.torch_predictor import TorchPredictor
from roads.prediction.networks import POOLED, SMALL, as_images, network, pictures


@pytest.mark.parametrize("encoder", [SMALL, POOLED, "resnet34"])
def test_the_prepared_network_is_the_trained_one(encoder: str) -> None:
    trained = network(encoder)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in trained.modules())
    prepared = TorchPredictor(trained)
    found = pictures(2, 96, 130)
    with torch.no_grad():
        expected = trained(as_images(found)).softmax(1)[:, 1].numpy()
        exact = copy.deepcopy(trained).double()(as_images(found).double()).softmax(1)[:, 1].numpy()
    assert expected.std() > 0.05
    rounding = float(
        np.abs(expected - exact).max()
    )  # of single precision, in the network as it was trained
    assert rounding < 2e-5
    np.testing.assert_allclose(prepared(found), exact, rtol=0, atol=2 * rounding)
    assert norms > 20
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.network.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in trained.modules()) == norms


def test_a_norm_whose_convolution_others_read_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y + self.norm(y)

    traced = fx.symbolic_trace(Twice()).eval()
    made = folded(traced)
    assert any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    image = torch.randn(1, 3, 5, 5)
    torch.testing.assert_close(made(image), traced(image))


def test_more_than_two_classes() -> None:
    trained = network(SMALL, 4)
    found = pictures(1, 64, 64)
    with torch.no_grad():
        expected = trained(as_images(found)).softmax(1).numpy()
    np.testing.assert_allclose(
        TorchPredictor(trained, classes=4)(found), expected, rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("encoder", "size"), [(SMALL, (700, 650)), (POOLED, (930, 870))])
def test_tiles_give_what_the_whole_picture_gives(encoder: str, size: tuple[int, int]) -> None:
    predictor = TorchPredictor(network(encoder))
    found = pictures(1, *size)
    whole = levels(predictor, found, 2048).astype(int)
    tile = 2 * predictor.known.margin + predictor.known.stride
    done: list[tuple[int, int]] = []
    tiled = levels(predictor, found, tile, lambda at, total: done.append((at, total)))
    assert done[-1][0] == done[-1][1] > 1
    assert abs(tiled - whole).max() <= 1e-4 * LEVELS
    assert abs(levels(predictor, found, 2048).astype(int) - whole).max() == 0  # nothing stays held


def test_poolings_that_are_not_settled_would_be_noticed() -> None:
    predictor = TorchPredictor(network(POOLED))
    found = pictures(1, 930, 900)
    found[:, 450:] //= 4
    whole = levels(predictor, found, 2048).astype(int)
    tile = 2 * predictor.known.margin + predictor.known.stride
    predictor.known = dataclasses.replace(predictor.known, pooled=False)
    assert abs(levels(predictor, found, tile) - whole).max() > 1e-3 * LEVELS


def test_a_picture_below_the_native_size() -> None:
    predictor = TorchPredictor(network())
    found = pictures(2, 20, 500)
    grown = np.pad(found, ((0, 0), (0, 12), (0, 0), (0, 0)), mode="edge")
    np.testing.assert_array_equal(levels(predictor, found), levels(predictor, grown)[:, :20])


def test_memory_decides_on_tiles() -> None:
    predictor = TorchPredictor(network())
    found = pictures(1, 640, 620)
    tiles = 2 * predictor.known.margin + predictor.known.stride
    sizes: list[int] = []

    class Small(TorchPredictor):
        def free(self) -> int:
            return tiles * tiles * predictor.known.floats * 8

        def __call__(self, pictures: np.ndarray) -> np.ndarray:
            sizes.append(pictures.shape[1])
            return super().__call__(pictures)

    narrow = Small(network())
    assert abs(levels(narrow, found).astype(int) - levels(predictor, found)).max() <= 1e-4 * LEVELS
    assert max(sizes) <= tiles + predictor.known.stride
    assert len(sizes) > 3


def test_messages() -> None:
    predictor = TorchPredictor(network())
    with pytest.raises(
        ValueError,
        match=r"^`tile` \(=40\) must be at least 544: this network's labels look 256 pix",
    ):
        _ = levels(predictor, pictures(1, 90, 90), 40)
    with pytest.raises(
        ValueError, match=r"^`network` \(=Linear\) holds nothing that backstride.transpose made$"
    ):
        _ = TorchPredictor(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r'^`device` \(=\'tpu\'\) must be "cpu" or "cuda"$'):
        _ = TorchPredictor(network(), "tpu")
    if not torch.cuda.is_available():
        with pytest.raises(
            ValueError,
            match=r'^`device` \(="cuda"\) is not there: PyTorch sees no GPU; the nearest',
        ):
            _ = TorchPredictor(network(), "cuda")


FRAMES = os.environ.get("BACKSTRIDE_ROADS_FRAMES", "")


@pytest.mark.skipif(not FRAMES, reason="BACKSTRIDE_ROADS_FRAMES names no folder of real frames")
def test_tiles_of_a_real_frame() -> None:
    file = min(path for path in Path(FRAMES).iterdir() if path.suffix == ".jpg")
    found = read_picture(file)[None]
    predictor = TorchPredictor(network())
    whole = levels(predictor, found, 4096).astype(int)
    assert abs(levels(predictor, found, 544) - whole).max() <= 1e-4 * LEVELS


def test_prediction_with_onnx_loads_no_pytorch() -> None:
    code = (
        "import sys, backstride.roads.prediction, backstride.roads.prediction.onnx_predictor\n"
        "import backstride.cli.roads.predict, backstride.pictures.cluster\n"
        "print('torch' in sys.modules, 'av' in sys.modules, 'ray' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["False"] * 3
