"""PyTorch's own samples of these functions and modules, through ours: every dtype, forward and
gradients.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
functional: Any = torch.nn.functional
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
methods: Any = pytest.importorskip(
    "torch.testing._internal.common_methods_invocations",
    reason="this PyTorch ships without its samples",
)
modules: Any = pytest.importorskip(
    "torch.testing._internal.common_modules", reason="this PyTorch ships without its samples"
)

# They forbid setting flags such as cudnn.benchmark for the rest of the process, which Lightning
# does in other tests.
torch.backends.flags_frozen.__globals__["__allow_nonbracketed_mutation_flag"] = True

NAMES = {
    f"nn.functional.conv_transpose{rank}d": getattr(bt, f"conv_transpose{rank}d")
    for rank in (1, 2, 3)
}
CASES = [
    (info, NAMES[info.name], dtype)
    for info in methods.op_db
    if info.name in NAMES
    for dtype in sorted(info.dtypes, key=str)
]
LAYERS = [info for info in modules.module_db if "ConvTranspose" in info.module_cls.__name__]


def rounding(values: Any) -> float:
    """A sum differs in its last bits by the order of its terms, which may be larger than the
    sum.
    """
    return 16 * torch.finfo(values.dtype).eps * max(1.0, float(values.detach().abs().max()))


def test_there_are_samples() -> None:
    assert len(CASES) == 21  # 3 functions, 7 dtypes
    assert len(LAYERS) == 6  # 3 modules and their lazy forms


@pytest.mark.parametrize(
    ("info", "function", "dtype"), CASES, ids=[f"{info.name}-{dtype}" for info, _, dtype in CASES]
)
def test_samples_of_the_functions(info: Any, function: Any, dtype: Any) -> None:
    differentiable = dtype.is_floating_point or dtype.is_complex
    count = 0
    for sample in info.sample_inputs("cpu", dtype, requires_grad=differentiable):
        tensors = [sample.input, *sample.args]
        found, expected = (call(*tensors, **sample.kwargs) for call in (function, info.op))
        torch.testing.assert_close(
            found, expected, rtol=0, atol=rounding(expected) if differentiable else 0
        )
        assert found.stride() == expected.stride()
        count += 1
        if differentiable:
            wanted = [tensor for tensor in tensors if tensor is not None]
            upstream = torch.randn_like(expected)
            ours, theirs = (torch.autograd.grad(y, wanted, upstream) for y in (found, expected))
            for one, two in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one, two, rtol=0, atol=rounding(two))
    assert count >= 8


@pytest.mark.parametrize(
    "info", [info for info, _, dtype in CASES if dtype == torch.float32], ids=lambda info: info.name
)
def test_bad_samples_of_the_functions(info: Any) -> None:
    samples = [] if info.error_inputs_func is None else list(info.error_inputs("cpu"))
    for sample in samples:
        case = sample.sample_input
        with pytest.raises(sample.error_type):
            NAMES[info.name](case.input, *case.args, **case.kwargs)
    if not samples:
        pytest.skip("PyTorch lists no bad samples of this function; test_messages has ours")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("info", LAYERS, ids=lambda info: info.module_cls.__name__)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_samples_of_the_modules(info: Any, dtype: Any, training: bool) -> None:
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=training
    )
    assert len(inputs) == 2
    for sample in inputs:
        made, arguments = sample.constructor_input, sample.forward_input.args
        torch.manual_seed(1)
        stock = info.module_cls(*made.args, **made.kwargs, dtype=dtype).train(training)
        torch.manual_seed(1)
        if "Lazy" in info.module_cls.__name__:
            ours, report = bt.accelerate(
                info.module_cls(*made.args, **made.kwargs, dtype=dtype).train(training)
            )
            assert len(report.accelerated) == 1
            with torch.no_grad():
                torch.manual_seed(2)
                _ = stock(*arguments)
                torch.manual_seed(2)
                _ = ours(*arguments)
        else:
            cls = getattr(bt, info.module_cls.__name__)
            ours = cls(*made.args, **made.kwargs, dtype=dtype).train(training)
        assert [(name, tensor.tolist()) for name, tensor in ours.state_dict().items()] == [
            (name, tensor.tolist()) for name, tensor in stock.state_dict().items()
        ]
        assert repr(ours) == repr(stock)
        results = [module(*arguments) for module in (ours, stock)]
        torch.testing.assert_close(*results)
        gradients = [
            torch.autograd.grad(y.square().sum(), [*arguments, *module.parameters()])
            for y, module in zip(results, (ours, stock), strict=True)
        ]
        for one, two in zip(*gradients, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=rounding(two))
