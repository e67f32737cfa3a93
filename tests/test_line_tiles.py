"""Winograd tiles of one dimension, whose phases share the cells that are transformed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backstride as bs


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize(
    ("taps", "stride", "big"), [(4, 2, 64), (8, 2, 32), (12, 3, 40), (16, 8, 70)]
)
@pytest.mark.parametrize("cells", [1, 7, 40])
def test_phases_beside_each_other_are_the_definition(
    cells: int, taps: int, stride: int, big: int, before: int
) -> None:
    """Small integers, which tiles add exactly; the first and the last block of phases reach outside
    of the result.
    """
    random = np.random.default_rng(cells + taps + before)
    x = random.integers(-4, 5, (2, cells, 32)).astype(np.float32)
    kernel = 2 * random.integers(-4, 5, (taps, big, 32)).astype(np.float32)
    options: dict[str, Any] = {"strides": stride, "padding": [(before, 0)]}
    plan = bs.plan(kernel, algorithm="winograd", **options)
    expected = bs.plan(kernel, algorithm="definition", **options)(x)
    assert np.array_equal(plan(x), expected)
    turned = bs.plan(
        kernel.transpose(2, 1, 0), algorithm="winograd", data_format="channels_first", **options
    )
    assert np.array_equal(
        turned(np.ascontiguousarray(x.transpose(0, 2, 1))).transpose(0, 2, 1), expected
    )
    x[0, 0, 0] = np.inf  # tiles would spread it
    assert np.array_equal(
        plan(x), bs.conv_transpose(x, kernel, winograd=False, **options), equal_nan=True
    )
