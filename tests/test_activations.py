"""The activations: values from their papers, every float dtype, and the ends of the number line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from backstride.activations import ACTIVATIONS, activate, check_activation

SAMPLES = np.array([-1e4, -20.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0, 7.0, 20.0, 1e4])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", [0.0, 0.0, 2.0, 9.0]),
        ("relu6", [0.0, 0.0, 2.0, 6.0]),
        ("leaky_relu", [-0.01, 0.0, 2.0, 9.0]),
        ("sigmoid", [1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-9))]),
        ("tanh", [math.tanh(-1), 0.0, math.tanh(2), math.tanh(9)]),
        ("gelu", [-0.15865525393145707, 0.0, 1.9544997361036416, 9.0]),
        ("silu", [-1 / (1 + math.e), 0.0, 2 / (1 + math.exp(-2)), 9 / (1 + math.exp(-9))]),
    ],
)
def test_values(name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(
        activate(np.array([-1.0, 0.0, 2.0, 9.0]), name), expected, rtol=1e-14
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_and_shape_stay_and_large_numbers_do_no_harm(name: str, dtype: str) -> None:
    x = SAMPLES.astype(dtype)
    copy = x.copy()
    result = activate(x, name)
    assert result.dtype == x.dtype
    assert np.isfinite(result).all()
    assert np.array_equal(x, copy)
    assert activate(np.empty((0, 3), dtype), name).shape == (0, 3)
    assert np.isnan(activate(np.array([np.nan], dtype), name)).all()
    np.testing.assert_allclose(result, activate(SAMPLES, name), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_they_equal_pytorchs(name: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    function = torch.tanh if name == "tanh" else getattr(torch.nn.functional, name)
    np.testing.assert_allclose(
        activate(SAMPLES, name), function(torch.from_numpy(SAMPLES)).numpy(), rtol=1e-12
    )


def test_none_leaves_the_array_alone() -> None:
    assert activate(SAMPLES, None) is SAMPLES


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "float64"])
def test_relu_is_legal_for_every_real_dtype(dtype: str) -> None:
    assert check_activation("relu", np.dtype(dtype)) == "relu"
    assert check_activation(None, np.dtype(dtype)) is None
