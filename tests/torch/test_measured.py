"""The faster of engine and PyTorch computes a layer: measured once for its kind, and seen by
nobody.

Longer than other files: all of it tells the race what to say, which is off in every other file.
"""

from __future__ import annotations

import copy
import importlib
import pickle
from functools import partial
from typing import Any

import pytest

from backstride.engine import VARIABLE

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
parametrize: Any = importlib.import_module("torch.nn.utils.parametrize")
parametrizations: Any = importlib.import_module("torch.nn.utils.parametrizations")
WEIGHT_NORM: Any = importlib.import_module("torch.nn.utils.weight_norm").WeightNorm
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
measured: Any = importlib.import_module("backstride.torch.layers.measured")
packing: Any = importlib.import_module("backstride.torch.operator.packing")
swapping: Any = importlib.import_module("backstride.torch.acceleration.swapping")
native: Any = importlib.import_module("backstride.native")
whole: Any = importlib.import_module("backstride.torch.acceleration.whole")

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "transposed 1-D": (lambda: nn.ConvTranspose1d(24, 16, 4, 2, 1), (2, 24, 50)),
    "transposed 2-D": (lambda: nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, groups=2), (1, 8, 9, 7)),
    "transposed 3-D": (lambda: nn.ConvTranspose3d(3, 2, 2, 2), (1, 3, 4, 5, 6)),
    "convolution": (lambda: nn.Conv2d(32, 32, 3, padding=1), (1, 32, 12, 12)),
    "tiles": (lambda: nn.Conv1d(64, 64, 11, padding=5), (1, 64, 100)),
    "large weight": (lambda: nn.Conv2d(512, 512, 4, 2, 1), (1, 512, 4, 4)),
}


@pytest.fixture
def races(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `race` says instead of the clock, after it ran both; and how often it was asked."""
    said: dict[str, Any] = {"times": measured.Times(1.0, 2.0), "count": 0}
    race = measured.race

    def spy(engine: Any, stock: Any, input: Any) -> Any:
        said["count"] += 1
        times = race(engine, stock, input)
        return times if said["times"] is None else said["times"]

    def quickest(engine: Any, stock: Any) -> int:
        """The whole with the engine; test_measured_whole.py has the other cases."""
        _ = engine, stock
        return 0

    monkeypatch.setattr(measured, "race", spy)
    monkeypatch.setattr(measured, "_times", {})
    monkeypatch.setattr(whole, "_quickest", quickest)
    return said


ENGINE, STOCK = measured.Times(1.0, 2.0), measured.Times(2.0, 1.0)


@pytest.mark.parametrize("name", LAYERS)
def test_the_faster_one_computes(
    name: str, races: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, shape = LAYERS[name]
    layer, x = make().eval(), torch.randn(shape)
    plain = copy.deepcopy(layer)
    ours = bt.accelerate(layer).model
    races["times"] = STOCK
    with torch.no_grad():
        assert torch.equal(ours(x), plain(x))
        assert races["count"] == 1
        monkeypatch.setattr(ours.__class__, "by_engine", None)  # it is not asked any more
        for _ in range(3):
            assert torch.equal(ours(x), plain(x))
    assert races["count"] == 1


@pytest.mark.parametrize("name", LAYERS)
def test_the_engine_computes_where_it_is_faster(name: str, races: dict[str, Any]) -> None:
    make, shape = LAYERS[name]
    layer, x = make().eval(), torch.randn(shape)
    exact = copy.deepcopy(layer).double()(x.double()).float()
    by_rules = bt.accelerate(copy.deepcopy(layer), measure=False).model
    ours = bt.accelerate(layer).model
    with torch.no_grad():
        found = ours(x)
        assert torch.equal(found, by_rules(x))
        assert races["count"] == 1
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("times", [ENGINE, STOCK], ids=["engine", "stock"])
@pytest.mark.parametrize("name", LAYERS)
def test_measuring_a_training_step_leaves_no_trace(
    name: str, times: Any, races: dict[str, Any]
) -> None:
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(shape)
    plain = copy.deepcopy(layer)
    ours = bt.accelerate(layer).model
    races["times"] = times
    seen: list[int] = []
    for parameter in ours.parameters():
        parameter.register_hook(partial(note, seen))
    state, versions = (
        torch.random.get_rng_state(),
        [parameter._version for parameter in ours.parameters()],
    )
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(one), plain(two)
    assert all(parameter.grad is None for parameter in ours.parameters())
    assert not seen
    assert torch.equal(state, torch.random.get_rng_state())
    assert versions == [parameter._version for parameter in ours.parameters()]
    for result in (y, expected):
        result.square().sum().backward()
    assert len(seen) == len(list(ours.parameters()))
    scale = max(float(parameter.grad.abs().max()) for parameter in plain.parameters())
    for parameter, other in zip((*ours.parameters(), one), (*plain.parameters(), two), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-5 * scale)


def note(seen: list[int], *given: Any) -> None:
    """A hook that counts gradients."""
    _ = given
    seen.append(1)


def chain() -> Any:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.ConvTranspose2d(8, 6, 4, 2, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 3, 3),
        nn.Tanh(),
    ).eval()


@pytest.mark.parametrize("times", [ENGINE, STOCK], ids=["engine", "stock"])
def test_a_sequential_joins_its_layers_where_that_is_faster(
    times: Any, races: dict[str, Any]
) -> None:
    x = torch.randn(1, 8, 6, 6)
    ours = bt.accelerate(chain()).model
    races["times"] = times
    with torch.no_grad():
        expected = chain()(x)
        found = [ours(x), ours(x)]
    assert torch.equal(*found)
    assert torch.equal(found[0], expected) == (times is STOCK)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)


class Modulated(nn.Module):
    """Calls the function with a weight that it makes for each call."""

    def __init__(self, words: dict[str, Any]) -> None:
        nn.Module.__init__(self)
        self.weight, self.words = nn.Parameter(torch.randn(6, 4, 4, 4)), words

    def forward(self, x: Any) -> Any:
        return nn.functional.conv_transpose2d(x, self.weight * x.mean(), **self.words)


@pytest.mark.parametrize("times", [ENGINE, STOCK], ids=["engine", "stock"])
@pytest.mark.parametrize(
    "words", [{}, {"stride": [2, 2], "padding": 1}, {"bias": None, "stride": 2}]
)
def test_calls_in_code_of_its_own_go_to_the_faster_one(
    words: Any, times: Any, races: dict[str, Any]
) -> None:
    races["times"] = times
    module, x = Modulated(words), torch.randn(1, 6, 5, 5)
    plain = copy.deepcopy(module)
    ours = bt.accelerate(module).model
    for _ in range(2):
        with torch.no_grad():
            found, expected = ours(x), plain(x)
        assert torch.equal(found, expected) or times is ENGINE
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert races["count"] == 1
    ours(x).sum().backward()
    plain(x).sum().backward()
    assert races["count"] == 2
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("seconds", [0.5, 2.0], ids=["engine", "stock"])
@pytest.mark.usefixtures("races")
def test_code_of_its_own_takes_turns_and_settles(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, x = Modulated({}), torch.randn(1, 6, 5, 5)
    ours, clock, entered = bt.accelerate(module).model, [0.0], [0]
    enter: Any = swapping.Route.__enter__

    def spy(self: Any) -> Any:
        entered[0] += 1
        clock[0] += seconds - 1.0  # so much more than a call without
        return enter(self)

    monkeypatch.setattr(swapping.Route, "__enter__", spy)
    monkeypatch.setattr(measured.time, "perf_counter", lambda: clock[0])
    with torch.no_grad():
        for _ in range(5):
            _ = ours(x)
    assert entered == [3]
    with torch.no_grad():
        for _ in range(3):
            _ = ours(x)
    assert entered == [6 if seconds < 1 else 3]
    _ = ours(x)
    assert entered == [7 if seconds < 1 else 4]  # with gradients
    (row,) = bt.accelerate(Modulated({}).eval(), x).report.rows
    assert row.accelerated == (seconds < 1)


def test_layers_of_one_kind_are_measured_once(races: dict[str, Any]) -> None:
    model = bt.accelerate(nn.ModuleList(nn.ConvTranspose2d(4, 4, 2, 2) for _ in range(5))).model
    with torch.no_grad():
        for layer in model:
            _ = layer(torch.randn(1, 4, 100, 100)), layer(torch.randn(1, 4, 101, 100))
        assert races["count"] == 1
        _ = model[0](torch.randn(1, 4, 200, 100))
        assert races["count"] == 2
        _ = model[0](torch.randn(1, 4, 100, 100).to(memory_format=torch.channels_last))
        assert races["count"] == 3


def deterministic(layer: Any, x: Any) -> None:
    torch.use_deterministic_algorithms(True)
    try:
        _ = layer(x)
    finally:
        torch.use_deterministic_algorithms(False)


def differentiated(layer: Any, x: Any) -> None:
    _ = torch.func.vmap(layer)(x[None])


def looked_at(layer: Any, x: Any) -> None:
    with torch.utils.flop_counter.FlopCounterMode(display=False):
        _ = layer(x)


def checkpointed(layer: Any, x: Any) -> None:
    """It counts what the forward saves, and what its repetition saves."""
    checkpoint: Any = importlib.import_module("torch.utils.checkpoint")
    checkpoint.checkpoint(layer, x.requires_grad_(), use_reentrant=False).sum().backward()


@pytest.mark.parametrize("call", [deterministic, differentiated, looked_at, checkpointed])
def test_nothing_is_measured_where_results_must_not_depend_on_time(
    call: Any, races: dict[str, Any]
) -> None:
    layer = bt.accelerate(nn.ConvTranspose2d(4, 4, 2, 2)).model
    call(layer, torch.randn(1, 4, 5, 5))
    assert races["count"] == 0


@pytest.mark.parametrize("times", [ENGINE, STOCK], ids=["engine", "stock"])
def test_what_is_settled_between_a_checkpoint_and_its_repetition_is_no_matter(
    times: Any, races: dict[str, Any]
) -> None:
    races["times"] = times
    layer = nn.ConvTranspose2d(4, 4, 2, 2)
    plain, x = copy.deepcopy(layer), torch.randn(1, 4, 5, 5)
    ours, checkpoint = (
        bt.accelerate(layer).model,
        importlib.import_module("torch.utils.checkpoint").checkpoint,
    )
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = checkpoint(ours, one, use_reentrant=False)
    _ = ours(one)
    assert races["count"] == 1
    y.square().sum().backward()
    plain(two).square().sum().backward()
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-5)


def test_rules_choose_again_when_results_must_not_depend_on_time(
    races: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    races["times"] = STOCK
    layer, x = nn.ConvTranspose2d(32, 32, 4, 2, 1), torch.randn(1, 32, 20, 20)
    by_rules = bt.accelerate(copy.deepcopy(layer), measure=False).model
    ours = bt.accelerate(layer).model
    with torch.no_grad():
        _ = ours(x)
        torch.use_deterministic_algorithms(True)
        try:
            assert torch.equal(ours(x), by_rules(x))
        finally:
            torch.use_deterministic_algorithms(False)
        monkeypatch.setenv(VARIABLE, "direct")
        assert torch.equal(ours(x), by_rules(x))


@pytest.mark.parametrize("joined", [False, True], ids=["layer", "sequential"])
def test_lack_of_memory_while_measuring_ends_no_call(
    joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(engine: Any, stock: Any) -> Any:
        _ = engine, stock
        raise MemoryError

    monkeypatch.setattr(measured, "race", fails)
    monkeypatch.setattr(measured, "_times", {})
    layer, x = nn.ConvTranspose2d(4, 4, 2, 2), torch.randn(1, 4, 5, 5)
    model = nn.Sequential(layer, nn.ReLU()) if joined else layer
    expected = model(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(bt.accelerate(model).model(x), expected, rtol=1e-5, atol=1e-6)


def test_a_forced_implementation_is_not_compared(
    races: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "direct")
    _ = bt.accelerate(nn.ConvTranspose2d(4, 4, 2, 2)).model(torch.randn(1, 4, 5, 5))
    assert races["count"] == 0


def test_rules_choose_on_demand(races: dict[str, Any]) -> None:
    _ = bt.accelerate(chain(), torch.randn(1, 8, 6, 6), measure=False).model(
        torch.randn(1, 8, 6, 6)
    )
    assert races["count"] == 0


def test_an_example_settles_a_model_and_the_report_says_the_times(races: dict[str, Any]) -> None:
    model, report = bt.accelerate(chain(), torch.randn(1, 8, 6, 6))
    done = {row.name: row for row in report.rows}
    assert done["0"].accelerated
    assert done["0"].remark == "on the engine; 1e+03 ms, PyTorch's own 2e+03 ms"
    asked = races["count"]
    with torch.no_grad():
        _ = model(torch.randn(1, 8, 6, 6))
    assert races["count"] == asked


def test_what_the_engine_does_not_make_faster_gets_its_class_back(races: dict[str, Any]) -> None:
    races["times"] = STOCK
    model, report = bt.accelerate(chain(), (torch.randn(1, 8, 6, 6),))
    assert [type(module) for module in model.modules()] == [
        type(module) for module in chain().modules()
    ]
    assert not report.accelerated
    assert {row.name: row.remark for row in report.rows} == {
        "": "no layer of it is faster on the engine",
        "0": "PyTorch's own takes 1e+03 ms, the engine 2e+03 ms",
        "3": "PyTorch's own takes 1e+03 ms, the engine 2e+03 ms",
    }


def test_an_example_settles_training_of_a_model_in_training(races: dict[str, Any]) -> None:
    model, x, seen = chain().train(), torch.randn(2, 8, 6, 6), [0]
    model[0].register_full_backward_hook(partial(note, seen))
    state = torch.random.get_rng_state()
    model = bt.accelerate(model, x).model
    assert model.training
    assert seen == [0]
    assert torch.equal(state, torch.random.get_rng_state())
    asked = races["count"]
    model(torch.randn(2, 8, 6, 6).requires_grad_()).sum().backward()
    assert races["count"] == asked


def test_copies_and_pickles_measure_for_themselves(races: dict[str, Any]) -> None:
    layer, x = bt.accelerate(nn.ConvTranspose2d(4, 4, 2, 2)).model, torch.randn(1, 4, 5, 5)
    races["times"] = STOCK
    with torch.no_grad():
        expected = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert measured.TIMES not in vars(other)
            assert torch.equal(other(x), expected)


def old_norm(layer: Any) -> Any:
    with pytest.warns(FutureWarning, match="deprecated"):
        return nn.utils.weight_norm(layer)


NORMS = {"hook": old_norm, "parametrized": parametrizations.weight_norm}


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that a kernel is packed."""
    found: list[int] = []
    pack: Any = native.Compiled.pack

    def spy(self: Any, *arguments: Any, **words: Any) -> Any:
        found.append(1)
        return pack(self, *arguments, **words)

    monkeypatch.setattr(native.Compiled, "pack", spy)
    return found


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["transposed 1-D", "transposed 3-D", "convolution", "tiles"])
def test_a_normed_weight_is_made_and_packed_once(name: str, norm: str, packs: list[int]) -> None:
    make, shape = LAYERS[name]
    layer, x = NORMS[norm](make()).eval(), torch.randn(shape)
    ours = bt.accelerate(layer, measure=False).model
    with torch.no_grad():
        found = [ours(x) for _ in range(4)]
        expected = bt.restore(ours)(x)
    assert len(packs) == 1
    assert all(torch.equal(found[0], other) for other in found[1:])
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("times", [ENGINE, STOCK], ids=["engine", "stock"])
@pytest.mark.parametrize("norm", NORMS)
def test_every_change_of_a_normed_weight_is_noticed(
    norm: str, times: Any, races: dict[str, Any]
) -> None:
    races["times"] = times
    layer = NORMS[norm](nn.ConvTranspose2d(64, 48, 4, 2)).eval()
    ours, x = bt.accelerate(layer).model, torch.randn(1, 64, 5, 5)
    g, v = sorted(ours.parameters(), key=size_of)[-2:]
    assert g.numel() == 64
    for tensor in (g, v):
        for change in (one_cell, by_numpy, in_place):
            with torch.no_grad():
                _ = ours(x), ours(x)
                change(tensor)
                found, again = ours(x), ours(x)
                expected = bt.restore(copy_of(ours))(x)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            assert torch.equal(found, again)


def test_the_hook_of_weight_norm_makes_no_new_weight_in_inference() -> None:
    layer, x = old_norm(nn.Conv1d(64, 64, 7, padding=3)).eval(), torch.randn(1, 64, 50)
    expected = layer(x)
    ours = bt.accelerate(layer, measure=False).model
    (hook,) = ours._forward_pre_hooks.values()
    with torch.no_grad():
        first = ours(x)
        made = ours.weight
        assert torch.equal(ours(x), first)
        assert ours.weight is made
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours(x), expected)
    assert ours.weight is not made
    ours(x).sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())
    assert type(hook) is not WEIGHT_NORM
    assert type(pickle.loads(pickle.dumps(hook))) is type(hook)
    assert bt.restore(ours)._forward_pre_hooks.popitem()[1] is hook
    assert type(hook) is WEIGHT_NORM


def test_a_hook_of_weight_norm_can_be_removed_from_an_accelerated_layer() -> None:
    ours, x = (
        bt.accelerate(old_norm(nn.Conv1d(64, 64, 7)).eval(), measure=False).model,
        torch.randn(1, 64, 50),
    )
    with torch.no_grad():
        before = ours(x)
        _ = nn.utils.remove_weight_norm(ours)
        torch.testing.assert_close(ours(x), before)
        ours.weight.mul_(2)
        assert not torch.allclose(ours(x), before)
    assert set(ours._parameters) == {"weight", "bias"}


def size_of(tensor: Any) -> int:
    return tensor.numel()


def one_cell(tensor: Any) -> None:
    tensor.data.view(-1)[0].mul_(3)


def by_numpy(tensor: Any) -> None:
    array = tensor.numpy()
    array *= 2


def in_place(tensor: Any) -> None:
    tensor.add_(0.5)


def copy_of(layer: Any) -> Any:
    """A copy of a layer whose weight a hook makes, which PyTorch copies while it is no result of
    parameters.
    """
    if "weight" in vars(layer):
        layer.weight = layer.weight.detach()
    return copy.deepcopy(layer)


def test_a_norm_that_goes_leaves_a_right_layer() -> None:
    layer, x = (
        parametrizations.weight_norm(nn.ConvTranspose2d(4, 3, 2, 2)).eval(),
        torch.randn(1, 4, 5, 5),
    )
    ours = bt.accelerate(layer, measure=False).model
    with torch.no_grad():
        before = ours(x)
        parametrize.remove_parametrizations(ours, "weight")
        torch.testing.assert_close(ours(x), before)
        ours.weight.mul_(2)
        assert not torch.allclose(ours(x), before)


def test_weights_for_one_call_are_not_remembered() -> None:
    x = torch.randn(1, 4, 5, 5)
    kept = [torch.randn(4, 3, 2, 2) for _ in range(5)]
    for number in range(len(kept)):
        expected = torch.nn.functional.conv_transpose2d(x, kept[number])
        torch.testing.assert_close(
            bt.conv_transpose2d(x, kept[number]), expected, rtol=1e-5, atol=1e-5
        )
    assert all(packing._entries[id(weight)].packed is None for weight in kept)
    _ = bt.conv_transpose2d(x, kept[0])
    assert packing._entries[id(kept[0])].packed is not None
    addresses = {id(weight) for weight in kept}
    kept.clear()
    assert addresses.isdisjoint(packing._entries)
