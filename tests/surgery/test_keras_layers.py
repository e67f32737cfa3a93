"""Single Keras layers: state that config and weights alone do not restore, and layers that act in training alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras", reason="these are Keras models")
pytest.importorskip("torch", reason="they run on PyTorch")

pytestmark = [pytest.mark.frameworks, pytest.mark.xdist_group("keras")]
WORKER = Path(__file__).with_name("keras_layers_worker.py")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path_factory.mktemp("keras"))],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_networks_compute_what_their_classifiers_do(measured: dict[str, Any]) -> None:
    assert len(measured["hold"]) == 10
    for name, (in_memory, from_file) in measured["hold"].items():
        for found in (in_memory, from_file):
            assert found["close"], name
            assert found["holds"], name


def test_augmentation_is_left_out_and_said(measured: dict[str, Any]) -> None:
    for found in measured["hold"]["augmented"]:
        assert len(found["notes"]) == 4
        assert "(RandomFlip): changes images in training alone, and no labels with them" in found["notes"][0]


def test_layers_of_the_users_own_are_not_taken_for_keras(measured: dict[str, Any]) -> None:
    assert len(measured["refused"]) == 6
    for name, said in measured["refused"].items():
        assert "no rule knows this operation" in said, name


def test_padded_cells_that_are_said_to_be_exact_are_and_others_are_not(measured: dict[str, Any]) -> None:
    assert len(measured["borders"]) == 36
    for name, found in measured["borders"].items():
        assert found["right"], name
        assert found["differ"] > 0, name
    assert measured["borders"]["reflect first 2"]["alike"] > 0
    assert measured["borders"]["circular first 2"]["alike"] == 0
