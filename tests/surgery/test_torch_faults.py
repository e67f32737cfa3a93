"""PyTorch modules as people have them: with hooks that make weights, locks, stored tensors,
compiled or scripted.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from backstride.surgery import RefusedError, convolutionalize, prove
from surgery.classifiers import Calls

loose_prune: Any = prune
loose_torch: Any = torch


def plain(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes))


def with_old_weight_norm() -> nn.Module:
    model = plain()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in many checkpoints
        for place in (0, 3):
            _ = nn.utils.weight_norm(model[place])
    return model


def pruned() -> nn.Module:
    model = plain()
    for place in (0, 3):
        loose_prune.l1_unstructured(model[place], "weight", 0.5)
    loose_prune.random_unstructured(model[3], "weight", 0.3)
    loose_prune.random_unstructured(model[3], "bias", 0.5)
    return model


def with_activations() -> nn.Module:
    model: Any = plain()
    model.seen = model[0](torch.rand(1, 2, 6, 6))
    model[0].seen = {"maps": [model[0](torch.rand(1, 2, 6, 6))]}
    return model


def with_locks() -> nn.Module:
    model: Any = plain()
    model.lock = model[0].lock = model[3].lock = threading.Lock()
    return model


def compiled() -> nn.Module:
    return loose_torch.compile(plain(), backend="eager")


def with_compiled_layer() -> nn.Module:
    model = plain()
    for place in (0, 3):
        model[place] = loose_torch.compile(model[place], backend="eager")
    return model


def squeezed() -> nn.Module:
    def scores(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](layers["conv"](x).flatten(1)).squeeze()

    return Calls(scores, conv=nn.Conv2d(2, 4, 3), head=nn.Linear(64, 1))


def with_tensor_of_sizes() -> nn.Module:
    def scores(x: Tensor, layers: Any) -> Tensor:
        rows = torch.tensor(x.shape[2:])[0] * torch.tensor(x.size(1), dtype=torch.float32)
        return layers["head"](layers["conv"](x).flatten(1)) / rows

    return Calls(scores, conv=nn.Conv2d(2, 4, 3), head=nn.Linear(64, 3))


def plain_compiled(model: nn.Module) -> nn.Module:
    """What is run as the classifier in the proof."""
    return getattr(model, "_orig_mod", model)


@pytest.mark.parametrize(
    "make",
    [
        *(
            with_old_weight_norm,
            pruned,
            with_activations,
            with_locks,
            compiled,
            with_compiled_layer,
            squeezed,
        ),
        with_tensor_of_sizes,
    ],
)
def test_modules_as_people_have_them(make: Callable[[], nn.Module]) -> None:
    model = make().eval()
    network, report = convolutionalize(model, (2, 6, 6))
    proof = prove(
        plain_compiled(model), network, report, np.random.default_rng(1).random((2, 9, 8))
    )
    assert proof.holds
    assert proof.expected.all()


def test_pruned_and_normed_layers_stay_so() -> None:
    network: Any = convolutionalize(pruned(), (2, 6, 6))[0]
    state = network.state_dict()
    assert state["3.weight_mask"].shape == state["3.weight_orig"].shape == (3, 4, 4, 4)
    network = convolutionalize(with_old_weight_norm(), (2, 6, 6))[0]
    assert [name for name, _ in network.named_parameters() if name.startswith("0.")] == [
        "0.bias",
        "0.weight_g",
        "0.weight_v",
    ]


def test_the_model_keeps_what_was_not_copied() -> None:
    model: Any = with_activations()
    before = model.seen
    _ = convolutionalize(model, (2, 6, 6))
    assert model.seen is before
    assert model.seen.requires_grad


def test_scripted_modules_are_refused_by_name() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions call it deprecated
        whole, part = loose_torch.jit.script(plain()), plain()
        part[0] = loose_torch.jit.script(part[0])
        traced = loose_torch.jit.trace(plain(), torch.rand(1, 2, 6, 6))
    for model, name in ((whole, "the model"), (traced, "the model"), (part, "0")):
        with pytest.raises(
            RefusedError,
            match=f"{name}: is made by torch.jit, which leaves no layers to turn; give",
        ):
            _ = convolutionalize(model, (2, 6, 6))


@pytest.mark.parametrize("given", [None, 3])
def test_results_that_are_no_tensors(given: int | None) -> None:
    def nothing(x: Tensor, layers: Any) -> Any:
        _ = layers["head"](x.flatten(1))
        return given

    with pytest.raises(
        RefusedError, match="the result: gives nothing that is computed from the image"
    ):
        _ = convolutionalize(Calls(nothing, head=nn.Linear(72, 2)), (2, 6, 6))


def test_weights_that_hold_nan_cannot_be_proven() -> None:
    model: Any = plain()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = float("nan")
    network, report = convolutionalize(model, (2, 6, 6))
    with pytest.raises(
        ValueError, match=r"`classifier` gives NaN on this image.*its weights or the image hold NaN"
    ):
        _ = prove(model, network, report, np.ones((2, 9, 8)))


def test_the_number_of_images_as_a_tensor_is_refused() -> None:
    def scores(x: Tensor, layers: Any) -> Tensor:
        return layers["head"](x.flatten(1)) / torch.tensor(x.shape)[1]

    with pytest.raises(
        RefusedError, match=r"the number of images becomes a tensor; leave the first axis out"
    ):
        _ = convolutionalize(Calls(scores, head=nn.Linear(72, 2)), (2, 6, 6))
