"""Files make nothing run and nothing large: code is imported where the user names it, and nowhere
else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")

from backstride import cli  # noqa: E402
from backstride.roads.config import DataConfig, ModelConfig, RunConfig  # noqa: E402
from backstride.roads.meaning import Meaning  # noqa: E402
from backstride.roads.network import checkpoint  # noqa: E402
from backstride.roads.network.model import build  # noqa: E402
from backstride.roads.toml import from_toml, to_toml  # noqa: E402
from road_pictures import save  # noqa: E402
from roads.prediction.networks import pictures  # noqa: E402

MODULE = """
from pathlib import Path
from torch import nn
_ = Path("sprung").write_text("x")
def make():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
"""  # noqa: E501
CONFIG = RunConfig(ModelConfig("shiny:make", skips=()))
WORDS = {
    "predict": "predict photo.png --checkpoint net.safetensors --out road",
    "export": "export --checkpoint net.safetensors --output net.onnx",
    "evaluate": "evaluate --checkpoint net.safetensors --out figures",
    "train": "train --config run/config.toml --out other --scenes 2 --size 32x32",
    "resume": "train --out run --resume",
}


@pytest.fixture(name="folder")
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, in which a module and a network lie whose encoder is made by it."""
    monkeypatch.chdir(tmp_path)
    _ = Path("shiny.py").write_text(MODULE)
    network = build(CONFIG.model)
    _ = checkpoint.save(tmp_path, network, CONFIG, name="net.safetensors")
    Path("run").mkdir()
    _ = Path("run/config.toml").write_text(to_toml(CONFIG))
    _ = save(Path("photo.png"), pictures(1, 64, 96)[0])
    Path("sprung").unlink()
    _ = sys.modules.pop("shiny")
    yield tmp_path
    _ = sys.modules.pop("shiny", None)


def refused(capsys: pytest.CaptureFixture[str], words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(["roads", *words.split()])
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", WORDS)
def test_no_command_imports_what_a_file_names(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    _ = pytest.importorskip("lightning", reason="the extra `roads` brings it")
    message = refused(capsys, WORDS[command])
    assert message.count("\n") == 1
    assert message.endswith("where you trust it, name it yourself: --encoder shiny:make\n")
    assert not (folder / "sprung").exists()
    assert "shiny" not in sys.modules


def test_what_is_named_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["roads", *WORDS["predict"].split(), "--encoder", "shiny:make"])
    assert caught.value.code == 0
    assert (folder / "sprung").exists()
    assert (folder / "road/masks/photo.png").is_file()
    _ = capsys.readouterr()
    message = refused(capsys, f"{WORDS['predict']}2 --encoder vgg16")
    assert message == (
        "backstride: `encoder` (='vgg16') is not that of `checkpoint` (='net.safetensors'), which "
        "is 'shiny:make'\n"
    )


def test_a_name_for_timm_is_no_address() -> None:
    for name in (
        "timm:hf-hub:someone/net",
        "timm:local-dir:/tmp/net",
        "timm:../net",
        "timm:",
        "os:abort:x",
    ):
        with pytest.raises(ValueError, match=r"^`encoder` \(='.*'\) must be vgg16, "):
            _ = build(ModelConfig(name))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            RunConfig(ModelConfig("vgg16", head=10**12)),
            "architecture: for its `head_kernel` (=7) it would hold an",
        ),
        (
            RunConfig(ModelConfig("vgg16", head=1, head_kernel=10**9 + 1)),
            "architecture: for its `head_kernel` (=1000000001) it would",
        ),
        (
            RunConfig(ModelConfig(classes=10**12)),
            "architecture: for its `classes` (=1000000000000) it would",
        ),
        (
            RunConfig(data=DataConfig(size=(10**6, 10**6))),
            "says that it was trained at (1000000, 1000000), which is",
        ),
        (
            RunConfig(data=DataConfig(size=(64,))),
            "says that it was trained at (64,), which is no size",
        ),
        (
            RunConfig(data=DataConfig(size=(-1, 64))),
            "says that it was trained at (-1, 64), which is no size",
        ),
    ],
)
def test_what_a_checkpoint_says_of_its_size_is_compared_with_what_it_holds(
    tmp_path: Path, config: RunConfig, message: str
) -> None:
    path = tmp_path / "net.safetensors"
    _ = path.write_bytes(checkpoint.packed({"a": torch.zeros(2)}, to_toml(config), Meaning()))
    with pytest.raises(ValueError, match=r"^`checkpoint` ") as caught:
        _ = checkpoint.load(path)
    assert message in str(caught.value)


def test_weights_and_folders_that_a_checkpoint_names_are_not_opened_to_load_it(
    tmp_path: Path,
) -> None:
    config = from_toml(
        '[model]\nencoder = "mobilenetv3-minimal"\nweights = "/dev/zero"\n[data]\nfolder = '
        '"/proc"\n'
    )
    path = checkpoint.save(tmp_path, build(ModelConfig("mobilenetv3-minimal")), config)
    assert checkpoint.load(path)[1] == config
