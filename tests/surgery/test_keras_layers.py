"""Single Keras layers: state that config and weights alone do not restore, and layers that act in
training alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from surgery.keras_process import measured_by

pytest.importorskip("keras", reason="these are Keras models")
pytest.importorskip("torch", reason="they run on PyTorch")

pytestmark = [pytest.mark.frameworks, pytest.mark.xdist_group("keras")]
WORKER = Path(__file__).with_name("keras_layers_worker.py")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured_by(WORKER, tmp_path_factory.mktemp("keras"))


def test_networks_compute_what_their_classifiers_do(measured: dict[str, Any]) -> None:
    assert len(measured["hold"]) == 11
    for name, (in_memory, from_file) in measured["hold"].items():
        for found in (in_memory, from_file):
            assert found["close"], name
            assert found["holds"], name


def test_augmentation_is_left_out_and_said(measured: dict[str, Any]) -> None:
    for found in measured["hold"]["augmented"]:
        assert len(found["notes"]) == 4
        assert (
            "(RandomFlip): changes images in training alone, and no labels with them"
            in found["notes"][0]
        )


def test_layers_of_the_users_own_are_not_taken_for_keras(measured: dict[str, Any]) -> None:
    assert len(measured["refused"]) == 6
    for name, said in measured["refused"].items():
        assert "no rule knows this operation" in said, name


def test_padded_cells_that_are_said_to_be_exact_are_and_others_are_not(
    measured: dict[str, Any],
) -> None:
    assert len(measured["borders"]) == 36
    for name, found in measured["borders"].items():
        assert found["right"], name
        assert found["differ"] > 0, name
    assert measured["borders"]["reflect first 2"]["alike"] > 0
    assert measured["borders"]["circular first 2"]["alike"] == 0


def test_interpolations_are_exact_but_at_the_borders(measured: dict[str, Any]) -> None:
    assert len(measured["grown"]) == 18
    for name, found in measured["grown"].items():
        assert found["holds"], name
        assert found["right"], name
        assert found["exact"] == 4 * 4, name  # shifts by two pixels, whatever the factor


def test_what_moves_a_cell_is_its_receptive_field(measured: dict[str, Any]) -> None:
    """For sounds, images and volumes; upper bounds are attained within a cell, all others
    everywhere.
    """
    assert len(measured["fields"]) == 19
    for name, found in measured["fields"].items():
        assert found["within"], name
        assert found["size"], name
        assert found["bound"] == (name.split()[0] in ("transposed", "vocoder", "repeated")), name
        assert found["gap"] < 1, name
        assert found["bound"] or found["most"] == 0, name
