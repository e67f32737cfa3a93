"""Weights to a file and back; what is wrong with a file is said, and the network stays as it
was.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")
pytest.importorskip("safetensors", reason="safetensors is not installed")

import torch
from torch import nn

from backstride.surgery import load_weights, save_weights, transpose
from surgery.classifiers import lenet


def network() -> Any:
    return transpose(lenet().eval(), (1, 28, 28), classes=3, decoder="linknet")[0]


def test_weights_go_round(tmp_path: Path) -> None:
    first, second = network(), network()
    with torch.no_grad():
        for parameter in first.parameters():
            _ = parameter.normal_()
    (tmp_path / "deep").mkdir()
    save_weights(first, tmp_path / "deep" / "fcn.safetensors")
    load_weights(second, str(tmp_path / "deep" / "fcn.safetensors"))
    image = torch.randn(1, 1, 40, 33)
    assert torch.equal(first(image), second(image))


def test_shared_and_turned_weights_go_round(tmp_path: Path) -> None:
    model: Any = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    model[1].weight = nn.Parameter(model[0].weight.detach().T)
    save_weights(model, tmp_path / "it")
    again: Any = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3))
    load_weights(again, tmp_path / "it")
    assert torch.equal(again[1].weight, model[0].weight.T)


def refused(path: Path) -> str:
    made = network()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    with pytest.raises(ValueError, match="path") as caught:
        load_weights(made, path)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    return str(caught.value).replace(str(path), "FILE")


def test_bad_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "it"
    assert refused(path) == "`path` (='FILE') is no file"
    assert refused(tmp_path) == "`path` (='FILE') is no file"
    save_weights(network(), path)
    _ = path.write_bytes(path.read_bytes()[:-9])
    assert refused(path).startswith("`path` (='FILE') is no safetensors file: ")
    _ = path.write_bytes(pickle.dumps({"backbone.0.weight": [1]}))
    assert refused(path).startswith("`path` (='FILE') is no safetensors file: ")
    _ = path.write_bytes(b"")
    assert refused(path).startswith("`path` (='FILE') is no safetensors file: ")
    _ = path.write_bytes(bytes(40 << 20))
    assert refused(path).startswith("`path` (='FILE') has 41943040 bytes; the network has ")


def test_other_networks_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "it"
    save_weights(nn.Linear(2, 2), path)
    assert refused(path) == (
        "`path` (='FILE') has no weight of this name at 'backbone.0.bias', where the network has "
        "(6,)"
    )
    save_weights(transpose(lenet(), (1, 28, 28), classes=4, decoder="linknet")[0], path)
    assert (
        refused(path)
        == "`path` (='FILE') has (4,) at 'backbone.10.bias', where the network has (3,)"
    )


def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^`network` must be a torch.nn.Module, not dict$"):
        save_weights({}, tmp_path / "it")
    with pytest.raises(ValueError, match="is a folder"):
        save_weights(nn.Linear(1, 1), tmp_path)
