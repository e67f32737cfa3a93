"""ONNX models as exporters write them: open batches, channels last, bytes, whole-number weights,
nearest cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from backstride.surgery import convolutionalize, prove, transpose
from backstride.surgery.onnx.runner import OnnxSession

loose: Any = onnx  # some of it is untyped
pytestmark = pytest.mark.frameworks
DRAWN = np.random.default_rng(0)
IMAGE = (3, 12, 12)
Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]
NONE: dict[str, Any] = {}


def drawn(*shape: int) -> Any:
    return (DRAWN.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


CONV, KERNEL = ("Conv", "x k", "c", NONE), {"k": drawn(6, 3, 3, 3)}
TURNED = ("Transpose", "x", "t", {"perm": [0, 3, 1, 2]})
POOLED: Nodes = (
    ("GlobalAveragePool", "c", "g", NONE),
    ("Flatten", "g", "f", NONE),
    ("Gemm", "f w", "y", NONE),
)
WEIGHT = {"w": drawn(6, 4)}
REPEATED: Nodes = (
    ("Conv", "r k2", "d", NONE),
    ("Flatten", "d", "f", NONE),
    ("Gemm", "f w", "y", NONE),
)
TWICE = {
    "scales": np.array([1, 1, 2, 2], np.float32),
    "k2": drawn(5, 6, 3, 3),
    "w": drawn(5 * 18 * 18, 4),
}


def model(
    nodes: Any,
    stored: dict[str, Any],
    image: tuple[Any, ...] = ("n", *IMAGE),
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    made = [
        helper.make_node(operator, inputs.split(" "), [result], name=f"n{place}", **options)
        for place, (operator, inputs, result, options) in enumerate(nodes)
    ]
    ends = (
        [helper.make_tensor_value_info("x", kind, image)],
        [helper.make_empty_tensor_value_info("y")],
    )
    numbers = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    graph = helper.make_graph(made, "forms", *ends, numbers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def last_model(
    *nodes: tuple[str, str, str, dict[str, Any]], stored: dict[str, Any]
) -> onnx.ModelProto:
    return model(
        (TURNED, ("Conv", "t k", "c", NONE), *nodes), {**KERNEL, **stored}, ("n", 12, 12, 3)
    )


def open_batch() -> onnx.ModelProto:
    return model((CONV, *POOLED), {**KERNEL, **WEIGHT}, (-1, 3, -1, -1))


def channels_last() -> onnx.ModelProto:
    nodes = (("Conv", "c w", "d", NONE), ("Transpose", "d", "y", {"perm": [0, 2, 3, 1]}))
    return last_model(*nodes, stored={"w": drawn(4, 6, 10, 10)})


def channels_last_softmax() -> onnx.ModelProto:
    nodes = (
        ("Conv", "c w", "d", NONE),
        ("Transpose", "d", "e", {"perm": [0, 2, 3, 1]}),
        ("Softmax", "e", "y", NONE),
    )
    return last_model(*nodes, stored={"w": drawn(4, 6, 10, 10)})


def squeezed() -> onnx.ModelProto:
    nodes = (
        CONV,
        ("GlobalAveragePool", "c", "g", NONE),
        ("Squeeze", "g axes", "f", NONE),
        ("Gemm", "f w", "y", NONE),
    )
    return model(nodes, {**KERNEL, **WEIGHT, "axes": np.array([2, 3])})


def one_class() -> onnx.ModelProto:
    nodes = (CONV, ("Conv", "c w", "d", NONE), ("Squeeze", "d axes", "y", NONE))
    return model(nodes, {**KERNEL, "w": drawn(1, 6, 10, 10), "axes": np.array([1, 2, 3])})


def picked() -> onnx.ModelProto:
    nodes = (
        CONV,
        ("Conv", "c w", "d", NONE),
        ("Gather", "d z", "e", {"axis": 3}),
        ("Gather", "e z", "y", {"axis": 2}),
    )
    return model(nodes, {**KERNEL, "w": drawn(4, 6, 10, 10), "z": np.array(0)})


def tensorflow_head() -> onnx.ModelProto:
    nodes = (
        *(
            CONV,
            ("ReduceMean", "c", "g", {"axes": [2, 3], "keepdims": 0}),
            ("Reshape", "g wide", "h", NONE),
        ),
        *(
            ("Transpose", "h", "i", {"perm": [0, 3, 1, 2]}),
            ("Conv", "i w", "j", NONE),
            ("Reshape", "j flat", "y", NONE),
        ),
    )
    sizes = {"wide": np.array([-1, 1, 1, 6]), "flat": np.array([-1, 4])}
    return model(nodes, {**KERNEL, "w": drawn(4, 6, 1, 1), **sizes})


def shuffled() -> onnx.ModelProto:
    """Split channels that a dense layer reads directly."""
    nodes = (
        *(
            CONV,
            ("Reshape", "c apart", "a", NONE),
            ("Transpose", "a", "b", {"perm": [0, 2, 1, 3, 4]}),
        ),
        *(("Flatten", "b", "f", NONE), ("Gemm", "f w", "y", NONE)),
    )
    return model(nodes, {**KERNEL, "apart": np.array([0, 2, 3, 10, 10]), "w": drawn(600, 4)})


def bytes_cast() -> onnx.ModelProto:
    nodes = (
        TURNED,
        ("Cast", "t", "u", {"to": TensorProto.FLOAT}),
        ("Conv", "u k", "c", NONE),
        *POOLED,
    )
    return model(nodes, {**KERNEL, **WEIGHT}, ("n", 12, 12, 3), TensorProto.UINT8)


def bytes_scaled() -> onnx.ModelProto:
    nodes = (("DequantizeLinear", "x s z", "u", NONE), ("Conv", "u k", "c", NONE), *POOLED)
    numbers = {"s": np.array(0.02, np.float32), "z": np.array(128, np.uint8)}
    return model(nodes, {**KERNEL, **WEIGHT, **numbers}, kind=TensorProto.UINT8)


def quantised() -> onnx.ModelProto:
    """Weights of a byte, and places that round to bytes; the range of the second is the only
    rectifier there.
    """
    rounding = [
        (
            ("QuantizeLinear", f"{name} s{name} z{name}", f"{name}q", NONE),
            ("DequantizeLinear", f"{name}q s{name} z{name}", to, NONE),
        )
        for name, to in (("x", "xr"), ("c", "cr"))
    ]
    nodes = (
        *(
            ("DequantizeLinear", "kq sk zk", "k", {"axis": 0}),
            *rounding[0],
            ("Conv", "xr k", "c", NONE),
            *rounding[1],
        ),
        *(
            ("Flatten", "cr", "f", NONE),
            ("DequantizeLinear", "wq sw", "w", NONE),
            ("Gemm", "f w", "y", NONE),
        ),
    )
    scales = {"sk": DRAWN.uniform(0.01, 0.02, 6), "sx": 1 / 255, "sc": 0.01, "sw": 0.002}
    stored: dict[str, Any] = {name: np.array(scale, np.float32) for name, scale in scales.items()}
    stored |= {
        "zk": np.zeros(6, np.int8),
        "zx": np.array(-128, np.int8),
        "zc": np.array(0, np.uint8),
    }
    stored |= {
        "kq": DRAWN.integers(-99, 99, (6, 3, 3, 3), np.int8),
        "wq": DRAWN.integers(-99, 99, (600, 4), np.int8),
    }
    return model(nodes, stored)


def nearest() -> onnx.ModelProto:
    return model(
        (CONV, ("Resize", "c  scales", "r", {"mode": "nearest"}), *REPEATED), {**KERNEL, **TWICE}
    )


HOLD = {
    make.__name__: make
    for make in (
        *(
            open_batch,
            channels_last,
            channels_last_softmax,
            squeezed,
            one_class,
            picked,
            tensorflow_head,
            shuffled,
        ),
        *(bytes_cast, bytes_scaled, quantised),
    )
}


def image(more: int = 8) -> Any:
    return DRAWN.random((3, 12 + more, 13 + more)).astype(np.float32)


@pytest.mark.parametrize("name", HOLD)
def test_every_cell_is_the_classifier_on_its_crop(name: str) -> None:
    classifier = HOLD[name]()
    before = classifier.SerializeToString()
    network, report = convolutionalize(classifier, IMAGE)
    loose.checker.check_model(network, full_check=True)
    proof = prove(classifier, network, report, image())
    assert proof.holds
    assert proof.expected.all()
    assert proof.deviation.shape == (9, 10)
    assert classifier.SerializeToString() == before


@pytest.mark.parametrize(
    "name", ["open_batch", "channels_last", "channels_last_softmax", "quantised"]
)
def test_every_pixel_has_scores(name: str) -> None:
    network, _ = transpose(HOLD[name](), IMAGE, decoder="unet")
    loose.checker.check_model(network, full_check=True)
    assert OnnxSession(network, network.graph.output[0].name)(image()[None]).shape == (1, 4, 20, 21)


def test_nearest_cells_are_repeated_at_every_size() -> None:
    classifier = nearest()
    network, report = convolutionalize(classifier, IMAGE)
    assert [str(stride) for stride in report.outputs[0].stride] == ["1/2", "1/2"]
    proof = prove(classifier, network, report, image())
    assert proof.holds
    assert proof.deviation.shape == (17, 19)


def test_what_quantisation_becomes_is_said() -> None:
    _, report = convolutionalize(quantised(), IMAGE)
    assert [str(note) for note in report.refusals] == [
        (
            "forms: rounds to whole numbers at 2 places; the network, and the classifier that it "
            "is compared with, keep their ranges and round nothing, and have the dequantised "
            "weights"
        )
    ]
    _, report = convolutionalize(bytes_cast(), IMAGE)
    assert [str(note) for note in report.refusals] == [
        "forms: x holds bytes in the file, and the same numbers as float32 here"
    ]


def test_quantised_scores_are_near_those_of_the_file() -> None:
    """Rounding moves a number by half a step at most: 1/510 in the image, 0.005 in the map."""
    classifier = quantised()
    network, _ = convolutionalize(classifier, IMAGE)
    crop = image(0)[:, :, :12]
    stored = {
        entry.name: numpy_helper.to_array(entry).astype(np.float64)
        for entry in classifier.graph.initializer
    }
    kernel, weight = (
        np.abs(stored["kq"]).sum((1, 2, 3)) * stored["sk"],
        np.abs(stored["wq"]) * stored["sw"],
    )
    bound = (np.repeat(kernel / 510 + 0.005, 100)[:, None] * weight).sum(0)
    found, wanted = (
        OnnxSession(entry, "y")(crop[None]).reshape(4) for entry in (network, classifier)
    )
    assert np.all(np.abs(found - wanted) <= bound)
    assert np.abs(found - wanted).max() > 0


CLAIMS: dict[str, tuple[Nodes, dict[str, Any], str]] = {
    "expand": (
        (("Expand", "one to", "w", NONE),),
        {"one": np.ones((1, 1), np.float32), "to": [2**17, 2**17]},
        "n0 (Expand)",
    ),
    "range": (
        (
            ("Range", "a b one", "r", NONE),
            ("Cast", "r", "s", {"to": 1}),
            ("Reshape", "s to", "w", NONE),
        ),
        {"a": 0, "b": 2**33, "one": 1, "to": [6, -1]},
        "n0 (Range)",
    ),
    "tile": (
        (("Tile", "one to", "w", NONE),),
        {"one": np.ones((1, 1), np.float32), "to": [6, 2**33]},
        "n0 (Tile)",
    ),
    "constant": (
        (("ConstantOfShape", "to", "w", NONE),),
        {"to": [6, 2**33]},
        "n0 (ConstantOfShape)",
    ),
    "resize": (
        (("Resize", "one  by", "r", NONE), ("Reshape", "r to", "w", NONE)),
        {
            "one": np.ones((1, 1, 6, 1), np.float32),
            "by": np.array([1, 1, 1, 9000], np.float32),
            "to": [6, -1],
        },
        "n0 (Resize)",
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_constants_larger_than_the_file_are_not_computed(name: str) -> None:
    nodes, stored, blamed = CLAIMS[name]
    claimed = model((*nodes, CONV, *POOLED), {**KERNEL, **stored})
    with pytest.raises(
        ValueError, match=r"numbers from constants, more than a file of this size may$"
    ) as caught:
        _ = convolutionalize(claimed, IMAGE)
    assert f"{blamed}: computes " in str(caught.value)


def test_strides_and_windows_that_no_image_has() -> None:
    wide = model(
        (("Conv", "x k", "c", {"strides": [2**40, 2**40], "pads": [1] * 4}), *POOLED),
        {**KERNEL, **WEIGHT},
    )
    with pytest.raises(
        ValueError, match=r"n0 \(Conv\): has a window of 1099511627776 cells; 65536 is the most$"
    ):
        _ = convolutionalize(wide, IMAGE)
    pools = [
        ("MaxPool", f"p{at}" if at else "x", f"p{at + 1}" if at < 7 else "c") for at in range(8)
    ]
    options = {"kernel_shape": [3, 3], "strides": [4, 4], "pads": [1] * 4}
    deep = model((*((*pool, options) for pool in pools), *POOLED), {"w": drawn(3, 4)})
    with pytest.raises(
        ValueError, match=r"n10 \(Gemm\): has cells 65536 pixels apart; 4096 is the most$"
    ):
        _ = convolutionalize(deep, IMAGE)


def test_more_classes_than_a_label_image_holds() -> None:
    message = r"`classes` \(=99999999999\) must be None or from 1 to 65536; the nearest legal value is 65536"  # noqa: E501
    with pytest.raises(ValueError, match=message):
        _ = transpose(open_batch(), IMAGE, classes=99999999999)
