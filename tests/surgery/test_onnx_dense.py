"""`dense` and the other decoders for ONNX models, in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these are ONNX models")
pytest.importorskip("onnxruntime", reason="they run in ONNX Runtime")

import onnx

from backstride.surgery import RefusedError, convolutionalize, prove, transpose
from backstride.surgery.onnx.runner import runner
from surgery.onnx_models import HEADS, HWC, LENET, POOLED, SHUFFLED, UNEVEN, Case
from surgery.test_onnx_convolutionalize import image_for, run

loose: Any = onnx  # some of it is untyped
pytestmark = pytest.mark.frameworks
CROPPED = Case(
    "cropped",
    (2, 19, 21),
    (
        *(
            ("Conv", "x k", "c", {"strides": [2, 2]}),
            ("Pad", "c pads", "p", {}),
            ("Relu", "p", "r", {}),
        ),
        ("Slice", "r starts ends axes steps", "s", {}),
        *(("Flatten", "s", "f", {}), ("Gemm", "f w", "y", {})),
    ),
    {"k": (4, 2, 3, 3), "w": (4 * 3 * 6, 3)},
    {"y": 3},
    exact=True,
    numbers=(
        *(
            ("pads", (0, 0, -1, 0, 0, 0, -1, -2)),
            ("starts", (1, 1)),
            ("ends", (100, -1)),
            ("axes", (2, 3)),
        ),
        ("steps", (2, 1)),
    ),
)
PLAIN = pytest.mark.parametrize(
    "case", [LENET, HEADS, SHUFFLED, UNEVEN, CROPPED], ids=lambda case: case.name
)
SINGLE = pytest.mark.parametrize("case", [LENET, HWC, POOLED, UNEVEN], ids=lambda case: case.name)


def images(case: Case, more: tuple[int, int]) -> Any:
    size = (case.shape[0], case.shape[1] + more[0], case.shape[2] + more[1])
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


@PLAIN
@pytest.mark.parametrize("opset", [11, 17])
def test_stitched_cells_are_the_sliding_window(case: Case, opset: int) -> None:
    model = case.build(opset)
    network, report = convolutionalize(model, case.shape, dense="shift_and_stitch")
    loose.checker.check_model(network, full_check=True)
    for output in range(len(report.outputs)):
        proof = prove(model, network, report, images(case, (4, 7)), head=output)
        assert proof.holds
        assert proof.expected.all()
        assert proof.deviation.shape == (5, 8)
    assert all(out.stride == (1, 1) for out in report.outputs)


@pytest.mark.parametrize("case", [HWC, POOLED], ids=lambda case: case.name)
def test_padding_has_no_stitched_form(case: Case) -> None:
    with pytest.raises(
        RefusedError, match="pads, and what it reads at a crop's border is no pixel"
    ):
        _ = convolutionalize(case.build(13), case.shape, dense="shift_and_stitch")


def test_valid_cells_do_not_change_with_what_surrounds_the_image() -> None:
    model = POOLED.build(13)
    network, report = convolutionalize(model, POOLED.shape, dense="valid")
    assert {str(stride) for stride in report.outputs[0].stride} == {"2"}
    assert all(offset - (size - 1) / 2 >= 0 for offset, size in _fields(report.outputs[0]))
    world = images(POOLED, (30, 30))
    call = runner(network)
    inside, alone = call(world[None]), call(world[None, :, 8:-8, 8:-8])
    np.testing.assert_allclose(
        inside[:, :, 4 : 4 + alone.shape[2], 4 : 4 + alone.shape[3]], alone, rtol=1e-5, atol=1e-6
    )
    assert alone.shape[2] > 3


def _fields(output: Any) -> Any:
    return zip(output.offset, output.receptive_field, strict=True)


@SINGLE
@pytest.mark.parametrize("decoder", ["unet", "linknet"])
def test_before_training_features_add_nothing(case: Case, decoder: str) -> None:
    model = case.build(17)
    classes = None if case is LENET else 3
    image = image_for(case, 1, (5, 9))
    (plain,) = run(transpose(model, case.shape, classes=classes)[0], image)
    joined, report = transpose(model, case.shape, classes=classes, decoder=decoder)
    loose.checker.check_model(joined, full_check=True)
    (same,) = run(joined, image)
    np.testing.assert_array_equal(plain, same)
    assert report.steps[-2 if case is LENET else -1].startswith("1x1 scores of the features")
    assert (
        joined.SerializeToString()
        == transpose(model, case.shape, classes=classes, decoder=decoder)[0].SerializeToString()
    )


@SINGLE
@pytest.mark.parametrize("decoder", ["unet", "linknet"])
def test_features_reach_every_pixel_at_every_size(case: Case, decoder: str) -> None:
    network, _ = transpose(case.build(17), case.shape, decoder=decoder, skips="auto")
    before = {entry.name: entry for entry in network.graph.initializer}
    head = before["features_scores_weight"]
    head.raw_data = np.ones(tuple(head.dims), np.float32).tobytes()
    call = runner_of_result(network)
    for more in range(8):
        image = images(case, (more, 7 - more))
        scores = call(image[None])
        assert scores.shape[2:] == image.shape[1:]
        assert np.std(scores) > 0


def runner_of_result(network: onnx.ModelProto) -> Any:
    from backstride.surgery.onnx.runner import OnnxSession  # noqa: PLC0415

    return OnnxSession(network, network.graph.output[0].name)


def test_icnr_starts_near_repetition() -> None:
    model = LENET.build(17)
    image = image_for(LENET, 1, (6, 3))
    near, nearest = (
        run(transpose(model, LENET.shape, init=init)[0], image)[0] for init in ("icnr", "nearest")
    )
    assert 0 < np.abs(near - nearest).max() < 0.2


def test_norms_of_windows_behind_strides_are_refused() -> None:
    """A mean of cells that lie apart is no norm of them."""
    nodes: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("MaxPool", "x", "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("LpPool", "p", "q", {"kernel_shape": [2, 2]}),
        *(("Flatten", "q", "f", {}), ("Gemm", "f w", "y", {})),
    )
    case = Case("norms", (2, 8, 8), nodes, {"w": (18, 3)}, {"y": 3}, exact=True)
    with pytest.raises(RefusedError, match=r"n1 \(LpPool\): has no atrous form"):
        _ = convolutionalize(case.build(17), case.shape, dense="shift_and_stitch")


def test_the_scores_of_a_strided_convolution_that_pads_alike_have_other_classes() -> None:
    case = Case(
        "alike",
        (2, 9, 7),
        (
            ("Conv", "x k b", "c", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
            *(("GlobalAveragePool", "c", "p", {}), ("Flatten", "p", "y", {})),
        ),
        {"k": (4, 2, 3, 3), "b": (4,)},
        {"y": 4},
        exact=False,
    )
    network, _ = transpose(case.build(17), case.shape, classes=3)
    loose.checker.check_model(network, full_check=True)
    (scores,) = run(network, image_for(case, 1, (4, 6)))
    assert scores.shape == (1, 3, 13, 13)
