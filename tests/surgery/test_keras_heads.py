"""Keras networks with several outputs: one of them becomes the map, found by key, layer or
position.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from surgery.keras_process import measured_by

pytest.importorskip("keras", reason="these are Keras models")
pytest.importorskip("torch", reason="they run on PyTorch")

pytestmark = [pytest.mark.frameworks, pytest.mark.xdist_group("keras")]
WORKER = Path(__file__).with_name("keras_heads_worker.py")
CHANNELS = {"kinds": 2, "boxes": 4, "scores": 3}
HEADS: dict[str, dict[str, str]] = {  # by what is asked for, the layer whose scores become the map
    "list": {"1": "boxes", "-1": "boxes", "kinds": "kinds", "boxes": "boxes"},
    "tuple": {"1": "kinds", "-1": "kinds", "kinds": "kinds", "boxes": "boxes"},
    "dict": {"1": "kinds", "-1": "kinds", "z": "kinds"},
    "nested": {"1": "kinds", "-1": "kinds", "z": "kinds", "b.1": "kinds"},
    "one twice": {"1": "boxes", "-1": "boxes"},
    "one": {"None": "kinds", "-1": "kinds", "z": "kinds"},
    "wrapped": {"1": "boxes", "-1": "boxes", "kinds": "kinds", "boxes": "boxes"},
    "recurrent": {"scores": "scores"},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured_by(WORKER, tmp_path_factory.mktemp("keras"))


@pytest.mark.parametrize("name", HEADS)
def test_the_chosen_output_becomes_the_map(measured: dict[str, Any], name: str) -> None:
    made = {head: found for head, found in measured[name].items() if "said" not in found}
    assert set(made) == set(HEADS[name])
    for head, layer in HEADS[name].items():
        found = made[head]
        assert found["shape"] == [1, 19, 17, CHANNELS[layer]], head
        assert found["holds"], head
        assert found["kept"] == ([layer] if layer in ("kinds", "boxes") else []), head
        assert found["left_out"] == {"one": 0, "nested": 2}.get(name, 1)


def test_a_head_alone_has_its_own_cells_and_classes(measured: dict[str, Any]) -> None:
    assert measured["alone"] == {"shape": [1, 4, 3, 4], "holds": True, "classes": 7}


def test_other_values_are_answered_with_the_outputs(measured: dict[str, Any]) -> None:
    listed = '"kinds" from kinds (Dense) or "boxes" from boxes (Dense); the nearest legal value is'
    rule = "must be one of the 2 heads of refine, by name or position:"
    found = measured["list"]
    assert found["None"]["said"] == f'`head` (=None) {rule} {listed} "kinds"'
    assert found["box"]["said"] == f"`head` (='box') {rule} {listed} \"boxes\""
    assert found["7"]["said"] == f"`head` (=7) {rule} {listed} 1"
    assert found["True"]["said"] == f"`head` (=True) {rule} {listed} 1"
    assert (
        "0 from boxes (Dense) or 1 from boxes (Dense); the near"
        in measured["one twice"]["None"]["said"]
    )
    assert (
        '"b.0" from boxes (Dense), "b.1" from kinds (Dense) or "z" from'
        in measured["nested"]["None"]["said"]
    )
    assert (
        "gru (GRU): gives 2 tensors; no rule knows this operation"
        in measured["recurrent"]["1"]["said"]
    )


def test_without_a_choice_all_outputs_are_kept(measured: dict[str, Any]) -> None:
    packed = {
        "list": (["kinds", "boxes"], "[4, 4]"),
        "tuple": (["boxes", "kinds"], "(4, 4)"),
        "dict": (["b", "z"], "{'b': 4, 'z': 4}"),
        "nested": (["b.0", "b.1", "z"], "{'b': [4, 4], 'z': 4}"),
        "one twice": (["0", "1"], "[4, 4]"),
        "one": (["z"], "{'z': 4}"),
        "wrapped": (["kinds", "boxes"], "(4, 4)"),
    }
    for name, (heads, shown) in packed.items():
        found = measured["together"][name]
        assert found["heads"] == found["cells"] == heads, name
        assert found["holds"] == [True] * len(heads), name
        assert found["packed"] == shown, name
    assert "gru (GRU)" in measured["together"]["recurrent"]["said"]


def test_pictures_are_labelled_by_the_chosen_output(measured: dict[str, Any]) -> None:
    assert measured["pictures"] == [[1, 5, 9, 8], [1, 2, 9, 8], [1, 5, 9, 8]]
