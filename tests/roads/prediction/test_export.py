"""Exported networks are the trained ones in ONNX Runtime, at any size, in any batch."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="road networks are PyTorch modules")
pytest.importorskip("safetensors", reason="checkpoints are safetensors files")
pytest.importorskip("onnxscript", reason="torch.onnx exports with it")
pytest.importorskip("onnxruntime", reason="it runs what is exported")

from backstride.roads.config import DataConfig, ModelConfig, RunConfig
from backstride.roads.meaning import Meaning
from backstride.roads.network.checkpoint import keep_threshold, save
from backstride.roads.prediction.export import export
from backstride.roads.prediction.loading import Loader
from backstride.roads.prediction.onnx_predictor import OnnxPredictor, shares
from backstride.roads.prediction.predictor import LEVELS, levels
from backstride.roads.prediction.torch_predictor import TorchPredictor
from roads.prediction.networks import POOLED, SMALL, checkpoint, network, pictures


@pytest.mark.frameworks
@pytest.mark.parametrize("encoder", [SMALL, POOLED])
def test_both_runtimes_give_the_same(encoder: str, tmp_path: Path) -> None:
    file = checkpoint(tmp_path, encoder)
    checked = export(file, tmp_path / "net.onnx")
    assert checked.worst < 1e-3
    assert len(checked.sizes) == 3
    exported, trained = (
        OnnxPredictor((tmp_path / "net.onnx").read_bytes(), "cpu", "net.onnx"),
        Loader(file).load(),
    )
    assert exported.known == trained.known
    for count, rows, columns in ((1, 70, 65), (3, 64, 200), (2, 131, 97)):
        found = pictures(count, rows, columns)
        np.testing.assert_allclose(exported(found), trained(found), rtol=0, atol=1e-4)


@pytest.mark.frameworks
def test_a_checkpoint_runs_in_onnx_runtime_and_tiles_leave_no_seam(tmp_path: Path) -> None:
    save_at = save(tmp_path, network(), RunConfig(ModelConfig(SMALL), DataConfig(size=(96, 160))))
    loader = Loader(save_at, runtime_given="onnx")
    predictor = loader.load()
    assert type(predictor).__name__ == "OnnxPredictor"
    assert predictor.size == (96, 160)
    found = pictures(1, 620, 90)
    whole = levels(predictor, found, 2048).astype(int)
    assert abs(levels(predictor, found, 544) - whole).max() <= 1e-4 * LEVELS
    assert abs(levels(TorchPredictor(network()), found).astype(int) - whole).max() <= 1e-4 * LEVELS


@pytest.mark.frameworks
def test_the_threshold_that_is_kept_is_the_exported_networks_too(tmp_path: Path) -> None:
    file = checkpoint(tmp_path)
    _ = keep_threshold(file, 0.125)
    _ = export(file, tmp_path / "net.onnx")
    assert Loader(tmp_path / "net.onnx").meaning() == Meaning(threshold=0.125)


@pytest.mark.frameworks
def test_pooled_networks_are_not_cut_by_onnx_runtime(tmp_path: Path) -> None:
    predictor = Loader(checkpoint(tmp_path, POOLED), runtime_given="onnx").load()
    with pytest.raises(
        ValueError,
        match=r"^`tile` \(=864\): this network pools whole pictures, of 1200 x 64 pixels here",
    ):
        _ = levels(predictor, pictures(1, 1200, 64), 864)


@pytest.mark.parametrize("classes", [2, 5])
def test_probabilities_without_overflow(classes: int) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (2, classes, 3, 4)).astype(np.float32)
    powers = np.exp(logits.astype(np.float64))
    expected = powers / powers.sum(1, keepdims=True)
    np.testing.assert_allclose(
        shares(logits), expected[:, 1] if classes == 2 else expected, rtol=0, atol=1e-6
    )
    logits[0] = -3e4
    logits[0, 1] = 3e4
    logits[1, 1] = -3e4
    found = shares(logits) if classes == 2 else shares(logits)[:, 1]
    assert found[0].min() == 1
    assert found[1].max() == 0


def test_messages(tmp_path: Path) -> None:
    file = checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"^`output` \(='net.pb'\) must end in .onnx$"):
        _ = export(file, Path("net.pb"))
    _ = (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(
        ValueError, match=r"^`checkpoint` \(='.*bad.onnx'\) is no model that ONNX Runtime can run$"
    ):
        _ = Loader(tmp_path / "bad.onnx").load()
    _ = (tmp_path / "other.onnx").write_bytes(identity())
    with pytest.raises(
        ValueError,
        match=r"^`checkpoint` \(='.*other.onnx'\) was not written by backstride roads expo",
    ):
        _ = Loader(tmp_path / "other.onnx").load()
    with pytest.raises(
        ValueError,
        match=r'^`runtime` \(="torch"\) cannot run .*bad.onnx; name the checkpoint that it',
    ):
        _ = Loader(tmp_path / "bad.onnx", runtime_given="torch")
    with pytest.raises(
        ValueError,
        match=r"^`device` \(=\'cuda\'\) is not there: ONNX Runtime has no CUDAExecutionPro",
    ):
        _ = Loader(tmp_path / "other.onnx", "cuda").load()


def identity() -> bytes:
    """A model of somebody else."""
    helper: Any = importlib.import_module("onnx.helper")
    image = helper.make_tensor_value_info("image", 1, ["N"])
    logits = helper.make_tensor_value_info("logits", 1, ["N"])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["logits"])], "other", [image], [logits]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    return model.SerializeToString()
