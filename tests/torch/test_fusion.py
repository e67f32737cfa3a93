"""Batch norm folded into a transposed convolution, right for groups, where PyTorch's own is not."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")
fusion: Any = importlib.import_module("backstride.torch.operator.fusion")
fuse_conv_bn_weights: Any = importlib.import_module("torch.nn.utils.fusion").fuse_conv_bn_weights


def normed(rank: int, groups: int, **words: Any) -> tuple[Any, Any]:
    layer = getattr(nn, f"ConvTranspose{rank}d")(
        6, 6, 3, 2, groups=groups, bias=words.pop("bias", True)
    )
    norm = getattr(nn, f"BatchNorm{rank}d")(6, **words)
    for name in ("weight", "bias", "running_mean"):
        if getattr(norm, name) is not None:
            nn.init.normal_(getattr(norm, name))
    if norm.running_var is not None:
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return layer.eval(), norm.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_folding_is_exact_to_rounding(rank: int, groups: int, affine: bool, bias: bool) -> None:
    layer, norm = normed(rank, groups, affine=affine, bias=bias)
    x = torch.randn(2, 6, *(4,) * rank)
    torch.testing.assert_close(
        bt.fuse_conv_bn_eval(layer, norm)(x), norm(layer(x)), rtol=1e-4, atol=1e-5
    )


def test_pytorchs_own_agrees_for_one_group_only() -> None:
    layer, norm = normed(2, 1)
    arguments = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    theirs = fuse_conv_bn_weights(layer.weight, layer.bias, *arguments, transpose=True)
    ours = bt.fuse_conv_bn_weights(layer.weight, layer.bias, *arguments)
    torch.testing.assert_close(list(ours), list(theirs))
    layer, norm = normed(2, 2)
    with pytest.raises(RuntimeError, match="must match the size"):
        _ = fuse_conv_bn_weights(layer.weight, layer.bias, *arguments, transpose=True)


@pytest.mark.parametrize("training", [0, 1])
def test_training_is_refused(training: int) -> None:
    pair = normed(2, 1)
    _ = pair[training].train()
    with pytest.raises(
        ValueError,
        match=r"^`layer` and `norm` must be in evaluation: call .eval\(\) on both first$",
    ):
        _ = bt.fuse_conv_bn_eval(*pair)


def test_a_norm_without_statistics_is_refused() -> None:
    message = r"^`norm` must have running statistics; without them it depends on the batch$"
    with pytest.raises(ValueError, match=message):
        _ = bt.fuse_conv_bn_eval(*normed(2, 1, track_running_stats=False))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.ReLU(), "relu"),
        (nn.LeakyReLU(), "leaky_relu"),
        (nn.LeakyReLU(0.2), None),
        (nn.GELU(), "gelu"),
        (nn.GELU("tanh"), None),
        (nn.Tanh(), "tanh"),
        (nn.Softmax(1), None),
    ],
)
def test_activations_are_taken_in_only_where_they_are_the_same(
    module: Any, name: str | None
) -> None:
    assert fusion.activation_of(module) == name


def test_a_norm_that_listens_or_does_not_fit_is_not_folded() -> None:
    layer, norm = normed(2, 1)
    others: list[Any] = [
        nn.BatchNorm2d(5),
        nn.BatchNorm2d(6, track_running_stats=False),
        nn.BatchNorm1d(6),
    ]
    others += [nn.BatchNorm2d(6).double(), nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.BatchNorm2d(6)]
    _ = others[4].register_forward_hook(print)
    others[5].running_var = None
    others[6].weight = nn.Parameter(torch.ones(6, dtype=torch.float64))
    assert fusion.can_fold(layer, norm, layer.weight)
    assert not fusion.can_fold(layer, nn.BatchNorm2d(6), layer.weight)
    assert not any(fusion.can_fold(layer, other.eval(), layer.weight) for other in others)
