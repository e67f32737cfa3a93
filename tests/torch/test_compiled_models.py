"""The benchmark's models, accelerated and compiled whole, against eager PyTorch: inference, a step,
other sizes.
"""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")

bt: Any = importlib.import_module("backstride.torch")

FOLDER = Path(__file__).parents[2] / "benchmarks"
NAMES = ("DCGAN", "pix2pix", "CycleGAN", "U-Net", "FCN-8s", "HiFi-GAN", "3-D", "FSRCNN")
TOLERANCE = 1e-5  # of the largest value
BACKENDS = (
    "aot_eager",
    "inductor",
)  # with PyTorch's own kernels around the operators, and with generated ones

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),  # inductor's own
]


@pytest.fixture(name="entries")
def models_of_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    torch._dynamo.reset()
    yield importlib.import_module("torch_models").MODELS
    _ = sys.modules.pop("torch_models", None)
    torch._dynamo.reset()


def close(found: Any, expected: Any, what: str = "") -> None:
    assert found.shape == expected.shape
    error = float((found - expected).detach().abs().max())
    assert error <= TOLERANCE * max(float(expected.detach().abs().max()), 1e-30), f"{what}: {error}"


def larger(inputs: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """Other sizes that the model takes: of DCGAN, more pictures; of others, twice as many cells
    along the last axis.
    """
    if name == "DCGAN":
        return tuple(torch.randn(tensor.shape[0] + 1, *tensor.shape[1:]) for tensor in inputs)
    return tuple(torch.randn(*tensor.shape[:-1], 2 * tensor.shape[-1]) for tensor in inputs)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_inference(entries: Any, number: int, backend: str, dynamic: bool) -> None:
    _ = torch.manual_seed(number)
    model, inputs = entries[number].build(True)
    assert entries[number].name.startswith(NAMES[number])
    stock = copy.deepcopy(model).eval()
    accelerated = bt.accelerate(model.eval()).model
    compiled = torch.compile(accelerated, fullgraph=True, backend=backend, dynamic=dynamic)
    sizes = (inputs, larger(inputs, NAMES[number])) if dynamic else (inputs,)
    with torch.no_grad():
        for data in sizes:
            close(compiled(*data), stock(*data))


def step(network: Any, data: tuple[Any, ...], weight: Any) -> Any:
    """The result, after its weighted sum was differentiated."""
    result = network(*data)
    (result * weight).sum().backward()
    return result


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_training_step(entries: Any, number: int, backend: str, dynamic: bool) -> None:
    """In float64, where 1e-5 is far from rounding, which batch norms over few cells amplify in
    float32.
    """
    _ = torch.manual_seed(number)
    model, inputs = entries[number].build(True)
    model, inputs = model.double().train(), tuple(tensor.double() for tensor in inputs)
    stock = copy.deepcopy(model)
    compiled = torch.compile(
        bt.accelerate(model).model, fullgraph=True, backend=backend, dynamic=dynamic
    )
    sizes = (inputs, larger(inputs, NAMES[number])) if dynamic else (inputs,)
    for data in (tuple(tensor.double() for tensor in size) for size in sizes):
        for network in (stock, model):
            network.zero_grad()
        with torch.no_grad():
            weight = torch.randn_like(copy.deepcopy(stock)(*data))
        expected = step(stock, data, weight)
        try:
            found = step(compiled, data, weight)
        except torch._inductor.exc.InductorError as error:
            with pytest.raises(torch._inductor.exc.InductorError):
                _ = step(
                    torch.compile(copy.deepcopy(stock), fullgraph=True, dynamic=dynamic),
                    data,
                    weight,
                )
            pytest.skip(f"inductor cannot compile the stock model either: {error.inner_exception}")
        close(found, expected, "result")
        # A bias before a normalisation has a gradient of rounding errors alone: the largest of all
        # is the scale.
        largest = max(float(parameter.grad.abs().max()) for parameter in stock.parameters())
        for (name, one), other in zip(stock.named_parameters(), model.parameters(), strict=True):
            assert float((other.grad - one.grad).abs().max()) <= 1e-10 * largest, name
    for name, buffer in stock.named_buffers():
        close(dict(model.named_buffers())[name].double(), buffer.double(), name)
