"""Networks go to ONNX with dynamic sizes, and ONNX Runtime gives what PyTorch gives."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="these are PyTorch models")
pytest.importorskip("onnxscript", reason="torch.onnx exports with it")

import torch

from backstride.surgery import convolutionalize, transpose
from surgery.classifiers import BY_NAME

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]


def exported(network: Any, image: torch.Tensor, path: Path) -> Any:
    dim: Any = torch.export.Dim
    sizes = {2: dim("rows", min=image.shape[2] - 8), 3: dim("columns", min=image.shape[3] - 8)}
    options: dict[str, Any] = {"dynamo": True, "verbose": False}
    onnx: Any = torch.onnx  # torch leaves it untyped
    onnx.export(network, (image,), path, dynamic_shapes=(sizes,), **options)
    runtime: Any = importlib.import_module("onnxruntime")
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lenet", {}),
        ("resnet", {"skips": (4,)}),
        ("vgg", {"decoder": "unet"}),
        ("lenet", {"decoder": "linknet", "init": "nearest"}),
    ],
)
def test_segmenters_run_in_onnx_runtime_at_any_size(
    name: str, options: Any, tmp_path: Path
) -> None:
    case = BY_NAME[name]
    network, _ = transpose(case.build(), case.shape, classes=3, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            _ = parameter.add_(torch.randn_like(parameter) * 0.01)
    channels, rows, columns = case.shape
    session = exported(
        network, torch.randn(1, channels, rows + 8, columns + 8), tmp_path / "it.onnx"
    )
    for more in ((0, 0), (5, 22), (37, 3)):
        image = torch.randn(1, channels, rows + more[0], columns + more[1])
        (got,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.as_tensor(got), network(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dense", ["padded", "shift_and_stitch"])
def test_networks_run_in_onnx_runtime_at_any_size(dense: Any, tmp_path: Path) -> None:
    case = BY_NAME["lenet"]
    network, _ = convolutionalize(case.build(), case.shape, dense=dense)
    session = exported(network, torch.randn(1, 1, 40, 40), tmp_path / "it.onnx")
    for rows, columns in ((32, 33), (61, 45)):
        image = torch.randn(1, 1, rows, columns)
        (got,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.as_tensor(got), network(image), rtol=1e-4, atol=1e-5)
