from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")

from backstride.roads.config import ModelConfig, RunConfig  # noqa: E402
from backstride.roads.meaning import Meaning  # noqa: E402
from backstride.roads.network import checkpoint  # noqa: E402
from backstride.roads.network.model import build  # noqa: E402
from backstride.roads.toml import to_toml  # noqa: E402

CONFIG = RunConfig(ModelConfig("mobilenetv3-minimal", "a file that is gone.safetensors"))


def built() -> Any:
    return build(ModelConfig("mobilenetv3-minimal"))


def test_comes_back(tmp_path: Path) -> None:
    module = built()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    path = checkpoint.save(tmp_path / "run", module, CONFIG)
    state = torch.get_rng_state()
    for place in (path, tmp_path / "run"):
        found, config = checkpoint.load(place)
        assert config == CONFIG
        assert not found.training
        assert all(
            torch.equal(value, found.state_dict()[key])
            for key, value in module.state_dict().items()
        )
    assert torch.equal(state, torch.get_rng_state())
    assert (tmp_path / "run" / "config.toml").read_text() == to_toml(CONFIG)


def test_the_best_is_taken_before_the_last(tmp_path: Path) -> None:
    best, last = built(), built()
    _ = checkpoint.save(tmp_path, last, CONFIG, name="last.safetensors")
    key = next(iter(last.state_dict()))
    assert torch.equal(checkpoint.load(tmp_path)[0].state_dict()[key], last.state_dict()[key])
    _ = checkpoint.save(tmp_path, best, CONFIG)
    assert torch.equal(checkpoint.load(tmp_path)[0].state_dict()[key], best.state_dict()[key])


def message(path: Path) -> str:
    with pytest.raises(ValueError, match=r"^`checkpoint`") as caught:
        _ = checkpoint.load(path)
    return str(caught.value).replace(str(path), "PATH")


def test_refuses_what_is_none(tmp_path: Path) -> None:
    assert message(tmp_path) == (
        "`checkpoint` (='PATH') is a folder without best.safetensors and last.safetensors; train "
        "there first"
    )
    assert message(tmp_path / "none") == "`checkpoint` (='PATH') does not exist"
    _ = importlib.import_module("safetensors.torch").save_file(
        {"a": torch.zeros(1)}, tmp_path / "plain"
    )
    assert (
        message(tmp_path / "plain")
        == "`checkpoint` (='PATH') is no checkpoint of backstride roads: it has no config"
    )


def test_unpickles_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    path = tmp_path / "trap"
    _ = path.write_bytes(pickle.dumps(Trap()))
    assert message(path).startswith("`checkpoint` (='PATH') is no safetensors file: ")
    torch.save({"state_dict": Trap()}, path)
    assert message(path).startswith("`checkpoint` (='PATH') is no safetensors file: ")
    assert not (tmp_path / "sprung").exists()
    _ = pickle.loads(pickle.dumps(Trap()))
    assert (tmp_path / "sprung").exists()


def test_another_architecture_is_one_sentence(tmp_path: Path) -> None:
    path = checkpoint.save(
        tmp_path, built(), RunConfig(ModelConfig("mobilenetv3-minimal", classes=3))
    )
    assert message(path) == (
        "`checkpoint` (='PATH') belongs to another architecture: for its `classes` (=3) it would "
        "hold an array of shape (3,)"
    )
    path = checkpoint.save(
        tmp_path, built(), RunConfig(ModelConfig("mobilenetv3-minimal", skips=(16,)))
    )
    assert message(path).endswith(
        "its segmenter.skips.8.bias has shape (2,), the network's is missing"
    )


def test_a_config_that_is_none_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    _ = path.write_bytes(
        checkpoint.packed({"a": torch.zeros(1)}, "[model]\nencoders = 3", Meaning())
    )
    with pytest.raises(
        ValueError, match=r"^`model.encoders` in .*file is no key; the nearest is `model.encoder`$"
    ):
        _ = checkpoint.load(path)
