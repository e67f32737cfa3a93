"""Keras classifiers and their networks give the same numbers on every backend, each in a process of
its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("keras", reason="these are Keras models")

pytestmark = [pytest.mark.frameworks, pytest.mark.xdist_group("keras")]
WORKER = Path(__file__).with_name("keras_worker.py")
CHOICES = ("local", "global", "norm local", "norm global", "response local", "response global")
CASES = ("lenet", "same", "nested", "uneven", "cut", *CHOICES)
EXACT = ("lenet", "nested", "uneven", "cut")  # the others pad, or pool the whole image


@pytest.fixture(
    scope="module", params=["tensorflow", pytest.param("jax", marks=pytest.mark.slow), "torch"]
)
def measured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    backend: str = request.param
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path_factory.mktemp(backend))],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=1500,  # JAX compiles each operation of each model by itself
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == backend
    return found


def test_networks_equal_their_classifiers(measured: dict[str, Any]) -> None:
    assert set(measured["cases"]) == set(CASES)
    for name, found in measured["cases"].items():
        assert all(found["holds"]), name
        assert found["difference"] < 1e-5, name
        assert found["framework"] == "Keras"
        assert min(found["cells"]) > 1, name
        if name in EXACT:
            assert found["exact"] == found["expected"] == found["cells"], name


def test_spellings_equal_the_classifier_on_every_crop(measured: dict[str, Any]) -> None:
    assert len(measured["spelled"]) > 20
    for name, found in measured["spelled"].items():
        assert found["holds"], name
        assert found["must"], name
        assert found["cells"] > 5, name


def test_transposed_networks_label_every_pixel_and_survive_a_file(measured: dict[str, Any]) -> None:
    for name, found in measured["cases"].items():
        if name == "nested":
            continue  # two results have no decoder
        assert found["coarse"], name
        assert found["shape"] == found["size"], name
        assert found["saved"], name
        assert found["classes"] == 2, name


def test_stitched_cells_are_the_sliding_window(measured: dict[str, Any]) -> None:
    assert set(measured["densified"]) == set(EXACT)
    for name, found in measured["densified"].items():
        assert all(found["holds"]), name
        assert found["cells"] == [6, 7], name
        assert set(found["expected"]) == {42}, name


def test_valid_cells_do_not_change_with_what_surrounds_the_image(measured: dict[str, Any]) -> None:
    assert measured["valid"]["cells"] > 3
    assert measured["valid"]["difference"] < 1e-5


def test_features_add_nothing_before_training_and_reach_every_pixel(
    measured: dict[str, Any],
) -> None:
    assert len(measured["joined"]) == 4
    for found in measured["joined"]:
        assert found["adds"] == 0
        assert found["saved"]
        assert found["size"]
        assert found["reach"] > 0


def test_icnr_starts_near_repetition(measured: dict[str, Any]) -> None:
    assert 0 < measured["icnr"] < 0.2


def test_refusals(measured: dict[str, Any]) -> None:
    said = measured["refusals"]
    assert "sums over positions, so its result depends on the image's size" in said["tokens"]
    assert 'state se="global" or se="local"' in said["excited"]
    assert 'state se="global" or se="local"' in said["responding"]
    assert "is a norm of matrices (ord=2)" in said["matrix"]


def test_other_classes_come_from_a_layer_that_is_called_twice(measured: dict[str, Any]) -> None:
    assert measured["rescored"]["twice"] == 3


def test_weights_of_single_classes_behind_the_scores_stay(measured: dict[str, Any]) -> None:
    assert (
        "(PReLU): has a weight for each class behind the scores" in measured["rescored"]["weighed"]
    )
