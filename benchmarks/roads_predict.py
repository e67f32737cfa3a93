"""Frames a second of road prediction.

As PyTorch runs the network, as `backstride roads predict` does, in ONNX Runtime.

    python benchmarks/roads_predict.py --encoders mobilenetv3 resnet34 --runs stock prepared onnx
    --threads 2

Random weights; pictures of noise, as bytes, to probabilities. Prints a table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backstride.roads.config import ModelConfig, RunConfig
from backstride.roads.network.checkpoint import save
from backstride.roads.network.model import build
from backstride.roads.prediction.export import exported
from backstride.roads.prediction.onnx_predictor import OnnxPredictor
from backstride.roads.prediction.predictor import Pictures
from backstride.roads.prediction.torch_predictor import TorchPredictor
from backstride.torch import restore


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    _ = parser.add_argument("--encoders", nargs="+", default=["mobilenetv3", "mobilenetv3-minimal"])
    _ = parser.add_argument("--runs", nargs="+", default=["stock", "prepared"], choices=list(RUNS))
    _ = parser.add_argument("--size", default="360x640", help="rows x columns")
    _ = parser.add_argument("--batch", type=int, default=4)
    _ = parser.add_argument("--threads", type=int, default=2)
    _ = parser.add_argument("--seconds", type=float, default=2, help="for each figure")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows, columns = map(int, given.size.split("x"))
    pictures = np.random.default_rng(0).integers(0, 256, (given.batch, rows, columns, 3), np.uint8)
    print(
        f"| frames a second, {columns} x {rows}, {given.threads} threads | "
        f"{' | '.join(given.runs)} |"
    )
    print(f"|---|{'---|' * len(given.runs)}")
    for encoder in given.encoders:
        network: Any = build(ModelConfig(encoder)).eval()
        speeds = [
            given.batch / seconds(RUNS[run](network, encoder), pictures, given.seconds)
            for run in given.runs
        ]
        print(f"| {encoder} | {' | '.join(f'{speed:.1f}' for speed in speeds)} |", flush=True)


def seconds(run: Callable[[Pictures], object], pictures: Pictures, budget: float) -> float:
    """The median time of a call."""
    _ = run(pictures)
    found: list[float] = []
    while sum(found) < budget or len(found) < 3:
        began = time.perf_counter()
        _ = run(pictures)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def stock(network: Any, _: str) -> Callable[[Pictures], object]:
    """PyTorch's own kernels, as the network was trained."""
    plain = restore(network)

    def run(pictures: Pictures) -> object:
        with torch.inference_mode():
            images = torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 255
            return plain(images).softmax(1)[:, 1].numpy()

    return run


def prepared(network: Any, _: str) -> Callable[[Pictures], object]:
    """What `backstride roads predict` runs."""
    return TorchPredictor(network)


def onnx(network: Any, encoder: str) -> Callable[[Pictures], object]:
    """What `backstride roads predict --runtime onnx` runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder), network, RunConfig(ModelConfig(encoder)))
        return OnnxPredictor(exported(path), "cpu", "network")


RUNS: dict[str, Callable[[Any, str], Callable[[Pictures], object]]] = {
    "stock": stock,
    "prepared": prepared,
    "onnx": onnx,
}

if __name__ == "__main__":
    main()
