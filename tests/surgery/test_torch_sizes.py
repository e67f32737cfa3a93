"""Sizes that a forward states or computes: each is what it means at native size, on images of every
size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
from torch import Tensor, nn

from backstride.surgery import RefusedError, convolutionalize, prove, receptive_field
from surgery.classifiers import Calls

Forward = Callable[[Tensor, Any], Tensor]


def layers(**more: nn.Module) -> dict[str, nn.Module]:
    """A map of 4 channels, 9 x 9 of images of 18 x 18; one of half its size, and a layer back
    up.
    """
    return {
        "down": nn.Conv2d(1, 4, 2, stride=2),
        "again": nn.Conv2d(4, 4, 1, stride=2),
        "up": nn.ConvTranspose2d(4, 4, 2, stride=3),
        "twice": nn.ConvTranspose2d(4, 4, 1, stride=2),
        "head": nn.Linear(4, 3),
        **more,
    }


def constant(x: Tensor, layers: Any) -> Tensor:
    return layers["head"](layers["up"](layers["down"](x), output_size=(27, 27)).mean((2, 3)))


def by_position(x: Tensor, layers: Any) -> Tensor:
    return layers["head"](layers["up"](layers["down"](x), [27, 26]).mean((2, 3)))


def of_another_map(x: Tensor, layers: Any) -> Tensor:
    fine = layers["down"](x)
    return layers["head"](
        (layers["twice"](layers["again"](fine), output_size=fine.size()) + fine).mean((2, 3))
    )


def of_its_rows(x: Tensor, layers: Any) -> Tensor:
    fine = layers["down"](x)
    coarse = layers["twice"](layers["again"](fine), output_size=(fine.shape[2], fine.size(3)))
    return layers["head"]((coarse + fine).mean((2, 3)))


def check(forward: Forward, size: tuple[int, int]) -> None:
    """Each cell equals the classifier on its crop, where crops start at multiples of the stride."""
    classifier = Calls(forward, **layers()).eval()
    network, report = convolutionalize(classifier, (1, *size))
    changed = next(entry for entry in report.rewrites if "ConvTranspose2d" in entry.layer)
    assert changed.reason == "grows as at native size on images of every size"
    for more in ((0, 0), (1, 0), (4, 9), (12, 3)):
        proof = prove(
            classifier, network, report, torch.randn(1, size[0] + more[0], size[1] + more[1])
        )
        assert proof.holds
        assert proof.expected.any()


@pytest.mark.parametrize("size", [(18, 18), (20, 18)])
@pytest.mark.parametrize("forward", [of_another_map, of_its_rows])
def test_an_output_size_taken_from_the_image(forward: Forward, size: tuple[int, int]) -> None:
    check(forward, size)


@pytest.mark.parametrize("forward", [constant, by_position])
def test_an_output_size_is_the_output_padding_that_it_means_at_native_size(
    forward: Forward,
) -> None:
    check(forward, (18, 18))


def test_at_native_size_its_result_has_the_bits_of_the_classifiers() -> None:
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, result: Tensor) -> None:
        seen.append(result)

    classifier = Calls(constant, **layers()).eval()
    network: Any = convolutionalize(classifier, (1, 18, 18))[0]
    held: Any = classifier.layers
    assert network.layers.up.output_padding == (1, 1)
    for layer in (held["up"], network.layers.up):
        _ = layer.register_forward_hook(keep)
    x = torch.randn(2, 1, 18, 18)
    _ = classifier(x), network(x)
    assert torch.equal(*seen)
    assert held["up"].output_padding == (0, 0)


def test_a_layer_whose_sizes_mean_two_output_paddings() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        y = layers["down"](x)
        return layers["head"](
            (layers["up"](y, output_size=(27, 27))[:, :, :26, :26] + layers["up"](y)).mean((2, 3))
        )

    message = r"layers.up \(ConvTranspose2d\): is called with sizes that mean different `output_padding`; give each call"  # noqa: E501
    with pytest.raises(RefusedError, match=message):
        _ = convolutionalize(Calls(forward, **layers()), (1, 18, 18))


def test_the_field_of_a_layer_with_an_output_size() -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        return layers["up"](layers["down"](x), output_size=x.shape[2:])

    made = Calls(
        forward,
        down=nn.Conv2d(1, 4, 2, stride=2),
        up=nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1),
    )
    (cells,) = receptive_field(made, (1, 18, 18))
    assert (cells.size, cells.stride[0], cells.receptive_field[0]) == ((18, 18), 1, 4)


def full(x: Tensor) -> Tensor:
    return x * torch.full((1,), 1 / x.shape[2])


def full_for_each_image(x: Tensor) -> Tensor:
    return x + torch.full((x.shape[0], 4, 1, 1), x.shape[2] / 7)


def new_tensor(x: Tensor) -> Tensor:
    return x * x.new_tensor([1.0 / x.shape[2]])


def new_tensor_of_a_shape(x: Tensor) -> Tensor:
    return x * x.new_tensor(x.shape[2:]).sum()


def zeros(x: Tensor) -> Tensor:
    return x + torch.zeros(x.shape[0], 1, 1, 1) + torch.ones(x.shape[1], 1, 1)


def stochastic_depth(x: Tensor) -> Tensor:
    return x * (
        x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).fill_(0.5)
        + 0 * torch.rand(x.shape[0], 1, 1, 1)
    )


def arange(x: Tensor) -> Tensor:
    return x * torch.arange(x.shape[1]).view(1, -1, 1, 1) / x.shape[-1]


def by_python(x: Tensor) -> Tensor:
    return x * (1 / x.shape[2]) + x.shape[3] ** -0.5


def by_math(x: Tensor) -> Tensor:
    return x * math.sqrt(x.shape[2]) / float(x.shape[3])


def by_numpy(x: Tensor) -> Tensor:
    return x * np.sqrt(x.shape[2]) + torch.from_numpy(np.array([x.shape[3]]))  # pyright: ignore[reportUnknownMemberType]


def of_a_shape(x: Tensor) -> Tensor:
    return x * x.new_tensor(x.shape)[2] + torch.ones(x.shape).mean()


NATIVE = (
    of_a_shape,
    full,
    full_for_each_image,
    new_tensor,
    new_tensor_of_a_shape,
    zeros,
    stochastic_depth,
    arange,
    by_python,
)


@pytest.mark.parametrize("function", [*NATIVE, by_math, by_numpy])
def test_numbers_made_of_sizes_are_those_of_the_native_size(
    function: Callable[[Tensor], Tensor],
) -> None:
    def forward(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](function(layers["down"](x)).mean((2, 3)))

    classifier = Calls(forward, **layers()).eval()
    network, report = convolutionalize(classifier, (1, 12, 10))
    proof = prove(classifier, network, report, torch.randn(1, 17, 22))
    assert proof.holds
    assert proof.expected.all()
    assert network(torch.randn(3, 1, 12, 10)).shape == (3, 3, 1, 1)
    assert torch.zeros is ZEROS


ZEROS = torch.zeros
FIXED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "full": (
        lambda x: x + torch.full(x.shape, 0.5),
        "adds weights of shape (N, 4, 6, 5), which fix the number",
    ),
    "zeros_like": (
        lambda x: x + torch.zeros_like(x),
        "adds weights of shape (N, 4, 6, 5), which fix the number",
    ),
    "new_ones": (
        lambda x: x + x.new_ones(1, 1, *x.shape[2:]),
        "adds weights of shape (1, 1, 6, 5), which fix the number",
    ),
    "arange": (
        lambda x: x + torch.arange(x.shape[3]),
        "adds weights of shape (5,), which fix the number of positions",
    ),
    "the batch": (
        lambda x: x / x.shape[0],
        "computes with the size of the batch or the image, which may be any",
    ),
    "new_tensor": (
        lambda x: x * x.new_tensor([x.numel()]) * 2,
        "computes with the size of the batch or the image, which may be any",
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_tensors_as_large_as_the_native_map_are_refused(name: str) -> None:
    function, message = FIXED[name]

    def forward(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](function(layers["down"](x)).mean((2, 3)))

    with pytest.raises(RefusedError, match=re.escape(message)):
        _ = convolutionalize(Calls(forward, **layers()), (1, 12, 10))
