"""What the text is.

Options, a node of an ONNX file, a call, or the layers of a network one after the other.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Mapping

from backstride.calls.arguments import WrittenCall
from backstride.calls.kernels import Hints
from backstride.calls.onnx_node import file_and_node, read_node
from backstride.calls.own_calls import plain
from backstride.calls.record import SourceCall
from backstride.calls.signatures import BY_NAME, find
from backstride.calls.syntax import Source
from backstride.integers import Size

# Layers that leave the sizes and the number of channels as they are.
_KEEPS = re.compile(
    r".*(relu\d?|elu|gelu|silu|swish|mish|sigmoid|tanh|softmax|softplus|softsign|activation|identity|dropout(\d?d)?|norm"
    r"(\dd)?|normalization(v\d)?|noise|hard.*|rescaling|input(layer)?)",
    re.ASCII,
)


def parse(
    text: str, *, kernel: Size | None = None, names: Mapping[str, object] | None = None
) -> SourceCall:
    """Read a transposed convolution as people write it.

    A framework's call, our options, a node of an ONNX file.

    >>> parse("torch.nn.ConvTranspose2d(256, 128, 4, 2, 1)").geometry((7, 7)).output
    (14, 14)
    >>> parse("k=4 s=2 p=1").geometry((7, 7)).output
    (14, 14)
    >>> parse("jax.lax.conv_transpose(x, w, (2, 2), 'SAME')", kernel=(3, 3, 256, 128)).big
    128
    >>> parse("self.up = nn.ConvTranspose2d(ch, ch // 2, 2 * u, u, u // 2)",
    ...     names={"u": 8}).geometry(20).output
    (160, 160)
    >>> parse("keras.layers.Conv2DTrnspose(128, 3)")
    Traceback (most recent call last):
        ...
    ValueError: `call` names keras.layers.Conv2DTrnspose at column 1, which is not known; the nearest are \
keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose, keras.layers.Conv1DTranspose

    Read are PyTorch's layers and functions, Keras's layers and `keras.ops`, `tf.nn`,
    `tf.compat.v1.nn` and `tf.layers`, `jax.lax.conv_transpose`, Flax's linen and nnx layers,
    Haiku's, Equinox's, MLX's, Core ML's and OpenVINO's operations, ONNX's `make_node`,
    `bs.conv_transpose` and `bs.geometry`, each with or without the front of its name, positional
    arguments in its own order, an assignment before it, a layer's call after it, `model.add` or
    `weight_norm` around it. The frameworks' convolutions are read too, as records with `forward`.
    `kernel`: the spatial size, or the array's shape in the call's layout, for calls that take the
    kernel as an array. `names`: the values of names that stand in the call.

    Nothing in the text runs. Raises `ValueError` where the text cannot be read, with the place, for
    several layers, and for unknown functions and arguments, with the nearest names.
    """  # noqa: E501
    found = parse_layers(text, kernel=kernel, names=names)
    if len(found) > 1:
        message = (
            f"`call` has {len(found)} layers, the second of which is {found[1].function}; give one "
            "of them, or have backstride explain go through them"
        )
        raise ValueError(message)
    return next(iter(found))


def parse_layers(
    text: str, *, kernel: Size | None = None, names: Mapping[str, object] | None = None
) -> tuple[SourceCall, ...]:
    """Read the convolutions, transposed and not, of a text that may hold several.

    A Sequential does, for example.

    >>> found = parse_layers("nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 3))")
    >>> [(call.function, call.small, call.big) for call in found]
    [('torch.nn.ConvTranspose2d', 8, 4), ('torch.nn.Conv2d', 1, 4)]

    Activations, normalizations and dropout between them are passed over. Raises `ValueError` as
    `parse`, and for any other layer between two of them, which may change the size.
    """  # noqa: E501
    stripped = textwrap.dedent(text).strip().rstrip(",; \t\n")
    if not stripped:
        message = "`call` is empty; expected one such as k=4 s=2 p=1"
        raise ValueError(message)
    node = file_and_node(stripped)
    if node is not None:
        return (read_node(*node, kernel=kernel),)
    if "(" not in stripped.partition("=")[0] and not re.search(r"=\s*[\w.]+\(", stripped):
        return (plain(Hints(stripped, kernel)),)
    written = Source(stripped, names or {}).calls()
    known = [place for place, (call, _) in enumerate(written) if find(call.name) is not None]
    if not known:
        _refuse_unknown(written[0][0])
    for call, _ in written[known[0] : known[-1]]:
        if find(call.name) is None and not _KEEPS.fullmatch(
            call.name.rpartition(".")[2].lower().replace("_", "")
        ):
            message = (
                f"`call` has {call.name} at {call.place} between its convolutions, whose output "
                "size is not read; explain what stands before it and after it by themselves"
            )
            raise ValueError(message)
    several = len(known) > 1
    return tuple(_read(stripped, *written[place], kernel, several=several) for place in known)


def _read(
    text: str,
    written: WrittenCall,
    applied: WrittenCall | None,
    kernel: Size | None,
    *,
    several: bool,
) -> SourceCall:
    signature = find(written.name)
    assert signature is not None
    arguments = written.bind(
        signature.name, signature.parameters.split(), signature.keyword_only.split()
    )
    return signature.read(arguments, Hints(written.text if several else text, kernel, applied))


def _refuse_unknown(written: WrittenCall) -> None:
    close = difflib.get_close_matches(written.name, BY_NAME, n=3, cutoff=0.4)
    names = ", ".join(
        close or ["torch.nn.ConvTranspose2d", "keras.layers.Conv2DTranspose", "bs.conv_transpose"]
    )
    message = (
        f"`call` names {written.name} at {written.place}, which is not known; the nearest are "
        f"{names}"
    )
    raise ValueError(message)
