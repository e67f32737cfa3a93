"""The outermost module of an accelerated model hands back what is not faster, and is never the
slower way.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from backstride.engine import VARIABLE

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
measured: Any = importlib.import_module("backstride.torch.layers.measured")
swapping: Any = importlib.import_module("backstride.torch.acceleration.swapping")
whole: Any = importlib.import_module("backstride.torch.acceleration.whole")

CLEARLY, BARELY, STOCK = (
    measured.Times(1.0, 9.0),
    measured.Times(1.0, 1.0 + 1e-9),
    measured.Times(2.0, 1.0),
)
X = torch.randn(1, 8, 6, 6)


class Net(nn.Module):
    """A chain, a layer alone, an ordinary convolution that wins in training alone, and names that
    are the user's.
    """

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.measured, self.original, self.mixins = "mine", "mine", "mine"
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 24, 4, 2, 1), nn.BatchNorm2d(24), nn.ReLU())
        self.deep = nn.Conv2d(24, 24, 4, 2, 1)
        self.last = nn.ConvTranspose2d(24, 4, 2, 2)

    def forward(self, x: Any, scale: float = 1.0) -> Any:
        """With an option."""
        return self.last(self.deep(self.up(x))) * scale


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What races say."""
    times = {"times": STOCK}

    def race(*_: Any) -> Any:
        return times["times"]

    monkeypatch.setattr(measured, "race", race)
    monkeypatch.setattr(measured, "_times", {})
    return times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the outermost module reads."""
    now = [0.0]
    monkeypatch.setattr(whole.time, "perf_counter", lambda: now[0])
    return now


def accelerated(model: Any) -> tuple[Any, Any]:
    """A model in evaluation with its plain copy."""
    torch.manual_seed(1)
    plain = model.eval()
    return bt.accelerate(copy.deepcopy(plain)).model, plain


def classes(model: Any) -> list[Any]:
    return [type(module) for module in list(model.modules())[1:]]


def names(module: Any) -> set[str]:
    return set(module.__dict__)


def call(model: Any, times: int, x: Any = X) -> list[Any]:
    with torch.no_grad():
        return [model(x) for _ in range(times)]


@pytest.mark.usefixtures("said")
def test_what_the_engine_does_not_make_faster_costs_nothing() -> None:
    ours, plain = accelerated(Net())
    found = call(ours, 3)
    assert classes(ours) == classes(plain)
    assert all(torch.equal(one, plain(X)) for one in found)


def test_another_kind_of_call_is_timed_for_itself(said: dict[str, Any]) -> None:
    ours, plain = accelerated(Net())
    _ = call(ours, 3)
    said["times"], other = CLEARLY, torch.randn(1, 8, 20, 20)
    found = call(ours, 2, other)
    assert isinstance(ours.last, swapping.TransposedLayer)
    for one in found:
        torch.testing.assert_close(one, plain(other), rtol=1e-4, atol=1e-5)
    _ = call(ours, 1)
    assert classes(ours) == classes(plain)
    whole.calls_of(ours).turns.clear()
    _ = call(ours, 2, other)
    assert isinstance(ours.up, swapping.Chain)
    assert type(ours.deep) is nn.Conv2d  # in inference nothing of it is faster


@pytest.mark.parametrize("seconds", [0.9, 1.1], ids=["engine", "stock"])
def test_a_model_takes_turns(seconds: float, said: dict[str, Any], clock: list[float]) -> None:
    said["times"] = BARELY
    ours, plain = accelerated(Net())

    def tick(*_: Any) -> None:
        engaged = isinstance(ours.last, swapping.TransposedLayer)
        turns.append(engaged)
        clock[0] += 1e-3 * (seconds if engaged else 1.0)

    turns: list[bool] = []
    ours.deep.register_forward_hook(tick)
    found = call(ours, 12)
    assert turns[:9] == [True, *(True, False) * 4]
    assert turns[9:] == [seconds < 1] * 3
    for one in found:
        torch.testing.assert_close(one, plain(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "seconds", [0.1, 0.75, 0.99, 1.5], ids=["clear", "faster", "no matter", "slower"]
)
def test_turns_end_when_it_is_clear(
    seconds: float, said: dict[str, Any], clock: list[float]
) -> None:
    said["times"] = CLEARLY
    ours, plain = accelerated(Net())

    def tick(*_: Any) -> None:
        clock[0] += 1e-3 * (seconds if isinstance(ours.last, swapping.TransposedLayer) else 1.0)

    ours.deep.register_forward_hook(tick)
    calls = whole.calls_of(ours)
    needed = 0
    while not calls.settled:
        _ = call(ours, 1)
        needed += 1
    assert needed == 1 + (4 if seconds in (0.1, 0.75) else 8)
    _ = call(ours, 1)
    assert isinstance(ours.last, swapping.TransposedLayer) == (seconds < 0.9)
    assert seconds < 0.9 or classes(ours) == classes(plain)


def test_the_report_says_what_only_seems_faster(said: dict[str, Any], clock: list[float]) -> None:
    said["times"] = BARELY
    model = Net().eval()

    def tick(*_: Any) -> None:
        clock[0] += 2e-3 if isinstance(model.up, swapping.Chain) else 1e-3

    model.deep.register_forward_hook(tick)
    ours, report = bt.accelerate(model, X)
    assert not report.accelerated
    remarks = {row.name: row.remark for row in report.rows}
    assert (
        remarks["last"]
        == "faster alone, but the whole model takes 2 ms with the engine, 1 ms without"
    )
    assert classes(ours) == classes(Net())
    assert type(ours) is Net


def test_an_example_settles_training_of_what_inference_hands_back(
    said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def race(*_: Any) -> Any:
        asked.append(torch.is_grad_enabled())
        return said["times"]

    asked: list[bool] = []
    monkeypatch.setattr(measured, "race", race)
    ours = bt.accelerate(
        nn.Sequential(nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 4, 2, 2)).train(), X
    ).model
    assert asked.count(True) == 1
    number = len(asked)
    ours(X).sum().backward()
    assert len(asked) == number


def by_gradients(model: Any) -> Any:
    return model(X)


def by_rules(model: Any) -> Any:
    torch.use_deterministic_algorithms(True)
    try:
        return call(model, 1)[0]
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("run", [by_gradients, by_rules])
def test_what_was_handed_back_is_there_again(run: Callable[[Any], Any]) -> None:
    ours, plain = accelerated(Net())
    engaged = classes(ours)
    _ = call(ours, 3)
    torch.testing.assert_close(run(ours), plain(X), rtol=1e-4, atol=1e-5)
    assert classes(ours) == engaged
    _ = call(ours, 1)
    assert classes(ours) == classes(plain)


@pytest.mark.usefixtures("said")
def test_a_forced_implementation_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = accelerated(Net())
    engaged = classes(ours)
    _ = call(ours, 3)
    monkeypatch.setenv(VARIABLE, "direct")
    _ = call(ours, 1)
    assert classes(ours) == engaged


@pytest.mark.usefixtures("said")
def test_restoring_leaves_nothing_of_it() -> None:
    ours, plain = accelerated(Net())
    _ = call(ours, 3)
    _ = bt.restore(ours.last)
    ours(X).sum().backward()
    assert type(ours.last) is nn.ConvTranspose2d
    assert isinstance(ours.up, swapping.Chain)
    _ = call(ours, 1)
    assert type(bt.restore(ours)) is Net
    assert classes(ours) == classes(plain)
    for one, other in zip(ours.modules(), plain.modules(), strict=True):
        assert names(one) == names(other)
    assert ours.measured == ours.original == ours.mixins == "mine"


@pytest.mark.usefixtures("said")
def test_copies_and_pickles_of_what_was_handed_back_are_accelerated() -> None:
    sequential = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 4, 2, 2)).eval()
    ours = bt.accelerate(copy.deepcopy(sequential)).model
    engaged = classes(ours)
    expected = call(ours, 3)[0]
    assert classes(ours) == classes(sequential)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert classes(other) == engaged
        assert torch.equal(call(other, 3)[2], expected)
        assert classes(other) == classes(bt.restore(other)) == classes(sequential)


@pytest.mark.usefixtures("said")
def test_graphs_hold_what_was_handed_back() -> None:
    ours, plain = accelerated(Net())
    _ = call(ours, 3)
    seen: list[str] = []

    def backend(graph: Any, _: Any) -> Any:
        seen.append(graph.code)
        return graph.forward

    torch._dynamo.reset()
    (found,) = call(torch.compile(ours, backend=backend, fullgraph=True), 1)
    torch.testing.assert_close(found, plain(X), rtol=1e-4, atol=1e-5)
    assert seen[0].count("torch.ops.backstride") >= 3
    engaged = classes(ours)
    _ = call(ours, 12)
    assert classes(ours) == engaged  # the graph holds on to them


@pytest.mark.usefixtures("said")
def test_the_signature_stays() -> None:
    ours, plain = accelerated(Net())
    assert inspect.signature(ours.forward) == inspect.signature(plain.forward)
    exported = torch.export.export(ours, (X,), {"scale": 2.0})
    torch.testing.assert_close(exported.module()(X, scale=2.0), 2 * plain(X))


@pytest.mark.usefixtures("said")
def test_a_normed_weight_is_remembered_where_pytorch_computes() -> None:
    norm: Any = importlib.import_module("torch.nn.utils.parametrizations").weight_norm
    ours, plain = accelerated(
        nn.Sequential(nn.Conv1d(8, 8, 1), norm(nn.ConvTranspose1d(8, 8, 4, 2)))
    )
    x = torch.randn(1, 8, 20)
    found = call(ours, 12, x)
    assert all(torch.equal(one, plain(x)) for one in found)


def test_threads_find_right_classes(said: dict[str, Any]) -> None:
    said["times"] = BARELY
    ours, plain = accelerated(Net())
    inputs = [torch.randn(1, 8, size, size) for size in (4, 6, 8, 10) * 20]
    with ThreadPoolExecutor(4) as pool, torch.no_grad():
        found = list(pool.map(partial(call, ours, 1), inputs))
        for x, (one,) in zip(inputs, found, strict=True):
            torch.testing.assert_close(one, plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("slow", range(4))
def test_one_disturbed_turn_does_not_settle_what_is_slower(slow: int) -> None:
    """Turns of the engine and of PyTorch, one of the engine's ten times as long as it takes."""
    engine, stock = [1e-2] * 4, [2e-2] * 4
    engine[slow] *= 10
    said = [whole._quickest(engine[: n + 1], stock[:n]) for n in range(1, 4)]
    said.append(whole._quickest(engine, stock))
    assert 1 not in said
    assert said[-1] == 0
    slower, faster = [2e-2] * 4, [1e-2] * 4
    assert [whole._quickest(slower[: n + 1], faster[:n]) for n in range(1, 4)] == [None] * 3
    assert whole._quickest(slower, faster) == 1
