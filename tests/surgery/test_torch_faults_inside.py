"""What a model's own `forward` raises while it is read: said with the module's path, class and own
words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.surgery import RefusedError, convolutionalize
from surgery.classifiers import Calls

UNFIT = "`input_shape` (=(1, 8, 8)) does not fit `model` (=Sequential): "
REFUSED = "`model` (=Sequential) cannot become fully convolutional: "


def inside(function: Callable[[Tensor, Any], Tensor]) -> nn.Sequential:
    body = nn.Sequential(nn.ReLU(), Calls(function, conv=nn.Conv2d(1, 4, 3)))
    return nn.Sequential(
        nn.Identity(), body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def own_words(x: Tensor, layers: Any) -> Tensor:
    if x.shape[-1] != 9:
        message = "needs 9 columns.\nMore of it."
        raise ValueError(message)
    return layers["conv"](x)


def no_words(x: Tensor, layers: Any) -> Tensor:
    loose: Any = x
    if not torch.is_tensor(loose):  # what `assert` does, which pytest rewrites
        raise AssertionError
    return layers["conv"](x)


def into_a_part(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x)
    y[:, 0] = 1
    return y


def through_numpy(x: Tensor, layers: Any) -> Tensor:
    return layers["conv"](torch.from_numpy(x.numpy()))  # pyright: ignore[reportUnknownMemberType]


def an_old_variable(x: Tensor, layers: Any) -> Tensor:
    loose: Any = torch.autograd
    return layers["conv"](loose.Variable(x))


def a_number(x: Tensor, layers: Any) -> Tensor:
    return layers["conv"](x) * x.max().item()


def of_wrong_sizes(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x)
    return y + y[:, :, 1:]


def looked_at(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x)
    return y if layers["conv"](y).shape[1] > 3 else x


def a_new_layer(x: Tensor, layers: Any) -> Tensor:
    _ = layers
    return nn.Conv2d(1, 4, 3)(x)


SAID: dict[Callable[[Tensor, Any], Tensor], tuple[str, type[Exception]]] = {
    own_words: (f"{UNFIT}1.1 (Calls) raises ValueError: needs 9 columns", ValueError),
    no_words: (
        (
            f"{REFUSED}1.1 (Calls): cannot be traced, since on what stands for the image it raises "
            "AssertionError"
        ),
        AssertionError,
    ),
    into_a_part: (
        (
            f"{REFUSED}1.1 (Calls): writes into a part of a tensor, which a graph of calls cannot "
            "hold; use torch.cat, torch.where or F.pad"
        ),
        TypeError,
    ),
    through_numpy: (
        (
            f"{REFUSED}1.1 (Calls): computes with NumPy, which the trace of the image cannot "
            "follow; use torch's functions"
        ),
        TypeError,
    ),
    an_old_variable: (
        (
            f"{REFUSED}1.1 (Calls): makes a torch.autograd.Variable, which every tensor is since "
            "PyTorch 0.4; use the tensor itself"
        ),
        TypeError,
    ),
    a_number: (
        (
            f"{REFUSED}item in 1.1 (Calls): makes a Python number of the image's values, which no "
            "graph holds"
        ),
        Exception,
    ),
    of_wrong_sizes: (
        f"{UNFIT}add in 1.1 (Calls) does not take (N, 4, 6, 6) and (N, 4, 5, 6)",
        RuntimeError,
    ),
    looked_at: (f"{UNFIT}1.1.layers.conv (Conv2d) does not take (N, 4, 6, 6)", RuntimeError),
    a_new_layer: (
        (
            f"{REFUSED}a layer made in forward (Conv2d): is made anew in every call, with other "
            "weights each time; make it in `__init__`"
        ),
        Exception,
    ),
}


@pytest.mark.parametrize("function", SAID, ids=lambda function: function.__name__)
def test_the_module_and_its_own_words(
    function: Callable[[Tensor, Any], Tensor], capfd: pytest.CaptureFixture[str]
) -> None:
    message, kind = SAID[function]
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole text is compared
        _ = convolutionalize(inside(function), (1, 8, 8))
    assert str(caught.value) == message
    assert isinstance(caught.value, RefusedError) == message.startswith(REFUSED)
    assert isinstance(caught.value.__cause__, kind)
    assert capfd.readouterr() == ("", "")


def test_torch_logs_again_behind_it() -> None:
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = list(log.filters)
    _ = convolutionalize(inside(lambda x, layers: layers["conv"](x)), (1, 8, 8))
    assert log.filters == before


def test_a_forward_that_catches_what_a_layer_raises() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        try:
            return layers["fails"](x)
        except KeyError:
            return layers["conv"](F.relu(x))

    def fail(x: Tensor, layers: Any) -> Tensor:
        _ = x, layers
        raise KeyError

    model = inside(forward)
    held: Any = model[1]
    held[1].layers["fails"] = Calls(fail)
    network, _ = convolutionalize(model.eval(), (1, 8, 8))
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x), rtol=1e-5, atol=1e-5)


class Swish(torch.autograd.Function):
    """As EfficientNets for training in little memory have it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope = torch.sigmoid(x)
        return grad_outputs[0] * slope * (1 + x * (1 - slope))


class Twice(torch.autograd.Function):
    """With what is kept for the gradient apart."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass


def test_functions_with_a_gradient_of_their_own_are_traced_and_noted() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        swish: Any = Swish
        twice: Any = Twice
        return twice.apply(swish.apply(layers["conv"](x)))

    model = inside(forward).eval()
    network, report = convolutionalize(model, (1, 8, 8))
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(network(x)[:, :, 0, 0], model(x), rtol=1e-5, atol=1e-5)
    said = [str(note) for note in report.refusals]
    assert said == [
        "forward: has a gradient of its own in Swish; the network has that of its calls",
        "forward: has a gradient of its own in Twice; the network has that of its calls",
    ]
    loose: Any = Swish
    assert loose.apply(torch.ones(2, requires_grad=True)).requires_grad
