"""Every peer of the benchmark computes the layer that we compute, so that nobody is timed on
something else.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backstride as bs

FOLDER = Path(__file__).parents[1] / "benchmarks"
PEERS = (
    "torch",
    "torch, channels last",
    "torch, frozen",
    "ONNX Runtime",
    "OpenVINO",
    "TensorFlow",
    "JAX",
    "LiteRT",
    "ncnn",
)
FORWARD = ("packed", "packed-relu", "call", "call-relu")
GRADIENTS = ("input-gradient", "kernel-gradient")

# batch, in, out, input, kernel, strides, crop, groups
LAYERS: dict[str, tuple[Any, ...]] = {
    "1x1": (2, 5, 3, (4, 6), (1, 1), (1, 1), ((0, 0), (0, 0)), 1),
    "k=s": (3, 4, 6, (5, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), 1),
    "4x4 s2": (2, 8, 5, (5, 7), (4, 4), (2, 2), ((1, 1), (1, 1)), 1),
    "3x3 s2 torch": (1, 8, 5, (5, 7), (3, 3), (2, 2), ((1, 0), (1, 0)), 1),
    "5x5 s2 SAME": (2, 4, 3, (5, 4), (5, 5), (2, 2), ((1, 2), (1, 2)), 1),
    "uncropped": (1, 16, 1, (3, 4), (9, 9), (3, 3), ((0, 0), (0, 0)), 1),
    "uneven": (1, 3, 4, (4, 6), (5, 3), (3, 1), ((2, 0), (0, 1)), 1),
    "s>k": (1, 3, 4, (4, 3), (1, 2), (2, 3), ((0, 0), (0, 0)), 1),
    "grouped": (2, 12, 6, (4, 5), (3, 3), (2, 2), ((1, 0), (1, 0)), 3),
    "depthwise": (1, 16, 16, (4, 5), (4, 4), (2, 2), ((1, 1), (1, 1)), 16),
    "1-D": (2, 8, 6, (11,), (8,), (4,), ((2, 2),), 1),
    "1-D uncropped": (1, 8, 1, (9,), (16,), (4,), ((0, 0),), 1),
    "1-D depthwise": (1, 16, 16, (9,), (3,), (2,), ((1, 0),), 16),
    "3-D k=s": (1, 6, 4, (3, 4, 2), (2, 2, 2), (2, 2, 2), ((0, 0), (0, 0), (0, 0)), 1),
    "3-D SAME": (1, 4, 1, (4, 3, 5), (3, 3, 3), (2, 2, 2), ((1, 0), (0, 1), (0, 1)), 1),
}
LACKING = {  # what the table in peers/__init__.py says
    "torch, channels last": {"3-D k=s", "3-D SAME"},
    "torch, frozen": {"3-D k=s", "3-D SAME"},
    "LiteRT": {"grouped", "depthwise", "1-D depthwise"},
}


@pytest.fixture(name="modules")
def benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    yield importlib.import_module
    bs.set_num_threads(0)


def problem(modules: Any, name: str, variant: str) -> Any:
    batch, small, big, *sizes, groups = LAYERS[name]
    layer: Any = modules("layers").Layer(0, name, batch, small, big, *sizes, groups, "a test")
    return modules("problem").Problem(layer, modules("problem").VARIANTS[variant])


def same_numbers(result: Any, expected: Any) -> None:
    assert result.shape == expected.shape
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("variant", [*FORWARD, *GRADIENTS])
@pytest.mark.parametrize("name", LAYERS)
def test_our_runners_are_the_public_functions(name: str, variant: str, modules: Any) -> None:
    call = problem(modules, name, variant)
    options: Any = {
        "strides": call.layer.strides,
        "padding": call.layer.crop,
        "groups": call.layer.groups,
    }
    match variant:
        case "input-gradient":
            expected = bs.conv(call.image, call.kernel, **options)
        case "kernel-gradient":
            expected = bs.conv_kernel_gradient(call.image, call.x, call.kernel.shape, **options)
        case _:
            activation = "relu" if call.variant.fused else None
            expected = bs.conv_transpose(
                call.x, call.kernel, call.bias, activation=activation, **options
            )
            assert expected.shape == (call.layer.batch, *call.layer.output, call.layer.big)
    for make in modules("peers").OURS.values():
        runner = make(call)
        same_numbers(runner.result(runner.call()), expected)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_peer_computes_the_same(name: str, peer: str, modules: Any) -> None:
    peers = modules("peers")
    assert tuple(peers.PEERS) == PEERS
    for variant in (*FORWARD, *GRADIENTS):
        call = problem(modules, name, variant)
        makers = peers.makers(call.variant)
        if peer not in makers:
            continue
        runner = makers[peer](call)
        if runner is None:
            assert name in LACKING.get(peer, ()) or not call.variant.packed
            continue
        assert name not in LACKING.get(peer, ())
        ours = makers["ours, channels last"](call)
        same_numbers(runner.result(runner.call()), ours.result(ours.call()))
