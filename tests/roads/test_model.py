from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")

from backstride.roads.config import ModelConfig  # noqa: E402
from backstride.roads.network.encoders import BUILT_IN  # noqa: E402
from backstride.roads.network.mobilenet import mobilenetv3_small  # noqa: E402
from backstride.roads.network.model import build, encoder_parameters  # noqa: E402
from backstride.roads.network.resnet import resnet34  # noqa: E402
from backstride.roads.network.vgg import torchvision_names, vgg16  # noqa: E402
from backstride.surgery import transpose  # noqa: E402
from backstride.torch import restore  # noqa: E402
from backstride.torch.acceleration.classes import Swapped  # noqa: E402

MINIMAL = ModelConfig("mobilenetv3-minimal")


def numbers(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_tables_have_the_papers_numbers_of_parameters() -> None:
    vgg = vgg16(1000, 4096, 7, 0.5)
    assert numbers(vgg) == 138_357_544
    assert numbers(resnet34(1000)) == 21_797_672
    assert numbers(mobilenetv3_small(1000, 0.2)) == 2_542_856


@pytest.mark.parametrize("name", BUILT_IN)
def test_labels_every_pixel_of_any_size(name: str) -> None:
    network: Any = build(ModelConfig(name, head=8, classes=3)).eval()
    native = network.native[1:]
    with torch.no_grad():
        for size in (native, (native[0] + 37, native[1] + 18)):
            assert network(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("name", BUILT_IN)
def test_starts_as_fcn_8s(name: str) -> None:
    network: Any = build(ModelConfig(name, head=8))
    assert list(network.segmenter.ups) == ["16", "8", "image"]
    assert not any(layer.weight.any() for layer in network.segmenter.skips.values())
    assert int(network.report.outputs[0].stride[0]) == 32


@pytest.mark.parametrize("name", BUILT_IN)
def test_starts_undecided(name: str) -> None:
    network: Any = build(ModelConfig(name, head=64))
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        assert float((network(image).softmax(1) - 0.5).abs().max()) < 0.4


def test_is_fed_as_vgg16_was_trained() -> None:
    network: Any = build(ModelConfig("vgg16", head=8)).eval()
    image = torch.rand(1, 3, 64, 64)
    red, green, blue = (255 * image).unbind(1)
    fed = torch.stack([blue - 103.939, green - 116.779, red - 123.68], 1)
    with torch.no_grad():
        assert torch.allclose(network(image), network.segmenter(fed), atol=1e-4)


def test_is_fed_as_imagenet_models_were_trained() -> None:
    network: Any = build(MINIMAL).eval()
    image = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    fed = (image - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        assert torch.allclose(network(image), network.segmenter(fed), atol=1e-5)


def test_runs_on_the_engine_what_pytorch_would_compute() -> None:
    network: Any = build(MINIMAL).eval()
    image = torch.rand(1, 3, 96, 160)
    with torch.no_grad():
        ours = network(image)
        swapped = [isinstance(layer, Swapped) for layer in network.segmenter.ups.values()]
        assert torch.allclose(restore(network)(image), ours, atol=1e-5)
    assert swapped == [True] * 3
    plain: Any = build(ModelConfig("mobilenetv3-minimal", engine=False))
    assert type(plain.segmenter.ups["8"]) is torch.nn.ConvTranspose2d


def test_each_parameter_is_the_encoders_or_the_decoders() -> None:
    for name in ("vgg16", "mobilenetv3-minimal"):
        network: Any = build(ModelConfig(name, head=8))
        lower, upper = encoder_parameters(network)
        assert {key for key, _ in (*lower, *upper)} == {
            key for key, _ in network.named_parameters()
        }
        assert all(key.startswith("segmenter.backbone.") for key, _ in lower)
        kinds = {key.split(".")[1] for key, _ in upper}
        assert kinds == {"backbone", "skips", "ups"}
        scores = [value.shape[0] for key, value in upper if key.split(".")[1] == "backbone"]
        assert scores == [2, 2]


def stored(path: Path, tensors: dict[str, Any]) -> str:
    _ = importlib.import_module("safetensors.torch").save_file(tensors, path)
    return str(path)


def test_takes_weights_by_both_names(tmp_path: Path) -> None:
    given = {
        key: value.clone()
        for key, value in vgg16(2, 8, 3, 0.5).state_dict().items()
        if key.startswith("block")
    }
    other = {ours: theirs for theirs, ours in torchvision_names().items()}
    renamed = {
        f"{other[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value
        for key, value in given.items()
    }
    renamed["classifier.0.weight"] = torch.zeros(4, 4)
    for name, tensors in (("ours", given), ("theirs", renamed)):
        weights = stored(tmp_path / f"{name}.safetensors", tensors)
        network: Any = build(ModelConfig("vgg16", weights, head=8, head_kernel=3))
        state = network.segmenter.backbone.state_dict()
        for key, value in given.items():
            assert torch.equal(state[key], value)


def test_takes_weights_of_resnet34(tmp_path: Path) -> None:
    given = {key: value.clone() for key, value in resnet34(1000).state_dict().items()}
    network: Any = build(ModelConfig("resnet34", stored(tmp_path / "resnet.safetensors", given)))
    state = network.segmenter.backbone.state_dict()
    assert all(
        torch.equal(state[key], value) for key, value in given.items() if not key.startswith("fc.")
    )


def test_refuses_weights_of_another_encoder(tmp_path: Path) -> None:
    whole = {
        key: value.clone()
        for key, value in vgg16(2, 8, 3, 0.5).state_dict().items()
        if key.startswith("block")
    }
    path = tmp_path / "some.safetensors"
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {**whole, "stem.weight": torch.zeros(2, 3)},
            "stem.weight, of shape (2, 3), is not in the encoder",
        ),
        (
            {**whole, "block1_conv1.weight": torch.zeros(64, 3, 5, 5)},
            "block1_conv1.weight, of shape (64, 3, 5, 5), has shape (64, 3, 3, 3) in the encoder",
        ),
    ]
    for tensors, reason in cases:
        with pytest.raises(ValueError, match=r"^`weights`") as caught:
            _ = build(ModelConfig("vgg16", stored(path, tensors)))
        assert str(caught.value) == f"`weights` (={str(path)!r}): {reason}"
    del whole["block5_conv3.bias"]
    with pytest.raises(ValueError, match=r"^`weights`") as caught:
        _ = build(ModelConfig("vgg16", stored(path, whole)))
    assert str(caught.value) == f"`weights` (={str(path)!r}) lacks block5_conv3.bias of the encoder"


def test_refuses_what_is_no_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with pytest.raises(ValueError, match=r"^`weights` \(='.*'\) does not exist$"):
        _ = build(ModelConfig("vgg16", str(path)))
    _ = path.write_bytes(b"\x80\x04pickle" * 10)
    with pytest.raises(ValueError, match=r"^`weights` \(='.*'\) is no safetensors file: "):
        _ = build(ModelConfig("vgg16", str(path)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ModelConfig("vgg"),
            (
                "`encoder` (='vgg') must be vgg16, resnet34, mobilenetv3, mobilenetv3-minimal, "
                "pytorchcv:NAME, timm:NAME "
            ),
        ),
        (
            ModelConfig("nowhere.at.all:make"),
            "`encoder` (='nowhere.at.all:make') cannot be imported: ",
        ),
        (ModelConfig("pathlib:make"), "`encoder` (='pathlib:make'): pathlib has no make"),
        (ModelConfig(classes=1), "`classes` (=1) must be at least 2, background and road"),
        (ModelConfig(head=0), "`head` (=0) must be at least 1; the nearest legal value is 1"),
        (
            ModelConfig(head_kernel=4),
            "`head_kernel` (=4) must be odd; the nearest legal value is 5",
        ),
        (ModelConfig(dropout=1), "`dropout` (=1) must be at least 0 and below 1"),
        (ModelConfig("resnet34", skips=(5,)), "`skips` (=(5,)) must be "),
    ],
)
def test_refuses(config: ModelConfig, message: str) -> None:
    with pytest.raises(ValueError, match=r"^`") as caught:
        _ = build(config)
    assert str(caught.value).startswith(message)


def test_takes_a_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "from torch import nn\ndef make(): return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), "
        "nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),\n    nn.AdaptiveAvgPool2d(1), "
        "nn.Flatten(), nn.Linear(8, 10))\ndef number(): return 3\n"
    )
    _ = (tmp_path / "own_encoder.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    network: Any = build(ModelConfig("own_encoder:make", skips=(2,)))
    assert network(torch.rand(1, 3, 50, 70)).shape == (1, 2, 50, 70)
    with pytest.raises(
        TypeError,
        match=r"^`encoder` \(='own_encoder:number'\) gave int; it must give a torch.nn.Module$",
    ):
        _ = build(ModelConfig("own_encoder:number"))


def test_takes_pytorchcv() -> None:
    _ = pytest.importorskip("pytorchcv", reason="the extra `architectures` brings it")
    network: Any = build(ModelConfig("pytorchcv:resnet10"))
    assert network.native == (3, 32, 32)
    assert network(torch.rand(1, 3, 64, 96)).shape == (1, 2, 64, 96)
    with pytest.raises(
        ValueError,
        match=r"^`encoder` \(='pytorchcv:resnet0'\): pytorchcv has no model of this name$",
    ):
        _ = build(ModelConfig("pytorchcv:resnet0"))


def test_takes_timm_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        _ = build(ModelConfig("timm:resnet18"))
    assert (
        str(caught.value)
        == "`encoder` (='timm:resnet18') needs timm, which is not installed: pip install timm"
    )

    def create_model(name: str, *, pretrained: bool) -> Any:
        assert (name, pretrained) == ("some_net", False)
        return mobilenetv3_small(10, 0.0, minimal=True)

    timm = types.ModuleType("timm")
    timm.__dict__["create_model"] = create_model
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert build(ModelConfig("timm:some_net"))(torch.rand(1, 3, 64, 64)).shape == (1, 2, 64, 64)


def test_is_what_transpose_gives() -> None:
    """The network is the public call's, on the encoder of the config."""
    torch.manual_seed(5)
    network: Any = build(MINIMAL).eval()
    torch.manual_seed(5)
    encoder = mobilenetv3_small(2, 0.2, minimal=True)
    segmenter, _ = transpose(encoder.eval(), (3, 32, 32), classes=2, skips=(16, 8))
    fed = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.allclose(network.segmenter(fed), segmenter(fed), atol=1e-6)
