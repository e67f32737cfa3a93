"""Whatever a framework refuses, the reader of its call refuses, and what it takes is taken, to the
same size.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backstride.calls import parse

# By the name of the layer or function: arguments, and the size that goes in, channels included.
TORCH = (
    "4, 6, 3, groups=2|4, 6, 3, groups=4|6, 4, 3, groups=4|4, 6, 0|4, 6, 3, 0|4, 6, 3, 2, -1|4, 6, "
    "3, 2, 0, 2|4, 6, 3, 2, 0, 1, dilation=0|4, 6, 3, 2, 0, -1|4, 6, (3, 3, 3)|4, 6, (3,)|4, 6, 3, "
    "(2,)|4, 6, 3, (2, 2, 2)|4, 6, 3, padding='same'|4, 6, 3, padding=(1,)|4, 6, 3, "
    "padding_mode='reflect'|4, 6, 3, groups=0|4, 6, 3.0|4, 6, 3, 2.0|4, 6, 3, bias=0|4, 6, 3, "
    "bias=None|4, 6, 3, 2, 4|4, 6, 3, 2, 3|0, 6, 3|4, 0, 3|5, 6, 3|4, 6, 3, dilation=(2, 1), "
    "output_padding=1|4, 6, 3, 2, output_padding=(1, 2)|4, 6, 3, dilation=3, output_padding=2"
)
FUNCTION = (
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3, 3), torch.ones(2)|"
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3, 3), torch.ones(3)|"
    "torch.ones(4, 5, 5), torch.ones(4, 3, 3, 3), torch.ones(3)|"
    "torch.ones(1, 5, 5, 5), torch.ones(4, 3, 3, 3)|"
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3, 3), torch.ones(6), groups=2|"
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3, 3), torch.ones(3), groups=2|"
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3, 3), groups=3|"
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3)|"
    "torch.ones(5, 5), torch.ones(4, 3, 3, 3)|"
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3, 3), torch.ones(3, 1)|"
    "torch.ones(1, 4, 5, 5), torch.ones(4, 3, 3, 3), None, 2, 1, 2"
)
KERAS = (
    "6, 3|6, 3, 2, dilation_rate=2|6, 3, (2, 1), dilation_rate=(1, 2)|6, 3, padding='causal'|6, 3, "
    "padding='SAME'|6, 3, 2, output_padding=2|6, 3, 2, output_padding=1|6, 3, 2, 'same', 0|6, 4, "
    "2, 'same', 1|0, 3|6, 0|6, 3, 0|6, (3, 3, 3)|6, 3, groups=2|6, 3, data_format='NHWC'|6, 3, "
    "activation='nope'|6, 3, activation='hard_sigmoid'|6, 3, use_bias=1|6, 3, dilation_rate=0|6, "
    "3, strides=(2,)|6, 3, 2, output_padding=(1, 2)|6, 3, padding=1|6, 3, padding=None|6, 3, "
    "dilation_rate=2|6, 3, 2, 'same', -1|6, 2, 3, 'same', output_padding=2"
)
TF_X, TF_W = "tf.ones([1, 7, 7, 4])", "tf.ones([3, 3, 8, 4])"
TENSORFLOW = (
    f"{TF_X}, {TF_W}, [1, 14, 14, 8], 2|{TF_X}, {TF_W}, [2, 14, 14, 8], 2|{TF_X}, {TF_W}, [1, 14, "
    f"14, 6], 2|{TF_X}, tf.ones([3, 3, 8, 5]), [1, 14, 14, 8], 2|{TF_X}, {TF_W}, [1, 14, 14, 8], "
    f"2, 'same'|{TF_X}, {TF_W}, [1, 14, 14, 8], [2, 2, 2, 1]|{TF_X}, {TF_W}, [1, 15, 14, 8], "
    f"2|{TF_X}, {TF_W}, [14, 14], 2|{TF_X}, {TF_W}, [1, 14, 14, 8], 2, "
    f"data_format='NHCW'|tf.ones([7, 7, 4]), {TF_W}, [1, 14, 14, 8], 2|{TF_X}, {TF_W}, [1, 14, 14, "
    f"8], 2, padding=[[0, 0], [0, 1], [0, 1], [0, 0]]|{TF_X}, {TF_W}, [1, 14, 14, 8], 2, "
    f"padding=[[0, 0], [-1, 1], [0, 1], [0, 0]]|{TF_X}, {TF_W}, [1, 14, 14, 8], (2,)|{TF_X}, "
    f"{TF_W}, [1, 14, 14, 8], (2, 2)|{TF_X}, {TF_W}, [1, 14, 14, 8], (2, 2, 2)"
)
JAX_X, JAX_W = "jnp.ones((1, 7, 7, 4))", "jnp.ones((3, 3, 4, 8))"
JAX = (
    f"{JAX_X}, {JAX_W}, (2, 2), 'SAME'|jnp.ones((1, 7, 7, 5)), {JAX_W}, (2, 2), 'SAME'|{JAX_X}, "
    f"{JAX_W}, 2, 'SAME'|{JAX_X}, {JAX_W}, (2,), 'SAME'|{JAX_X}, {JAX_W}, (2, 2), 'same'|{JAX_X}, "
    f"{JAX_W}, (1, 1), 'same'|{JAX_X}, {JAX_W}, (2, 2), 1|{JAX_X}, {JAX_W}, (2, 2), [(1, 1)]|"
    f"{JAX_X}, {JAX_W}, (2, 2), 'SAME', rhs_dilation=2|{JAX_X}, {JAX_W}, (2, 2), 'SAME', "
    f"transpose_kernel=True|{JAX_X}, jnp.ones((3, 3, 8, 4)), (2, 2), 'SAME', transpose_kernel=True|"
    f"jnp.ones((7, 7, 4)), {JAX_W}, (2, 2), 'SAME'"
)
FLAX = (
    "4, 6, (3, 3)|4, 6, (3, 3), 2|4, 6, (3, 3), (2,)|5, 6, (3, 3)|4, 0, (3, 3)|4, 6, (3, 3), (2, "
    "2), padding='same'|4, 6, (3, 3), (2, 2), padding=(1, 2)|4, 6, (3, 3), (2, 2), padding=((1, "
    "2),)|4, 6, (3, 3), (0, 2)"
)
EQUINOX = (
    "4, 6, 3|4, 6, 3, groups=2|4, 6, 3, groups=4|4, 6, 3, 2, 2|4, 6, 3, 2, 1, 1|4, 6, 3, 2, -1|4, "
    "6, 3, 2, 0, 'SAME'|4, 6, 3, 2, 1, 'SAME'|4, 6, 3, 2, 0, 'same'|4, 6, 3, 2, 0, 'CAUSAL'|4, 6, "
    "3, (2,)|4, 6, (3, 3, 3)|4, 6, 3, 2, 0, ((1, 1),)|4, 6, 3, 2, 0, ((1, 1), (0, 1))|4, 6, 3, 2, "
    "padding_mode='REFLECT'|4, 6, 3, 2, padding_mode='CIRCULAR'|4, 6, 2, 2, 0, 'SAME', "
    "padding_mode='CIRCULAR'|4, 6, 3, 0|5, 6, 3"
)
MLX = (
    "4, 6, 3|4, 6, 3, 2, 1, 1, 2|4, 6, 3, 2, 1, 1, 5|4, 6, 3, 2, -1|4, 6, (3, 3, 3)|4, 6, 3, 0|4, "
    "6, 0|5, 6, 3|4, 6, 3, 2, 0, 2, 1|4, 6, 3, (2,)|4, 6, 3, 2, 1, 1, -1"
)
SCRIPT = """
import json, sys
import jax, jax.numpy as jnp, keras, numpy as np, tensorflow as tf, equinox as eqx, mlx.core as mx, mlx.nn
from flax import nnx
key, rngs = jax.random.PRNGKey(0), nnx.Rngs(0)
found = []
for text, size in json.load(sys.stdin):
    try:
        made = eval(text)
        if text.startswith("eqx."):
            made = made(jnp.ones((4, *size)))[None]
            made = jnp.moveaxis(made, 1, -1)
        elif text.startswith("mlx."):
            made = made(mx.ones((1, *size, 4)))
        elif size:
            made = made(np.ones((1, *size, 4), np.float32))
        found.append(list(made.shape[1:-1]))
    except Exception as error:
        found.append(None)
print("RESULT" + json.dumps(found))
"""  # noqa: E501


def ours(text: str, size: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The size that the reader gives, or None where it refuses."""
    try:
        call = parse(text)
        return (call if size is None else call.at(size)).geometry().output
    except (ValueError, TypeError) as refusal:
        return None if str(refusal).startswith("`") else ()  # whole sentences about an argument


@pytest.mark.parametrize("arguments", TORCH.split("|"))
def test_pytorch_s_layers(arguments: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    text = f"torch.nn.ConvTranspose2d({arguments})"
    try:
        expected = tuple(eval(text, {"torch": torch})(torch.ones(1, 4, 5, 5)).shape[2:])  # noqa: S307  the list above
    except (ValueError, TypeError, RuntimeError, UserWarning):
        expected = None
    assert ours(text, (4, 5, 5)) == expected


@pytest.mark.parametrize("arguments", FUNCTION.split("|"))
def test_pytorch_s_functions(arguments: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    text = f"torch.nn.functional.conv_transpose2d({arguments})"
    try:
        expected = tuple(eval(text, {"torch": torch}).shape[-2:])  # noqa: S307  the list above
    except (ValueError, TypeError, RuntimeError, UserWarning):
        expected = None
    assert ours(text, None) == expected


@pytest.mark.frameworks
def test_the_other_frameworks() -> None:
    for module in ("tensorflow", "keras", "jax", "flax", "equinox", "mlx"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    jobs: list[tuple[str, tuple[int, ...]]] = [
        *((f"keras.layers.Conv2DTranspose({words})", (5, 5)) for words in KERAS.split("|")),
        ("keras.layers.Conv1DTranspose(6, (3, 3), 2)", (5,)),
        ("keras.layers.Conv1DTranspose(6, [3], [2])", (5,)),
        *((f"tf.nn.conv2d_transpose({words})", ()) for words in TENSORFLOW.split("|")),
        *((f"jax.lax.conv_transpose({words})", ()) for words in JAX.split("|")),
        *((f"nnx.ConvTranspose({words}, rngs=rngs)", (5, 5)) for words in FLAX.split("|")),
        *((f"eqx.nn.ConvTranspose2d({words}, key=key)", (5, 5)) for words in EQUINOX.split("|")),
        *((f"mlx.nn.ConvTranspose2d({words})", (5, 5)) for words in MLX.split("|")),
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=True,
    )
    expected: list[list[int] | None] = json.loads(done.stdout.partition("RESULT")[2])
    assert {None} < {None if size is None else 0 for size in expected}
    for (text, size), theirs in zip(jobs, expected, strict=True):
        first = text.startswith("eqx")
        whole = None if not size else (4, *size) if first else (*size, 4)
        assert ours(text, whole) == (None if theirs is None else tuple(theirs)), text


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("attributes", "kernel", "bias", "legal"),
    [
        ({}, (4, 3, 3, 3), (3,), True),
        ({}, (4, 3, 3, 3), (1,), False),
        ({}, (4, 3, 3, 3), (3, 1), False),
        ({"group": 2}, (4, 3, 3, 3), (6,), True),
        ({"group": 2}, (4, 3, 3, 3), (3,), False),
        ({"group": 3}, (4, 3, 3, 3), (9,), False),
        ({}, (5, 3, 3, 3), (3,), False),
        ({}, (4, 3, 3), (3,), False),
        ({"kernel_shape": [2, 2]}, (4, 3, 3, 3), (3,), False),
        ({"kernel_shape": [3, 3]}, (4, 3, 3, 3), (3,), True),
        ({"output_padding": [1, 1]}, (4, 3, 3, 3), (3,), False),
        ({"pads": [-1, 0, 0, 0]}, (4, 3, 3, 3), (3,), False),
        ({"strides": [2]}, (4, 3, 3, 3), (3,), False),
    ],
)
def test_nodes_of_onnx(
    attributes: dict[str, Any],
    kernel: tuple[int, ...],
    bias: tuple[int, ...],
    legal: bool,
    tmp_path: Path,
) -> None:
    onnx: Any = pytest.importorskip("onnx", reason="onnx is not installed")
    runtime: Any = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    numpy: Any = pytest.importorskip("numpy")
    kind, helper = onnx.TensorProto.FLOAT, onnx.helper
    tensors = [
        onnx.numpy_helper.from_array(numpy.ones(size, "f"), name)
        for name, size in (("w", kernel), ("b", bias))
    ]
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", kind, [1, 4, 5, 5])],
        [helper.make_tensor_value_info("y", kind, [None] * 4)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    path = tmp_path / "m.onnx"
    onnx.save(model, str(path))
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if legal:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        (result,) = session.run(None, {"x": numpy.ones((1, 4, 5, 5), "f")})
        assert parse(str(path)).geometry().output == result.shape[2:]
    else:
        with pytest.raises(Exception, match=r"\S"):  # noqa: PT012  the checker or the session
            onnx.checker.check_model(model, full_check=True)
            session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            _ = session.run(None, {"x": numpy.ones((1, 4, 5, 5), "f")})
        with pytest.raises(ValueError, match=r"^`"):
            _ = parse(str(path)).geometry()
