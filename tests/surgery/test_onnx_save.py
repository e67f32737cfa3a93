"""Models whose weights no one file holds: here, any above a kilobyte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx

from backstride.surgery import convert_file, prove, transpose
from backstride.surgery.onnx import save as onnx_save
from backstride.surgery.onnx.file import load
from backstride.surgery.onnx.runner import pixel_network
from surgery.onnx_models import LENET

loose: Any = onnx  # some of it is untyped
pytestmark = pytest.mark.frameworks


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_save, "LARGEST", 1024)


def test_weights_lie_beside_the_model_and_come_back(tmp_path: Path) -> None:
    network, report = transpose(LENET.build(17), LENET.shape, decoder="unet")
    assert onnx_save.is_large(network)
    path = tmp_path / "fcn.onnx"
    onnx_save.save(network, path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fcn.onnx", "fcn.onnx.data"]
    assert path.stat().st_mode == (tmp_path / "fcn.onnx.data").stat().st_mode
    assert path.stat().st_size < len(network.SerializeToString()) / 2
    loose.checker.check_model(str(path), full_check=True)
    assert load(path).SerializeToString(deterministic=True) == network.SerializeToString(
        deterministic=True
    )
    image = np.random.default_rng(0).normal(size=(1, 25, 31)).astype(np.float32)
    assert prove(LENET.build(17), network, report, image).holds
    run, channels, known = pixel_network(path)
    assert run(image[None]).shape == (1, 5, 25, 31)
    assert channels == 1
    assert known is not None


def test_a_file_is_converted_to_such_files(tmp_path: Path) -> None:
    loose.save_model(
        LENET.build(17), tmp_path / "in.onnx", save_as_external_data=True, location="in.bin"
    )
    _, (proof,) = convert_file(
        str(tmp_path / "in.onnx"),
        LENET.shape,
        tmp_path / "out.onnx",
        report_path=tmp_path / "out.html",
    )
    assert proof.holds
    assert (tmp_path / "out.onnx.data").exists()


def scores(path: Path) -> Any:
    image = np.random.default_rng(0).normal(size=(1, 1, 25, 31)).astype(np.float32)
    return pixel_network(path)[0](image)


def others() -> onnx.ModelProto:
    """A network with other weights than LENET's."""
    model = LENET.build(17)
    for tensor in model.graph.initializer:
        tensor.raw_data = (np.frombuffer(tensor.raw_data, np.float32) * np.float32(0.5)).tobytes()
    return transpose(model, LENET.shape)[0]


def test_a_second_write_takes_both_files_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fcn.onnx"
    onnx_save.save(transpose(LENET.build(17), LENET.shape)[0], path)
    before, second = scores(path), others()

    def failing(*_: Any) -> Any:
        message = "no room"
        raise OSError(message)

    with monkeypatch.context() as patch:
        patch.setattr(onnx_save, "write_beside", failing)
        with pytest.raises(OSError, match="no room"):
            onnx_save.save(second, path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fcn.onnx", "fcn.onnx.data"]
    np.testing.assert_array_equal(scores(path), before)
    onnx_save.save(second, path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fcn.onnx", "fcn.onnx.2.data"]
    assert np.abs(scores(path) - before).max() > 0.001
    onnx_save.save(second, path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["fcn.onnx", "fcn.onnx.data"]


def test_weights_of_another_model_stay(tmp_path: Path) -> None:
    loose.save_model(
        LENET.build(17), tmp_path / "in.onnx", save_as_external_data=True, location="fcn.onnx.data"
    )
    weights = (tmp_path / "fcn.onnx.data").read_bytes()
    _ = convert_file(str(tmp_path / "in.onnx"), LENET.shape, tmp_path / "fcn.onnx")
    assert (tmp_path / "fcn.onnx.data").read_bytes() == weights
    assert (tmp_path / "fcn.onnx.2.data").exists()


def test_nothing_stays_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = transpose(LENET.build(17), LENET.shape)

    def failing(*_: Any) -> Any:
        message = "no room"
        raise OSError(message)

    monkeypatch.setattr(onnx_save, "_reference", failing)
    with pytest.raises(OSError, match="no room"):
        onnx_save.save(network, tmp_path / "fcn.onnx")
    assert not list(tmp_path.iterdir())
