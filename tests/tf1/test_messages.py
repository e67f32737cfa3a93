"""What `backstride.tf1` refuses, and the words it says so in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backstride.tf1 as tf
from tf1.sessions import initialized


def uninitialized() -> None:
    node = tf.layers.dense(tf.ones([1, 2]), 3)
    tf.Session().run(node)


def initialized_too_early() -> None:
    session = initialized()
    session.run(tf.layers.dense(tf.ones([1, 2]), 3))


def closed() -> None:
    with tf.Session() as session:
        pass
    session.run(tf.ones([1]))


def reset_inside() -> None:
    with tf.Session():
        tf.reset_default_graph()


def fetched_after_reset() -> None:
    node = tf.ones([1])
    tf.reset_default_graph()
    tf.Session().run([node])


def fed_after_reset() -> None:
    x = tf.placeholder(tf.float32, [1])
    tf.reset_default_graph()
    tf.Session().run(tf.ones([1]), {x: [1.0]})


def built_after_reset() -> None:
    x = tf.placeholder(tf.float32, [1, 4])
    tf.reset_default_graph()
    _ = tf.layers.dense(x, 3)


def missing_feed() -> None:
    tf.Session().run(tf.nn.relu(tf.placeholder(tf.float32, [None, 3], name="image")))


def fed(value: object) -> None:
    x = tf.placeholder(tf.float32, [None, 3])
    tf.Session().run(x, {x: value})


def named_twice() -> None:
    for _ in range(2):
        _ = tf.layers.dense(tf.ones([1, 2]), 3, name="head")


def transposed(output_shape: list[int], **options: Any) -> None:
    _ = tf.nn.conv2d_transpose(
        tf.ones([2, 7, 7, 4]), tf.ones([3, 3, 5, 4]), output_shape, [1, 2, 2, 1], **options
    )


def wrong_initial_shape() -> None:
    _ = tf.layers.dense(tf.ones([1, 2]), 3, kernel_initializer=lambda *_, **__: np.ones((3, 2)))


EARLY = (
    "`fetches` needs dense/kernel, an uninitialized variable; the nearest legal call is "
    "session.run(tf.global_variables_initializer()) first, made after all layers"
)
RESET = (
    "is not of this session's graph: tf.reset_default_graph() set it aside; make the tensor again, "
    "or use a session opened before"
)
REFUSALS: list[tuple[Callable[[], object], type[Exception], str]] = [
    (uninitialized, RuntimeError, EARLY),
    (initialized_too_early, RuntimeError, EARLY),
    (
        closed,
        RuntimeError,
        (
            "`run` was called on a closed session; the nearest legal call is inside of `with "
            "tf.Session()`"
        ),
    ),
    (
        reset_inside,
        RuntimeError,
        (
            "`reset_default_graph` must not be called inside of `with tf.Session()`; call it after "
            "that block"
        ),
    ),
    (fetched_after_reset, ValueError, f"`fetches` (=ones:0) {RESET}"),
    (fed_after_reset, ValueError, f"`feed_dict` (=Placeholder:0) {RESET}"),
    (
        built_after_reset,
        ValueError,
        (
            "`inputs` (=Placeholder:0) is not of this graph: tf.reset_default_graph() set it "
            "aside, or it comes from another session's graph; make the tensor again"
        ),
    ),
    (
        missing_feed,
        ValueError,
        "`feed_dict` must give image:0 a value of shape (?, 3): `fetches` needs it",
    ),
    (
        lambda: fed(np.ones((2, 4))),
        ValueError,
        "`feed_dict` gives Placeholder:0 a value of shape (2, 4); it must be (?, 3)",
    ),
    (
        lambda: fed(3.0),
        ValueError,
        "`feed_dict` gives Placeholder:0 a value of shape (); it must be (?, 3)",
    ),
    (
        lambda: fed("three"),
        TypeError,
        "`feed_dict[Placeholder:0]` must be real numbers that make one array, not str",
    ),
    (
        lambda: fed([[1, 2, 3], [4]]),
        TypeError,
        "`feed_dict[Placeholder:0]` must be real numbers that make one array, not list",
    ),
    (
        lambda: fed(tf.ones([1, 3])),
        TypeError,
        "`feed_dict[Placeholder:0]` must be real numbers that make one array, not Tensor",
    ),
    (lambda: tf.Session().run("x:0"), TypeError, "`fetches` (='x:0') must hold tensors, not str"),
    (
        lambda: bool(tf.ones([1])),
        TypeError,
        (
            "`ones:0` has no value before a session runs it; the nearest legal call is "
            "session.run(tensor)"
        ),
    ),
    (
        named_twice,
        ValueError,
        "`name` (='head') belongs to a layer of this graph already; give another one, or none",
    ),
    (
        lambda: transposed([2, 16, 14, 5]),
        ValueError,
        (
            "`output_shape` (=16) must be 13 to 14 on axis 0: the sizes that a convolution with "
            "stride 2 and padding='same' maps to 7; the nearest legal value is 14"
        ),
    ),
    (
        lambda: transposed([2, 15, 14, 5], padding="VALID"),
        ValueError,
        (
            "`output_shape` (=14) must be 15 to 16 on axis 1: the sizes that a convolution with "
            "stride 2 and padding='valid' maps to 7; the nearest legal value is 15"
        ),
    ),
    (
        lambda: transposed([3, 14, 14, 6]),
        ValueError,
        (
            "`output_shape` (=[3, 14, 14, 6]) must have the batch of `value` and the output "
            "channels of `filter`; the nearest legal value is [2, 14, 14, 5]"
        ),
    ),
    (
        lambda: tf.nn.conv2d(tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 2, 5]), 1, "SAME"),
        ValueError,
        "`input` has shape (1, 4, 4, 3), 3 channels; `filter` (3, 3, 2, 5) takes 2",
    ),
    (
        lambda: tf.nn.conv2d(tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 3, 5]), [1, 2, 2, 2], "SAME"),
        ValueError,
        (
            "`strides` (=[1, 2, 2, 2]) must be 1 for batch and channels; the nearest legal value "
            "is [1, 2, 2, 1]"
        ),
    ),
    (
        lambda: tf.nn.conv2d(tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 3]), 1, "SAME"),
        ValueError,
        "`filter` has shape (3, 3, 3); a filter has 4 known sizes",
    ),
    (
        lambda: tf.nn.conv2d(tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 3, 5]), 1, "full"),
        ValueError,
        "`padding` (='full') must be 'SAME' or 'VALID', in any case",
    ),
    (
        lambda: tf.nn.conv2d(
            tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 3, 5]), 1, "SAME", data_format="NCHW"
        ),
        ValueError,
        "`data_format` (='NCHW') must be 'NHWC', the only one TensorFlow 1 computes on a CPU",
    ),
    (
        lambda: tf.layers.conv2d(tf.ones([1, 4, 4]), 2, 3),
        ValueError,
        (
            "`inputs` has shape (1, 4, 4); it must be (batch, height, width, channels), with known "
            "channels"
        ),
    ),
    (
        lambda: tf.layers.dense(tf.placeholder(tf.float32, [4, None]), 2),
        ValueError,
        "`inputs` has shape (4, ?); it must be (batch, ..., in), with a known last size",
    ),
    (
        lambda: tf.contrib.layers.flatten(tf.placeholder(tf.float32)),
        ValueError,
        "`inputs` has shape <unknown>; it must have a batch axis",
    ),
    (
        wrong_initial_shape,
        ValueError,
        "`kernel_initializer` gave shape (3, 2); dense/kernel must have (2, 3)",
    ),
    (lambda: tf.placeholder("float64", [1]), TypeError, "`dtype` (=float64) must be tf.float32"),
    (
        lambda: tf.placeholder(tf.float32, 3),  # pyright: ignore[reportArgumentType]  a wrong call is the subject
        TypeError,
        "`shape` (=3) must be a sequence of sizes; the nearest legal value is [3]",
    ),
    (
        lambda: tf.placeholder(tf.float32, [-1, 3]),
        ValueError,
        (
            "`shape` (=[-1, 3]) must not have negative sizes; the nearest legal value for unknown "
            "is None"
        ),
    ),
    (
        lambda: tf.ones([None, 3]),  # pyright: ignore[reportArgumentType]  a wrong call is the subject
        ValueError,
        "`shape` (=[None, 3]) must not have unknown sizes; only a placeholder may",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSALS)
def test_refusals(call: Callable[[], object], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        _ = call()
    assert str(caught.value) == text


@pytest.mark.frameworks
def test_impossible_output_shapes_are_impossible_in_tensorflow() -> None:
    tensorflow: Any = pytest.importorskip("tensorflow", reason="compares with TensorFlow")
    v1 = tensorflow.compat.v1
    for padding in ("SAME", "VALID"):
        for size in range(11, 19):
            with tensorflow.Graph().as_default(), v1.Session() as session:
                try:
                    node = v1.nn.conv2d_transpose(
                        v1.ones([2, 7, 7, 4]), v1.ones([3, 3, 5, 4]), [2, size, size, 5], 2, padding
                    )
                    possible = session.run(node).shape == (2, size, size, 5)
                except (ValueError, v1.errors.OpError):
                    possible = False
            if possible:
                transposed([2, size, size, 5], padding=padding)
            else:
                with pytest.raises(ValueError, match="`output_shape`"):
                    transposed([2, size, size, 5], padding=padding)
