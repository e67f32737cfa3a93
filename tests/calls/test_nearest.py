"""Every nearest legal call is one: written into the call that was refused, it reads back and is
legal.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.calls import parse
from backstride.calls.signatures import find
from backstride.calls.syntax import Source

# s, p, q, d, o and n are drawn, q being an output padding; `kernel` says that the kernel is an
# array.
CALLS = (
    ("nn.ConvTranspose2d(8, 4, {k}, {s}, {p}, {q}, dilation={d})", False),
    ("torch.nn.ConvTranspose1d(8, 4, {k}, stride={s}, padding={p}, output_padding={q})", False),
    ("nn.ConvTranspose2d(8, 4, ({k}, 3), ({s}, 1), ({p}, 1), (0, {q}))", False),
    ("nn.ConvTranspose2d(8, 4, {k}, {s}, {p})(x, output_size=[{o}, {o}])", False),
    ("F.conv_transpose2d(x, w, b, {s}, {p}, {q})", True),
    (
        (
            "Conv2DTranspose(4, {k}, strides={s}, padding={rule}, output_padding={q}, "
            "dilation_rate={d})"
        ),
        False,
    ),
    ("tf.keras.layers.Conv1DTranspose(4, {k}, {s}, {rule}, output_padding={q})", False),
    ("tf.nn.conv2d_transpose(x, w, [n, {o}, {o}, 4], {s}, {rule})", True),
    ("tf.nn.conv2d_transpose(x, w, [8, 4, {o}, {o}], [1, 1, {s}, {s}], {rule}, 'NCHW')", True),
    (
        (
            "tf.nn.conv2d_transpose(x, w, [n, {o}, {o}, 4], {s}, [[0, 0], [{p}, {q}], [{q}, {p}], "
            "[0, 0]])"
        ),
        True,
    ),
    ("tf.nn.conv1d_transpose(x, w, [n, {o}, 4], {s}, [[0, 0], [{p}, {q}], [0, 0]])", True),
    ("jax.lax.conv_transpose(x, w, ({s}, {s}), {rule})", True),
    ("jax.lax.conv_transpose(x, w, ({s}, {s}), [({p}, {q}), ({q}, {p})])", True),
    ("lax.conv_transpose(x, w, ({s},), [({p}, {q})], use_consistent_padding=True)", True),
    ("hk.Conv2DTranspose(4, {k}, stride={s}, padding={rule})", False),
    ("hk.Conv1DTranspose(4, {k}, stride={s}, padding=[({p}, {q})])", False),
    ("nnx.ConvTranspose(8, 4, ({k}, {k}), ({s}, {s}), padding={rule}, rngs=nnx.Rngs(0))", False),
    ("linen.ConvTranspose(4, ({k},), ({s},), padding={p}, kernel_dilation=({d},))", False),
    ("eqx.nn.ConvTranspose2d(8, 4, {k}, {s}, {q}, {p}, key=key)", False),
    (
        "eqx.nn.ConvTranspose1d(8, 4, {k}, {s}, {q}, {rule}, padding_mode='CIRCULAR', key=key)",
        False,
    ),
    (
        (
            "helper.make_node('ConvTranspose', ['x'], ['y'], kernel_shape=[{k}, {k}], "
            "strides=[{s}, 1], pads=[{p}, {q}, 0, 1])"
        ),
        False,
    ),
    (
        (
            "helper.make_node('ConvTranspose', ['x'], ['y'], kernel_shape=[{k}], strides=[{s}], "
            "auto_pad={rule}, pads=[{p}, 0])"
        ),
        False,
    ),
    (
        (
            "helper.make_node('ConvTranspose', ['x'], ['y'], kernel_shape=[{k}], strides=[{s}], "
            "auto_pad={rule})"
        ),
        False,
    ),
    (
        (
            "helper.make_node('ConvTranspose', ['x'], ['y'], kernel_shape=[{k}], "
            "output_padding=[{q}], output_shape=[{o}])"
        ),
        False,
    ),
    (
        (
            "opset.convolution_backprop_data(x, w, [{s}, {s}], pads_begin=[{p}, 0], pads_end=[{q}, "
            "{p}])"
        ),
        True,
    ),
    (
        (
            "mb.conv_transpose(x=x, weight=w, strides=[{s}, {s}], pad_type='custom', pad=[{p}, 0, "
            "{q}, 0])"
        ),
        True,
    ),
    ("mlx.nn.ConvTranspose2d(8, 4, {k}, {s}, {p}, {d}, {q})", False),
    ("k={k} s={s} p={p} op={q} d={d}", False),
    ("k={k} s={s} p=[({p},{q})] o={o}", False),
    ("bs.conv_transpose(x, w, strides=({s}, 1), padding={rule}, output_shape=({o}, {p}))", True),
    ("bs.geometry(6, {k}, strides={s}, padding={p}, output_padding={q})", False),
)
RULES = ("'same'", "'SAME'", "'VALID'", "'SAME_LOWER'", "'SAME_UPPER'", "'CIRCULAR'", "'CAUSAL'")


def corrected(text: str, changes: dict[str, str]) -> str:
    """The call with these arguments in the place of its own."""
    if "(" not in text.partition("=")[0]:
        short = {
            "padding": "p",
            "output_padding": "op",
            "output_shape": "o",
            "strides": "s",
            "dilation": "d",
        }
        for name, value in changes.items():
            pattern = rf"\b{short[name]}=(\[.*?\)\]|\S+)"
            text = re.sub(pattern, f"{name}={value}", text)
        return text
    if ")(x, " in text:
        layer, _, applied = text.partition(")(x, ")
        size = changes.pop("output_size", applied.removeprefix("output_size=").removesuffix(")"))
        return f"{corrected(layer + ')', changes)}(x, output_size={size})"
    ((call, _),) = Source(text).calls()
    signature = find(call.name)
    assert signature is not None
    order = [*signature.parameters.split(), *signature.keyword_only.split()]
    arguments = dict(zip(order, (argument.text for argument in call.positional), strict=False))
    arguments |= {name: argument.text for name, argument in call.named.items()}
    assert changes.keys() <= set(order)
    return f"{call.name}({', '.join(f'{name}={value}' for name, value in {**arguments, **changes}.items())})"  # noqa: E501


def advice(message: str) -> dict[str, str]:
    """The arguments that a message says, by name; or none."""
    found = re.search(r"; the nearest legal call has (.*)", message)
    return (
        dict(re.findall(r"(\w+)=((?:[^,\[(]|\[.*?\](?=, \w+=|$)|\(.*?\)(?=, \w+=|$))+)", found[1]))
        if found
        else {}
    )


@pytest.mark.parametrize(("text", "kernel"), CALLS)
@given(data=st.data())
def test_the_nearest_legal_call_is_legal(text: str, kernel: bool, data: st.DataObject) -> None:
    names = {
        "k": (1, 6),
        "s": (1, 4),
        "d": (1, 3),
        "p": (-3, 9),
        "q": (-2, 7),
        "o": (1, 30),
        "n": (1, 5),
    }
    drawn = {name: data.draw(st.integers(*ends), name) for name, ends in names.items()}
    written = text.format(**drawn, rule=data.draw(st.sampled_from(RULES), "rule"))
    size = drawn["k"] if kernel else None

    def output(call: str) -> tuple[int, ...]:
        found = parse(call, kernel=size)
        rank = found.rank or (2 if "2" in found.function else 1)
        return found.at((drawn["n"],) * rank).geometry().output

    try:
        _ = output(written)
    except ValueError as refusal:
        message = str(refusal)
        assert message.startswith("`"), message
        changes = advice(message)
        if changes:
            assert min(output(corrected(written, changes))) > 0, message


@pytest.mark.parametrize(
    ("call", "size", "nearest"),
    [
        ("nn.ConvTranspose2d(8, 4, 3, 2, 9)", 2, "padding=2"),
        ("nn.ConvTranspose2d(8, 4, 3, 2, 9, (0, 3))", 2, "output_padding=(0, 1), padding=2"),
        (
            "tf.nn.conv2d_transpose(x, w, [n, 15, 14, 8], 2, 'SAME')",
            7,
            "output_shape=[n, 14, 14, 8]",
        ),
        (
            "tf.nn.conv2d_transpose(x, w, [n, 8, 15, 99], [1, 1, 2, 2], 'same', 'NCHW')",
            7,
            'padding="SAME", output_shape=[n, 8, 14, 14]',
        ),
        ("jax.lax.conv_transpose(x, w, (2, 2), [(-9, 0), (0, 0)])", 2, "padding=[(-2, 2), (0, 0)]"),
        (
            "mb.conv_transpose(x=x, weight=w, pad_type='custom', pad=[-1, 0, 0, 0])",
            7,
            "pad=[0, 0, 0, 0]",
        ),
        (
            "opset.convolution_backprop_data(x, w, [1, 1], pads_end=[9, 0])",
            2,
            "pads_begin=[0, 0], pads_end=[3, 0]",
        ),
        ("bs.geometry(6, 3, strides=2, padding=9)", 6, "padding=6"),
    ],
)
def test_the_words_are_those_of_the_call(call: str, size: int, nearest: str) -> None:
    found = parse(call, kernel=3 if "w" in call.partition("(")[2] else None)
    with pytest.raises(ValueError, match=r"^`") as caught:
        _ = found.at((size,) * (found.rank or 2)).geometry()
    assert str(caught.value).partition("; the nearest legal call has ")[2] == nearest


REFUSED = (
    ("nn.ConvTranspose2d(8, 4, 3, padding_mode='reflect')", None),
    ("nn.ConvTranspose2d(8, 4, 3, groups=0)", None),
    ("nn.ConvTranspose2d(8, 4, 3, bias='no')", None),
    ("nn.ConvTranspose2d(0, 4, 3)", None),
    ("Conv2DTranspose(4, 3, padding=None)", None),
    ("Conv2DTranspose(4, 3, activation='nope')", None),
    ("tf.nn.conv2d_transpose(x, w, [n, 14, 14, 8], [2, 2, 2, 1])", 3),
    ("tf.nn.conv2d_transpose(x, w, [8, 8, 14, 14], [2, 2, 2, 1], data_format='NCHW')", 3),
    ("tf.nn.conv2d_transpose(x, w, [n, 14, 14, 8], 2, [[1, 1], [1, 1], [1, 1], [0, 0]])", 3),
    ("tf.nn.conv2d_transpose(x, w, [n, 14, 14, 8], 2, [1, 1])", 3),
    ("tf.nn.conv2d_transpose(x, w, [n, 14, 14, 8], 2, data_format='NHCW')", 3),
    ("tf.nn.conv2d_transpose(tf.ones([1, 7, 7, 8]), w, [2, 14, 14, 8], 2)", 3),
    ("jax.lax.conv_transpose(x, w, 2, 'SAME')", (3, 3)),
    ("jax.lax.conv_transpose(x, w, 2, 'SAME')", (3, 8, 4)),
    ("jax.lax.conv_transpose(x, w, (2, 2), 'SAME', rhs_dilation=2)", (3, 3)),
    ("jax.lax.conv_transpose(x, w, (2,), 'SAME', rhs_dilation=2)", 3),
    (
        "jax.lax.conv_transpose(x, w, (2, 2), 'SAME', dimension_numbers=('NHWC', 'HIWO', 'NHWC'))",
        (3, 3),
    ),
    ("hk.Conv1DTranspose(4, 3, output_shape=(9,))", None),
    ("hk.Conv3DTranspose(4, 3, data_format='NDHCW')", None),
    ("hk.ConvNDTranspose(4, 4, 3)", None),
    ("mx.conv_transpose2d(x, w, groups=2)", (3, 3)),
    ("mb.conv_transpose(x=x, weight=w, pad_type='same')", (3, 3)),
    ("mb.conv_transpose(x=x, weight=w, pad_type='custom', pad=[1])", (3, 3)),
    ("mb.conv_transpose(x=x, weight=w, pad_type='custom', pad=[1], strides=[2])", (3,)),
    ("helper.make_node('Conv', ['x'], ['y'], kernel_shape=[3])", None),
    ("opset.convolution_backprop_data(x, w, 2)", (3, 3)),
    ("opset.convolution_backprop_data(x, w, 2)", (3,)),
)


@pytest.mark.parametrize(("call", "kernel"), REFUSED)
def test_what_cannot_be_read_has_a_nearest_call_too(
    call: str, kernel: tuple[int, ...] | None
) -> None:
    with pytest.raises(ValueError, match="; the nearest legal call has ") as caught:
        _ = parse(call, kernel=kernel)
    again = parse(corrected(call, advice(str(caught.value))), kernel=kernel)
    assert min(again.at((7,) * (again.rank or 1)).geometry().output) > 0


@given(
    k=st.integers(1, 5),
    s=st.integers(1, 4),
    p=st.integers(-2, 8),
    q=st.integers(-2, 6),
    d=st.integers(1, 3),
)
def test_pytorch_runs_the_nearest_call(k: int, s: int, p: int, q: int, d: int) -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    text = f"torch.nn.ConvTranspose1d(2, 1, {k}, {s}, {p}, {q}, dilation={d})"
    try:
        _ = parse(text).geometry(3)
    except ValueError as refusal:
        changes = advice(str(refusal))
        assert changes
        again = corrected(text, changes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = eval(again, {"torch": torch})(torch.ones(1, 2, 3))  # noqa: S307  a call of ours
        assert result.shape[2:] == parse(again).geometry(3).output


@given(
    k=st.integers(1, 7),
    p=st.integers(0, 2),
    d=st.integers(1, 3),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
)
def test_a_convolution_names_the_nearest_input(
    k: int, p: int, d: int, rows: int, columns: int
) -> None:
    call = parse(f"nn.Conv2d(3, 8, {k}, 2, {p}, {d})")
    try:
        _ = call.geometry((rows, columns))
    except ValueError as refusal:
        what, _, size = str(refusal).partition("; the nearest legal `input` is ")
        assert what.startswith("`kernel` ")
        rows, columns = map(int, size.split("x"))
        assert min(call.geometry((rows, columns)).input) == 1
