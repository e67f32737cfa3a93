"""Layers of compiled graphs in inference: the eager results, packed once, and never stale."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
graphs: Any = importlib.import_module("backstride.torch.operator.graphs")
native: Any = importlib.import_module("backstride.native")
packing: Any = importlib.import_module("backstride.torch.operator.packing")
CHANGES: Any = importlib.import_module("torch_changes").CHANGES

TOLERANCE = 1e-5  # of the largest value
TESTS = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:DeprecationWarning"
)  # PyTorch's own, of forward mode
compiled_kernels = pytest.mark.skipif(
    native._native is None, reason="only the compiled kernels are given tiles"
)


def normed(layer: Any, size: tuple[int, ...], *after: Any) -> Callable[[], tuple[Any, Any]]:
    """A layer with a batch norm in evaluation, whose statistics are no defaults, and data for
    it.
    """

    def build() -> tuple[Any, Any]:
        norm = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(size)](
            layer.out_channels
        )
        for name in ("running_mean", "weight", "bias"):
            getattr(norm, name).data.normal_()
        norm.running_var.uniform_(0.5, 2)
        return nn.Sequential(copy.deepcopy(layer), norm, *after).eval(), torch.randn(size)

    return build


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "transposed": normed(nn.ConvTranspose2d(8, 6, 4, 2, 1), (1, 8, 5, 5), nn.ReLU()),
    "groups": normed(nn.ConvTranspose2d(8, 6, 3, 2, 1, 1, groups=2, bias=False), (2, 8, 5, 5)),
    "flipped": normed(nn.Conv2d(24, 24, 3, padding=1), (1, 24, 9, 8), nn.SiLU()),
    "reflected": normed(nn.Conv2d(24, 24, 3, padding=1, padding_mode="reflect"), (1, 24, 9, 8)),
    "same": normed(
        nn.Conv2d(24, 32, (3, 3), padding="same", bias=False), (1, 24, 7, 7), nn.LeakyReLU(0.1)
    ),
    "tiles": normed(nn.Conv1d(128, 128, 7, padding=3), (1, 128, 300), nn.ReLU()),
    "dilated tiles": normed(nn.Conv1d(128, 128, 7, padding=9, dilation=3), (1, 128, 300)),
    "tiles of three axes": normed(
        nn.Conv3d(40, 40, 3, padding=1), (1, 40, 8, 6, 6), nn.LeakyReLU(0.2)
    ),
    "ordered": normed(nn.Conv2d(128, 128, 4, 2, 1), (1, 128, 7, 8), nn.ReLU()),
    "stock": lambda: (
        nn.Sequential(
            nn.Conv2d(4, 6, (3, 2), (2, 3), (1, 0), groups=2), nn.ConvTranspose2d(6, 4, 2)
        ).eval(),
        torch.randn(2, 4, 9, 11),
    ),
}
KINDS = {
    "transposed": "transposed",
    "groups": "transposed",
    "flipped": "flipped",
    "reflected": "flipped",
    "same": "flipped",
    "tiles": "tiles",
    "dilated tiles": "tiles",
    "tiles of three axes": "tiles",
    "ordered": "ordered",
    "stock": "stock",
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    _ = torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(model: Any, kinds: list[str] | None = None, **words: Any) -> Any:
    """An accelerated model compiled whole; `kinds` gets those of the operators in its graph."""
    backend: Any = importlib.import_module("torch._dynamo.backends.debugging").aot_eager

    def look(graph: Any, inputs: Any) -> Any:
        if kinds is not None:
            kinds.extend(
                node.args[8] for node in graph.graph.nodes if node.target is graphs.OPERATOR
            )
        return backend(graph, inputs)

    return torch.compile(bt.accelerate(model).model, fullgraph=True, backend=look, **words)


def close(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


@compiled_kernels
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("name", MODELS)
def test_a_layer_and_what_follows_it(name: str, last: bool) -> None:
    model, x = MODELS[name]()
    if last:
        if x.dim() == 3:
            pytest.skip("one axis has no channels-last memory format")
        form = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
        model, x = model.to(memory_format=form), x.contiguous(memory_format=form)
    kinds: list[str] = []
    stock = copy.deepcopy(model)
    ours = compiled(model, kinds)
    with torch.no_grad():
        expected = stock(x)
        for _ in range(2):
            found = ours(x)
            close(found, expected)
            assert found.stride() == model(x).stride()
    assert kinds == [KINDS[name]]


@compiled_kernels
@pytest.mark.parametrize(
    "name", [name for name in CHANGES if name != "swap_tensors"]
)  # refused: guards refer to both
@pytest.mark.parametrize("kind", ["transposed", "flipped", "tiles", "ordered"])
def test_every_change_of_a_weight_is_noticed(kind: str, name: str) -> None:
    model, x = MODELS[kind]()
    ours = compiled(model)
    with torch.no_grad():
        _ = ours(x)
        before = ours(x)
    CHANGES[name](model[0])
    with torch.no_grad():
        found = ours(x)
        close(found, bt.restore(copy.deepcopy(model))(x))
        close(ours(x), found)
    assert name == "double and back" or not torch.equal(found, before)


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
@pytest.mark.parametrize("kind", ["transposed", "flipped"])
def test_every_change_of_a_norm_is_noticed(kind: str, name: str) -> None:
    model, x = MODELS[kind]()
    ours = compiled(model)
    with torch.no_grad():
        before = ours(x)
        getattr(model[1], name).data.add_(0.5)
        found = ours(x)
        close(found, bt.restore(copy.deepcopy(model))(x))
    assert not torch.allclose(found, before, atol=1e-3)


@compiled_kernels
@pytest.mark.parametrize("name", MODELS)
def test_a_weight_is_packed_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = packing.make

    def spy(*arguments: Any, **words: Any) -> Any:
        made.append(1)
        return make(*arguments, **words)

    for module in ("kernels", "tiles", "onednn"):
        monkeypatch.setattr(
            importlib.import_module(f"backstride.torch.operator.{module}"), "make", spy
        )
    model, x = MODELS[name]()
    ours = compiled(model)
    with torch.no_grad():
        for _ in range(4):
            _ = ours(x)
    assert len(made) == 1  # in "stock", that of the transposed one


@compiled_kernels
def test_layers_of_one_axis_pass_rows_of_channels() -> None:
    layers = [
        layer for _ in range(3) for layer in (nn.Conv1d(128, 128, 7, padding=3), nn.LeakyReLU(0.1))
    ]
    kinds: list[str] = []
    model, x = nn.Sequential(*layers).eval(), torch.randn(2, 128, 300)
    stock = copy.deepcopy(model)
    with torch.no_grad():
        found = compiled(model, kinds)(x)
        close(found, stock(x))
    assert kinds == ["tile rows", "tile rows", "tiles"]
    assert found.is_contiguous()


@compiled_kernels
def test_a_dynamic_graph_is_compiled_once_for_all_sizes() -> None:
    kinds: list[str] = []
    model = nn.Sequential(*(MODELS["flipped"]()[0]), nn.Conv2d(24, 24, 3)).eval()
    stock = copy.deepcopy(model)
    ours = compiled(model, kinds, dynamic=True)
    with torch.no_grad():
        for size in ((2, 24, 9, 8), (3, 24, 12, 31), (4, 24, 30, 5)):
            x = torch.randn(size)
            close(ours(x), stock(x))
            seen = kinds.copy()
            kinds.clear()
            assert set(seen) <= {"flipped"}
            assert bool(seen) == (size[0] == 2)


def test_a_graph_with_gradients_has_none() -> None:
    model, x = MODELS["flipped"]()
    kinds: list[str] = []
    stock = copy.deepcopy(model)
    compiled(model, kinds)(x).sum().backward()
    stock(x).sum().backward()
    assert not kinds
    close(model[0].weight.grad, stock[0].weight.grad)


def test_a_norm_in_training_stays() -> None:
    model, x = MODELS["flipped"]()
    stock = copy.deepcopy(model.train())
    with torch.no_grad():
        close(compiled(model)(x), stock(x))
    close(model[1].running_mean, stock[1].running_mean)


def arguments(kind: str) -> tuple[Any, ...]:
    """The operator's, for 24 channels of 6x6 cells."""
    one = tuple(torch.rand(24) + 0.5 for _ in range(4))
    tensors = (torch.randn(2, 24, 6, 6), torch.randn(24, 24, 3, 3), torch.randn(24), *one)
    return *tensors, 1e-5, kind, [1, 1], [1, 1, 1, 1], [1, 1], 1, "relu"


@pytest.mark.parametrize("kind", ["transposed", "flipped", "ordered", "stock"])
def test_opcheck(kind: str) -> None:
    _ = torch.library.opcheck(graphs.OPERATOR, arguments(kind), test_utils=TESTS)


@pytest.mark.parametrize("kind", ["transposed", "flipped"])
def test_whoever_transforms_it_gets_what_it_stands_for(kind: str) -> None:
    x, *rest = arguments(kind)
    tangent = torch.randn_like(x)

    def ours(x: Any) -> Any:
        return graphs.OPERATOR(x, *rest)

    def stands_for(x: Any) -> Any:
        return graphs.plain(x, *rest)

    close(ours(x), stands_for(x))
    for one, two in zip(
        *(torch.func.jvp(f, (x,), (tangent,)) for f in (ours, stands_for)), strict=True
    ):
        close(one, two)
    gradients = [torch.func.vjp(f, x)[1](torch.ones_like(ours(x)))[0] for f in (ours, stands_for)]
    close(*gradients)
    many = torch.stack([x, 2 * x, -x])
    close(torch.vmap(ours)(many), torch.stack([stands_for(one) for one in many]))
