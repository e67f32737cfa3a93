"""`receptive_field` of ONNX sounds, images and volumes, against what moves when one number of the
input is moved.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import backstride as bs
from backstride.surgery import Output, RefusedError

pytestmark = pytest.mark.frameworks
loose: Any = onnxruntime  # some of it is untyped
Layer = tuple[str, tuple[int, ...], dict[str, Any]]  # an operator, its kernel, its attributes

# each for one axis; other ranks have the first two axes alike and the last without a window
LAYERS: dict[str, tuple[Layer, ...]] = {
    "convolution": (
        ("Conv", (3,), {"strides": [2], "pads": [1, 1]}),
        ("Conv", (2,), {"dilations": [3]}),
    ),
    "pooling": (
        ("AveragePool", (), {"kernel_shape": [3], "strides": [2], "pads": [0, 1]}),
        ("MaxPool", (), {"kernel_shape": [2], "strides": [1]}),
    ),
    "transposed": (
        ("Conv", (3,), {"pads": [1, 1]}),
        ("ConvTranspose", (5,), {"strides": [3], "pads": [1, 1]}),
    ),
    "vocoder": (
        *(("Conv", (7,), {}), ("ConvTranspose", (8,), {"strides": [4], "pads": [2, 2]})),
        *(
            ("LeakyRelu", (), {}),
            ("Conv", (3,), {"dilations": [3], "pads": [3, 3]}),
            ("Conv", (3,), {}),
        ),
    ),
    "padded": (("Pad", (), {"mode": "reflect"}), ("Conv", (3,), {"strides": [2]})),
    "cropped": (("Slice", (), {}), ("Conv", (2,), {"auto_pad": "SAME_UPPER", "strides": [2]})),
    "linear": (("Conv", (2,), {"strides": [2]}), ("Resize", (), {"mode": "linear"})),
    "aligned": (
        ("Conv", (2,), {"strides": [2]}),
        ("Resize", (), {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ),
}
SPREAD = ("kernel_shape", "strides", "dilations")


def widened(values: Any, rank: int) -> list[int]:
    """An entry for each axis."""
    return [*list(values) * min(rank, 2), *([1] if rank == 3 else [])]


def model(layers: tuple[Layer, ...], side: int, rank: int) -> onnx.ModelProto:
    """One channel, positive weights: whatever is read moves the result."""
    stored: dict[str, NDArray[Any]] = {"none": np.zeros(0, np.float32)}
    nodes: list[onnx.NodeProto] = []
    for at, (operator, kernel, given) in enumerate(layers):
        options: dict[str, Any] = {
            name: widened(value, rank) if name in SPREAD else value for name, value in given.items()
        }
        inputs = [f"t{at}"]
        if "pads" in given:
            pairs = [given["pads"]] * min(rank, 2) + [[0, 0]] * (rank == 3)
            options["pads"] = [first for first, _ in pairs] + [last for _, last in pairs]
        if kernel:
            stored[f"k{at}"] = np.ones((1, 1, *widened(kernel, rank)), np.float32)
            inputs.append(f"k{at}")
        ends = [0, 0, *widened([1], rank)]
        if operator == "Pad":
            stored[f"k{at}"] = np.array([*ends, *ends])
            inputs.append(f"k{at}")
        if operator == "Slice":
            entries = {"starts": [1], "ends": [-2], "axes": [2], "steps": [2]}
            stored |= {name: np.array(entry) for name, entry in entries.items()}
            inputs += list(entries)
        if operator == "Resize":
            stored["scales"] = np.array([1, 1, *widened([2], rank)], np.float32)
            inputs += ["none", "scales"]
        nodes.append(helper.make_node(operator, inputs, [f"t{at + 1}"], name=f"n{at}", **options))
    image = helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["n", 1, *sizes(side, rank)])
    result = helper.make_empty_tensor_value_info(f"t{len(layers)}")
    numbers = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "sliding", [image], [result], numbers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def sizes(side: int, rank: int) -> tuple[int, ...]:
    return (side, side + 1, 2)[:rank]


def moved(made: onnx.ModelProto, side: int, rank: int) -> NDArray[np.bool_]:
    """Which cells of the first axis move with which places of the input's: (cells, places)."""
    run = loose.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    base = np.zeros((1, 1, *sizes(side, rank)), np.float32)
    images = [base]
    for place in range(side):
        images.append(base.copy())
        images[-1][0, 0, place] = 1
    results = [run.run(None, {"t0": image})[0][0, 0] for image in images]
    return np.array(
        [np.abs(result - results[0]).reshape(len(result), -1).max(1) > 0 for result in results[1:]]
    ).T


def interval(output: Output, cell: int) -> tuple[Fraction, Fraction]:
    start = output.offset[0] + cell * output.stride[0] - (output.receptive_field[0] - 1) / 2
    return start, start + output.receptive_field[0]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_what_moves_a_cell_is_its_field(name: str, rank: int) -> None:
    side = 23
    made = model(LAYERS[name], side, rank)
    (output,) = bs.receptive_field(made, (1, *sizes(side, rank)))
    seen = moved(made, side, rank)
    assert output.size[0] == len(seen)
    assert len(output.size) == len(output.stride) == rank
    gaps: list[tuple[Fraction, Fraction]] = []
    for cell, places in enumerate(seen):
        start, end = interval(output, cell)
        first, last = int(np.flatnonzero(places)[0]), int(np.flatnonzero(places)[-1])
        assert start <= first <= last < end
        if start >= 0 and end <= side:
            gaps.append((first - start, end - last - 1))
    least = min(first for first, _ in gaps), min(last for _, last in gaps)
    assert output.bound == (name in ("transposed", "vocoder", "linear", "aligned"))
    if not output.bound:
        assert set(gaps) == {(0, 0)}  # no smaller field holds
    else:
        assert max(least) < 1


def test_a_vector_of_a_volume_is_one_cell() -> None:
    made = model(
        (("Conv", (3,), {"strides": [2]}), ("GlobalAveragePool", (), {}), ("Flatten", (), {})), 9, 3
    )
    (output,) = bs.receptive_field(made, (1, 9, 10, 2))
    assert output.size == (1, 1, 1)
    assert output.receptive_field == (9, 9, 2)


def test_channels_last_sounds() -> None:
    """As TensorFlow's exporters turn them."""
    kernel = numpy_helper.from_array(np.ones((4, 3, 5), np.float32), "k")
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["t", "k"], ["c"], strides=[2]),
        helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 1]),
    ]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16, 3])
    graph = helper.make_graph(
        nodes, "sound", [image], [helper.make_empty_tensor_value_info("y")], [kernel]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (output,) = bs.receptive_field(made, (3, 16))
    assert (output.receptive_field, output.stride, output.offset) == ((5,), (2,), (2,))


def test_another_number_of_axes_than_the_model_has_is_refused() -> None:
    made = model(LAYERS["convolution"], 23, 1)
    with pytest.raises(RefusedError, match=r"t0: is no batch of images: it has not four axes"):
        _ = bs.receptive_field(made, (1, 23, 23))
    with pytest.raises(
        ValueError, match=r"must be three positive integers \(channels, rows, columns\)"
    ):
        _ = bs.convolutionalize(made, (1, 23))
