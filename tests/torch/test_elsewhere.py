"""Away from ordinary CPU tensors: other devices never touch the engine, and TorchScript gets what
it can compile.
"""

from __future__ import annotations

import copy
import importlib
import io
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
fake: Any = importlib.import_module("torch._subclasses.fake_tensor")
scripted = pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
WORDS: list[dict[str, Any]] = [
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": 2, "padding": [(0, 1), (1, -2)]},
    {"stride": 3, "padding": "same", "dilation": 2, "groups": 2},
    {"padding": 1, "padding_mode": "circular", "activation": "silu"},
]


@pytest.fixture(name="_no_engine")
def the_engine_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("the engine was touched")

    monkeypatch.setattr(kernels, "_implementation", refuse)
    monkeypatch.setattr(kernels, "array_of", refuse)


@pytest.mark.usefixtures("_no_engine")
@pytest.mark.parametrize("device", ["cuda", "mps", "meta"])
@pytest.mark.parametrize("words", WORDS)
def test_tensors_of_other_devices_never_touch_the_engine(
    device: str, words: dict[str, Any]
) -> None:
    mode = fake.FakeTensorMode()

    def tensor(*shape: int) -> Any:
        made = torch.empty(*shape, device="meta")
        return made if device == "meta" else fake.FakeTensor(mode, made, torch.device(device))

    x, weight, bias = tensor(2, 4, 5, 6), tensor(4, 3, 3, 3), tensor(3 * words.get("groups", 1))
    y = bt.conv_transpose2d(x, weight, bias, **words)
    assert y.device.type == device
    assert y.shape[:2] == (2, 3 * words.get("groups", 1))
    if "activation" not in words:
        y = torch.ops.backstride.conv_transpose(x, weight, None, [2, 2], [0, 1, 1, -2], [1, 1], 1)
        assert (y.device.type, y.shape) == (device, (2, 3, 10, 14))


@pytest.fixture(name="lazy", scope="module")
def a_second_device() -> str:
    """PyTorch's lazy tensors: a device of its own, in every wheel, whose kernels run on the
    processor.
    """
    importlib.import_module("torch._lazy.ts_backend").init()
    return "lazy"


@pytest.mark.parametrize("words", WORDS)
def test_another_device_computes_the_same_with_its_own_kernels(
    words: dict[str, Any], lazy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = (
        torch.randn(2, 4, 5, 6, requires_grad=True),
        torch.randn(4, 3, 3, 3, requires_grad=True),
    )
    bias = torch.randn(3 * words.get("groups", 1))
    expected = bt.conv_transpose2d(x, weight, bias, **words)
    gradients = torch.autograd.grad(expected.square().sum(), (x, weight))

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("the engine was touched")

    monkeypatch.setattr(kernels, "_implementation", refuse)
    there = [tensor.detach().to(lazy).requires_grad_() for tensor in (x, weight)]
    found = bt.conv_transpose2d(*there, bias.to(lazy), **words)
    assert found.device.type == lazy
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)
    for one, two in zip(torch.autograd.grad(found.square().sum(), there), gradients, strict=True):
        assert one.device.type == lazy
        torch.testing.assert_close(one.cpu(), two, rtol=1e-4, atol=1e-3)


def test_an_accelerated_model_moves_to_another_device_and_back(lazy: str) -> None:
    stock = nn.Sequential(
        nn.ConvTranspose2d(24, 24, 3, 2), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 24, 3)
    ).eval()
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(1, 24, 5, 5)
    with torch.no_grad():
        expected = stock(x)
        for _ in range(2):
            torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)
            _ = ours.to(lazy)
            torch.testing.assert_close(ours(x.to(lazy)).cpu(), expected, rtol=1e-5, atol=1e-5)
            _ = ours.to("cpu")


@scripted
def test_torchscript_compiles_pytorchs_layers() -> None:
    stock = nn.Sequential(nn.ConvTranspose2d(24, 24, 3, 2), nn.ReLU(), nn.Conv2d(24, 24, 3)).eval()
    ours = bt.accelerate(copy.deepcopy(stock)).model
    ours.append(bt.ConvTranspose2d(24, 3, 2))
    stock.append(nn.ConvTranspose2d(24, 3, 2))
    _ = stock.load_state_dict(ours.state_dict())
    x = torch.randn(1, 24, 5, 7)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(ours), file)
    _ = file.seek(0)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(file)(x), stock(x))
    assert len(bt.accelerate(ours).report.refused) == 0


@scripted
@pytest.mark.parametrize(
    "words",
    [
        {"padding": "same"},
        {"padding": [(0, 1)] * 2},
        {"output_padding": 3},
        {"padding_mode": "circular"},
    ],
)
def test_what_torchscript_cannot_compile_is_said(words: dict[str, Any]) -> None:
    with pytest.raises(
        RuntimeError, match=r"the nearest legal calls are torch.jit.trace and torch.export$"
    ):
        _ = torch.jit.script(bt.ConvTranspose2d(4, 3, 3, 2, **words))


@scripted
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("words", [{}, {"padding": "same"}, {"padding": [(0, 1), (1, -2)]}])
def test_a_trace_keeps_the_operator(words: dict[str, Any]) -> None:
    layer = bt.ConvTranspose2d(4, 3, 3, 2, **words)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, torch.randn(1, 4, 5, 5)), file)
    _ = file.seek(0)
    traced, x = torch.jit.load(file), torch.randn(2, 4, 7, 6, requires_grad=True)
    assert "backstride.conv_transpose" in str(traced.graph) or "backstride::conv_transpose" in str(
        traced.inlined_graph
    )
    torch.testing.assert_close(traced(x), layer(x))


def exported(model: Any, x: Any, dynamo: bool) -> Any:
    """Its result in ONNX Runtime."""
    runtime: Any = pytest.importorskip("onnxruntime")
    _ = pytest.importorskip("onnxscript")
    file = io.BytesIO()
    program = torch.onnx.export(
        model, (x,), *(() if dynamo else (file,)), dynamo=dynamo, verbose=False
    )
    session = runtime.InferenceSession(
        program.model_proto.SerializeToString() if dynamo else file.getvalue()
    )
    return torch.tensor(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("number", range(len(WORDS)))
def test_our_modules_are_exported_to_onnx(number: int, dynamo: bool) -> None:
    words = {name: value for name, value in WORDS[number].items() if name != "activation"}
    layer, x = bt.ConvTranspose2d(4, 6, 3, **words).eval(), torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(exported(layer, x, dynamo), layer(x).detach(), rtol=1e-5, atol=1e-5)


LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: bt.ConvTranspose1d(4, 6, 4, 2, 1), (2, 4, 9)),
    (lambda: bt.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1), (2, 4, 5, 6)),
    (lambda: bt.ConvTranspose3d(4, 6, 3, groups=2), (1, 4, 3, 4, 5)),
]


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "size"), LAYERS)
def test_an_exported_program_of_our_modules_becomes_standard_onnx(
    make: Any, size: tuple[int, ...]
) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    _ = pytest.importorskip("onnxscript")
    layer, x = make().eval(), torch.randn(size)
    program = torch.export.export(layer, (x,))
    proto = torch.onnx.export(program, (), dynamo=True, verbose=False).model_proto
    kinds = {(node.domain, node.op_type) for node in proto.graph.node}
    assert ("", "ConvTranspose") in kinds
    assert all(domain == "" for domain, _ in kinds)
    session = runtime.InferenceSession(proto.SerializeToString())
    found = torch.tensor(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
    torch.testing.assert_close(found, layer(x).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
def test_accelerated_models_are_exported_to_onnx(dynamo: bool) -> None:
    layers = (
        nn.ConvTranspose2d(4, 24, 3, 2),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3),
        nn.ReLU(),
    )
    model, x = bt.accelerate(nn.Sequential(*layers).eval()).model, torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        torch.testing.assert_close(exported(model, x, dynamo), model(x), rtol=1e-4, atol=1e-4)


def test_an_accelerated_model_is_exported_as_pytorchs_own() -> None:
    layers = nn.ConvTranspose2d(4, 24, 3, 2), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 24, 3)
    model, x = bt.accelerate(nn.Sequential(*layers).eval()).model, torch.randn(2, 4, 5, 6)
    for strict in (False, True):
        names = {
            str(node.target) for node in torch.export.export(model, (x,), strict=strict).graph.nodes
        }
        assert names >= {
            "aten.conv_transpose2d.input",
            "aten.batch_norm.default",
            "aten.relu.default",
        }
        assert not any("backstride" in name for name in names)
