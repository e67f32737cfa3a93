"""What follows a layer in code written by hand is taken into it; whatever such code does, it gets the same values."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
functional: Any = torch.nn.functional
bt: Any = importlib.import_module("backstride.torch")
modules: Any = importlib.import_module("backstride.torch.modules")


class Net(nn.Module):
    def __init__(self, after: Callable[[Any, Any], Any]) -> None:
        nn.Module.__init__(self)
        self.up = nn.ConvTranspose2d(4, 6, 3, 2, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.leaky = nn.LeakyReLU(0.2)
        self.flag = False
        self.after = after
        with torch.no_grad():
            for tensor in self.norm.state_dict().values():
                if tensor.is_floating_point():
                    _ = tensor.uniform_(0.5, 2)

    def forward(self, x: Any) -> Any:
        return self.after(self, x)


def twice(_module: Any, _arguments: Any, output: Any) -> Any:
    return output * 2


def own_norm(net: Any, x: Any) -> Any:
    return net.act(functional.batch_norm(net.up(x), net.norm.running_mean + 1, net.norm.running_var))


def reused(net: Any, x: Any) -> Any:
    y = net.up(x)
    z = functional.relu(y)
    return y + z if net.flag else z


def changed(net: Any, x: Any) -> Any:
    x = x.clone()
    y = net.up(x)
    if net.flag:
        x.add_(1)
    return functional.relu(y)


FUSED: dict[str, tuple[Callable[[Any, Any], Any], str | None]] = {
    "F.relu": (lambda net, x: functional.relu(net.up(x)), "relu"),
    "F.relu in place": (lambda net, x: functional.relu(net.up(x), inplace=True), "relu"),
    ".relu()": (lambda net, x: net.up(x).relu(), "relu"),
    ".relu_()": (lambda net, x: net.up(x).relu_(), "relu"),
    "torch.tanh": (lambda net, x: torch.tanh(net.up(x)), "tanh"),
    "F.leaky_relu": (lambda net, x: functional.leaky_relu(net.up(x)), "leaky_relu"),
    "norm": (lambda net, x: net.norm(net.up(x)), None),
    "norm, module": (lambda net, x: net.act(net.norm(net.up(x))), "relu"),
    "norm, F.silu": (lambda net, x: functional.silu(net.norm(net.up(x))), "silu"),
    "module": (lambda net, x: net.act(net.up(x)), "relu"),
    "another slope": (lambda net, x: net.leaky(net.up(x)), None),
    "another slope, in words": (lambda net, x: functional.leaky_relu(net.up(x), negative_slope=0.3), None),
    "another GELU": (lambda net, x: functional.gelu(net.up(x), approximate="tanh"), None),
    "norm of its own": (own_norm, None),
    "in training": (lambda net, x: net.norm.train()(net.up(x)).relu(), None),
}


@pytest.mark.parametrize("name", FUSED)
def test_what_follows_is_taken_in_where_it_can_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    after, activation = FUSED[name]
    stock = Net(after).eval()
    ours = copy.deepcopy(stock)
    (row,) = bt.accelerate(ours).report.rows
    calls: list[str | None] = []
    run = modules.OnEngine.computed

    def spy(self: Any, input: Any, weight: Any, bias: Any, activation: Any, output_size: Any = None) -> Any:
        calls.append(activation)
        return run(self, input, weight, bias, activation, output_size)

    monkeypatch.setattr(modules.OnEngine, "computed", spy)
    x = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        for _ in range(2):
            found, expected = ours(x), stock(x)
            torch.testing.assert_close(found + 0, expected, rtol=1e-5, atol=1e-5)
    assert calls == [activation] * 2
    assert row.remark.endswith("; takes in what follows, in inference") == (name != "norm of its own")
    monkeypatch.undo()
    for net in (ours, stock):
        _ = net.eval()
    torch.testing.assert_close(ours(x), stock(x))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), stock(x), rtol=1e-5, atol=1e-5)


def test_the_norm_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = bt.accelerate(Net(FUSED["norm, module"][0]).eval()).model
    x = torch.randn(1, 4, 5, 5)

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("the norm ran")

    monkeypatch.setattr(torch, "batch_norm", refuse)
    with torch.no_grad():
        assert ours(x).min() >= 0


def test_code_that_runs_otherwise_than_in_the_trace_is_right() -> None:
    stock = Net(reused).eval()
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(1, 4, 5, 5)
    for flag in (True, False):
        stock.flag = ours.flag = flag
        with torch.no_grad():
            torch.testing.assert_close(ours(x), stock(x), rtol=1e-5, atol=1e-5)
            for net in (ours, stock):
                _ = net.up.register_forward_hook(twice)


def test_an_input_changed_in_between_is_refused() -> None:
    ours = bt.accelerate(Net(changed).eval()).model
    with torch.no_grad():
        assert ours(torch.zeros(1, 4, 5, 5)).shape == (1, 6, 11, 11)
        ours.flag = True
        with pytest.raises(RuntimeError, match=r"^`input` of ConvTranspose2d was changed in place before .*fuse=False"):
            _ = ours(torch.zeros(1, 4, 5, 5))
        ours = bt.accelerate(bt.restore(ours), fuse=False).model
        assert ours(torch.zeros(1, 4, 5, 5)).shape == (1, 6, 11, 11)


def test_a_deferred_tensor_is_a_tensor_to_everything() -> None:
    stock = Net(lambda net, x: net.up(x).relu())
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        y, expected = ours.up(x), stock.up(x)
        assert type(y) is not torch.Tensor
        uses: list[Callable[[Any], Any]] = [
            lambda y: y.shape,
            lambda y: y.size(2),
            lambda y: y.dim(),
            lambda y: y.stride(),
            lambda y: y.numpy().shape,
            len,
            lambda y: tuple(y[0, 0, 0, :2].shape),
            lambda y: y.requires_grad,
            lambda y: bool(y.is_contiguous()),
            lambda y: y.dtype,
        ]
        for use in uses:
            assert use(ours.up(x)) == use(expected)
        changes: list[Callable[[Any], Any]] = [
            lambda y: torch.cat([y, y], 1),
            lambda y: y.view(1, -1),
            lambda y: functional.interpolate(y, scale_factor=2),
            lambda y: y.mul_(3),
            lambda y: y[:, 1:],
            lambda y: torch.stack((y, y)),
            copy.deepcopy,
            torch.ops.aten.neg,
            lambda y: torch.tensor(y.tolist()),
            lambda y: nn.functional.conv2d(x[:, :1], weight=y[:1, :1, :3, :3]),
        ]
        for use in changes:
            torch.testing.assert_close(use(ours.up(x)), use(stock.up(x)), rtol=1e-5, atol=1e-5)
        assert repr(ours.up(x)).startswith("tensor([[[[")
    y = None
    with torch.no_grad():
        y = ours.up(x)
    z = functional.relu(y)
    assert not z.requires_grad


def test_a_model_that_cannot_be_traced_is_left_as_it_was() -> None:
    class Branches(Net):
        def forward(self, x: Any) -> Any:
            self.kept = x
            return self.up(x).relu() if x.sum() > 0 else x

    model = Branches(reused)
    names = set(vars(model))
    (row,) = bt.accelerate(model).report.rows
    assert row.remark == "on the engine"
    assert set(vars(model)) == names


def test_trusted_weights_are_not_compared_but_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    packing: Any = importlib.import_module("backstride.torch.packing")
    compared: list[int] = []

    def spy(*_: Any) -> bool:
        compared.append(1)
        return True

    monkeypatch.setattr(packing, "same_bytes", spy)
    layer = nn.ConvTranspose2d(64, 48, 4)
    ours = bt.accelerate(copy.deepcopy(layer), trust=True).model
    x = torch.randn(1, 64, 2, 2)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(ours(x), layer(x), rtol=1e-5, atol=1e-5)
        for module in (ours, layer):
            _ = module.weight[0, 0].add_(9)
        torch.testing.assert_close(ours(x), layer(x), rtol=1e-5, atol=1e-4)
        assert not compared
        ours = bt.accelerate(bt.restore(ours)).model
        _ = ours(x), ours(x)
    assert compared


def test_a_model_with_waiting_layers_compiles_whole() -> None:
    torch._dynamo.reset()
    stock = Net(FUSED["norm, module"][0]).eval()
    ours = torch.compile(bt.accelerate(copy.deepcopy(stock)).model, fullgraph=True, backend="aot_eager")
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), stock(x), rtol=1e-5, atol=1e-5)
    torch._dynamo.reset()
