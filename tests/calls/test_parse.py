"""Calls as people write them: the right record, and messages that say where and what."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride import conventions
from backstride.calls import SourceCall, parse

SAME = 'Conv2DTranspose(128, 3, strides=2, padding="same")'


@pytest.mark.parametrize(
    ("text", "kernel", "function"),
    [
        (SAME, None, "keras.layers.Conv2DTranspose"),
        (f"keras.layers.{SAME}", None, "keras.layers.Conv2DTranspose"),
        (f"tf.keras.layers.{SAME}", None, "keras.layers.Conv2DTranspose"),
        (f"self.up = layers.{SAME}(x)", None, "keras.layers.Conv2DTranspose"),
        ("tf.layers.conv2d_transpose(x, 128, 3, 2, 'same')", None, "tf.layers.conv2d_transpose"),
        ("nn.ConvTranspose2d(256, 128, 3, 2, 1, 1)", None, "torch.nn.ConvTranspose2d"),
        ("F.conv_transpose2d(x, w, b, 2, 1, 1)", 3, "torch.nn.functional.conv_transpose2d"),
        ("eqx.nn.ConvTranspose2d(256, 128, 3, 2, 1, 1, key=k)", None, "equinox.nn.ConvTranspose2d"),
        ("nn.ConvTranspose(128, (3, 3), (2, 2))", None, "flax.linen.ConvTranspose"),
        ("nnx.ConvTranspose(256, 128, (3, 3), (2, 2), rngs=rngs)", None, "flax.nnx.ConvTranspose"),
        ("lax.conv_transpose(x, w, (2, 2), 'SAME')", (3, 3), "jax.lax.conv_transpose"),
        ("tf.nn.conv2d_transpose(x, w, [n, 14, 14, 128], 2)", 3, "tf.nn.conv2d_transpose"),
        (
            "tf.compat.v1.nn.conv2d_transpose(x, w, [n, 14, 14, 128], [1, 2, 2, 1])",
            3,
            "tf.compat.v1.nn.conv2d_transpose",
        ),
        ("conv_transpose(x, w, strides=2, padding='same')", (3, 3), "backstride.conv_transpose"),
        ("bs.geometry((7, 7), 3, strides=2, padding='same')", None, "backstride.geometry"),
        ("k=3 s=2 p=same", None, "backstride.conv_transpose"),
        ("kernel_size=3, stride=2, padding='same'", None, "backstride.conv_transpose"),
    ],
)
def test_every_way_to_write_it_gives_14_cells(text: str, kernel: Any, function: str) -> None:
    call = parse(text, kernel=kernel)
    assert call.function == function
    assert call.geometry((7, 7)).output == (14, 14)
    assert call.geometry((7, 7)).kernel == (3, 3)


def test_positional_arguments_stand_in_each_framework_s_own_order() -> None:
    torch = parse(
        "torch.nn.ConvTranspose2d(4, 6, (3, 5), (2, 1), (1, 0), (1, 0), 2, False, (1, 2))"
    )
    assert torch.options == {
        "stride": (2, 1),
        "padding": (1, 0),
        "output_padding": (1, 0),
        "dilation": (1, 2),
    }
    assert (torch.small, torch.big, torch.groups, torch.kernel, torch.has_bias) == (
        4,
        6,
        2,
        (3, 5),
        False,
    )
    function = parse(
        "torch.nn.functional.conv_transpose1d(x, w, b, 2, 1, 0, 3, 4)", kernel=(3, 2, 5)
    )
    assert (function.small, function.big, function.groups, function.dilation) == (3, 6, 3, 4)
    general, ranked = (
        parse("equinox.nn.ConvTranspose(1, 2, 3, 5, 4, 2, 1)"),
        parse("eqx.nn.ConvTranspose1d(2, 3, 5, 4, 2, 1)"),
    )
    assert (general.padding, general.output_padding) == (2, 1)
    assert (ranked.padding, ranked.output_padding) == (1, 2)
    two, three = (
        parse("Conv2DTranspose(2, 3, 2, 'same', 1)"),
        parse("Conv3DTranspose(2, 3, 2, 'same', 'channels_first', 1)"),
    )
    assert two.output_padding == three.output_padding == 1
    assert (two.data_format, three.data_format) == ("channels_last", "channels_first")


def test_whole_shapes_give_the_channels() -> None:
    assert parse("F.conv_transpose2d(x, w, groups=2)", kernel=(4, 3, 5, 5)).big == 6
    jax = parse(
        "jax.lax.conv_transpose(x, w, (2,), 'SAME', transpose_kernel=True)", kernel=(3, 8, 4)
    )
    assert (jax.framework, jax.small, jax.big) == ("jax, transpose_kernel=True", 4, 8)
    words = '("NCHW", "OIHW", "NCHW")'
    first = parse(
        f"jax.lax.conv_transpose(x, w, (2, 2), 'SAME', dimension_numbers={words})",
        kernel=(8, 4, 3, 2),
    )
    assert (first.small, first.big, first.kernel, first.data_format) == (
        4,
        8,
        (3, 2),
        "channels_first",
    )
    assert first.convention.weight_layout == ("C_big", "C_small", "*k")
    made = parse(
        "tf.nn.conv2d_transpose(tf.zeros([1, 7, 7, 4]), tf.ones((3, 3, 8, 4)), [1, 14, 14, 8], 2)"
    )
    assert (made.input, made.small, made.big) == ((7, 7), 4, 8)
    assert parse("bs.conv_transpose(x, np.ones((3, 8, 4)), strides=2)").small == 4


def test_haiku_is_jax_with_its_channels_the_other_way_around() -> None:
    haiku = parse("hk.Conv2DTranspose(8, (3, 2), stride=2, data_format='NCHW')").at((4, 7, 9))
    assert (haiku.framework, haiku.small, haiku.big, haiku.data_format) == (
        "jax",
        4,
        8,
        "channels_first",
    )
    assert (haiku.convention.weight_layout, haiku.convention.flips) == (
        ("*k", "C_big", "C_small"),
        True,
    )
    jax = parse("jax.lax.conv_transpose(x, w, (2, 2), 'SAME')", kernel=(3, 2)).at((7, 9))
    assert haiku.geometry() == jax.geometry()
    assert parse("hk.ConvNDTranspose(1, 8, 3, padding='VALID')").geometry(5).output == (7,)
    assert parse("Conv2DTranspose(8, 3)").framework == "keras"
    for text, words in (
        (
            "hk.Conv2DTranspose(8, 3, output_shape=[14, 14])",
            r"^`output_shape` .* the nearest legal call has output_shape",
        ),
        (
            "hk.Conv2DTranspose(8, 3, data_format='CHWN')",
            r"^`data_format` .* the nearest legal call has data_format=\"NHWC",
        ),
        (
            "hk.Conv2DTranspose(8, 3, mask=m)",
            r"^`mask` .* must be None: multiply the kernel by it instead",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            _ = parse(text)


def test_openvino_in_any_opset() -> None:
    for module in ("openvino.opset1", "ov.opset15", "opset", "opset13", "ops"):
        call = parse(
            f"{module}.convolution_backprop_data(x, w, [2, 1], pads_begin=[1, 0])",
            kernel=(4, 8, 3, 3),
        )
        assert (call.framework, call.small, call.big, call.groups) == ("openvino", 4, 8, 1)
        assert call.geometry((5, 5)).crop == ((1, 0), (0, 0))
    name = "opset.group_convolution_backprop_data(x, w, [2, 2])"
    grouped = parse(name, kernel=(3, 2, 4, 3, 3))
    assert (grouped.small, grouped.big, grouped.groups, grouped.kernel) == (6, 12, 3, (3, 3))
    one = parse(name, kernel=(1, 2, 4, 3, 3))
    assert (one.small, one.big, one.groups) == (2, 4, 1)
    with pytest.raises(
        ValueError,
        match=r"^`kernel` \(=\(3, 3\)\) must be the whole shape \(groups, C_small/groups",
    ):
        _ = parse(name, kernel=(3, 3))
    with pytest.raises(
        ValueError, match=r"^`strides` \(=2\) at column \d+ must be a list with one entry for each"
    ):
        _ = parse("opset.convolution_backprop_data(x, w, 2)")


def test_keras_ops_take_the_kernel() -> None:
    call = parse("keras.ops.conv_transpose(x, w, 2, 'same')", kernel=(3, 3, 8, 4)).at((7, 9))
    assert (call.framework, call.small, call.big) == ("keras", 4, 8)
    assert call.geometry() == parse("Conv2DTranspose(8, 3, 2, 'same')").geometry((7, 9))
    made = parse("ops.conv_transpose(ops.ones((1, 7, 4)), ops.ones((3, 8, 4)), strides=2)")
    assert (made.input, made.small, made.big) == ((7,), 4, 8)


def test_a_layer_called_at_once_gives_its_output_size() -> None:
    call = parse(
        "nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1)(h, output_size=torch_size)".replace(
            "torch_size", "[1, 16, 12, 11]"
        )
    )
    assert call.output_shape == (12, 11)
    assert call.geometry((6, 6)).output == (12, 11)


def test_activations_and_biases() -> None:
    keras = parse("Conv1DTranspose(4, 3, activation=tf.nn.relu, use_bias=False)")
    assert (keras.activation, keras.has_bias) == ("relu", False)
    assert parse("Conv1DTranspose(4, 3, activation='linear')").activation is None
    assert parse("bs.conv_transpose(x, w, b, activation='tanh')").has_bias


def test_an_input_may_come_with_channels_and_batch() -> None:
    keras, torch = parse(SAME), parse("nn.ConvTranspose2d(256, 128, 3)")
    assert keras.at((7, 8, 256)).small == keras.at((1, 7, 8, 256)).small == 256
    assert (
        keras.at((7, 8, 256)).input
        == torch.at((256, 7, 8)).input
        == torch.at((7, 8)).input
        == (7, 8)
    )
    assert torch.at(7).input == (7, 7)
    with pytest.raises(
        ValueError,
        match=r"^`input` \(=\(7, 8, 256\)\) has 7 channels; torch.nn.ConvTranspose2d takes 256; "
        r"the nearest legal value is 256x7x8$",
    ):
        _ = torch.at((7, 8, 256))
    with pytest.raises(ValueError, match=r"the nearest legal value is 256x7x8$"):
        _ = torch.at((3, 7, 8))


def test_nothing_in_the_text_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def refuse(*arguments: object) -> None:
        seen.extend(arguments)

    monkeypatch.setattr("builtins.eval", refuse)
    monkeypatch.setattr("builtins.exec", refuse)
    monkeypatch.setattr("os.system", refuse)
    call = parse('Conv2DTranspose(128, 3, kernel_initializer=__import__("os").system("false"))')
    assert (call.big, seen) == (128, [])


@pytest.mark.parametrize(
    "text",
    [
        "(" * 3999,
        "f(" * 1900,
        "-" * 3999 + "1",
        "f(" + "9" * 3000 + ")",
        "x" * 9000,
        "f(\x00)",
        "\ud800(",
    ],
)
def test_hostile_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^`call` "):
        _ = parse(text)


@given(
    st.text(alphabet="ConvTranspose2d(1,2=.'[])xk s:\n-*\"é", max_size=60) | st.text(max_size=40)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ValueError, TypeError):
        assert isinstance(parse(text), SourceCall)


def outcome(function: Callable[[], object]) -> object:
    """What a function returns, or the words with which it refuses."""
    try:
        return function()
    except ValueError as refusal:
        return str(refusal)


def _pairs(least: int, most: int) -> st.SearchStrategy[int | tuple[int, int]]:
    one = st.integers(least, most)
    return one | st.tuples(one, one)


@given(
    small=st.integers(1, 9),
    big=st.integers(1, 9),
    kernel=_pairs(1, 6),
    stride=_pairs(1, 4),
    padding=_pairs(0, 3),
    dilation=_pairs(1, 3),
    input_size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_a_written_call_has_the_rule_s_geometry(
    small: int,
    big: int,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    input_size: tuple[int, int],
) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    words = ", ".join(f"{name}={value!r}" for name, value in options.items())
    call = parse(f"torch.nn.ConvTranspose2d({small}, {big}, {kernel!r}, {words})")
    assert (call.small, call.big, call.options) == (small, big, options)
    expected, found = (
        outcome(lambda: conventions.torch(input_size, kernel, **options)),
        outcome(lambda: call.geometry(input_size)),
    )
    # The rule and the call name what is legal each in its own words.
    ends = [str(result).partition("; the nearest legal ")[0] for result in (expected, found)]
    assert ends[0] == ends[1]
