from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backstride as bs
import backstride.tf1 as tf
from backstride.initializers import Philox
from backstride.tf1 import arithmetic
from backstride.tf1.graph import Floats, Graph
from tf1.sessions import initialized


def given_values(values: Floats) -> Callable[..., Floats]:
    def initializer(shape: list[int], **_: object) -> Floats:
        assert tuple(shape) == values.shape
        return values

    return initializer


def numbers(*shape: int) -> Floats:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def small_integers(*shape: int) -> Floats:
    """Numbers whose sums of products are exact in float32, in any order."""
    return np.random.default_rng(1).integers(-4, 5, shape).astype(np.float32)


def test_the_names_of_the_article_are_there() -> None:
    calls = [
        tf.placeholder,
        tf.Session,
        tf.global_variables_initializer,
        tf.layers.dense,
        tf.layers.conv2d,
        tf.layers.conv2d_transpose,
        tf.nn.conv2d,
        tf.nn.conv2d_transpose,
        tf.nn.relu,
        tf.contrib.layers.flatten,
        tf.random_normal,
        tf.ones,
        tf.reset_default_graph,
    ]
    assert all(callable(call) for call in calls)
    assert np.dtype(tf.float32) == np.float32


# What each operation computes


def test_dense_is_bs_dense() -> None:
    x, kernel, bias = numbers(2, 3, 5, 6), numbers(6, 4), numbers(4)
    node = tf.layers.dense(
        x,
        4,
        kernel_initializer=given_values(kernel),
        bias_initializer=given_values(bias),
        activation=tf.nn.relu,
    )
    assert node.shape == (2, 3, 5, 4)
    np.testing.assert_array_equal(
        initialized().run(node), bs.dense(x, kernel, bias, activation="relu")
    )


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize("padding", ["same", "VALID", "Same"])
def test_conv2d_is_bs_conv(channels: int, padding: str) -> None:
    x, kernel, bias = (
        small_integers(2, 7, 8, channels),
        small_integers(3, 2, channels, 5),
        small_integers(5),
    )
    layer = tf.layers.conv2d(
        x,
        5,
        (3, 2),
        (2, 3),
        padding,
        kernel_initializer=given_values(kernel),
        bias_initializer=given_values(bias),
    )
    bare = tf.nn.conv2d(x, kernel, [1, 2, 3, 1], padding.upper())
    ours = bs.conv(x, kernel, strides=(2, 3), padding="valid" if padding == "VALID" else "same")
    session = initialized()
    assert layer.shape == bare.shape == ours.shape
    np.testing.assert_array_equal(session.run(bare), ours)
    np.testing.assert_array_equal(session.run(layer), ours + bias)


@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize(("strides", "padding"), [(2, "SAME"), ((3, 2), "valid"), ((5, 1), "same")])
def test_conv2d_transpose_is_bs_conv_transpose(channels: int, strides: Any, padding: str) -> None:
    x, kernel, bias = (
        small_integers(2, 4, 3, channels),
        small_integers(3, 4, 5, channels),
        small_integers(5),
    )
    layer = tf.layers.conv2d_transpose(
        x,
        5,
        (3, 4),
        strides,
        padding,
        kernel_initializer=given_values(kernel),
        bias_initializer=given_values(bias),
    )
    ours = bs.conv_transpose(
        x, kernel, strides=strides, padding="valid" if padding == "valid" else "same"
    )
    bare = tf.nn.conv2d_transpose(x, kernel, list(ours.shape), strides, padding)
    session = initialized()
    assert layer.shape == bare.shape == ours.shape
    np.testing.assert_array_equal(session.run(bare), ours)
    np.testing.assert_array_equal(session.run(layer), ours + bias)


@pytest.mark.parametrize("size", [12, 13, 14])
def test_output_shape_decides_between_the_legal_sizes(size: int) -> None:
    x, kernel = small_integers(1, 4, 4, 2), small_integers(3, 3, 5, 2)
    node = tf.nn.conv2d_transpose(x, kernel, [1, size, size, 5], [1, 3, 3, 1], "VALID")
    ours = bs.conv_transpose(x, kernel, strides=3, output_shape=(size, size))
    assert ours.shape == node.shape == (1, size, size, 5)
    np.testing.assert_array_equal(tf.Session().run(node), ours)


def test_dilation() -> None:
    x, kernel = small_integers(1, 9, 9, 2), small_integers(3, 3, 2, 4)
    layer = tf.layers.conv2d(
        x, 4, 3, dilation_rate=2, kernel_initializer=given_values(kernel), use_bias=False
    )
    bare = tf.nn.conv2d(x, kernel, 1, "VALID", dilations=[1, 2, 2, 1])
    back = tf.nn.conv2d_transpose(bare, kernel, [1, 9, 9, 2], 1, "VALID", dilations=2)
    ours = bs.conv(x, kernel, dilation=2)
    values = initialized().run({"layer": layer, "bare": bare, "back": back})
    np.testing.assert_array_equal(values["layer"], ours)
    np.testing.assert_array_equal(values["bare"], ours)
    np.testing.assert_array_equal(values["back"], bs.conv_transpose(ours, kernel, dilation=2))


def test_relu_flatten_and_ones() -> None:
    x = numbers(2, 3, 4, 5)
    session = tf.Session()
    np.testing.assert_array_equal(session.run(tf.nn.relu(x)), np.maximum(x, 0))
    np.testing.assert_array_equal(session.run(tf.contrib.layers.flatten(x)), x.reshape(2, 60))
    np.testing.assert_array_equal(session.run(tf.ones([2, 3])), np.ones((2, 3), np.float32))
    assert tf.contrib.layers.flatten(tf.placeholder(tf.float32, [None, 4, None, 2])).shape == (
        None,
        None,
    )


@given(st.integers(1, 4), st.integers(1, 6))
def test_few_channels_are_rounded_product_by_product(channels: int, cells: int) -> None:
    x, kernel = numbers(1, cells, 2, channels), numbers(1, 1, 3, channels)
    expected = np.zeros((1, cells, 2, 3), np.float32)
    for c in range(channels):
        product = x[..., c, None] * kernel[0, 0, :, c]
        expected = product if c == 0 else expected + product
    np.testing.assert_array_equal(arithmetic.conv_transpose(x, kernel), expected)
    np.testing.assert_array_equal(arithmetic.conv(x, np.swapaxes(kernel, 2, 3)), expected)
    np.testing.assert_array_equal(arithmetic.dense(x, kernel[0, 0].T), expected)


# Initializers


def test_initializers_are_called_as_tensorflow_does() -> None:
    calls: list[tuple[object, object, object]] = []

    def record(shape: list[int], dtype: object = None, partition_info: object = "unset") -> Any:
        calls.append((shape, dtype, partition_info))
        return tf.ones(shape, dtype=tf.float32)

    _ = tf.layers.conv2d_transpose(
        tf.ones([1, 4, 4, 3]), 5, (2, 3), kernel_initializer=record, bias_initializer=record
    )
    assert calls == [([2, 3, 5, 3], tf.float32, None), ([5], tf.float32, None)]


def test_the_default_kernel_is_glorot_uniform_and_the_bias_zero() -> None:
    node = tf.layers.dense(tf.ones([1, 200]), 100)
    _, kernel, bias = node.inputs
    values, zeros = initialized().run((kernel, bias))
    limit = np.sqrt(6 / 300)
    assert limit * 0.999 < np.abs(values).max() <= np.float32(limit)
    assert abs(values.std() - limit / np.sqrt(3)) < limit / 50
    assert not zeros.any()
    assert not np.array_equal(values, initialized().run(kernel))


def test_a_layer_without_bias_has_one_variable() -> None:
    assert len(tf.layers.dense(tf.ones([1, 2]), 3, use_bias=False).inputs) == 2


def test_seeded_operations_have_a_stream_each_in_each_session() -> None:
    first, second = tf.random_normal([1, 2], seed=0), tf.random_normal([1, 2], seed=0)
    stream = Philox.seeded(0)
    for session in (tf.Session(), tf.Session()):
        stream = Philox.seeded(0)
        for _ in range(3):
            ours, other, again = session.run([first, second, first])
            np.testing.assert_array_equal(ours, stream.normal((1, 2)))
            np.testing.assert_array_equal(ours, other)
            np.testing.assert_array_equal(ours, again)


def test_initializing_again_goes_on_in_the_stream() -> None:
    def seeded(shape: list[int], **_: object) -> Any:
        return tf.random_normal(shape, seed=4)

    kernel = tf.layers.dense(tf.ones([1, 2]), 3, kernel_initializer=seeded).inputs[1]
    session, init, stream = tf.Session(), tf.global_variables_initializer(), Philox.seeded(4)
    for _ in range(2):
        assert session.run(init) is None
        np.testing.assert_array_equal(session.run(kernel), stream.normal((2, 3)))


def test_unseeded_operations_differ() -> None:
    first, second = tf.random_normal([50]), tf.random_normal([50], mean=100.0, stddev=0.5)
    session = tf.Session()
    one, two = session.run((first, second))
    assert not np.array_equal(one, session.run(first))
    assert not np.array_equal(one, tf.Session().run(first))
    assert abs(two.mean() - 100) < 1


# Graphs and sessions


def test_shapes_are_known_while_building_as_far_as_they_can_be() -> None:
    x = tf.placeholder(tf.float32, [None, None, 8, 3])
    conv = tf.layers.conv2d(x, 5, 3, strides=2, padding="same")
    up = tf.layers.conv2d_transpose(conv, 6, 3, strides=2)
    assert (conv.shape, up.shape) == ((None, None, 4, 5), (None, None, 9, 6))
    assert tf.nn.relu(tf.placeholder(tf.float32)).shape is None
    assert initialized().run(up, {x: np.ones((2, 6, 8, 3))}).shape == (2, 7, 9, 6)


def test_names_are_numbered_as_tensorflow_does() -> None:
    names = [
        tf.layers.dense(tf.ones([1, 2]), 3, name=name).name
        for name in (None, None, "dense_2", None)
    ]
    assert names == [
        "dense/BiasAdd:0",
        "dense_1/BiasAdd:0",
        "dense_2/BiasAdd:0",
        "dense_3/BiasAdd:0",
    ]
    assert (
        repr(tf.placeholder(tf.float32, [None, 3]))
        == "<Tensor 'Placeholder:0' shape=(?, 3) dtype=float32>"
    )
    assert (
        repr(tf.placeholder(tf.float32))
        == "<Tensor 'Placeholder_1:0' shape=<unknown> dtype=float32>"
    )


@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "b"])))
def test_names_are_unique(names: list[str]) -> None:
    graph = Graph()
    unique = [graph.unique_name(name) for name in names]
    assert len(set(unique)) == len(unique)


def test_fetches_keep_their_structure() -> None:
    a, b = tf.ones([1]), tf.ones([2])
    init = tf.global_variables_initializer()
    result = tf.Session().run({"pair": (a, [b, a]), "init": init})
    assert result["init"] is None
    assert [part.shape for part in (result["pair"][0], *result["pair"][1])] == [(1,), (2,), (1,)]
    assert (type(result["pair"]), type(result["pair"][1])) == (tuple, list)


def test_feeds_are_converted_and_may_replace_any_tensor() -> None:
    x = tf.placeholder(tf.float32, [2])
    y = tf.nn.relu(x)
    session = tf.Session()
    assert session.run(y, feed_dict={x: [-1, 2]}).tolist() == [0.0, 2.0]
    assert session.run(y, {x: np.array([1.5, 2.5])}).dtype == np.float32
    assert session.run(tf.nn.relu(y), {y: [-3.0, 4.0]}).tolist() == [0.0, 4.0]


def test_results_are_the_callers_own() -> None:
    kernel = tf.layers.dense(tf.ones([1, 2]), 3).inputs[1]
    session = initialized()
    first = session.run(kernel)
    first += 1
    assert not np.array_equal(session.run(kernel), first)
    x, fed = tf.placeholder(tf.float32, [2]), np.ones(2, np.float32)
    session.run(x, {x: fed})[:] = 5
    assert fed.tolist() == [1.0, 1.0]


def test_each_tensor_is_computed_once_and_depth_is_no_limit() -> None:
    node = noise = tf.random_normal([3])
    for _ in range(3000):
        node = tf.nn.relu(node)
    first, last = tf.Session().run([noise, node])
    np.testing.assert_array_equal(last, np.maximum(first, 0))


def test_sessions_keep_their_own_variables() -> None:
    kernel = tf.layers.dense(tf.ones([1, 2]), 3).inputs[1]
    one, two = initialized(), initialized()
    assert not np.array_equal(one.run(kernel), two.run(kernel))


def test_a_session_opened_before_a_reset_keeps_its_graph() -> None:
    node = tf.ones([2])
    session = tf.Session()
    tf.reset_default_graph()
    assert session.run(node).tolist() == [1.0, 1.0]


def test_tensors_made_inside_a_session_go_to_its_graph() -> None:
    session = tf.Session()
    tf.reset_default_graph()
    with session:
        assert session.run(tf.ones([1])).tolist() == [1.0]


def test_each_thread_has_its_own_default_graph() -> None:
    node = tf.ones([1])

    def build() -> tuple[bool, list[float]]:
        other = tf.ones([1])
        return other.graph is node.graph, tf.Session().run(other).tolist()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(build).result() == (False, [1.0])


# The same calls in TensorFlow

CASES = [
    (padding, strides, kernel, size)
    for padding in ("SAME", "VALID")
    for strides in ((1, 1), (2, 2), (3, 2))
    for kernel in ((1, 1), (3, 3), (2, 5))
    for size in ((7, 9), (14, 14))
]


@pytest.mark.frameworks
@pytest.mark.parametrize(("padding", "strides", "kernel", "size"), CASES)
def test_nn_against_tensorflow(
    padding: str, strides: tuple[int, int], kernel: tuple[int, int], size: tuple[int, int]
) -> None:
    tensorflow: Any = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    image, weights = small_integers(2, *size, 6), small_integers(*kernel, 6, 5)
    steps = [1, *strides, 1]

    def build(library: Any) -> list[Any]:
        small = library.nn.conv2d(image, weights, strides=steps, padding=padding)
        shape = [2, *size, 6]
        return [small, library.nn.conv2d_transpose(small, weights, shape, steps, padding=padding)]

    with tensorflow.Graph().as_default(), tensorflow.compat.v1.Session() as session:
        theirs = session.run(build(tensorflow.compat.v1))
    for ours, other in zip(tf.Session().run(build(tf)), theirs, strict=True):
        np.testing.assert_array_equal(ours, other)
