from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from roads.toy import Toy

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")

from backstride.roads.config import ModelConfig, TrainConfig  # noqa: E402
from backstride.roads.network.model import build  # noqa: E402
from backstride.roads.training.optimise import (  # noqa: E402
    class_weights,
    frozen,
    groups_of,
    loss_of,
    optimiser_of,
    rate_at,
)


@pytest.fixture(name="network")
def small_network() -> Any:
    return build(ModelConfig("mobilenetv3-minimal"))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_decay_shrinks_kernels_and_nothing_else(network: Any, optimizer: str) -> None:
    """With gradients of zero, a step is the decay alone."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimiser_of(
        network, TrainConfig(optimizer=optimizer, rate=0.5, encoder_rate=0.25, decay=0.1)
    ).step()
    shrunk: set[bool] = set()
    for name, parameter in network.named_parameters():
        kernel = parameter.ndim > 1
        rate = 0.5 if "ups" in name or "skips" in name or "classifier.3" in name else 0.125
        wanted = before[name] * (1 - rate * 0.1) if kernel else before[name]
        assert torch.allclose(parameter, wanted, rtol=1e-6), name
        shrunk.add(kernel)
    assert shrunk == {True, False}
    assert "segmenter.ups.image.weight" in before


def test_without_decay_nothing_shrinks(network: Any) -> None:
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimiser_of(network, TrainConfig(decay=0.0)).step()
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_groups_hold_every_parameter_once(network: Any) -> None:
    groups = groups_of(network, TrainConfig(rate=1e-2, encoder_rate=0.1))
    assert [group["name"] for group in groups] == [
        "encoder kernels",
        "encoder others",
        "decoder kernels",
        "decoder others",
    ]
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 1e-3, 1e-2, 1e-2])
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_frozen_layers_are_not_trained(network: Any) -> None:
    held = frozen(network, ("features.0", "features.1"))
    assert held
    still = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert still
    assert all(
        name.startswith(("segmenter.backbone.features.0.", "segmenter.backbone.features.1."))
        for name in still
    )
    assert not any(name.startswith("segmenter.backbone.features.10") for name in still)
    count = sum(len(group["params"]) for group in groups_of(network, TrainConfig()))
    assert count == len(list(network.parameters())) - len(still)


def test_a_block_of_vgg16_is_frozen_by_its_name() -> None:
    network = build(ModelConfig("vgg16", head=8))
    _ = frozen(network, ("block1", "block2"))
    assert sum(not parameter.requires_grad for parameter in network.parameters()) == 8
    with pytest.raises(ValueError, match=r"^`freeze`") as caught:
        _ = frozen(network, ("block9",))
    assert str(caught.value) == (
        "`freeze` (='block9') begins the name of no layer of the encoder; legal are block1, "
        "block2, block3, block4, block5, conv6, relu6, dropout6, conv7, relu7, dropout7, score"
    )


def test_the_loss_is_the_mean_over_valid_pixels() -> None:
    logits = torch.randn(2, 2, 4, 5, requires_grad=True)
    labels = torch.randint(0, 2, (2, 4, 5))
    labels[0, :2] = 255
    wanted = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
    assert torch.allclose(loss_of(logits, labels, None), wanted)
    weight = torch.tensor([1.0, 3.0])
    wanted = torch.nn.functional.cross_entropy(logits, labels, weight, ignore_index=255)
    found: Any = loss_of(logits, labels, weight)
    assert torch.allclose(found, wanted)
    found.backward()
    assert not logits.grad[0, :, :2].any()
    assert logits.grad[1].all()


def test_nothing_to_learn_from_is_no_loss() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss: Any = loss_of(logits, torch.full((1, 3, 3), 255), None)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


class Counted(Toy):
    """Two pictures: all background, and three quarters road of its valid half."""

    def mask(self, index: int) -> NDArray[np.uint8]:
        return np.array(
            [[0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 255, 255, 255, 255]][index], np.uint8
        )[None]


def test_balances_by_median_frequency() -> None:
    # background: 9 of 12 pixels; road: 3 of the 4 of the picture that has any
    found = class_weights("median", Counted(2))
    assert found == pytest.approx((1.0, 1.0))

    class Rare(Counted):
        def mask(self, index: int) -> NDArray[np.uint8]:
            _ = index
            return np.array([[0, 0, 0, 0, 0, 0, 0, 1]], np.uint8)

    assert class_weights("median", Rare(2)) == pytest.approx((0.5 / 0.875, 0.5 / 0.125))
    assert class_weights("none", Toy(1)) is None
    assert class_weights("1,2.5", Toy(1)) == (1, 2.5)


@pytest.mark.parametrize("balance", ["1", "1,2,3", "a,b", "1,-2", "0,0", "1,nan"])
def test_refuses_other_weights(balance: str) -> None:
    with pytest.raises(ValueError, match=r"^`balance`") as caught:
        _ = class_weights(balance, Toy(1))
    assert str(caught.value) == (
        f'`balance` (={balance!r}) must be "none", "median" or 2 weights joined by commas, none of '
        "them negative; "
        "for example 1,1"
    )


def test_cannot_balance_a_class_that_is_nowhere() -> None:
    class Empty(Counted):
        def mask(self, index: int) -> NDArray[np.uint8]:
            _ = index
            return np.zeros((2, 2), np.uint8)

    with pytest.raises(
        ValueError, match=r"^`balance` \(=\"median\"\) needs .*; no mask has any of 'road'$"
    ):
        _ = class_weights("median", Empty(2))


@pytest.mark.parametrize("schedule", ["poly", "cosine", "constant"])
def test_rates_warm_up_and_fall(schedule: str) -> None:
    share = rate_at(TrainConfig(schedule=schedule, warmup=0.1), 200)
    rates = [share(step) for step in range(201)]
    assert rates[0] == 1 / 20
    assert max(rates) == rates[20] == 1
    assert all(a >= b for a, b in pairwise(rates[20:]))
    assert rates[200] == (1 if schedule == "constant" else pytest.approx(0, abs=1e-12))
    if schedule == "poly":
        assert rates[110] == pytest.approx(0.5**0.9)
