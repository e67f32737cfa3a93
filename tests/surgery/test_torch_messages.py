"""Every refusal of a PyTorch model, by its whole message."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.surgery import RefusedError, convolutionalize, prove, transpose
from surgery.classifiers import Calls, Heads, lenet


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Parametrized(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        if input.sum() > 0:
            return super().forward(input)
        return input


def tokens(x: Tensor, layers: Any) -> Tensor:
    return layers["head"](layers["patch"](x).flatten(2).transpose(1, 2).softmax(1).mean(1))


def excited(x: Tensor, layers: Any) -> Tensor:
    y = layers["conv"](x)
    y = y * torch.sigmoid(F.adaptive_avg_pool2d(y, 1))
    return layers["head"](y.mean((2, 3)))


def branching(x: Tensor, _: Any) -> Tensor:
    return x if x.sum() > 0 else -x


def on_two_sizes(x: Tensor, layers: Any) -> Tensor:
    small = layers["conv"](x)  # (N, 8, 2, 2)
    return layers["head"](x.flatten(1)) + layers["head"](small.flatten(1))


def of_two_strides(x: Tensor, layers: Any) -> Tensor:
    return layers["first"](x.flatten(1)) + layers["second"](F.max_pool2d(x, 2).flatten(1))


REFUSED = {
    "tokens": (
        Calls(tokens, patch=nn.Conv2d(3, 8, 4, 4), head=nn.Linear(8, 2)),
        (3, 28, 28),
        (
            "`model` (=Calls) cannot become fully convolutional: softmax: sums over positions, so "
            "its result depends on the image's size (it meets a flattened map of 8 channels, 7 x 7)"
        ),
    ),
    "squeeze and excitation": (
        Calls(excited, conv=nn.Conv2d(3, 8, 3), head=nn.Linear(8, 2)),
        (3, 9, 9),
        (
            "`model` (=Calls) cannot become fully convolutional: mul: joins a map with one pooled "
            "over the whole "
            'image (squeeze and excitation), of which a larger has many; state se="global" or '
            'se="local" (it meets '
            "a map of 8 channels, 7 x 7 and a map of 8 channels, 1 x 1)"
        ),
    ),
    "no classifier": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()),
        (3, 9, 9),
        (
            "`model` (=Sequential) cannot become fully convolutional: the result: gives a map of 8 "
            "channels, 7 x 7: the model is no classifier of whole images"
        ),
    ),
    "no dense layer": (
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten()),
        (3, 9, 9),
        (
            "`model` (=Sequential) cannot become fully convolutional: the result: gives a "
            "flattened map of 8 channels, 7 x 7: no dense layer or pooling follows it"
        ),
    ),
    "attention": (
        Calls(
            lambda x, layers: layers["a"](x[:, 0], x[:, 0], x[:, 0])[0],
            a=nn.MultiheadAttention(4, 2),
        ),
        (2, 4, 4),
        (
            "`model` (=Calls) cannot become fully convolutional: layers.a (MultiheadAttention): no "
            "rule knows this operation; attention makes every place depend on the whole image"
        ),
    ),
    "norm of positions": (
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 2)),
        (3, 2, 2),
        (
            "`model` (=Sequential) cannot become fully convolutional: 1 (BatchNorm1d): has its own "
            "statistics for each position of the flattened map, whose number is fixed (it meets a "
            "flattened map of 3 channels, 2 x 2)"
        ),
    ),
    "norm over space": (
        nn.Sequential(nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(12, 2)),
        (3, 2, 2),
        (
            "`model` (=Sequential) cannot become fully convolutional: 0 (GroupNorm): normalises "
            "over positions, "
            'so its result depends on the image\'s size; state se="global" or se="local" (it meets '
            "a map of 3 "
            "channels, 2 x 2)"
        ),
    ),
    "layer over uneven pooling": (
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Conv2d(3, 2, 2), nn.Flatten()),
        (3, 5, 4),
        (
            "`model` (=Sequential) cannot become fully convolutional: 1 (Conv2d): slides over a "
            "map (N, C, h, w) only (it meets a map of 3 channels, pooled to 2 x 2 bins)"
        ),
    ),
    "dense over columns": (
        nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.Linear(60, 2)),
        (3, 5, 4),
        (
            "`model` (=Sequential) cannot become fully convolutional: 0 (Linear): mixes the "
            "columns of the map, whose number is fixed (it meets a map of 3 channels, 5 x 4)"
        ),
    ),
    "batch into the map": (
        Calls(lambda x, layers: layers["head"](x.reshape(1, -1)[:, :12]), head=nn.Linear(12, 2)),
        (3, 2, 2),
        (
            "`model` (=Calls) cannot become fully convolutional: reshape: gives (1, 95028), which "
            "has no axis for the images of a batch"
        ),
    ),
    "images as a number": (
        Calls(lambda x, layers: layers["head"](x.flatten(1)) * x.shape[0], head=nn.Linear(12, 2)),
        (3, 2, 2),
        (
            "`model` (=Calls) cannot become fully convolutional: mul: computes with the size of "
            "the batch or the image, which may be any"
        ),
    ),
    "softmax over positions": (
        nn.Sequential(nn.Softmax(-1), nn.Flatten(), nn.Linear(12, 2)),
        (3, 2, 2),
        (
            "`model` (=Sequential) cannot become fully convolutional: 0 (Softmax): sums over "
            "positions, so its result depends on the image's size (it meets a map of 3 channels, 2 "
            "x 2)"
        ),
    ),
    "one dense layer, two kernels": (
        Calls(on_two_sizes, conv=nn.Conv2d(2, 8, 3), head=nn.Linear(32, 2)),
        (2, 4, 4),
        (
            "`model` (=Calls) cannot become fully convolutional: layers.head (Linear): is called "
            "on maps of different sizes, which makes different convolutions of its weights"
        ),
    ),
    "two strides": (
        Calls(of_two_strides, first=nn.Linear(32, 2), second=nn.Linear(8, 2)),
        (2, 4, 4),
        (
            "`model` (=Calls) cannot become fully convolutional: add: joins branches of different "
            "strides, of which a larger image has different sizes"
        ),
    ),
    "lazy layers": (
        nn.Sequential(nn.Flatten(), nn.LazyLinear(2)),
        (3, 2, 2),
        (
            "`model` (=Sequential) cannot become fully convolutional: 1.weight: has no size before "
            "its first run; run the model once, then try again"
        ),
    ),
    "kernels computed from the image": (
        Calls(
            lambda x, layers: F.linear(x.flatten(1), layers["fc"].weight * x.mean()),
            fc=nn.Linear(12, 2),
        ),
        (3, 2, 2),
        (
            "`model` (=Calls) cannot become fully convolutional: mean: gives (), which has no axis "
            "for the images of a batch; linear: no rule knows this operation"
        ),
    ),
    "two inputs": (
        TwoInputs(),
        (3, 2, 2),
        (
            "`model` (=TwoInputs) cannot become fully convolutional: forward: takes 2 inputs; a "
            "classifier takes the image alone"
        ),
    ),
    "control flow": (
        nn.Sequential(nn.Flatten(), Calls(branching)),
        (3, 2, 2),
        (
            "`model` (=Sequential) cannot become fully convolutional: 1 (Calls): cannot be traced, "
            "since what it does depends on the image's values (the values of a tensor decide)"
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_what_cannot_be_rewritten_is_refused_by_name(name: str) -> None:
    model, shape, message = REFUSED[name]
    with pytest.raises(RefusedError) as caught:
        _ = convolutionalize(model, shape)
    assert str(caught.value) == message
    assert caught.value.refusals


def test_only_the_first_cause_is_named() -> None:
    model = nn.Sequential(nn.Softmax(-1), nn.GroupNorm(1, 3), nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(RefusedError) as caught:
        _ = convolutionalize(model, (3, 2, 2))
    assert [refusal.layer for refusal in caught.value.refusals] == ["0 (Softmax)"]


CALLS = {
    "no model": (
        lambda: convolutionalize([1, 2], (1, 28, 28)),
        TypeError,
        (
            "`model` (=[1, 2]) must be a torch.nn.Module, an onnx.ModelProto, a keras.Model, or "
            "the path of an .onnx or .keras file, not list"
        ),
    ),
    "the class": (
        lambda: convolutionalize(nn.Linear, (1, 28, 28)),
        TypeError,
        (
            "`model` (=<class 'torch.nn.modules.linear.Linear'>) must be a torch.nn.Module, an "
            "onnx.ModelProto, a keras.Model, or the path of an .onnx or .keras file, not type"
        ),
    ),
    "channels": (
        lambda: convolutionalize(lenet(), (3, 28, 28)),
        ValueError,
        (
            "`input_shape` (=(3, 28, 28)) does not fit `model` (=Sequential): 0 (Conv2d) does not "
            "take (N, 3, 28, 28)"
        ),
    ),
    "size": (
        lambda: convolutionalize(lenet(), (1, 32, 28)),
        ValueError,
        (
            "`input_shape` (=(1, 32, 28)) does not fit `model` (=Sequential): 7 (Linear) does not "
            "take (N, 320)"
        ),
    ),
    "too small": (
        lambda: transpose(lenet(), (1, 4, 4)),
        ValueError,
        (
            "`input_shape` (=(1, 4, 4)) does not fit `model` (=Sequential): 0 (Conv2d) does not "
            "take (N, 1, 4, 4)"
        ),
    ),
    "batch": (
        lambda: convolutionalize(lenet(), (1, 1, 28, 28)),
        ValueError,
        (
            "`input_shape` (=(1, 1, 28, 28)) must be three positive integers (channels, rows, "
            "columns), without the batch; the nearest legal value is (1, 28, 28)"
        ),
    ),
    "square": (
        lambda: convolutionalize(lenet(), 28),  # pyright: ignore[reportArgumentType]  the error is the point
        TypeError,
        "`input_shape` (=28) must be (channels, rows, columns), such as (3, 224, 224)",
    ),
    "decoder": (
        lambda: transpose(lenet(), (1, 28, 28), decoder="segnet"),
        ValueError,
        '`decoder` (=\'segnet\') must be "fcn" or "unet" or "linknet"',
    ),
    "init": (
        lambda: transpose(lenet(), (1, 28, 28), init="zeros"),
        ValueError,
        '`init` (=\'zeros\') must be "bilinear" or "nearest" or "icnr"',
    ),
    "gates": (
        lambda: convolutionalize(lenet(), (1, 28, 28), se="both"),
        ValueError,
        '`se` (=\'both\') must be "global", "local" or None',
    ),
    "classes": (
        lambda: transpose(lenet(), (1, 28, 28), classes=0),
        ValueError,
        "`classes` (=0) must be None or from 1 to 65536; the nearest legal value is 1",
    ),
    "skips": (
        lambda: transpose(lenet(), (1, 28, 28), skips=(8,)),
        ValueError,
        '`skips` (=(8,)) must be "auto" or strides that have a tap: some of (2, 1); () is none',
    ),
    "skips by name": (
        lambda: transpose(lenet(), (1, 28, 28), skips="all"),
        ValueError,
        "`skips` (='all') must be \"auto\" or strides that have a tap: some of (2, 1); () is none",
    ),
    "two results": (
        lambda: transpose(Heads(), (1, 8, 8)),
        ValueError,
        (
            '`head` (=None) must be one of the 2 heads of Heads, by name or position: "kind" from '
            'kind (Linear) or "colour" from colour (Linear); the nearest legal value is "kind"'
        ),
    ),
    "no such result": (
        lambda: convolutionalize(Heads(), (1, 8, 8), head="color"),
        ValueError,
        (
            "`head` (='color') must be one of the 2 heads of Heads, by name or position: "
            '"kind" from kind (Linear) or "colour" from colour (Linear); the nearest legal value '
            'is "colour"'
        ),
    ),
    "no second result": (
        lambda: transpose(lenet(), (1, 28, 28), head=1),
        ValueError,
        (
            "`head` (=1) must be Sequential's only head: 0 from 10 (Linear); the nearest legal "
            "value is 0"
        ),
    ),
    "which to prove": (
        lambda: prove(Heads(), *convolutionalize(Heads(), (1, 8, 8)), torch.zeros(1, 12, 12)),
        ValueError,
        (
            '`head` (=None) must be one of the 2 heads of the network, by name or position: "kind" '
            'from kind (Linear) or "colour" from colour (Linear); the nearest legal value is "kind"'
        ),
    ),
    "no scores": (
        lambda: transpose(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1)), (1, 8, 8)
        ),
        RefusedError,
        (
            "`model` (=Sequential) cannot become fully convolutional: the result: no dense layer "
            "or convolution gives the scores; the last layer is 1 (BatchNorm2d)"
        ),
    ),
    "grouped scores": (
        lambda: transpose(
            nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            (4, 8, 8),
            classes=2,
        ),
        RefusedError,
        (
            "`model` (=Sequential) cannot become fully convolutional: 0 (Conv2d): gives the "
            "scores, and `classes` needs an ungrouped layer there that is called once"
        ),
    ),
    "scores of a functional convolution": (
        lambda: transpose(
            Calls(
                lambda x, layers: F.conv2d(x, layers["head"].weight).mean((2, 3)),
                head=nn.Conv2d(1, 4, 3),
            ),
            (1, 8, 8),
            classes=2,
        ),
        RefusedError,
        (
            "`model` (=Calls) cannot become fully convolutional: conv2d: gives the scores, and "
            "`classes` needs an ungrouped layer there that is called once"
        ),
    ),
    "computed scores": (
        lambda: transpose(
            Calls(
                lambda x, layers: F.linear(x.flatten(1), 2 * layers["head"].weight),
                head=nn.Linear(16, 4),
            ),
            (1, 4, 4),
            classes=2,
        ),
        RefusedError,
        (
            "`model` (=Calls) cannot become fully convolutional: linear: gives the scores with "
            "computed weights; `classes` needs a layer there"
        ),
    ),
    "a weight for each class": (
        lambda: transpose(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.PReLU(4)),
            (1, 8, 8),
            classes=2,
        ),
        RefusedError,
        (
            "`model` (=Sequential) cannot become fully convolutional: 3 (PReLU): has a weight for "
            "each class behind the scores; `classes` cannot replace them"
        ),
    ),
    "small image": (
        lambda: transpose(lenet(), (1, 28, 28))[0](torch.zeros(1, 1, 27, 40)),
        ValueError,
        (
            "`image` has shape (1, 1, 27, 40); it must be (N, 1, H, W) with H >= 28 and W >= 28, "
            "the classifier's size"
        ),
    ),
    "image to prove": (
        lambda: prove(lenet(), *convolutionalize(lenet(), (1, 28, 28)), torch.zeros(3, 40, 40)),
        ValueError,
        (
            "`image` has shape (3, 40, 40); it must be (1, H, W) with H >= 28 and W >= 28, the "
            "classifier's size"
        ),
    ),
    "another number of classes": (
        lambda: prove(lenet(), *transpose(lenet(), (1, 28, 28), classes=3), torch.zeros(1, 40, 40)),
        ValueError,
        "`network` gives 3 scores and `classifier` 10; make it with classes=None to compare them",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_bad_calls_say_what_is_wrong(name: str) -> None:
    call, error, message = CALLS[name]
    with pytest.raises(error) as caught:
        _ = call()
    assert str(caught.value) == message


def test_the_cause_of_a_wrong_shape_is_kept() -> None:
    with pytest.raises(ValueError, match="does not take") as caught:
        _ = convolutionalize(lenet(), (1, 32, 28))
    assert isinstance(caught.value.__cause__, RuntimeError)
