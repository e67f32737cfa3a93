"""Calls as people paste them: what stands around a layer, arithmetic, names with values, several
layers.
"""

from __future__ import annotations

from typing import Any

import pytest

from backstride.calls import parse, parse_layers
from backstride.geometry import convolution

PLAIN = "nn.ConvTranspose2d(256, 128, 4, 2, 1)"


@pytest.mark.parametrize(
    "text",
    [
        f"{PLAIN},",
        f"{PLAIN};",
        f"self.up = {PLAIN},",
        f"return {PLAIN}",
        f"import torch.nn as nn\n{PLAIN}",
        f"weight_norm({PLAIN})",
        f"nn.utils.parametrizations.weight_norm({PLAIN}, dim=1)",
        f"self.ups.append(weight_norm({PLAIN}))",
        f"{PLAIN}.to(device).eval()",
        f"nn.Sequential({PLAIN}, nn.BatchNorm2d(128), nn.ReLU(inplace=True))",
        f"nn.Sequential(OrderedDict([('up', {PLAIN}), ('act', nn.ReLU())]))",
        "nn.ConvTranspose2d(256, 2 * 64, 8 // 2, (2,) * 2, int((4 - 2) / 2))",
        (
            "nn.ConvTranspose2d(256, 2**7, kernel_size=3 + 1, stride=max(1, 2), padding=-(-3 // 2) "
            "- 1)"
        ),
    ],
)
def test_what_stands_around_a_layer(text: str) -> None:
    call, plain = parse(text), parse(PLAIN)
    assert (call.function, call.small, call.big, call.kernel) == (plain.function, 256, 128, (4, 4))
    assert call.geometry((7, 5)) == plain.geometry((7, 5))


def test_names_with_values() -> None:
    text = "weight_norm(nn.ConvTranspose1d(ch, ch // 2, k, u, (k - u) // 2, groups=h.groups))"
    call = parse(text, names={"ch": 512, "k": 16, "u": 8, "h.groups": 2})
    assert (call.small, call.big, call.groups) == (512, 256, 2)
    assert call.geometry(20).output == (160,)
    with pytest.raises(
        ValueError, match=r"^`kernel_size` \(=k\) at column 45 .*with --set name=value$"
    ):
        _ = parse(text, names={"ch": 512})
    with pytest.raises(ValueError, match=r"^`groups` \(=g\) at column 29 must be written out"):
        _ = parse("nn.ConvTranspose1d(4, 2, 3, groups=g)")


@pytest.mark.parametrize(
    "text", ["2**2**60", "9**99", "(1,) * 10**9", "1 // 0", "max((1, 2), 3)", "'a' * 5"]
)
def test_arithmetic_stays_small(text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^`kernel_size`"):
        _ = parse(f"nn.ConvTranspose1d(4, 2, {text})")


def test_model_add_line_by_line() -> None:
    text = """
        model.add(layers.Conv2DTranspose(128, 5, strides=1, padding="same", use_bias=False))
        model.add(layers.BatchNormalization())
        model.add(layers.LeakyReLU())
        model.add(layers.Conv2DTranspose(64, 5, strides=2, padding="same"))
    """
    first, second = parse_layers(text)
    assert (first.big, second.big, second.geometry((7, 7)).output) == (128, 64, (14, 14))
    with pytest.raises(
        ValueError,
        match=r"^`call` has 2 layers, the second of which is keras.layers.Conv2DTranspose",
    ):
        _ = parse(text)


def test_a_layer_that_changes_sizes_between_two_is_refused() -> None:
    around = "nn.Sequential(nn.MaxPool2d(2), {}, nn.ConvTranspose2d(4, 2, 3), {})"
    layers = parse_layers(around.format("nn.ReLU()", "nn.Upsample(scale_factor=2)"))
    assert [call.big for call in layers] == [2]
    text = (
        "nn.Sequential(nn.ConvTranspose2d(8, 4, 3), nn.MaxPool2d(2), nn.ConvTranspose2d(4, 2, 3))"
    )
    with pytest.raises(
        ValueError, match=r"^`call` has nn.MaxPool2d at column 44 between its convolutions"
    ):
        _ = parse_layers(text)


def test_lazy_layers_learn_their_channels_from_the_input() -> None:
    call = parse("nn.LazyConvTranspose2d(6, 3, groups=2)")
    assert (call.small, call.big, call.at((4, 7, 7)).small) == (None, 6, 4)
    with pytest.raises(
        ValueError, match=r"^`groups` \(=2\) must divide `in_channels` \(=5\) of torch.nn.LazyConv"
    ):
        _ = call.at((5, 7, 7))


def test_mlx_and_core_ml() -> None:
    mlx = parse("mlx.nn.ConvTranspose2d(4, 3, 3, 2, 1, 1, 1)").at((7, 9, 4))
    assert (mlx.framework, mlx.small, mlx.big) == ("mlx", 4, 3)
    assert mlx.geometry().crop == ((1, 0), (1, 0))
    function = parse("mx.conv_transpose1d(x, w, stride=2, output_padding=3)", kernel=(8, 3, 4))
    assert (function.small, function.big, function.geometry(5).crop) == (4, 8, ((0, -3),))
    text = (
        "mb.conv_transpose(x=x, weight=w, pad_type='custom', pad=[1, 2, 0, 1], strides=[2, 2], "
        "groups=2)"
    )
    coreml = parse(text, kernel=(4, 3, 3, 3))
    assert (coreml.small, coreml.big, coreml.groups) == (4, 6, 2)
    assert coreml.geometry((5, 5)).crop == ((1, 2), (0, 1))
    node = parse(
        "oh.make_node('ConvTranspose', ['x', 'w', 'b'], ['y'], kernel_shape=[3, 2], pads=[1, 0, 0, "
        "1], group=2)"
    )
    assert (node.kernel, node.groups, node.has_bias) == ((3, 2), 2, True)
    assert node.geometry((4, 4)).crop == ((1, 0), (0, 1))


CONVOLUTIONS: list[
    tuple[str, Any, tuple[int, ...], dict[str, Any], tuple[int | None, int | None]]
] = [
    ("nn.Conv2d(3, 64, 3, 2, 1)", None, (9, 8), {"strides": 2, "padding": 1}, (3, 64)),
    (
        "nn.Conv1d(3, 64, 3, padding='same', dilation=2)",
        None,
        (9,),
        {"padding": "same", "dilation": 2},
        (3, 64),
    ),
    (
        "F.conv2d(x, w, b, 2, (1, 0))",
        (6, 2, 3, 3),
        (9, 8),
        {"strides": 2, "padding": [(1, 1), (0, 0)]},
        (2, 6),
    ),
    (
        "Conv2D(64, 3, strides=2, padding='same')",
        None,
        (9, 8),
        {"strides": 2, "padding": "same"},
        (None, 64),
    ),
    (
        "Conv1D(64, 3, padding='causal', dilation_rate=2)",
        None,
        (9,),
        {"padding": [(4, 0)], "dilation": 2},
        (None, 64),
    ),
    (
        "tf.nn.conv2d(x, w, 2, 'SAME')",
        (3, 3, 4, 8),
        (9, 8),
        {"strides": 2, "padding": "same"},
        (4, 8),
    ),
    ("tf.nn.conv1d(x, w, 2, 'VALID')", (3, 4, 8), (9,), {"strides": 2}, (4, 8)),
    (
        "nnx.Conv(3, 4, (3, 3), 2, rngs=rngs)",
        None,
        (9, 8),
        {"strides": 2, "padding": "same"},
        (3, 4),
    ),
    ("hk.Conv2D(4, 3, padding='VALID')", None, (9, 8), {}, (None, 4)),
    (
        "eqx.nn.Conv2d(3, 4, 3, 2, ((1, 0), (0, 2)), key=key)",
        None,
        (9, 8),
        {"strides": 2, "padding": [(1, 0), (0, 2)]},
        (3, 4),
    ),
    (
        "jax.lax.conv(x, w, (2, 1), 'SAME')",
        (8, 4, 3, 3),
        (9, 8),
        {"strides": (2, 1), "padding": "same"},
        (4, 8),
    ),
    ("mlx.nn.Conv2d(3, 4, 3, 2)", None, (9, 8), {"strides": 2}, (3, 4)),
    (
        "bs.conv(x, k, strides=2, padding='same')",
        (3, 3, 4, 8),
        (9, 8),
        {"strides": 2, "padding": "same"},
        (4, 8),
    ),
]


@pytest.mark.parametrize(
    ("text", "kernel", "size", "options", "channels"),
    CONVOLUTIONS,
    ids=lambda value: str(value)[:24],
)
def test_convolutions_of_every_framework(
    text: str,
    kernel: Any,
    size: tuple[int, ...],
    options: dict[str, Any],
    channels: tuple[int | None, int | None],
) -> None:
    call = parse(text, kernel=kernel)
    assert call.forward
    assert (call.big, call.small) == channels
    assert call.geometry(size) == convolution(size, 3, **options).adjoint
