"""PyTorch: the eager function in two memory formats, and what freezing compiles it to."""

from __future__ import annotations

import importlib
import importlib.util
from functools import partial
from typing import Any

from problem import Problem, Runner, flat, last, symmetric


def contiguous(problem: Problem) -> Runner | None:
    """Channels first, contiguous."""
    return _eager(problem, channels_last=False)


def channels_last(problem: Problem) -> Runner | None:
    """The channels_last memory format.

    1-D as 2-D with a height of 1, which is how PyTorch runs it.
    """
    return None if len(problem.layer.input) == 3 else _eager(problem, channels_last=True)


def contiguous_gradient(problem: Problem) -> Runner | None:
    """The backward operation of autograd alone, contiguous."""
    return _backward(problem, channels_last=False)


def channels_last_gradient(problem: Problem) -> Runner | None:
    """The backward operation of autograd alone, channels last."""
    return None if len(problem.layer.input) == 3 else _backward(problem, channels_last=True)


def frozen(problem: Problem) -> Runner | None:
    """Inductor's frozen operation.

    Weights in oneDNN's layout for this input, channels last, bias and ReLU fused.
    """
    given = _given(problem, channels_last=True)
    if given is None or len(given[1].input) != 2 or not problem.variant.packed:
        return None
    torch, layer, pads, extra, cuts = given
    x, weight = _arrays(torch, problem, channels_last=True)
    integers = [list(pads), list(extra), list(layer.strides), [1, 1], layer.groups]
    operations = torch.ops.mkldnn
    packed = operations._reorder_convolution_transpose_weight(  # noqa: SLF001
        weight.contiguous(), *integers, list(x.shape)
    )
    run = operations._convolution_transpose_pointwise  # noqa: SLF001
    bias = None if problem.bias is None else torch.from_numpy(problem.bias)
    name = "none" if bias is None else "relu"

    def call() -> Any:
        with torch.inference_mode():
            y = run(x, packed, bias, *integers, name, [], "")
            return y if cuts is None else y[:, :, *cuts]

    return Runner(call, partial(_result, problem))


def _eager(problem: Problem, *, channels_last: bool) -> Runner | None:
    given = _given(problem, channels_last=channels_last)
    if given is None:
        return None
    torch, layer, pads, extra, cuts = given
    x, weight = _arrays(torch, problem, channels_last=channels_last)
    bias = None if problem.bias is None else torch.from_numpy(problem.bias)
    run = getattr(torch.nn.functional, f"conv_transpose{len(layer.input)}d")
    options = {
        "stride": layer.strides,
        "padding": pads,
        "output_padding": extra,
        "groups": layer.groups,
    }

    def call() -> Any:
        with torch.inference_mode():
            y = run(x, weight, bias, **options)
            y = y if bias is None else torch.relu_(y)
            return y if cuts is None else y[:, :, *cuts]

    return Runner(call, partial(_result, problem))


def _backward(problem: Problem, *, channels_last: bool) -> Runner | None:
    given = _given(problem, channels_last=channels_last)
    if given is None:
        return None
    torch, layer, pads, extra, cuts = given
    x, weight = _arrays(torch, problem, channels_last=channels_last)
    image = torch.from_numpy(problem.image).movedim(-1, 1)
    image = image.unsqueeze(2) if channels_last and len(problem.layer.input) == 1 else image
    if cuts is not None:  # the gradient of a slice: zeros around
        full = [
            (i - 1) * s + k
            for i, s, k in zip(layer.input, layer.strides, layer.kernel, strict=True)
        ]
        sizes = [n - 2 * p + e for n, p, e in zip(full, pads, extra, strict=True)]
        padded = torch.zeros(layer.batch, layer.big, *sizes)
        padded[:, :, *cuts] = image
        image = padded
    image = image.contiguous(
        memory_format=torch.channels_last if channels_last else torch.contiguous_format
    )
    mask = [problem.variant.gradient == "input", problem.variant.gradient == "kernel", False]
    run, ones = torch.ops.aten.convolution_backward.default, [1] * len(pads)
    rest = (None, layer.strides, pads, ones, True, extra, layer.groups, mask)
    index = mask.index(True)
    return Runner(lambda: run(image, x, weight, *rest)[index], partial(_gradient, problem))


def _given(problem: Problem, *, channels_last: bool) -> Any:
    """The library, the layer, and its paddings and cuts in PyTorch's words.

    None where one of them is not to be had.
    """
    torch, layer = package(problem), flat(problem.layer) if channels_last else problem.layer
    said = symmetric(layer)
    return None if torch is None or said is None else (torch, layer, *said)


def package(problem: Problem) -> Any:
    """PyTorch with the problem's threads; None where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(problem.threads)
    return torch


def _arrays(torch: Any, problem: Problem, *, channels_last: bool) -> tuple[Any, Any]:
    x, weight = torch.from_numpy(problem.x_first), torch.from_numpy(problem.kernel_first)
    if not channels_last:
        return x, weight
    if len(problem.layer.input) == 1:
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
    return tuple(tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight))


def _result(problem: Problem, y: Any) -> Any:
    return last(y.squeeze(2) if y.ndim > len(problem.layer.input) + 2 else y)


def _gradient(problem: Problem, y: Any) -> Any:
    result = _result(problem, y)
    if problem.variant.gradient == "input":
        return result
    return result.transpose(*range(1, result.ndim - 1), result.ndim - 1, 0)
