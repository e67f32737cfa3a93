"""One law in the many spellings of ONNX: each equals the classifier at native size and cell by
cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx

from backstride.surgery import RefusedError, convolutionalize, prove
from surgery.onnx_models import Case

loose: Any = onnx  # some of it is untyped
pytestmark = pytest.mark.frameworks
Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]
HEAD: Nodes = (("Gemm", "v w d", "y", {}),)
FLAT: Nodes = (("Flatten", "v", "u", {}), ("Gemm", "u whole d", "y", {}))
TURN, BACK = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
SPELLINGS: dict[str, Nodes] = {  # of what becomes of `c`, a map of 6 channels, 7 x 8
    "mean, then mean": (
        ("ReduceMean", "c", "a", {"axes": [3], "keepdims": 0}),
        ("ReduceMean", "a", "v", {"axes": [2], "keepdims": 0}),
        *HEAD,
    ),
    "mean of a view": (
        ("Reshape", "c rows", "a", {}),
        ("ReduceMean", "a", "v", {"axes": [2], "keepdims": 0}),
        *HEAD,
    ),
    "mean of tokens": (
        *(
            ("Reshape", "c rows", "a", {}),
            ("Transpose", "a", "b", {"perm": [0, 2, 1]}),
            ("MatMul", "b m", "e", {}),
        ),
        *(
            ("Add", "e d6", "g", {}),
            ("Relu", "g", "h", {}),
            ("ReduceMean", "h", "v", {"axes": [1], "keepdims": 0}),
        ),
        *HEAD,
    ),
    "maximum": (("ReduceMax", "c", "v", {"axes": [2, 3], "keepdims": 0}), *HEAD),
    "minimum": (("ReduceMin", "c", "a", {"axes": [-1, -2]}), ("Flatten", "a", "v", {}), *HEAD),
    "length": (("ReduceL2", "c", "v", {"axes": [2, 3], "keepdims": 0}), *HEAD),
    "sum of sizes": (("ReduceL1", "c", "v", {"axes": [2, 3], "keepdims": 0}), *HEAD),
    "pooled length": (("GlobalLpPool", "c", "a", {"p": 2}), ("Flatten", "a", "v", {}), *HEAD),
    "generalised mean": (
        *(
            ("Clip", "c tiny", "a", {}),
            ("Pow", "a three", "b", {}),
            ("GlobalAveragePool", "b", "e", {}),
        ),
        *(("Pow", "e third", "g", {}), ("Flatten", "g", "v", {}), *HEAD),
    ),
    "layer norm, spelled out": (
        *(
            ("ReduceMean", "c", "a", {"axes": [1]}),
            ("Sub", "c a", "b", {}),
            ("Mul", "b b", "e", {}),
        ),
        *(
            ("ReduceMean", "e", "g", {"axes": [1]}),
            ("Add", "g tiny", "h", {}),
            ("Sqrt", "h", "i", {}),
        ),
        *(("Div", "b i", "j", {}), ("Mul", "j scale", "v", {}), *FLAT),
    ),
    "length one": (("LpNormalization", "c", "v", {"axis": 1}), *FLAT),
    "length one of vectors": (
        *(
            ("ReduceMean", "c", "a", {"axes": [2, 3], "keepdims": 0}),
            ("ReduceL2", "a", "b", {"axes": [1]}),
        ),
        *(("Div", "a b", "e", {}), ("LpNormalization", "e", "v", {"axis": -1}), *HEAD),
    ),
    "columns before rows": (("Transpose", "c", "v", {"perm": [0, 3, 2, 1]}), *FLAT),
    "columns and rows exchanged": (("Transpose", "c", "v", {"perm": [0, 1, 3, 2]}), *FLAT),
    "channels last, norm": (
        *(
            ("Transpose", "c", "a", TURN),
            ("ReduceL2", "a", "b", {"axes": [3]}),
            ("Div", "a b", "e", {}),
        ),
        *(("Transpose", "e", "v", BACK), *FLAT),
    ),
    "channels last, mean": (
        ("Transpose", "c", "a", TURN),
        ("ReduceMean", "a", "b", {"axes": [1, 2]}),
        ("Reshape", "b flat", "v", {}),
        *HEAD,
    ),
    "split channels, flattened": (
        ("Reshape", "c split", "a", {}),
        ("Transpose", "a", "v", {"perm": [0, 2, 1, 3, 4]}),
        *FLAT,
    ),
    "every second cell": (
        ("Slice", "c zeros ends spatial twos", "a", {}),
        *(("Flatten", "a", "u", {}), ("Gemm", "u quarter d", "y", {})),
    ),
    "a crop": (
        ("Slice", "c ones fours spatial", "a", {}),
        ("ReduceMax", "a", "v", {"axes": [2, 3], "keepdims": 0}),
        *HEAD,
    ),
    "positions as channels": (
        ("Slice", "x ones fours spatial", "a", {}),  # 3 rows of 7 columns, of which 2 x 6 are read
        ("Slice", "a zeros blocks spatial", "b", {}),
        *(("SpaceToDepth", "b", "e", {"blocksize": 2}), ("Conv", "e k12", "g", {})),
        *(("ReduceMax", "g", "v", {"axes": [2, 3], "keepdims": 0}), *HEAD),
    ),
    "one row": (
        ("Gather", "c three_rows", "a", {"axis": 2}),
        ("ReduceMean", "a", "v", {"axes": [2], "keepdims": 0}),
        *HEAD,
    ),
}
REDUCING = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2")
NUMBERS = (
    *(
        ("rows", (0, 6, 56)),
        ("flat", (-1, 6)),
        ("split", (-1, 2, 3, 7, 8)),
        ("zeros", (0, 0)),
        ("ends", (9, 9)),
    ),
    *(
        ("spatial", (2, 3)),
        ("twos", (2, 2)),
        ("ones", (1, 2)),
        ("fours", (4, -1)),
        ("blocks", (2, 6)),
        ("groups", (0, 2, -1)),
        ("last", (0, 1, 1, 6)),
    ),
)
WEIGHTS = {
    "k": (6, 3, 3, 3),
    "k12": (6, 12, 1, 1),
    "w": (6, 4),
    "whole": (336, 4),
    "quarter": (96, 4),
    "d": (4,),
    "m": (6, 6),
    "d6": (6,),
    "scale": (1, 6, 1, 1),
    "scales": (6,),
    "shifts": (6,),
    "two_scales": (2,),
    "two_shifts": (2,),
}
SCALARS = {"tiny": 1e-3, "three": 3.0, "third": 1 / 3}


def build(name: str, opset: int) -> onnx.ModelProto:
    nodes: Nodes = (("Conv", "x k", "c", {}), *(SPELLINGS | NORMS)[name])
    axes: dict[str, tuple[int, ...]] = {}
    made: list[tuple[str, str, str, dict[str, Any]]] = []
    for place, (operator, inputs, output, options) in enumerate(nodes):
        if operator in REDUCING and opset >= 18:  # the axes became an input
            axes[f"axes{place}"] = tuple(options["axes"])
            rest = {key: value for key, value in options.items() if key != "axes"}
            made.append((operator, f"{inputs} axes{place}", output, rest))
        else:
            made.append((operator, inputs, output, options))
    case = Case(
        name,
        (3, 9, 10),
        tuple(made),
        WEIGHTS,
        {"y": 4},
        exact=True,
        numbers=(*NUMBERS, *axes.items()),
    )
    model = case.build(opset)
    for key, value in SCALARS.items():
        model.graph.initializer.append(
            loose.numpy_helper.from_array(np.array(value, np.float32), key)
        )
    model.graph.initializer.append(
        loose.numpy_helper.from_array(np.array(3, np.int64), "three_rows")
    )
    return model


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings_equal_the_classifier_on_every_crop(name: str, opset: int) -> None:
    model = build(name, opset)
    network, report = convolutionalize(model, (3, 9, 10))
    loose.checker.check_model(network, full_check=True)
    image = np.random.default_rng(1).normal(size=(3, 14, 15)).astype(np.float32)
    proof = prove(model, network, report, image)
    assert proof.holds
    assert not report.padded
    compared = ~np.isnan(proof.deviation)
    assert compared.sum() > 5
    assert proof.expected[compared].all()


NORMS: dict[str, Nodes] = {
    "instance": (("InstanceNormalization", "c scales shifts", "v", {}), *FLAT),
    "group, as PyTorch exports it": (
        *(
            ("Reshape", "c groups", "a", {}),
            ("InstanceNormalization", "a two_scales two_shifts", "b", {}),
        ),
        *(("Shape", "c", "e", {}), ("Reshape", "b e", "g", {}), ("Mul", "g scale", "v", {}), *FLAT),
    ),
    "group": (("GroupNormalization", "c scales shifts", "v", {"num_groups": 3}), *FLAT),
    "of vectors": (
        *(("GlobalAveragePool", "c", "a", {}), ("Reshape", "a groups", "b", {})),
        *(
            ("InstanceNormalization", "b two_scales two_shifts", "e", {}),
            ("Reshape", "e flat", "v", {}),
            *HEAD,
        ),
    ),
    "response": (  # of ConvNeXt V2
        *(("Transpose", "c", "t", TURN), ("ReduceL2", "t", "a", {"axes": [1, 2]})),
        *(
            ("ReduceMean", "a", "b", {"axes": [3]}),
            ("Add", "b tiny", "e", {}),
            ("Div", "a e", "g", {}),
        ),
        *(("Mul", "t g", "h", {}), ("Add", "h t", "i", {}), ("Transpose", "i", "v", BACK), *FLAT),
    ),
    "response, channels first": (
        *(("ReduceL2", "c", "a", {"axes": [2, 3]}), ("ReduceMean", "a", "b", {"axes": [1]})),
        *(
            ("Add", "b tiny", "e", {}),
            ("Div", "a e", "g", {}),
            ("Mul", "c g", "h", {}),
            ("Add", "h c", "v", {}),
            *FLAT,
        ),
    ),
    "response of a vector": (
        *(("Transpose", "c", "t", TURN), ("ReduceL2", "t", "a", {"axes": [1, 2], "keepdims": 0})),
        *(
            ("ReduceMean", "a", "b", {"axes": [1]}),
            ("Add", "b tiny", "e", {}),
            ("Div", "a e", "f", {}),
        ),
        *(
            ("Reshape", "f last", "g", {}),
            ("Mul", "t g", "h", {}),
            ("Transpose", "h", "v", BACK),
            *FLAT,
        ),
    ),
    "weighed by the mean of everything": (
        *(("ReduceMean", "c", "a", {"axes": [1, 2, 3]}), ("Mul", "c a", "v", {}), *FLAT),
    ),
}


@pytest.mark.parametrize("se", ["global", "local"])
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_whole_maps_follow_the_choice(name: str, se: str) -> None:
    model = build(name, 21)
    network, report = convolutionalize(model, (3, 9, 10), se=se)
    loose.checker.check_model(network, full_check=True)
    image = np.random.default_rng(1).normal(size=(3, 13, 14)).astype(np.float32)
    proof = prove(model, network, report, image)
    assert proof.native_equal
    assert proof.holds
    assert bool(proof.expected.any()) == (name == "of vectors")
    if name == "of vectors":
        _ = convolutionalize(model, (3, 9, 10))
        return
    with pytest.raises(RefusedError, match='state se="global" or se="local"'):
        _ = convolutionalize(model, (3, 9, 10))
