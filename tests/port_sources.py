"""Calls to port: every framework's way to write one, and every edge that once was somebody's
bug.
"""

from __future__ import annotations

from backstride.port.check import Job

# (call, input, kernel): the kernel is that of calls which take it as an array.
SOURCES: tuple[tuple[str, tuple[int, ...], tuple[int, ...] | None], ...] = (
    # Keras: the odd cell at the end, s > k, output padding that replaces the rule, dilation
    ('Conv2DTranspose(3, 3, strides=2, padding="same")', (4, 5, 2), None),
    ('Conv2DTranspose(3, 4, strides=2, padding="same", activation="relu")', (4, 5, 2), None),
    (
        'keras.layers.Conv2DTranspose(3, (2, 3), strides=3, padding="same", use_bias=False)',
        (3, 4, 2),
        None,
    ),
    ('keras.layers.Conv2DTranspose(3, 2, strides=3, padding="valid")', (3, 4, 2), None),
    (
        'keras.layers.Conv2DTranspose(3, 3, strides=2, padding="same", output_padding=0)',
        (3, 4, 2),
        None,
    ),
    ("keras.layers.Conv2DTranspose(3, 3, strides=2, output_padding=1)", (3, 4, 2), None),
    ('keras.layers.Conv2DTranspose(3, 3, padding="same", dilation_rate=2)', (4, 5, 2), None),
    ('keras.layers.Conv1DTranspose(3, 5, strides=2, padding="same")', (6, 2), None),
    ('keras.layers.Conv3DTranspose(2, 3, strides=2, padding="same")', (2, 3, 2, 2), None),
    ("tf.keras.layers.Conv2DTranspose(2, (1, 3), (2, 1), 'same')", (3, 4, 2), None),
    # PyTorch: output padding, groups, dilation beside strides, output_size, unequal axes
    ("torch.nn.ConvTranspose2d(2, 3, 4, 2, 1)", (4, 5), None),
    ("torch.nn.ConvTranspose2d(2, 3, 3, 2, 1, 1)", (4, 5), None),
    ("nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2)", (3, 4), None),
    ("nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, groups=4, bias=False)", (3, 4), None),
    ("nn.ConvTranspose2d(2, 3, 3, stride=2, dilation=2)", (3, 4), None),
    (
        "nn.ConvTranspose2d(4, 2, 3, stride=(2, 1), padding=1, dilation=(2, 3), groups=2)",
        (3, 4),
        None,
    ),
    (
        "nn.ConvTranspose2d(2, 3, (2, 3), stride=(3, 2), padding=(0, 1), output_padding=(2, 0))",
        (3, 2),
        None,
    ),
    ("nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)(x, output_size=[8, 9])", (4, 5), None),
    ("nn.ConvTranspose2d(2, 3, 2, dilation=3, output_padding=2)", (3, 4), None),
    ("nn.ConvTranspose2d(2, 2, 5, stride=2, padding=4)", (5, 6), None),
    ("nn.ConvTranspose1d(1, 2, 16, stride=8, padding=4)", (3,), None),
    ("nn.ConvTranspose1d(3, 3, 4, 2, 1, groups=3)", (5,), None),
    ("nn.ConvTranspose3d(2, 2, 2, 2)", (2, 3, 2), None),
    ("nn.ConvTranspose3d(2, 3, (2, 3, 1), (1, 2, 2), (0, 1, 0))", (2, 3, 2), None),
    ("F.conv_transpose2d(x, w, None, 2, 1)", (4, 4), (2, 3, 4, 4)),
    # TensorFlow: sizes to reach, pairs, both names
    ('tf.nn.conv2d_transpose(x, w, [1, 8, 10, 3], [1, 2, 2, 1], "SAME")', (4, 5), (3, 3, 3, 2)),
    ('tf.nn.conv2d_transpose(x, w, [1, 7, 9, 3], [1, 2, 2, 1], "SAME")', (4, 5), (3, 3, 3, 2)),
    ('tf.nn.conv2d_transpose(x, w, [1, 10, 11, 3], 2, "VALID")', (4, 5), (3, 3, 3, 2)),
    (
        "tf.nn.conv2d_transpose(x, w, [1, 8, 9, 3], 2, [[0, 0], [0, 1], [2, 0], [0, 0]])",
        (4, 5),
        (3, 3, 3, 2),
    ),
    ('tf.nn.conv1d_transpose(x, w, [1, 12, 3], 3, "SAME")', (4,), (2, 3, 2)),
    (
        'tf.nn.conv3d_transpose(x, w, [1, 4, 6, 4, 2], [1, 2, 2, 2, 1], "SAME")',
        (2, 3, 2),
        (3, 3, 3, 2, 2),
    ),
    ('tf.layers.conv2d_transpose(x, 3, 3, strides=2, padding="same")', (4, 5, 2), None),
    # JAX and Flax: padding of the dilated input, flips, either kernel layout
    ('jax.lax.conv_transpose(x, w, (2, 2), "SAME")', (4, 5), (3, 3, 2, 3)),
    ("hk.Conv2DTranspose(3, 3, stride=2)", (4, 5, 2), None),
    (
        "haiku.Conv2DTranspose(3, (3, 2), (2, 1), padding=[(1, 2), (0, 1)], with_bias=False)",
        (4, 5, 2),
        None,
    ),
    ('keras.ops.conv_transpose(x, w, 2, "same")', (4, 5), (3, 3, 3, 2)),
    (
        "ov.opset8.convolution_backprop_data(x, w, [2, 2], None, [1, 0], [1, 1])",
        (4, 5),
        (2, 3, 3, 3),
    ),
    (
        "opset.group_convolution_backprop_data(x, w, [2, 2], pads_begin=[0, 1], pads_end=[0, 0])",
        (4, 5),
        (2, 1, 2, 3, 2),
    ),
    ('jax.lax.conv_transpose(x, w, (3, 2), "VALID")', (3, 4), (2, 3, 2, 3)),
    ("jax.lax.conv_transpose(x, w, (2, 2), [(1, 2), (0, 1)])", (4, 5), (3, 3, 2, 3)),
    ("jax.lax.conv_transpose(x, w, (2,), [(3, 3)])", (4,), (3, 2, 3)),
    ("jax.lax.conv_transpose(x, w, (2, 2), [(-1, 2), (4, 1)])", (4, 5), (3, 3, 2, 3)),
    (
        'jax.lax.conv_transpose(x, w, (2, 1), "SAME", rhs_dilation=(2, 3), transpose_kernel=True)',
        (4, 5),
        (3, 2, 3, 2),
    ),
    (
        'jax.lax.conv_transpose(x, w, (2, 2), "SAME", None, ("NCHW", "OIHW", "NCHW"))',
        (4, 5),
        (3, 2, 3, 3),
    ),
    ("flax.linen.ConvTranspose(3, (3, 3), (2, 2))", (4, 5, 2), None),
    ('nnx.ConvTranspose(2, 3, (2, 3), (3, 2), padding="VALID", rngs=nnx.Rngs(0))', (3, 4), None),
    ("nnx.ConvTranspose(2, 3, (3, 3), (2, 2), padding=2, rngs=nnx.Rngs(0))", (3, 4), None),
    (
        (
            "nnx.ConvTranspose(2, 3, (3,), (2,), kernel_dilation=2, transpose_kernel=True, "
            "rngs=nnx.Rngs(0))"
        ),
        (4,),
        None,
    ),
    # Equinox: an output padding that shrinks, the other odd side, groups
    ("equinox.nn.ConvTranspose2d(2, 3, 3, 2, 1, 1, key=key)", (4, 5), None),
    (
        'equinox.nn.ConvTranspose2d(2, 3, 3, 2, padding="SAME", output_padding=1, key=key)',
        (4, 5),
        None,
    ),
    ('eqx.nn.ConvTranspose2d(2, 3, 4, 3, padding="SAME_LOWER", key=key)', (3, 4), None),
    (
        "eqx.nn.ConvTranspose2d(4, 2, 3, 2, padding=((0, 1), (2, 0)), groups=2, key=key)",
        (3, 4),
        None,
    ),
    ("eqx.nn.ConvTranspose(1, 2, 3, 3, 2, ((-1, -2),), key=key)", (4,), None),
    # Ours: crops that no other framework has a word for
    ("k=3 s=2 p=same_lower cin=2 cout=3", (4, 5), None),
    ("k=2x3 s=3x1 p=[(0,-2),(-1,1)] cin=2 cout=3", (3, 4), None),
    ("k=3 s=2 p=[(3,0),(0,3)] cin=2 cout=3", (4, 5), None),
    ("k=1 s=2 p=same cin=2 cout=3", (4, 5), None),
    ("k=3 s=1 p=2 cin=2 cout=1", (4, 5), None),
    ("k=3 s=2 d=2 g=2 p=same cin=4 cout=2", (3, 4), None),
    ("k=4 s=4 p=valid cin=3 cout=1", (1, 1), None),
    (
        (
            'bs.conv_transpose(x, w, b, strides=2, padding="same", output_shape=(7, 9), '
            'activation="relu")'
        ),
        (4, 5),
        (3, 3),
    ),
)


def jobs(to: str, *, source: bool = True) -> list[Job]:
    """Every call, to one target, on integers."""
    return [
        Job(call, to, size, kernel, integers=True, source=source) for call, size, kernel in SOURCES
    ]
