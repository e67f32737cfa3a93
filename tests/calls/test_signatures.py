"""The parameters that are read are those of the installed frameworks, in their order."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

from backstride.calls.signatures import BY_NAME, SIGNATURES

# In a process of its own: the frameworks' imports warn, and some do not share a process.
SCRIPT = """
import importlib, inspect, json, sys
found = {}
for name in json.load(sys.stdin):
    module, _, rest = name.partition(".")
    thing = importlib.import_module({"tf": "tensorflow", "flax": "flax"}.get(module, module))
    for part in (
        "flax.nnx", "flax.linen", "keras.layers", "keras.ops", "equinox.nn", "openvino.opset13", "mlx.nn", "onnx.helper"
    ):
        if name.startswith(part + "."):
            thing, rest = importlib.import_module(part), name[len(part) + 1:]
    for part in rest.split("."):
        thing = getattr(thing, part)
    target = thing.__init__ if inspect.isclass(thing) else thing
    kinds = inspect.Parameter
    parameters = [p for p in inspect.signature(target).parameters.values() if p.name != "self"]
    found[name] = [
        [p.name for p in parameters if p.kind == kinds.POSITIONAL_OR_KEYWORD],
        [p.name for p in parameters if p.kind == kinds.KEYWORD_ONLY],
    ]
print("RESULT" + json.dumps(found))
"""  # noqa: E501
# No signature of Python: built in, or gone from the installed version.
WITHOUT = (
    "torch.nn.functional.",
    "tf.layers.",
    "backstride.",
    "haiku.",
    "mlx.core.",
    "coremltools.",
)


@pytest.mark.frameworks
def test_the_order_of_every_parameter() -> None:
    for module in (
        "tensorflow",
        "keras",
        "jax",
        "flax",
        "equinox",
        "openvino",
        "torch",
        "mlx",
        "onnx",
    ):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    names = [signature.name for signature in SIGNATURES if not signature.name.startswith(WITHOUT)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.partition("RESULT")[2])
    assert set(found) == set(names)
    for name, (positional, keyword_only) in found.items():
        read = BY_NAME[name]
        # A class may take more at its end than is of interest here, but what is read stands in that
        # order.
        assert positional[: len(read.parameters.split())] == read.parameters.split(), name
        if not name.startswith("keras"):
            assert set(keyword_only) <= set(read.keyword_only.split()), name


def test_our_own_parameters() -> None:
    import backstride  # noqa: PLC0415

    parameters = inspect.signature(backstride.conv_transpose).parameters
    own = BY_NAME["backstride.conv_transpose"]
    assert [*own.parameters.split(), *own.keyword_only.split()] == list(parameters)
    sizes = BY_NAME["backstride.geometry"]
    assert {*sizes.parameters.split(), *sizes.keyword_only.split()} == set(
        inspect.signature(backstride.geometry).parameters
    )
