"""PyTorch networks with several results: one of them becomes the map, however the forward pass
packs them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
from torch import Tensor, nn

from backstride.surgery import convolutionalize, prove, receptive_field, transpose
from backstride.surgery.torch.heads import leaves


class Found(NamedTuple):
    classes: Tensor
    boxes: Tensor


@dataclass
class Output:
    loss: Tensor | None = None
    classes: Tensor | None = None
    boxes: Tensor | None = None


@dataclass
class Logits(OrderedDict[str, Any]):
    """As the outputs of transformers: a dataclass that is a dict of what is not None."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    states: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("loss", "logits", "states"):
            if getattr(self, name) is not None:
                self[name] = getattr(self, name)


class RefineNet(nn.Module):
    """As MTCNN's second network: the map read W, H, C, then classes with a softmax, boxes and
    landmarks.
    """

    def __init__(self, pack: Callable[[Any], Any]) -> None:
        super().__init__()
        self.conv1, self.act1, self.conv2, self.act2 = (
            nn.Conv2d(3, 5, 3),
            nn.PReLU(5),
            nn.Conv2d(5, 6, 3),
            nn.PReLU(6),
        )
        self.pool, self.dense, self.act3 = (
            nn.MaxPool2d(3, 2),
            nn.Linear(6 * 3 * 3, 12),
            nn.PReLU(12),
        )
        self.classes, self.boxes, self.points = (
            nn.Linear(12, 2),
            nn.Linear(12, 4),
            nn.Linear(12, 10),
        )
        self.anchors = nn.Parameter(torch.ones(3))
        self.pack = pack

    def forward(self, x: Tensor) -> Any:
        y = self.act2(self.conv2(self.pool(self.act1(self.conv1(x)))))
        y = self.act3(self.dense(y.permute(0, 3, 2, 1).reshape(x.shape[0], -1)))
        results = {
            "kind": self.classes(y).softmax(1),
            "box": self.boxes(y),
            "points": self.points(y),
        }
        return self.pack(SimpleNamespace(x=x, anchors=self.anchors, **results))


SHAPE = (3, 13, 13)
PACKS: dict[str, tuple[Callable[[Any], Any], dict[str, int]]] = {
    "tuple": (lambda at: (at.kind, at.box, at.points), {"0": 2, "1": 4, "2": 10}),
    "list": (lambda at: [at.box, at.kind], {"0": 4, "1": 2}),
    "dict": (lambda at: {"z": at.kind, "boxes": at.box}, {"z": 2, "boxes": 4}),
    "ordered": (
        lambda at: OrderedDict[str, Tensor](boxes=at.box, classes=at.kind),
        {"boxes": 4, "classes": 2},
    ),
    "numbers as keys": (lambda at: {1: at.kind, 0: at.box}, {"1": 2, "0": 4}),
    "nested": (
        lambda at: (at.kind, {"aux": [at.box, (at.points,)]}),
        {"0": 2, "1.aux.0": 4, "1.aux.1.0": 10},
    ),
    "named": (lambda at: Found(at.kind, at.box), {"classes": 2, "boxes": 4}),
    "dataclass": (lambda at: Output(classes=at.kind, boxes=at.box), {"classes": 2, "boxes": 4}),
    "nested dataclass": (lambda at: (at.points, Output(boxes=at.box)), {"0": 10, "1.boxes": 4}),
    "dict and dataclass": (
        lambda at: Logits(logits=at.kind, states=(at.box, at.points)),
        {"logits": 2, "states.0": 4, "states.1": 10},
    ),
    "one twice": (lambda at: (at.box, at.box), {"0": 4, "1": 4}),
    "others beside": (
        lambda at: {"n": at.x.shape[0], "c": at.kind, "no": None, "s": "x", "b": at.box},
        {"c": 2, "b": 4},
    ),
}


def model(name: str) -> nn.Module:
    torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
    return RefineNet(PACKS[name][0]).eval()


@pytest.mark.parametrize("name", PACKS)
def test_every_head_becomes_the_map(name: str) -> None:
    classifier, image = model(name), torch.rand(3, 24, 21)
    for head, channels in PACKS[name][1].items():
        network, report = transpose(classifier, SHAPE, head=head)
        assert report.head is not None
        assert report.head.name == report.outputs[0].head == head
        assert network(image[None]).shape == (1, channels, 24, 21)
        assert prove(classifier, network, report, image).holds
        assert prove(classifier, network, report, image, head=head, timed=True).head == str(
            report.head
        )
        scores: Any = network
        wanted = dict(leaves(classifier(image[None, :, :13, :13])))[head]
        torch.testing.assert_close(
            scores.result(scores.coarse(image[None, :, :13, :13]))[:, :, 0, 0], wanted
        )


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.parametrize("dense", ["padded", "valid"])
def test_without_a_choice_the_network_packs_as_the_classifier_does(name: str, dense: str) -> None:
    classifier, image = model(name), torch.rand(3, 24, 21)
    network, report = convolutionalize(classifier, SHAPE, dense=dense)
    assert report.head is None
    assert (
        [head.name for head in report.heads]
        == [output.head for output in report.outputs]
        == [*PACKS[name][1]]
    )
    for head in report.heads:
        assert prove(classifier, network, report, image, head=head.key).holds
    whole, crop = (tuple(leaves(run(image[None, :, :13, :13]))) for run in (network, classifier))
    assert [key for key, _ in whole] == [key for key, _ in crop]
    if "ordered" not in name:  # which the network gives as a plain dict
        assert type(network(image[None])) is type(classifier(image[None, :, :13, :13]))
    for (_, found), (_, wanted) in zip(whole, crop, strict=True):
        if isinstance(wanted, Tensor):
            torch.testing.assert_close(found[:, :, 0, 0], wanted)
        else:
            assert found == wanted


def test_what_only_others_need_is_left_out() -> None:
    classifier = model("dict")
    for make in (transpose, convolutionalize):
        network, report = make(classifier, SHAPE, head="boxes")
        named = " ".join(network.state_dict())
        assert "boxes" in named
        assert not [layer for layer in ("classes", "points", "anchors") if layer in named]
        assert str(report.refusals[0]) == (
            'head "z": is not the chosen head, which is "boxes"; what only it needs is not in the '
            "network"
        )
        assert report.summary.startswith('RefineNet (PyTorch, 3x13x13), head "boxes": ')
        assert "boxes: boxes (Linear)" in report.to_html()
    (only,) = receptive_field(classifier, SHAPE, head="boxes")
    assert (only, *receptive_field(classifier, SHAPE)) == (
        only,
        *receptive_field(classifier, SHAPE, head="z"),
        only,
    )


def test_a_head_without_a_rule_is_in_nobody_s_way() -> None:
    class Sorted(RefineNet):
        def forward(self, x: Tensor) -> Any:
            classes, boxes, points = super().forward(x)
            return {"classes": classes, "order": points.sort(1)[0], "loss": boxes.sum()}

    classifier = Sorted(PACKS["tuple"][0]).eval()
    network, report = transpose(classifier, SHAPE, head="classes")
    assert prove(classifier, network, report, torch.rand(3, 20, 20)).holds
    with pytest.raises(ValueError, match=r"(getitem|sort): no rule knows this operation"):
        _ = convolutionalize(classifier, SHAPE)


def test_a_stored_tensor_is_no_head() -> None:
    def pack(at: Any) -> Any:
        return at.anchors, at.box

    classifier = RefineNet(pack).eval()
    network, report = transpose(classifier, SHAPE)
    assert [head.key for head in report.heads] == [1]
    assert prove(classifier, network, report, torch.rand(3, 20, 20)).holds
    with pytest.raises(
        ValueError, match=r"^`head` \(=0\) must be RefineNet's only head: 1 from boxes \(Linear\)"
    ):
        _ = transpose(classifier, SHAPE, head=0)


@pytest.mark.parametrize("decoder", ["fcn", "unet"])
def test_classes_softmax_and_freezing_are_the_chosen_head_s(decoder: str) -> None:
    classifier, image = model("tuple"), torch.rand(1, 3, 24, 21)
    kinds, _ = transpose(classifier, SHAPE, head=0, classes=3, decoder=decoder, freeze=True)
    torch.testing.assert_close(kinds(image).sum(1), torch.ones(1, 24, 21))
    free = {
        name
        for name, weight in kinds.named_parameters()
        if weight.requires_grad and name.startswith("backbone")
    }
    assert free == {"backbone.classes.weight", "backbone.classes.bias"}
    boxes, _ = transpose(classifier, SHAPE, head=1, classes=6, decoder=decoder)
    assert boxes(image).shape == (1, 6, 24, 21)
    weight: Any = boxes.backbone.boxes.weight
    torch.testing.assert_close(weight[:4, :, 0, 0], classifier.state_dict()["boxes.weight"])
    assert not weight[4:].any()


def test_taps_are_maps_that_the_chosen_head_is_computed_from() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.pool = nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2)
            self.left = nn.Conv2d(3, 4, 3, 2, padding=1)
            self.right = nn.Sequential(
                nn.Conv2d(3, 4, 3, 2, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, padding=1)
            )
            self.first, self.second = nn.Linear(4 * 2 * 2, 2), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.pool(self.stem(x).relu())
            return self.first(self.left(x).relu().flatten(1)), self.second(
                self.right(x).relu().flatten(1)
            )

    taps: list[list[str]] = []
    classifier, image = Branches().eval(), torch.rand(1, 19, 22)
    for head in (0, 1):
        network, report = transpose(classifier, (1, 8, 8), head=head)
        assert report.decoder is not None
        taps.append([tap.label for tap in report.decoder.taps])
        assert network(image[None]).shape == (1, 2 + head, 19, 22)
        assert prove(classifier, network, report, image).holds
    assert taps == [["pool (MaxPool2d)", "relu"], ["right.1 (ReLU)", "pool (MaxPool2d)", "relu"]]
