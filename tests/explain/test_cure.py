"""The cure of a checkerboard is a call of the framework that was asked about, legal there, of the
same sizes.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import backstride as bs
from backstride.calls import parse
from backstride.explain.cure import cure, even
from backstride.port.check import Job, differences

# k, s and p are drawn; `kernel` says that the kernel is an array.
CALLS = (
    ("torch", "nn.ConvTranspose2d(8, 4, {k}, {s}, {p}, groups=2, bias=False)", False),
    (
        "torch",
        (
            "torch.nn.ConvTranspose1d(in_channels=8, out_channels=4, kernel_size={k}, stride={s}, "
            "padding={p})"
        ),
        False,
    ),
    ("torch", "F.conv_transpose2d(x, w, b, {s}, {p})", True),
    ("keras", "Conv2DTranspose(4, {k}, strides={s}, padding='same', activation='relu')", False),
    ("keras", "tf.keras.layers.Conv1DTranspose(filters=4, kernel_size={k}, strides={s})", False),
    ("keras", "tf.layers.conv2d_transpose(x, 4, {k}, {s}, 'same')", False),
    ("keras", "keras.ops.conv_transpose(x, w, ({s}, {s}), 'same')", True),
    ("tf", "tf.nn.conv2d_transpose(x, w, [n, {o}, {o}, 4], {s}, 'SAME')", True),
    ("jax", "jax.lax.conv_transpose(x, w, ({s}, {s}), 'SAME')", True),
    ("jax", "lax.conv_transpose(x, w, ({s},), 'VALID', transpose_kernel=True)", True),
    ("jax", "hk.Conv2DTranspose(4, {k}, stride={s}, padding='VALID')", False),
    ("flax", "nnx.ConvTranspose(8, 4, ({k}, {k}), ({s}, {s}), rngs=nnx.Rngs(0))", False),
    ("flax", "linen.ConvTranspose(4, ({k},), ({s},), padding='VALID')", False),
    ("equinox", "eqx.nn.ConvTranspose2d(8, 4, {k}, {s}, padding={p}, key=key)", False),
    (
        "onnx",
        (
            "helper.make_node('ConvTranspose', ['x', 'w'], ['y'], kernel_shape=[{k}, {k}], "
            "strides=[{s}, {s}])"
        ),
        False,
    ),
    ("openvino", "opset.convolution_backprop_data(x, w, [{s}, {s}], pads_begin=[{p}, 0])", True),
    (
        "coreml",
        (
            "mb.conv_transpose(x=x, weight=w, strides=[{s}, {s}], pad_type='custom', pad=[{p}, 0, "
            "0, 0])"
        ),
        True,
    ),
    ("mlx", "mlx.nn.ConvTranspose2d(8, 4, {k}, {s}, {p})", False),
    ("", "k={k} s={s} p={p} cin=8 cout=4", False),
    ("", "bs.conv_transpose(x, w, strides=({s}, {s}), padding={p})", True),
    ("", "bs.geometry(6, {k}, strides={s}, padding={p})", False),
)

RUN = ("torch", "keras", "tf", "jax", "flax", "equinox", "onnx", "openvino", "mlx")


def drawn(text: str, k: int, s: int, p: int, *, kernel: bool) -> Any:
    """A call on six cells a side."""
    text = text.format(k=k, s=s, p=p, o=6 * s)
    call = parse(text, kernel=k if kernel else None)
    rank = call.rank or (2 if "2" in call.function or kernel else 1)
    return call.at((6,) * rank)


def split(fix: str) -> tuple[str, tuple[int, ...] | None]:
    """A cure and the size of the kernel beside it."""
    text, _, size = fix.partition(" with a kernel of ")
    return text, tuple(map(int, size.split(" x "))) if size else None


@pytest.mark.parametrize(("_", "text", "kernel"), CALLS)
@given(k=st.integers(2, 9), s=st.integers(2, 5), p=st.integers(0, 2))
def test_a_cure_reads_back_to_an_even_layer_of_the_same_sizes(
    _: str, text: str, kernel: bool, k: int, s: int, p: int
) -> None:
    try:
        call = drawn(text, k, s, min(p, k - 1), kernel=kernel)
        where = call.geometry()
    except ValueError:  # nothing left of a short kernel, or a size that TensorFlow does not have
        return
    fix = cure(call, where)
    if fix is None:
        return
    again, size = split(fix)
    found = parse(again, kernel=size)
    assert (found.function, found.framework) == (call.function, call.framework)
    assert (found.groups, found.activation, found.has_bias) == (
        call.groups,
        call.activation,
        call.has_bias,
    )
    result = found.at(where.input).geometry()
    assert result.is_even
    assert (result.strides, result.output) == (where.strides, where.output)


@given(
    k=st.integers(1, 12),
    s=st.integers(2, 5),
    p=st.integers(0, 3),
    op=st.integers(0, 4),
    n=st.integers(1, 9),
)
def test_pytorch_has_a_cure_wherever_it_can_say_one(
    k: int, s: int, p: int, op: int, n: int
) -> None:
    """PyTorch crops both ends, the odd cell in front: every even kernel that is long enough
    fits.
    """
    try:
        call = parse(f"nn.ConvTranspose1d(1, 1, {k}, {s}, {p}, {op})").at(n)
        where = call.geometry()
    except ValueError:
        return
    assert cure(call, where) is not None
    assert next(even(where)).output == where.output


def test_pytorch_runs_its_cures() -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    for k, s, p, op in (
        (4, 3, 0, 0),
        (3, 2, 1, 1),
        (5, 3, 1, 2),
        (5, 4, 0, 0),
        (2, 3, 0, 2),
        (7, 2, 3, 0),
    ):
        found = bs.explain(f"nn.ConvTranspose2d(8, 4, {k}, {s}, {p}, {op})", input=(6, 5))
        assert found.evenness.fix is not None
        result = eval(found.evenness.fix, {"torch": torch})(torch.ones(1, 8, 6, 5))  # noqa: S307  a call of ours
        assert result.shape[2:] == found.geometry.output


def test_an_uneven_layer_that_has_a_plain_even_one() -> None:
    found = bs.explain("nn.ConvTranspose2d(8, 4, 2, 3, 0, 1)", input=7)
    assert found.evenness.fix == "torch.nn.ConvTranspose2d(8, 4, 3, stride=3)"


@pytest.mark.frameworks
def test_every_framework_runs_its_cures() -> None:
    jobs: list[Job] = []
    for _, text, kernel in (row for row in CALLS if row[0] in RUN):
        for k, s, p in ((3, 2, 1), (5, 3, 0), (4, 3, 1)):
            call = drawn(text, k, s, p, kernel=kernel)
            fix = cure(call, call.geometry())
            if fix is not None:
                again, size = split(fix)
                jobs.append(Job(again, "torch", call.input, size, integers=True))
    assert len(jobs) > 30
    for job, found in zip(jobs, differences(jobs), strict=True):
        if "is not installed" in found.absent:
            pytest.skip(found.absent)
        assert found.largest == 0, (job.call, str(found))
