"""A run that is killed at any moment and resumed gives the files of one that was not, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")
_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

HERE = Path(__file__).parent
SAME = ("best.safetensors", "last.safetensors", "epochs.csv", "curves.png", "config.toml")


def compare(tmp_path: Path, epochs: int, moments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(HERE / "killed.py"), str(tmp_path), str(epochs), *moments]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    for name in SAME:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes(), name
    whole, broken = (
        torch.load(tmp_path / name / "resume.ckpt", weights_only=True)["optimizer_states"]
        for name in ("whole", "broken")
    )
    for one, other in zip(whole[0]["state"].values(), broken[0]["state"].values(), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    for name in ("whole", "broken"):
        assert not [path for path in (tmp_path / name).iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed run is forked")
def test_goes_on_bit_for_bit(tmp_path: Path) -> None:
    # while the first best network is written; in the second epoch; between its networks and its state
    compare(tmp_path, 3, ["within:2", "picture:22", "after:2"])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed run is forked")
def test_goes_on_bit_for_bit_from_any_moment(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    moments = [
        *(f"within:{number}" for number in (1, 3, 4, 5)),
        *(f"before:{number}" for number in (2, 5)),
        *(f"after:{number}" for number in (1, 4)),
        *(f"picture:{number}" for number in random.integers(1, 17, 8)),
    ]
    compare(tmp_path, 8, moments)
