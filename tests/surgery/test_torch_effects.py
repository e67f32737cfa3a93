"""Calls that change a map in place count for all that read it later, whether their result has a
name or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from backstride.surgery import RefusedError, convolutionalize, prove, transpose
from surgery.classifiers import Calls


def calls(*changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A map, changed by calls whose results nobody keeps."""

    def run(y: Any) -> Any:
        for change in changes:
            _ = change(y)
        return y

    return run


def assigned(y: Any) -> Any:
    other = y
    y += 1
    y *= 2
    y -= 0.5
    y /= 3
    y **= 2
    return other * y


def copied_before(y: Any) -> Any:
    before = y.clone()
    _ = y.relu_()
    return y - before


def residual(y: Any) -> Any:
    identity = y
    return F.relu(y, inplace=True) * 3 + identity


def halves(y: Any) -> Any:
    first, second = y.chunk(2, 1)
    _ = first.relu_()
    return torch.cat([first, second], 1)


def parts(y: Any) -> Any:
    first, second = y[:, :2], y[:, 2:]
    _ = second.neg_()
    return torch.cat([second, first], 1)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "method": calls(lambda y: y.relu_()),
    "function": calls(F.relu_),
    "option": calls(lambda y: F.relu(y, inplace=True)),
    "several": calls(
        lambda y: y.clamp_(0), lambda y: y.add_(1), torch.sqrt_, lambda y: y.mul_(y.sigmoid())
    ),
    "out": calls(lambda y: torch.add(y, 1, out=y)),
    "assigned": assigned,
    "copied before": copied_before,
    "residual": residual,
    "halves": halves,
    "parts": parts,
}


def model(change: Callable[[Any], Any]) -> nn.Module:
    torch.set_rng_state(torch.Generator().manual_seed(0).get_state())

    def forward(x: Any, layers: Any) -> Any:
        return layers["head"](change(layers["conv"](x)).mean((2, 3)))

    return Calls(forward, conv=nn.Conv2d(1, 4, 3), head=nn.Linear(4, 3)).eval()


@pytest.mark.parametrize("name", CHANGES)
def test_networks_equal_classifiers_that_change_maps_in_place(name: str) -> None:
    classifier, image = model(CHANGES[name]), torch.rand(1, 12, 11) - 0.5
    network, report = convolutionalize(classifier, (1, 8, 8))
    proof = prove(classifier, network, report, image)
    assert proof.expected.all()
    assert proof.holds


def part_of_a_map(y: Any) -> Any:
    _ = y[:, 1:3].mul_(2)
    return y


def view_of_a_map(y: Any) -> Any:
    flat = y.flatten(2)
    _ = y.relu_()
    return flat.unflatten(2, (y.shape[2], y.shape[3]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            part_of_a_map,
            r"mul_: changes in place what is read behind it in another view, as layers.conv \(Conv2d\)",  # noqa: E501
        ),
        (
            view_of_a_map,
            (
                "relu_: changes in place what is read behind it in another view, as flatten; use "
                "the call that"
            ),
        ),
    ],
)
def test_views_of_what_changes_are_refused(change: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        _ = convolutionalize(model(change), (1, 8, 8))


def test_a_layer_that_changes_its_input_counts() -> None:
    def forward(x: Any, layers: Any) -> Any:
        y = layers["conv"](x)
        layers["act"](y)
        return layers["head"](y.mean((2, 3)))

    parts = {"conv": nn.Conv2d(1, 4, 3), "act": nn.ReLU(inplace=True), "head": nn.Linear(4, 3)}
    classifier = Calls(forward, **parts).eval()
    assert prove(
        classifier, *convolutionalize(classifier, (1, 8, 8)), torch.rand(1, 12, 11) - 0.5
    ).holds


def test_a_head_reads_what_the_way_to_another_changed() -> None:
    def forward(x: Any, layers: Any) -> tuple[Tensor, Tensor]:
        y = layers["conv"](x)
        return layers["first"](y.relu_().mean((2, 3))), layers["second"](y.mean((2, 3)))

    classifier: Any = Calls(
        forward, conv=nn.Conv2d(1, 4, 3), first=nn.Linear(4, 3), second=nn.Linear(4, 2)
    ).eval()
    for head in (0, 1):
        network, report = transpose(classifier, (1, 8, 8), head=head)
        assert prove(classifier, network, report, torch.rand(1, 12, 11) - 0.5).holds
