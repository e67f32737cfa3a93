from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import backstride as bs
from backstride.initializers import Philox, bilinear, icnr, nearest, random_normal
from backstride.layout import AnyArray, DataFormat

FORMATS: tuple[DataFormat, ...] = ("channels_last", "channels_first")
STRIDES = st.integers(1, 7)
EXTRA = st.integers(0, 9)


def axis_taps(k: int, s: int) -> NDArray[np.float64]:
    return bilinear(k, s, 1, dtype="float64")[:, 0, 0]


def interior(k: int, s: int, cells: int) -> slice:
    """The cells of the full output in which every tap of their phase meets an input."""
    return slice(k - 1, (cells - 1) * s + 1)


@given(STRIDES, EXTRA, st.sampled_from([bilinear, nearest]))
def test_every_phase_sums_to_one(s: int, extra: int, init: Any) -> None:
    taps = init(s + extra, s, 1, dtype="float64")[:, 0, 0]
    assert [taps[p::s].sum() for p in range(s)] == pytest.approx([1.0] * s, abs=1e-15)
    assert (taps >= 0).all()


@given(STRIDES, EXTRA)
def test_bilinear_keeps_a_constant_map(s: int, extra: int) -> None:
    k = s + extra
    cells = extra + 4
    y = bs.conv_transpose(
        np.full((1, cells, 1), 3.0), bilinear(k, s, 1, dtype="float64"), strides=s
    )
    np.testing.assert_allclose(y[0, interior(k, s, cells), 0], 3.0, rtol=1e-14)


@given(STRIDES, EXTRA)
def test_bilinear_samples_a_ramp_from_2s_minus_1_taps_on(s: int, extra: int) -> None:
    k = 2 * s - s % 2 + extra
    if k % 2 == 0 and k < 2 * s:
        k += 1
    cells = k + 3
    ramp = np.arange(cells, dtype=np.float64)[None, :, None]
    y = bs.conv_transpose(ramp, bilinear(k, s, 1, dtype="float64"), strides=s)[0, :, 0]
    expected = (np.arange(len(y)) - (k - 1) / 2) / s
    inside = interior(k, s, cells)
    np.testing.assert_allclose(y[inside], expected[inside], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("s", range(1, 10))
def test_the_fcn_kernel_with_same_samples_half_pixels(s: int) -> None:
    ramp = np.arange(6, dtype=np.float64)[None, :, None]
    y = bs.conv_transpose(
        ramp, bilinear(2 * s - s % 2, s, 1, dtype="float64"), strides=s, padding="same"
    )[0, :, 0]
    half_pixels = (np.arange(6 * s) + 0.5) / s - 0.5
    inside = (half_pixels >= 0) & (half_pixels <= 5)
    np.testing.assert_allclose(y[inside], half_pixels[inside], rtol=1e-13, atol=1e-13)
    assert inside.sum() == 5 * s + s % 2


@pytest.mark.parametrize("s", range(1, 17))
def test_the_fcn_kernel_is_caffes(s: int) -> None:
    k = 2 * s - s % 2
    factor = (k + 1) // 2  # filler.hpp, BilinearFiller: f = ceil(k / 2), c = (2f - 1 - f % 2) / 2f
    centre = Fraction(2 * factor - 1 - factor % 2, 2 * factor)
    caffe = [float(1 - abs(Fraction(j, factor) - centre)) for j in range(k)]
    np.testing.assert_allclose(axis_taps(k, s), caffe, atol=1e-15)


@given(STRIDES, EXTRA)
def test_short_kernels_keep_ramps_in_the_phases_with_two_taps(s: int, extra: int) -> None:
    k = min(s + extra, 2 * s - 1)
    ramp = np.arange(5, dtype=np.float64)[None, :, None]
    y = bs.conv_transpose(ramp, bilinear(k, s, 1, dtype="float64"), strides=s)[0, :, 0]
    for o in range(k - 1, 4 * s + 1):
        position = (o - (k - 1) / 2) / s
        if len(range(o % s, k, s)) == 2:
            assert y[o] == pytest.approx(position, abs=1e-13)
        else:
            assert y[o] == o // s


@given(STRIDES, EXTRA)
def test_nearest_repeats_cells(s: int, extra: int) -> None:
    x = np.arange(1.0, 6.0)[None, :, None]
    y = bs.conv_transpose(x, nearest(s + extra, s, 1, dtype="float64"), strides=s, padding="same")
    np.testing.assert_array_equal(y, np.repeat(x, s, axis=1))


def test_equal_kernel_and_stride_make_both_fillers_one() -> None:
    np.testing.assert_array_equal(bilinear((3, 2), (3, 2), 2), nearest((3, 2), (3, 2), 2))


@pytest.mark.parametrize("init", [bilinear, nearest])
@pytest.mark.parametrize(
    ("kernel", "strides"), [((4,), (2,)), ((5, 4), (3, 2)), ((4, 3, 2), (2, 2, 1))]
)
def test_kernels_are_outer_products_on_their_own_channel(
    init: Any, kernel: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    last = init(kernel, strides, 3, dtype="float64")
    axes = [init(k, s, 1, dtype="float64")[:, 0, 0] for k, s in zip(kernel, strides, strict=True)]
    assert last.shape == (*kernel, 3, 3)
    for tap in np.ndindex(*kernel):
        weight = math.prod(axis[j] for axis, j in zip(axes, tap, strict=True))
        np.testing.assert_allclose(last[tap], weight * np.eye(3), rtol=1e-15)
    first = init(kernel, strides, 3, dtype="float64", data_format="channels_first")
    assert first.flags.c_contiguous
    np.testing.assert_array_equal(first, np.moveaxis(last, (-1, -2), (0, 1)))


def test_channels_first_interpolates_as_channels_last_does() -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    last = bs.conv_transpose(
        x, bilinear((4, 6), (2, 3), 3, dtype="float64"), strides=(2, 3), padding="same"
    )
    kernel = bilinear((4, 6), (2, 3), 3, dtype="float64", data_format="channels_first")
    first = bs.conv_transpose(
        np.moveaxis(x, -1, 1), kernel, strides=(2, 3), padding="same", data_format="channels_first"
    )
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, rtol=1e-14)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(
    ("spatial", "strides"),
    [((1,), 4), ((2,), 3), ((1, 1), (2, 2)), ((3, 2), (2, 3)), ((1, 2, 1), 2)],
)
def test_icnr_is_the_base_then_nearest(
    spatial: tuple[int, ...], strides: int | tuple[int, ...], data_format: DataFormat
) -> None:
    generator = np.random.default_rng(1)
    rank = len(spatial)
    steps = (strides,) * rank if isinstance(strides, int) else strides
    base = generator.normal(size=(*spatial, 2, 3))
    x = generator.normal(size=(2, *range(3, 3 + rank), 3))
    if data_format == "channels_first":
        base, x = np.moveaxis(base, (-1, -2), (0, 1)).copy(), np.moveaxis(x, -1, 1).copy()
    kernel = icnr(base, strides, data_format=data_format)
    y = bs.conv_transpose(x, kernel, strides=steps, data_format=data_format)
    coarse = bs.conv_transpose(x, base, data_format=data_format)
    for axis, s in enumerate(steps):
        coarse = np.repeat(coarse, s, axis=axis + (1 if data_format == "channels_last" else 2))
    np.testing.assert_allclose(y, coarse, rtol=1e-12, atol=1e-14)
    assert bs.geometry(
        3, kernel.shape[0 if data_format == "channels_last" else 2], strides=steps[0]
    ).is_even


def test_icnr_keeps_the_dtype() -> None:
    assert icnr(np.ones((1, 2, 3), np.float16), 2).dtype == np.float16


MESSAGES = [
    (
        lambda: bilinear(2, 3, 1),
        ValueError,
        (
            "`kernel` (=2) must be at least `strides` (=3) on axis 0, or output cells get no tap; "
            "the nearest legal value is 3, and 5 keeps ramps"
        ),
    ),
    (
        lambda: nearest((4, 3), (2, 4), 1),
        ValueError,
        (
            "`kernel` (=3) must be at least `strides` (=4) on axis 1, or output cells get no tap; "
            "the nearest legal value is 4, and 8 keeps ramps"
        ),
    ),
    (
        lambda: bilinear(4, 2, 1, dtype="int32"),
        TypeError,
        "`dtype` (=int32) must be a floating dtype; the nearest legal value is 'float32'",
    ),
    (
        lambda: icnr(np.ones((2, 2)), 2),
        ValueError,
        "`base` has shape (2, 2); it must have 1 to 3 spatial axes and 2 for the channels",
    ),
    (
        lambda: random_normal((2,), 0.0),  # pyright: ignore[reportArgumentType]  a wrong call is the subject
        TypeError,
        "`seed` (=0.0) must be an integer, not float; the nearest legal value is 0",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), MESSAGES)
def test_refusals(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


def test_sizes_are_checked_by_the_rule_of_all_sizes() -> None:
    with pytest.raises(ValueError, match=r"`channels` \(=0\) must be at least 1"):
        _ = bilinear(4, 2, 0)
    with pytest.raises(ValueError, match=r"`shape\[1\]` \(=-1\) must be at least 0"):
        _ = random_normal((2, -1), 0)


# Known answers of the reference implementation, Random123 kat_vectors, philox4x32 10.
KNOWN = [
    (0, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (2**64 - 1, 2**128 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (0x299F31D0A4093822, 0x0370734413198A2E85A308D3243F6A88, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("key", "counter", "words"), KNOWN)
def test_philox_known_answers(key: int, counter: int, words: str) -> None:
    assert " ".join(f"{word:08x}" for word in Philox(key, counter).blocks(1)[0]) == words


def test_philox_counts_across_64_bits() -> None:
    whole = Philox(5, 2**64 - 2).blocks(4)
    parts = [Philox(5, (2**64 - 2 + n) % 2**128).blocks(1) for n in range(4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@given(st.integers(0, 50), st.integers(0, 50))
def test_philox_skips_what_it_would_have_drawn(first: int, second: int) -> None:
    drawn, skipped = Philox(3, 9), Philox(3, 9)
    _ = drawn.blocks(first)
    skipped.skip(first)
    np.testing.assert_array_equal(drawn.blocks(second), skipped.blocks(second))


# Printed by TensorFlow 2.21 under tf.compat.v1, one row per session run.
STREAMS: list[tuple[tuple[int, ...], int, int | None, list[list[float]]]] = [
    ((1, 2), 0, None, [[-0.3991576, 2.1044393], [1.50847, -1.2423378], [-1.3909408, -2.7299743]]),
    ((3,), 5, 7, [[0.00727805, 0.53435814, 0.18353333]]),
    ((3,), 0, 0, [[0.12391895, 2.798774, -1.7961729]]),
    ((3,), -1, None, [[-0.96254766, -0.7559225, -1.3977609]]),
    ((3,), 2**40 + 3, None, [[-0.71284723, -0.1444877, -1.8656788]]),
]


@pytest.mark.parametrize(("shape", "seed", "graph_seed", "runs"), STREAMS)
def test_random_normal_is_tensorflows(
    shape: tuple[int, ...], seed: int, graph_seed: int | None, runs: list[list[float]]
) -> None:
    stream = Philox.seeded(seed, graph_seed)
    for run in runs:
        assert stream.normal(shape).ravel() == pytest.approx(
            run, rel=4e-7, abs=5e-9
        )  # the printed digits
    np.testing.assert_array_equal(
        random_normal(shape, seed, graph_seed=graph_seed),
        Philox.seeded(seed, graph_seed).normal(shape),
    )


def test_random_normal_of_no_cells_and_of_one() -> None:
    assert random_normal((0, 3), 1).shape == (0, 3)
    assert random_normal((), 1).shape == ()
    np.testing.assert_array_equal(random_normal(4, 1), random_normal((4,), 1))


def test_random_normal_is_scaled_after_the_draw() -> None:
    plain = random_normal((9,), 3)
    np.testing.assert_array_equal(
        random_normal((9,), 3, mean=0.5, stddev=3.0), plain * np.float32(3) + np.float32(0.5)
    )


def test_random_normal_is_normal() -> None:
    numbers = random_normal((200_000,), 11).astype(np.float64)
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.std() - 1) < 0.01
    assert abs(np.mean(np.abs(numbers) < 1) - 0.6827) < 0.005


@pytest.mark.frameworks
@pytest.mark.parametrize("graph_seed", [None, 0, 1, 7, 87654321, -3])
@pytest.mark.parametrize("seed", [0, 5, -1, 2**40 + 3])
def test_random_normal_against_tensorflow(seed: int, graph_seed: int | None) -> None:
    for shape in ((1, 2), (3,), (4, 4, 3, 21), (1001,), ()):
        stream = Philox.seeded(seed, graph_seed)
        for theirs in tensorflow_runs(shape, seed, graph_seed, runs=3):
            ours = stream.normal(shape)
            _ = np.testing.assert_array_max_ulp(ours, theirs, maxulp=4)
            assert np.mean(ours == theirs) > (0.9 if math.prod(shape) > 100 else -1)


@pytest.mark.frameworks
def test_random_normal_with_mean_against_tensorflow() -> None:
    (theirs,) = tensorflow_runs((64, 33), 3, None, runs=1, mean=0.25, stddev=1.5)
    np.testing.assert_allclose(
        random_normal((64, 33), 3, mean=0.25, stddev=1.5), theirs, rtol=0, atol=2e-6
    )


def tensorflow_runs(
    shape: Sequence[int], seed: int, graph_seed: int | None, *, runs: int, **options: float
) -> list[AnyArray]:
    tensorflow: Any = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    with tensorflow.Graph().as_default():
        if graph_seed is not None:
            tensorflow.compat.v1.set_random_seed(graph_seed)
        node = tensorflow.compat.v1.random_normal(list(shape), seed=seed, **options)
        with tensorflow.compat.v1.Session() as session:
            return [session.run(node) for _ in range(runs)]


@pytest.mark.parametrize(("k", "s"), [(k, s) for s in range(1, 10) for k in range(1, s)])
def test_fewer_taps_than_phases_are_refused(k: int, s: int) -> None:
    for init in (bilinear, nearest):
        with pytest.raises(ValueError, match="output cells get no tap"):
            _ = init(k, s, 1)
