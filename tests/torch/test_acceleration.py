"""accelerate: every kind of layer is swapped or refused with a reason, nothing else changes, and
restore undoes it.
"""

from __future__ import annotations

import copy
import importlib
import pickle
import re
from typing import Any, cast

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
parametrize: Any = importlib.import_module("torch.nn.utils.parametrize")
parametrizations: Any = importlib.import_module("torch.nn.utils.parametrizations")
functional: Any = torch.nn.functional
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
kernels: Any = importlib.import_module("backstride.torch.operator.kernels")
swapping: Any = importlib.import_module("backstride.torch.acceleration.swapping")
renamed = torch.nn.functional.conv_transpose2d


class Inherits(nn.ConvTranspose2d):
    def __init__(self, channels: int) -> None:
        nn.ConvTranspose2d.__init__(self, channels, channels, 2, 2)


class OwnForward(nn.ConvTranspose2d):
    def forward(self, input: Any, output_size: Any = None) -> Any:
        size = [2 * cells for cells in input.shape[2:]] if output_size is None else output_size
        return nn.ConvTranspose2d.forward(self, input, size) * 2


def helper(x: Any, weight: Any) -> Any:
    return renamed(x, weight, stride=2)


class Calls(nn.Module):
    """Calls the function through a helper, after a branch on data that no tracer can follow."""

    def __init__(self, channels: int) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.randn(channels, channels, 2, 2))
        self.inner = nn.ConvTranspose2d(channels, channels, 3, 1, 1)

    def forward(self, x: Any) -> Any:
        return x if x.sum() > 1e9 else self.inner(helper(x, self.weight))


class Net(nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        norm, activation = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        first = nn.ConvTranspose2d(4, 8, 3, 2, 1, 1, groups=2, bias=False)
        self.chain = nn.Sequential(first, norm, activation, Inherits(8), nn.LeakyReLU(0.2))
        self.calls = Calls(8)
        self.own = OwnForward(8, 8, 3, 2, 1)
        self.normed = parametrizations.weight_norm(nn.ConvTranspose2d(8, 4, 2, 2))
        self.last = nn.ConvTranspose2d(4, 3, 1)

    def forward(self, x: Any) -> Any:
        return self.last(self.normed(self.own(self.calls(self.chain(x)))))


@pytest.fixture(name="pair")
def a_model_and_its_copy() -> tuple[Any, Any]:
    model = Net()
    nn.init.normal_(model.chain[1].weight)
    nn.init.normal_(model.chain[1].bias)
    with torch.no_grad():
        _ = model(torch.randn(3, 4, 5, 5))
    stock = copy.deepcopy(model)
    return bt.accelerate(model).model, stock


def x() -> Any:
    return torch.randn(2, 4, 5, 6)


def test_the_report_names_every_layer() -> None:
    model = Net()
    model.last.forward = nn.Identity().forward
    names = [(row.name, row.kind, row.accelerated) for row in bt.accelerate(model).report.rows]
    assert names == [
        ("chain", "Sequential", True),
        ("chain.0", "ConvTranspose2d", True),
        ("chain.3", "Inherits", True),
        ("calls", "Calls", True),
        ("calls.inner", "ConvTranspose2d", True),
        ("own", "OwnForward", True),
        ("normed", "ParametrizedConvTranspose2d", True),
        ("last", "ConvTranspose2d", False),
    ]
    assert [row.remark for row in bt.accelerate(model).report.refused] == [
        "its forward was replaced on the instance"
    ]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_what_cannot_be_swapped_is_refused_with_the_reason() -> None:
    class ConvTranspose9d(nn.Module):
        pass

    model = nn.ModuleDict(
        {"script": torch.jit.script(nn.ConvTranspose2d(2, 2, 2)), "other": ConvTranspose9d()}
    )
    rows = bt.accelerate(model).report.rows
    assert [(row.name, row.accelerated) for row in rows] == [("script", False), ("other", False)]
    assert rows[0].remark == "compiled by TorchScript, its code is fixed"
    assert rows[1].remark.endswith("ConvTranspose9d is no torch.nn.ConvTranspose")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_runs_on_the_engine(dtype: Any) -> None:
    layer = nn.Sequential(nn.ConvTranspose2d(40, 30, 4, 2, 1), nn.ReLU()).to(dtype)
    ours, data = copy.deepcopy(layer), torch.randn(2, 40, 9, 8, dtype=dtype)
    rows = bt.accelerate(ours, verify=data).report.rows
    assert [row.accelerated for row in rows] == [True, True]
    assert rows[1].remark.startswith("on the engine; verified, differs by ")
    with torch.no_grad():
        found, expected = ours(data), layer.float()(data.float())
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^`model` must be a torch.nn.Module, not Tensor$"):
        _ = bt.accelerate(x())


def test_training_goes_on_as_before(pair: tuple[Any, Any]) -> None:
    ours, stock = pair
    optimizers = [torch.optim.Adam(model.parameters(), 0.01) for model in pair]
    for _ in range(3):
        data = x()
        for model, optimizer in zip(pair, optimizers, strict=True):
            optimizer.zero_grad()
            model(data).square().mean().backward()
            optimizer.step()
    assert list(ours.state_dict()) == list(stock.state_dict())
    for (name, one), two in zip(
        ours.state_dict().items(), stock.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3, msg=name)


def test_inference_is_the_same_to_rounding(pair: tuple[Any, Any]) -> None:
    data = x()
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        for training in (False, True):
            with mode():
                found, expected = (model.train(training)(data) for model in pair)
            found, expected = found.detach(), expected.detach()
            assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_fused_layers_run_as_one_call(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, stock = (model.eval().chain for model in pair)
    calls: list[str | None] = []
    run = swapping.OnEngine.computed

    def spy(
        self: Any, input: Any, weight: Any, bias: Any, activation: Any, output_size: Any = None
    ) -> Any:
        calls.append(activation)
        return run(self, input, weight, bias, activation, output_size)

    def refuse(*_: Any) -> None:
        pytest.fail("the norm ran")

    monkeypatch.setattr(swapping.OnEngine, "computed", spy)
    monkeypatch.setattr(torch, "batch_norm", refuse)
    with torch.no_grad():
        found = ours(x())
    assert calls == ["relu", None]
    assert found.shape == (2, 8, 20, 24)
    monkeypatch.undo()
    seen: list[int] = []

    def listen(*_: Any) -> None:
        seen.append(1)

    _ = ours[1].register_forward_hook(listen)
    with torch.no_grad():
        data = x()
        torch.testing.assert_close(ours(data), stock(data), rtol=1e-5, atol=1e-5)
    assert seen == [1]


def test_copies_and_pickles_are_accelerated_too(pair: tuple[Any, Any]) -> None:
    ours, data = pair[0], x()
    again = copy.deepcopy(ours)
    torch.testing.assert_close(again(data), ours(data))
    chain = pickle.loads(pickle.dumps(ours.chain))
    assert type(chain[0]) is type(ours.chain[0])
    assert isinstance(chain[0], nn.ConvTranspose2d)
    torch.testing.assert_close(chain(data), ours.chain(data))


def test_restore_brings_every_class_back(pair: tuple[Any, Any]) -> None:
    ours, stock = pair
    data = x()
    restored = bt.restore(ours)
    assert restored is ours
    plain = [module for module in ours.modules() if not parametrize.is_parametrized(module)]
    others = [module for module in stock.modules() if not parametrize.is_parametrized(module)]
    assert [type(module) for module in plain] == [type(module) for module in others]
    assert type(ours.normed).__bases__ == (nn.ConvTranspose2d,)
    torch.testing.assert_close(ours(data), stock(data), rtol=0, atol=0)


def test_parametrisations_come_and_go_around_it() -> None:
    layer = bt.accelerate(nn.ConvTranspose2d(4, 4, 2)).model
    swapped = cast("Any", type(layer))
    _ = parametrizations.spectral_norm(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is swapped
    _ = parametrizations.weight_norm(layer)
    assert type(bt.restore(layer)).__bases__ == (nn.ConvTranspose2d,)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.ConvTranspose2d


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_module_becomes_an_accelerated_one() -> None:
    layer = bt.accelerate(nn.LazyConvTranspose2d(3, 3)).model
    assert layer(x()).shape == (2, 3, 7, 8)
    assert type(layer).__name__ == "ConvTranspose2d"
    assert isinstance(layer, swapping.TransposedLayer)
    assert type(bt.restore(layer)) is nn.ConvTranspose2d


def test_twice_is_once(pair: tuple[Any, Any]) -> None:
    classes: list[Any] = [type(module) for module in pair[0].modules()]
    report = bt.accelerate(pair[0]).report
    assert all(row.remark == "was accelerated before" for row in report.rows)
    assert [type(module) for module in pair[0].modules()] == classes


def test_verified_layers_say_so_and_a_wrong_one_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Net()
    data = x()
    modes = [module.training for module in model.eval().modules()]
    with torch.no_grad():
        expected = model(data)
    report = bt.accelerate(model, verify=data).report
    assert len(report.accelerated) == 8
    assert all("; verified, differs by " in row.remark for row in report.rows)
    assert [module.training for module in model.modules()] == modes
    _ = bt.restore(model)
    run = kernels.conv_transpose

    def wrong(x: Any, weight: Any, *rest: Any, **words: Any) -> Any:
        return run(x, weight, *rest, **words) + (1e-3 if weight is model.last.weight else 0)

    monkeypatch.setattr(kernels, "conv_transpose", wrong)
    report = bt.accelerate(model, verify=(data,)).report
    (refused,) = report.refused
    assert refused.name == "last"
    assert re.match(r"differs by \d+e-\d+ of the largest value, more than 1e-05$", refused.remark)
    assert type(model.last) is nn.ConvTranspose2d
    with torch.no_grad():
        torch.testing.assert_close(model(data), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("grad", [True, False])
def test_an_accelerated_model_compiles_whole(grad: bool) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.weight = nn.Parameter(torch.randn(4, 4, 2, 2))

        def forward(self, x: Any) -> Any:
            return functional.conv_transpose2d(x, self.weight, stride=2)

    torch._dynamo.reset()
    model = nn.Sequential(
        Plain(), nn.ConvTranspose2d(4, 6, 3, 2), nn.BatchNorm2d(6), nn.ReLU()
    ).eval()
    data = x()
    expected = model(data)
    compiled = torch.compile(bt.accelerate(model).model, fullgraph=True, backend="aot_eager")
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(
            compiled(data), expected.detach() if not grad else expected, rtol=1e-4, atol=1e-4
        )
    torch._dynamo.reset()


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "up": (lambda: nn.ConvTranspose2d(32, 32, 4, 2, 1), (9, 9)),
    "own": (lambda: bt.ConvTranspose2d(32, 32, 4, 2, 1), (9, 9)),
    "up in a line": (lambda: nn.ConvTranspose1d(64, 64, 8, 4, 2), (200,)),
    "few": (lambda: nn.Conv2d(32, 4, 5, padding=2), (20, 20)),
    "routed": (lambda: CallsLarge(), (9, 9)),  # noqa: PLW0108  it stands below
}


class CallsLarge(nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.randn(32, 32, 4, 4))

    def forward(self, x: Any) -> Any:
        return functional.conv_transpose2d(x, self.weight, None, 2, 1)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("chain", [False, True])
def test_without_winograd_a_large_number_reaches_only_what_reads_it(kind: str, chain: bool) -> None:
    """In inference, compiled or not, and in the derivative by the input: all other bits stay."""
    make, size = LAYERS[kind]
    model = make()
    norm = (nn.BatchNorm1d if len(size) == 1 else nn.BatchNorm2d)(
        model.weight.shape[0 if kind == "few" else 1]
    )
    model = nn.Sequential(model, norm, nn.ReLU6()) if chain else model
    model = bt.accelerate(model.eval(), winograd=False).model
    data = torch.randn(1, 64 if len(size) == 1 else 32, *size)
    spoiled = data.clone()
    spoiled[(..., *(cells // 2 for cells in size))] = 1e6
    reads = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in reads.parameters():
            _ = parameter.fill_(1)
        mark = torch.zeros_like(data)
        mark[(..., *(cells // 2 for cells in size))] = 1
        layer = reads[0] if chain else reads
        others = layer(mark) == layer(torch.zeros_like(data))
        assert 0 < float(others.float().mean()) < 1
        for run in (model, torch.compile(model, backend="aot_eager")):
            assert torch.equal(run(data)[others], run(spoiled)[others])
    if not chain:
        given = [array.clone().requires_grad_() for array in (data, spoiled)]
        incoming = torch.where(others, torch.randn(others.shape), 1e6)
        kept = torch.where(others, incoming, 0.0)
        for x, gradient in zip(given, (kept, incoming), strict=True):
            model(x).backward(gradient)
        with torch.no_grad():
            untouched = torch.autograd.functional.vjp(reads, data, (~others).float())[1] == 0
        assert bool(untouched.any())
        assert torch.equal(given[0].grad[untouched], given[1].grad[untouched])
    _ = bt.restore(model)
    assert "winograd" not in vars(model) or kind == "own"


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: nn.Conv2d(32, 32, 3, padding=1), (9, 9)),
        (lambda: nn.Conv1d(64, 64, 11, padding=5), (90,)),
        (lambda: nn.Conv3d(32, 32, 3, padding=1), (6, 7, 8)),
    ],
)
def test_without_winograd_the_convolutions_that_only_tiles_make_faster_stay_pytorchs(
    make: Any, size: Any
) -> None:
    model = nn.Sequential(make(), nn.ConvTranspose1d(2, 2, 2))
    before = bt.accelerate(copy.deepcopy(model))
    assert type(before.model[0]) is not type(model[0])
    report = bt.accelerate(model, winograd=False).report
    assert "0" not in [row.name for row in report.rows]
    x = torch.randn(1, model[0].in_channels, *size, requires_grad=True)
    plain = bt.restore(copy.deepcopy(model))[0]
    for mode in (torch.no_grad(), torch.enable_grad()):
        with mode:
            assert torch.equal(model[0](x), plain(x))
            assert not torch.equal(before.model[0](x), plain(x))
    again = bt.accelerate(before.model, winograd=False).model[
        0
    ]  # layers that were on the engine leave it
    with torch.no_grad():
        assert torch.equal(again(x), plain(x))


def test_without_winograd_the_gradient_by_the_weight_is_a_plain_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    up, data = nn.ConvTranspose2d(32, 32, 4, 2, 1), torch.randn(2, 32, 9, 9)
    seen: list[bool] = []
    run = kernels.conv_kernel_gradient

    def spy(x: Any, y: Any, integers: Any) -> Any:
        seen.append(integers.winograd)
        return run(x, y, integers)

    monkeypatch.setattr(kernels, "conv_kernel_gradient", spy)
    for winograd in (True, False):
        model = bt.accelerate(up, winograd=winograd).model
        model(data).sum().backward()
        up = bt.restore(model)
    assert seen == [True, False]


def fake(*shape: int) -> Any:
    with importlib.import_module("torch._subclasses.fake_tensor").FakeTensorMode():
        return torch.empty(*shape)


NO_NUMBERS: list[tuple[str, Any, str]] = [
    ("cpu", lambda: torch.empty(1, 8, 5, 5, device="meta"), "`verify` (=Tensor on meta)"),
    ("cpu", lambda: (fake(1, 8, 5, 5),), "`verify` (=FakeTensor on cpu)"),
    ("meta", lambda: torch.empty(1, 8, 5, 5), "`model` (=Parameter on meta)"),
]


@pytest.mark.parametrize(("device", "example", "said"), NO_NUMBERS)
def test_tensors_without_numbers_verify_nothing(device: str, example: Any, said: str) -> None:
    model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 4, 2, 1)).to(device)
    message = (
        f"{said} has no numbers to compare; the nearest legal call has an example and parameters "
        "on cpu, or no `verify`"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _ = bt.accelerate(model, verify=example())
    assert type(model[0]) is torch.nn.ConvTranspose2d
    assert bt.accelerate(model).report.accelerated
