"""The names of the classes and the threshold that are kept with a network."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")

from backstride.roads.config import ModelConfig, RunConfig  # noqa: E402
from backstride.roads.evaluation.metrics import LEVELS, as_levels, level_of, probability_of  # noqa: E402
from backstride.roads.meaning import Meaning, from_json  # noqa: E402
from backstride.roads.network import checkpoint  # noqa: E402
from backstride.roads.network.model import build  # noqa: E402
from backstride.roads.network.weights import read_tensors  # noqa: E402
from backstride.roads.prediction import predict  # noqa: E402
from backstride.roads.toml import to_toml  # noqa: E402
from road_pictures import save  # noqa: E402
from roads.prediction.networks import checkpoint as checkpoint_of  # noqa: E402
from roads.prediction.networks import pictures  # noqa: E402

CONFIG = RunConfig(ModelConfig("mobilenetv3-minimal"))


@given(
    st.lists(st.text(min_size=1, max_size=9), min_size=2, unique=True).map(tuple), st.floats(0, 1)
)
def test_comes_back_from_its_text(classes: tuple[str, ...], threshold: float) -> None:
    assert from_json(Meaning(classes, threshold).to_json(), "net") == Meaning(classes, threshold)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 99999,
        json.dumps({"classes": ["a", "b"]}),
        *(
            json.dumps({"classes": ["a", "b"], "threshold": value})
            for value in (2, -0.1, float("nan"), True, "0.5")
        ),
        *(
            json.dumps({"classes": names, "threshold": 0.5})
            for names in (["a"], ["a", "a"], ["a", 1], "", ["a", ""])
        ),
        json.dumps({"classes": [str(name) for name in range(300)], "threshold": 0.5}),
    ],
)
def test_refuses_what_it_did_not_write(text: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"^`checkpoint` \(='net'\): what it says of its classes and threshold cannot",
    ):
        _ = from_json(text, "net")


def test_a_level_and_its_probability_part_the_same_pixels() -> None:
    probabilities = np.linspace(0, 1, 100_001)
    for level in range(LEVELS):
        assert level_of(probability_of(level)) == level
        assert (
            (as_levels(probabilities) >= level) == (probabilities >= probability_of(level))
        ).all()


def test_is_read_without_weights_and_changed_without_them(tmp_path: Path) -> None:
    network = build(CONFIG.model)
    path = checkpoint.save(tmp_path, network, CONFIG, meaning=Meaning(("ground", "track"), 0.25))
    before = read_tensors(path)[0]
    assert checkpoint.meaning_of(tmp_path) == Meaning(("ground", "track"), 0.25)
    assert checkpoint.keep_threshold(tmp_path, 0.75) == path
    assert checkpoint.meaning_of(path) == Meaning(("ground", "track"), 0.75)
    after = read_tensors(path)[0]
    assert all(torch.equal(before[key], after[key]) for key in before.keys() | after.keys())
    assert checkpoint.load(path)[1] == CONFIG
    with pytest.raises(ValueError, match=r"^`threshold` \(=1.5\) must be from 0 to 1$"):
        _ = checkpoint.keep_threshold(tmp_path, 1.5)


def test_checkpoints_that_do_not_say_it_have_a_half(tmp_path: Path) -> None:
    save = importlib.import_module("safetensors.torch").save_file
    for classes, names in ((2, ("background", "road")), (3, ("background", "road", "class 2"))):
        config = RunConfig(ModelConfig("mobilenetv3-minimal", classes=classes))
        save({"a": torch.zeros(1)}, tmp_path / "old", {checkpoint.KEY: to_toml(config)})
        assert checkpoint.meaning_of(tmp_path / "old") == Meaning(names, 0.5)
    _ = (tmp_path / "new").write_bytes(
        checkpoint.packed({"a": torch.zeros(1)}, to_toml(config), Meaning())
    )
    with pytest.raises(ValueError, match=r"new'\) names 2 classes and has 3$"):
        _ = checkpoint.meaning_of(tmp_path / "new")


def test_predictions_go_by_the_threshold_that_is_kept(tmp_path: Path) -> None:
    file = checkpoint_of(tmp_path)
    _ = checkpoint.keep_threshold(file, 0.75)
    _ = save(tmp_path / "photo.png", pictures(1, 64, 96)[0])
    for asked, threshold in ((None, 0.75), (0.25, 0.25)):
        found = predict([tmp_path / "photo.png"], file, tmp_path / "out", threshold=asked)
        assert found.threshold == threshold
        mask, levels = (
            np.asarray(Image.open(tmp_path / "out" / kind / "photo.png"))
            for kind in ("masks", "probabilities")
        )
        assert 0 < mask.mean() < 1
        np.testing.assert_array_equal(mask, levels >= round(threshold * 65535))
