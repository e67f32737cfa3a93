"""Every function that is read.

Its names, its parameters in its own order, and who turns them into a record. A new function is one
row here. The parameters are compared with those of the installed frameworks in
tests/calls/test_signatures.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backstride.calls import (
    convolution_calls,
    jax_calls,
    openvino_calls,
    other_calls,
    own_calls,
    tensorflow_calls,
    torch_calls,
)
from backstride.calls.arguments import Arguments
from backstride.calls.kernels import Hints
from backstride.calls.record import SourceCall

# Every opset of OpenVINO that has the two operations has them with the same parameters.
OPSET = "opset13"
_ANY_OPSET = re.compile(r"\bopset[0-9]+(?=\.)")

Reader = Callable[[Arguments, Hints, int | None], SourceCall]


@dataclass(frozen=True, slots=True)
class Signature:
    """`name` is the full name, `aliases` the others.

    Every dotted ending of the full name is one too, unless taken.
    """

    name: str
    reader: Callable[..., SourceCall]
    parameters: str
    keyword_only: str = ""
    rank: int | None = None
    aliases: tuple[str, ...] = ()

    def read(self, arguments: Arguments, hints: Hints) -> SourceCall:
        """The record of a call of this function."""
        return self.reader(arguments, hints, self.rank)


def find(name: str) -> Signature | None:
    """The function of a name as written, or None.

    >>> find("ov.opset8.convolution_backprop_data").name
    'openvino.opset13.convolution_backprop_data'
    """
    return BY_NAME.get(_ANY_OPSET.sub("opset", name)) or BY_NAME.get(name)


def _signatures() -> Iterator[Signature]:
    yield from _transposed()
    yield from _convolutions()


def _transposed() -> Iterator[Signature]:
    for rank in (1, 2, 3):
        aliases = (f"F.conv_transpose{rank}d", f"torch.conv_transpose{rank}d")
        layer, function = (
            f"torch.nn.ConvTranspose{rank}d",
            f"torch.nn.functional.conv_transpose{rank}d",
        )
        yield Signature(layer, torch_calls.layer, torch_calls.LAYER, "device dtype", rank)
        lazy = f"torch.nn.LazyConvTranspose{rank}d"
        yield Signature(lazy, torch_calls.layer, torch_calls.LAZY, "device dtype", rank)
        yield Signature(function, torch_calls.function, torch_calls.FUNCTION, "", rank, aliases)
    for rank in (1, 2, 3):
        aliases = (
            f"tf.keras.layers.Conv{rank}DTranspose",
            f"tensorflow.keras.layers.Conv{rank}DTranspose",
        )
        order = tensorflow_calls.KERAS_3D if rank == 3 else tensorflow_calls.KERAS
        name = f"keras.layers.Conv{rank}DTranspose"
        yield Signature(
            name, tensorflow_calls.keras, order, tensorflow_calls.KERAS_ONLY, rank, aliases
        )
    name = "keras.ops.conv_transpose"
    yield Signature(
        name, tensorflow_calls.ops, tensorflow_calls.OPS, aliases=("tf.keras.ops.conv_transpose",)
    )
    for rank in (1, 2, 3):
        name = f"conv{rank}d_transpose"
        aliases = (f"tensorflow.nn.{name}",)
        yield Signature(
            f"tf.nn.{name}", tensorflow_calls.nn, tensorflow_calls.NN, "", rank, aliases
        )
        order = tensorflow_calls.NN if rank == 1 else tensorflow_calls.NN_V1
        yield Signature(f"tf.compat.v1.nn.{name}", tensorflow_calls.nn, order, "", rank)
    yield Signature(
        "tf.nn.conv_transpose",
        tensorflow_calls.nn,
        tensorflow_calls.NN,
        aliases=("tensorflow.nn.conv_transpose",),
    )
    for rank in (2, 3):
        aliases = (f"tf.compat.v1.layers.conv{rank}d_transpose",)
        name = f"tf.layers.conv{rank}d_transpose"
        yield Signature(name, tensorflow_calls.keras, tensorflow_calls.LAYERS, "", rank, aliases)
    yield Signature(
        "flax.linen.ConvTranspose", jax_calls.linen, jax_calls.LINEN, aliases=("nn.ConvTranspose",)
    )
    yield Signature("flax.nnx.ConvTranspose", jax_calls.nnx, jax_calls.NNX, jax_calls.NNX_ONLY)
    yield Signature(
        "haiku.ConvNDTranspose", jax_calls.haiku, jax_calls.HAIKU, aliases=("hk.ConvNDTranspose",)
    )
    for rank in (1, 2, 3):
        name = f"Conv{rank}DTranspose"
        yield Signature(
            f"haiku.{name}", jax_calls.haiku, jax_calls.HAIKU_RANKED, "", rank, (f"hk.{name}",)
        )
    yield Signature(
        "equinox.nn.ConvTranspose", jax_calls.equinox, jax_calls.EQUINOX, "key", aliases=_eqx("")
    )
    for rank in (1, 2, 3):
        name = f"equinox.nn.ConvTranspose{rank}d"
        yield Signature(
            name, jax_calls.equinox, jax_calls.EQUINOX_RANKED, "key", rank, _eqx(f"{rank}d")
        )
    name = "backstride.conv_transpose"
    yield Signature(
        name,
        own_calls.function,
        own_calls.ARRAYS,
        own_calls.OPTIONS,
        aliases=("bs.conv_transpose", "conv_transpose"),
    )
    sizes = " ".join(own_calls.RULE)
    yield Signature(
        "backstride.geometry", own_calls.geometry, "input kernel", sizes, aliases=("bs.geometry",)
    )
    yield Signature("jax.lax.conv_transpose", jax_calls.jax, jax_calls.JAX)
    readers = {
        "convolution_backprop_data": openvino_calls.plain,
        "group_convolution_backprop_data": openvino_calls.grouped,
    }
    for name, reader in readers.items():
        aliases = tuple(
            f"{module}.{name}" for module in ("openvino.opset", "ov.opset", "opset", "ops")
        )
        yield Signature(
            f"openvino.{OPSET}.{name}", reader, openvino_calls.PARAMETERS, aliases=aliases
        )

    for rank in (1, 2, 3):
        name = f"mlx.nn.ConvTranspose{rank}d"
        yield Signature(name, other_calls.mlx, other_calls.MLX, "", rank)
        name = f"mlx.core.conv_transpose{rank}d"
        aliases = (f"mx.conv_transpose{rank}d",)
        yield Signature(
            name, other_calls.mlx_function, other_calls.MLX_FUNCTION, "stream", rank, aliases
        )
    name = "coremltools.mb.conv_transpose"
    yield Signature(
        name, other_calls.coreml, "", other_calls.COREML, aliases=("mb.conv_transpose",)
    )
    name = "onnx.helper.make_node"
    aliases = ("helper.make_node", "oh.make_node")
    yield Signature(
        name, other_calls.make_node, other_calls.NODE, other_calls.ATTRIBUTES, aliases=aliases
    )


def _convolutions() -> Iterator[Signature]:
    here = convolution_calls
    for rank in (1, 2, 3):
        yield Signature(f"torch.nn.Conv{rank}d", here.torch, here.TORCH, "device dtype", rank)
        lazy = here.TORCH.removeprefix("in_channels ")
        yield Signature(f"torch.nn.LazyConv{rank}d", here.torch, lazy, "device dtype", rank)
        name, aliases = f"torch.nn.functional.conv{rank}d", (f"F.conv{rank}d", f"torch.conv{rank}d")
        yield Signature(name, here.torch_function, here.TORCH_FUNCTION, "", rank, aliases)
        name, aliases = (
            f"Conv{rank}D",
            (f"tf.keras.layers.Conv{rank}D", f"tensorflow.keras.layers.Conv{rank}D"),
        )
        only = tensorflow_calls.KERAS_ONLY
        yield Signature(f"keras.layers.{name}", here.keras, here.KERAS_LAYER, only, rank, aliases)
        yield Signature(f"tf.layers.conv{rank}d", here.keras, here.KERAS_LAYERS, "", rank)
        order = here.NN.replace("strides", "stride") if rank == 1 else here.NN
        yield Signature(
            f"tf.nn.conv{rank}d", here.nn, order, "", rank, (f"tensorflow.nn.conv{rank}d",)
        )
        order = here.EQUINOX_CONV.removeprefix("num_spatial_dims ")
        yield Signature(
            f"equinox.nn.Conv{rank}d", here.equinox, order, "key", rank, (f"eqx.nn.Conv{rank}d",)
        )
        order = here.HAIKU_CONV.removeprefix("num_spatial_dims ")
        yield Signature(f"haiku.Conv{rank}D", here.haiku, order, "", rank, (f"hk.Conv{rank}D",))
        order = here.TORCH.removesuffix(" padding_mode")  # whose 3-D layer takes no groups
        yield Signature(
            f"mlx.nn.Conv{rank}d",
            here.mlx,
            order.replace("groups ", "") if rank == 3 else order,
            "",
            rank,
        )
    yield Signature(
        "equinox.nn.Conv", here.equinox, here.EQUINOX_CONV, "key", aliases=("eqx.nn.Conv",)
    )
    yield Signature("haiku.ConvND", here.haiku, here.HAIKU_CONV, aliases=("hk.ConvND",))
    yield Signature("flax.linen.Conv", here.linen, here.LINEN, aliases=("nn.Conv",))
    yield Signature("flax.nnx.Conv", here.linen, here.NNX, here.NNX_ONLY)
    yield Signature("jax.lax.conv", here.lax, here.LAX)
    yield Signature("backstride.conv", here.own, here.OWN, here.OWN_ONLY, aliases=("bs.conv",))


def _eqx(rank: str) -> tuple[str, ...]:
    return (f"eqx.nn.ConvTranspose{rank}",)


def _names() -> dict[str, Signature]:
    """Full names and aliases first, then every shorter ending, to the first who has it."""
    found: dict[str, Signature] = {}
    for signature in SIGNATURES:
        for name in (signature.name, *signature.aliases):
            _ = found.setdefault(name, signature)
    for signature in SIGNATURES:
        parts = signature.name.split(".")
        for start in range(1, len(parts)):
            _ = found.setdefault(".".join(parts[start:]), signature)
    return found


SIGNATURES = tuple(_signatures())
BY_NAME = _names()
