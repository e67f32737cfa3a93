"""The matrix and its transpose: they multiply as the definition does, and a wrong pair would be
noticed.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from backstride import reference
from backstride.explain import trace
from backstride.geometry import Convolution, Geometry, geometry
from strategies import geometries

_ = pytest.importorskip("scipy.sparse", reason="matrices need SciPy")

from backstride.explain import matrix  # noqa: E402
from backstride.explain.matrix import matrices  # noqa: E402


@given(geometries())
@settings(max_examples=50)
def test_one_is_the_other_s_transpose_and_multiplies_as_the_definition(where: Geometry) -> None:
    found = matrices(trace(where))
    assert found.holds
    assert (found.transposed != found.convolution.T).nnz == 0
    taps = np.arange(1, np.prod(where.kernel) + 1).reshape(*where.kernel, 1, 1)
    x = np.random.default_rng(0).integers(-9, 10, (1, *where.input, 1))
    y = np.random.default_rng(1).integers(-9, 10, (1, *where.output, 1))
    assert (found.transposed @ x.ravel()).tolist() == reference.conv_transpose(
        x, taps, where
    ).ravel().tolist()
    assert (found.convolution @ y.ravel()).tolist() == reference.conv(
        y, taps, where
    ).ravel().tolist()


def test_a_wrong_pair_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    where = geometry(4, 3, strides=2, padding=1)
    other = geometry(4, 3, strides=2, padding=[(0, 2)])
    assert other.output == where.output
    entries = list(matrix.windows(other.adjoint))

    def wrong(_: Convolution) -> list[tuple[int, int, int]]:
        return entries

    monkeypatch.setattr(matrix, "windows", wrong)
    found = matrices(trace(where))
    assert found.differing > 0
    assert not found.holds
