"""PyTorch's quantization knows modules by their class: accelerated ones are refused, not passed
over in silence.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
quantization: Any = pytest.importorskip("torch.ao.quantization")
graphs: Any = importlib.import_module("torch.ao.quantization.quantize_fx")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning"
)  # PyTorch's own
X = torch.randn(1, 24, 9, 9)


def model() -> Any:
    layers = (
        nn.Conv2d(24, 24, 3),
        nn.ReLU(),
        nn.ConvTranspose2d(24, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(648, 4),
    )
    return nn.Sequential(*layers).eval()


def by_graph(network: Any) -> Any:
    mapping = quantization.QConfigMapping().set_global(quantization.default_qconfig)
    return graphs.prepare_fx(network, mapping, (X,))


def by_modules(network: Any) -> Any:
    network.qconfig = quantization.default_qconfig
    return quantization.prepare(network)


def in_part(network: Any) -> Any:
    network[2].qconfig = quantization.default_qconfig
    return quantization.prepare(network)


WAYS: list[Callable[[Any], Any]] = [by_graph, by_modules, in_part]


@pytest.mark.parametrize("way", WAYS)
def test_an_accelerated_model_says_what_to_do(way: Callable[[Any], Any]) -> None:
    network = bt.accelerate(model()).model
    message = (
        r"^(Sequential|Conv2d|ConvTranspose2d) is accelerated, and PyTorch's quantization would pass it over; the "  # noqa: E501
        r"nearest legal call is backstride.torch.restore\(model\) before it$"
    )
    with pytest.raises(RuntimeError, match=message):
        _ = way(network)
    assert way(bt.restore(network))(X).shape == (1, 4)


def test_what_leaves_the_layers_alone_works() -> None:
    network = model()
    ours = bt.accelerate(copy.deepcopy(network)).model
    found, expected = (quantization.quantize_dynamic(each, {nn.Linear}) for each in (ours, network))
    assert type(found[5]) is type(expected[5]) is not nn.Linear
    with torch.no_grad():
        torch.testing.assert_close(found(X), expected(X), rtol=1e-2, atol=1e-2)
