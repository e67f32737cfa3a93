"""A Sequential takes in what follows a layer only where a call of each is PyTorch's own forward and
nothing else.
"""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Callable
from typing import Any, cast

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
functional: Any = torch.nn.functional
parametrize: Any = importlib.import_module("torch.nn.utils.parametrize")
bt: Any = importlib.import_module("backstride.torch")
modules: Any = importlib.import_module("backstride.torch.layers.modules")
convolutions: Any = importlib.import_module("backstride.torch.acceleration.convolutions")


def transposed() -> Any:
    return nn.ConvTranspose2d(24, 24, 3, 2, groups=2)


def flipped() -> Any:
    return nn.Conv2d(24, 24, 3, padding=1)


def chain(layer: Any, activation: Any = None) -> Any:
    norm = nn.BatchNorm2d(24)
    with torch.no_grad():
        for tensor in norm.state_dict().values():
            if tensor.is_floating_point():
                _ = tensor.uniform_(0.5, 2)
    return nn.Sequential(layer, norm, activation or nn.ReLU(inplace=True)).eval()


LAYERS = {"transposed": transposed, "flipped": flipped}


@pytest.fixture(name="calls")
def activations_of_layers(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The activation that each call of a layer took in."""
    found: list[str | None] = []
    for kind in (modules.OnEngine, convolutions.EngineConvolution):

        def spy(
            self: Any, input: Any, weight: Any, bias: Any, activation: Any, *rest: Any, **words: Any
        ) -> Any:
            run: Any = words.pop("run")
            found.append(activation)
            return run(self, input, weight, bias, activation, *rest, **words)

        def bound(*given: Any, run: Any = kind.computed, spy: Any = spy, **words: Any) -> Any:
            return spy(*given, run=run, **words)

        monkeypatch.setattr(kind, "computed", bound)
    return found


def close(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def replaced(name: str, position: int) -> Callable[[Any], None]:
    """Another function in the place of a module's own, on the instance."""

    def change(model: Any) -> None:
        module = model[position]
        own: Any = getattr(module, name)

        def other(*given: Any) -> Any:
            return own(*given) + 1

        setattr(module, name, other)

    return change


def recalled(position: int) -> Callable[[Any], None]:
    """A subclass that overrides `__call__`."""

    def change(model: Any) -> None:
        kind = cast("Any", type(model[position]))

        def call(self: Any, *given: Any) -> Any:
            return kind.__call__(self, *given) + 1

        model[position].__class__ = type("Called", (kind,), {"__call__": call})

    return change


def patched(position: int) -> Callable[[Any], None]:
    """A subclass that overrides `forward`, of a module that was swapped before."""

    def change(model: Any) -> None:
        kind = cast("Any", type(model[position]))

        def forward(self: Any, *given: Any) -> Any:
            return kind.forward(self, *given) * 2

        model[position].__class__ = type("Patched", (kind,), {"forward": forward})

    return change


def hooked(position: int) -> Callable[[Any], None]:
    def hook(_module: Any, _input: Any, output: Any) -> Any:
        return output + 1

    def change(model: Any) -> None:
        _ = model[position].register_forward_hook(hook)

    return change


def more(*_: Any) -> Any:
    return [1, 1]


def twice(x: Any, *_: Any) -> Any:
    return x * 2


KINDS: dict[str, Callable[[int], Callable[[Any], None]]] = {
    "forward": functools.partial(replaced, "forward"),
    "_call_impl": functools.partial(replaced, "_call_impl"),
    "__call__": recalled,
    "class": patched,
    "hook": hooked,
}
OVERRIDES = {
    f"{kind}, {position}": change(position)
    for kind, change in KINDS.items()
    for position in range(3)
}
OVERRIDES["_output_padding"] = lambda model: setattr(model[0], "_output_padding", more)
OVERRIDES["_conv_forward"] = lambda model: setattr(model[0], "_conv_forward", twice)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", OVERRIDES)
def test_whatever_stands_in_the_place_of_a_forward_runs(name: str, layer: str, when: str) -> None:
    stock = chain(LAYERS[layer]())
    ours = copy.deepcopy(stock)
    if when == "after":
        ours = bt.accelerate(ours).model
    for model in (stock, ours):
        _ = OVERRIDES[name](model)
    if when == "before":
        ours = bt.accelerate(ours).model
    x = torch.randn(2, 24, 5, 6)
    with torch.no_grad():
        close(ours(x), stock(x))


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_pytorchs_own_is_taken_in_and_computed_at_once(
    layer: str, calls: list[str | None]
) -> None:
    stock = chain(LAYERS[layer]())
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(2, 24, 5, 6)
    for mode in (torch.no_grad, torch.inference_mode):
        calls.clear()
        with mode():
            found = ours(x)
            close(found, stock(x))
        assert type(found) is torch.Tensor
        assert calls == ["relu"]


def bias(model: Any) -> None:
    model[0].bias.data.add_(1)


def strided(model: Any) -> None:
    model[0].stride = (1, 2)


def padded(model: Any) -> None:
    model[0].padding = (2, 0)


STATES: dict[str, Callable[[Any], Any]] = {
    "bias": bias,
    "mean": lambda model: model[1].running_mean.add_(1),
    "variance by NumPy": lambda model: model[1].running_var.numpy().__imul__(3),
    "scale": lambda model: model[1].weight.data.mul_(2),
    "shift": lambda model: setattr(model[1], "bias", None),
    "eps": lambda model: setattr(model[1], "eps", 0.5),
    "stride": strided,
    "padding": padded,
    "load_state_dict": lambda model: model.load_state_dict(
        {k: v * 2 for k, v in model.state_dict().items()}
    ),
    "training": lambda model: model[1].train(),
    "no bias": lambda model: setattr(model[0], "bias", None),
    "double": lambda model: model.double(),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", STATES)
def test_every_state_is_read_when_the_model_is_called(name: str, layer: str) -> None:
    stock = chain(LAYERS[layer]())
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(2, 24, 5, 6)
    with torch.no_grad():
        kept, expected = ours(x), stock(x)
        close(kept, expected)
        for model in (stock, ours):
            _ = STATES[name](model)
        close(kept, expected)  # what was returned stays what it was
        x = x.to(stock[0].weight.dtype)
        close(ours(x), stock(x))
        close(bt.restore(ours)(x), stock(x))


class Kept(nn.Module):
    """A forward written by hand that keeps what it sees, and may use a result again."""

    def __init__(self, layer: Any) -> None:
        nn.Module.__init__(self)
        self.up, self.norm, self.act = chain(layer)
        self.seen: list[Any] = []
        self.noise = nn.Dropout(0.5)

    def forward(self, x: Any) -> Any:
        self.seen.append(torch.rand(1))
        x = x.clone()
        y = self.norm(self.up(x))
        x.add_(1)
        self.up.weight.data.mul_(2)
        kept = self.act(y)
        return functional.relu(self.up(x)) + kept + y + self.noise(x).sum()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_forward_written_by_hand_is_not_run_and_not_changed(layer: str) -> None:
    stock = Kept(LAYERS[layer]()).eval()
    ours = copy.deepcopy(stock)
    before = torch.random.get_rng_state()
    ours = bt.accelerate(ours).model
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not ours.seen
    x = torch.randn(2, 24, 5, 6)
    with torch.no_grad():
        close(ours(x), stock(x))
        assert type(ours.up(x)) is torch.Tensor
    assert len(ours.seen) == 1


def energy(model: Any) -> Callable[[Any], Any]:
    def of(x: Any) -> Any:
        return model(x).square().sum()

    return of


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_transforms_and_traces_meet_tensors() -> None:
    stock = chain(transposed())
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(2, 24, 5, 6)
    with torch.no_grad():
        close(torch.vmap(ours)(x[None]), stock(x)[None])
        found, expected = (torch.func.grad(energy(model))(x) for model in (ours, stock))
        close(found / expected.abs().max(), expected / expected.abs().max())
        close(torch.jit.trace(ours, x)(x), stock(x))


def test_a_model_built_in_inference_mode_is_used_outside_of_it() -> None:
    with torch.inference_mode():
        stock = chain(transposed())
        ours = bt.accelerate(copy.deepcopy(stock), trust=True).model
    x = torch.randn(2, 24, 5, 6)
    for mode in (torch.no_grad, torch.inference_mode, torch.no_grad):
        with mode():
            close(ours(x), stock(x))
        with torch.inference_mode():
            for model in (stock, ours):
                _ = model[0].weight.mul_(1.5)
                _ = model[1].running_mean.add_(0.5)


@pytest.mark.parametrize(("rank", "size"), [(1, (24, 24)), (2, (24, 5, 6)), (3, (24, 4, 4, 4))])
def test_unbatched_data_meets_the_norm_that_pytorch_has(rank: int, size: tuple[int, ...]) -> None:
    norm: Any = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[rank - 1]
    layer: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1]
    stock = nn.Sequential(layer(24, 24, 1), norm(24)).eval()
    _ = stock[1].running_mean.uniform_(0.5, 2)
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(size)
    with torch.no_grad():
        if rank == 1:  # PyTorch reads it as (batch, channels)
            close(ours(x), stock(x))
            return
        for model in (stock, ours):
            with pytest.raises(
                ValueError, match=rf"expected {rank + 2}D input \(got {rank + 1}D input\)"
            ):
                _ = model(x)


def test_a_parametrisation_runs_once() -> None:
    class Counts(nn.Module):
        def forward(self, weight: Any) -> Any:
            counted.append(1)
            return weight * 2

    counted: list[int] = []
    ours = bt.accelerate(chain(transposed())).model
    parametrize.register_parametrization(ours[0], "weight", Counts())
    counted.clear()
    with torch.no_grad():
        _ = ours(torch.randn(2, 24, 5, 6))
    assert len(counted) == 1


class Up(bt.ConvTranspose2d):
    def forward(self, input: Any, output_size: Any = None) -> Any:
        parent: Any = super()
        return parent.forward(input, output_size) * 2


def test_a_subclass_with_a_forward_of_its_own_keeps_it() -> None:
    stock = nn.Sequential(Up(4, 6, 3), nn.ReLU())
    ours = bt.accelerate(copy.deepcopy(stock)).model
    x = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        close(ours(x), stock(x))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("forward, 0", "transposed"),
        ("forward, 1", "transposed"),
        ("forward, 2", "flipped"),
        ("__call__, 1", "flipped"),
        ("_output_padding", "transposed"),
        ("_conv_forward", "flipped"),
    ],
)
def test_a_compiled_model_sees_it_as_pytorchs_own_does(name: str, layer: str) -> None:
    torch._dynamo.reset()
    stock = chain(LAYERS[layer]())
    ours = bt.accelerate(copy.deepcopy(stock)).model
    operators: list[str] = []

    def look(graph: Any, _: Any) -> Any:
        operators.extend(
            str(node.target) for node in graph.graph.nodes if node.op == "call_function"
        )
        return graph

    compiled = torch.compile(ours, backend=look)
    x = torch.randn(2, 24, 5, 6)
    with torch.no_grad():
        close(compiled(x), stock(x))
        assert operators == ["backstride.layer.default"]
        for model in (stock, ours):
            _ = OVERRIDES[name](model)
        close(compiled(x), stock(x))
    torch._dynamo.reset()
