from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from backstride.demo import classifier, training
from backstride.demo.scenes import CLASSES, Scenes
from backstride.surgery import transpose

_ = pytest.importorskip("torch", reason="the demo trains with PyTorch")


@pytest.fixture(name="network")
def transposed() -> Any:
    return transpose(classifier.build(), (1, 28, 28), classes=CLASSES)[0]


@pytest.fixture(name="scenes", scope="module")
def noise() -> Scenes:
    random = np.random.default_rng(0)
    images = random.random((9, 40, 40)).astype(np.float32)
    return Scenes(images, random.integers(0, CLASSES, images.shape).astype(np.uint8))


def tuned(network: Any, scenes: Scenes, *, whole: bool) -> list[float]:
    return training.tune(
        network,
        training.parts(network, "9"),
        scenes,
        whole=whole,
        steps=3,
        random=np.random.default_rng(1),
        on_step=lambda: None,
    )


def test_parts_split_all_parameters(network: Any) -> None:
    parts = training.parts(network, "9")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert {names[id(parameter)].split(".")[1] for parameter in parts.encoder} == {"0", "3", "7"}
    assert len(parts.encoder) + len(parts.decoder) == len(names)
    decoder = {names[id(parameter)] for parameter in parts.decoder}
    assert {"backbone.9.weight", "backbone.9.bias", "skips.1.weight", "ups.image.weight"} <= decoder


@pytest.mark.parametrize("whole", [False, True])
def test_encoder_moves_only_when_told(network: Any, scenes: Scenes, whole: bool) -> None:
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    losses = tuned(network, scenes, whole=whole)
    torch: Any = importlib.import_module("torch")
    moved = {
        name
        for name, parameter in network.named_parameters()
        if not torch.equal(parameter, before[name])
    }
    encoder = {
        name
        for name in before
        if name.startswith("backbone.") and not name.startswith("backbone.9.")
    }
    assert len(losses) == 3
    assert "backbone.9.weight" in moved
    assert (encoder <= moved) if whole else not (encoder & moved)


def test_batches_use_every_scene_before_any_twice() -> None:
    found = training.batches(9, 5, np.random.default_rng(0))
    assert [len(batch) for batch in found] == [4] * 5
    for at in (0, 2):
        assert len(set(np.concatenate(found[at : at + 2]).tolist())) == 8


def test_measured_on_every_pixel(network: Any, scenes: Scenes) -> None:
    assert training.tested(network, scenes).sum() == scenes.labels.size


def test_shifts_move_and_lose_nothing_else() -> None:
    images = np.zeros((50, 28, 28), np.float32)
    images[:, 14, 14] = 1
    moved = classifier.shifted(images, np.random.default_rng(0))
    places = np.argwhere(moved)
    assert places[:, 0].tolist() == list(range(50))
    assert {tuple(place) for place in (places[:, 1:] - 14).tolist()} <= {
        (a, b) for a in range(-2, 3) for b in range(-2, 3)
    }
    assert len(np.unique(places[:, 1:], axis=0)) > 10
