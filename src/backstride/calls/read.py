"""What the text is: options, a node of an ONNX file, or a call."""

from __future__ import annotations

import difflib
import re
import textwrap

from backstride.calls.arguments import read_call
from backstride.calls.kernels import Hints
from backstride.calls.onnx_node import file_and_node, read_node
from backstride.calls.own_calls import plain
from backstride.calls.record import SourceCall
from backstride.calls.signatures import BY_NAME, find
from backstride.geometry import Size


def parse(text: str, *, kernel: Size | None = None) -> SourceCall:
    """Read a transposed convolution as people write it: a framework's call, our options, a node of an ONNX file.

    >>> parse("torch.nn.ConvTranspose2d(256, 128, 4, 2, 1)").geometry((7, 7)).output
    (14, 14)
    >>> parse("k=4 s=2 p=1").geometry((7, 7)).output
    (14, 14)
    >>> parse("jax.lax.conv_transpose(x, w, (2, 2), 'SAME')", kernel=(3, 3, 256, 128)).big
    128
    >>> parse("keras.layers.Conv2DTrnspose(128, 3)")
    Traceback (most recent call last):
        ...
    ValueError: `call` names keras.layers.Conv2DTrnspose at column 1, which is not known; the nearest are \
keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose, keras.layers.Conv1DTranspose

    Read are PyTorch's layers and functions, Keras's layers and `keras.ops`, `tf.nn`, `tf.compat.v1.nn` and
    `tf.layers`, `jax.lax.conv_transpose`, Flax's linen and nnx layers, Haiku's, Equinox's, OpenVINO's operations,
    `bs.conv_transpose` and `bs.geometry`, each with or without the front of its name, positional arguments in
    its own order, an assignment before it, and a layer's call after it. `kernel`: the spatial size, or the
    array's shape in the call's layout, for calls that take the kernel as an array.

    Nothing in the text runs and no name in it is looked up. Raises `ValueError` where the text cannot be
    read, with the place, and for unknown functions and arguments, with the nearest names.
    """
    stripped = textwrap.dedent(text).strip()
    if not stripped:
        message = "`call` is empty; expected one such as k=4 s=2 p=1"
        raise ValueError(message)
    node = file_and_node(stripped)
    if node is not None:
        return read_node(*node)
    if "(" not in stripped.partition("=")[0] and not re.search(r"=\s*[\w.]+\(", stripped):
        return plain(Hints(stripped, kernel))
    written, applied = read_call(stripped)
    signature = find(written.name)
    if signature is None:
        close = difflib.get_close_matches(written.name, BY_NAME, n=3, cutoff=0.4)
        names = ", ".join(close or ["torch.nn.ConvTranspose2d", "keras.layers.Conv2DTranspose", "bs.conv_transpose"])
        message = f"`call` names {written.name} at {written.place}, which is not known; the nearest are {names}"
        raise ValueError(message)
    arguments = written.bind(signature.name, signature.parameters.split(), signature.keyword_only.split())
    return signature.read(arguments, Hints(stripped, kernel, applied))
