"""Times road networks on stock PyTorch and as Backstride runs them: training steps, predictions, and layers.

    python benchmarks/roads_run.py                                            all networks, a table in Markdown
    python benchmarks/roads_run.py --networks vgg16 --cases prediction        some of them, some of the work

`training step`: forward, loss, backward and AdamW on `--batch` pictures of `--train`, channels last; `accelerate` is
all that differs. `prediction`: a picture of `--predict`, bytes to probabilities, on stock PyTorch in the faster of its
two memory formats, and by what `backstride roads predict` runs. `its transposed layers`: these layers alone, on what
they get there; in training forward and backward. A turn is four calls: PyTorch, Backstride, Backstride, PyTorch, so
neither always comes second, and what drifts falls on both. Columns: medians in milliseconds; the median of the turns'
ratios, with the bounds of its 95% confidence interval (order statistics: no distribution is assumed); turns.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import backstride as bs
import backstride.torch as bt
from backstride.roads.config import ModelConfig, TrainConfig
from backstride.roads.encoders import BUILT_IN
from backstride.roads.model import build
from backstride.roads.optimise import loss_of, optimiser_of
from backstride.roads.prediction.torch_predictor import TorchPredictor

Run = Callable[[], Any]
Sides = tuple[int, int]
LEAST = 5  # turns, of four calls each


def stock(name: str, skips: tuple[int, ...]) -> Any:
    """A network on PyTorch's own kernels."""
    _ = torch.random.manual_seed(0)
    return build(ModelConfig(name, skips=skips, engine=False))


def training(network: Any, batch: int, size: Sides) -> Run:
    """A step of training."""
    images = torch.rand(batch, 3, *size)
    labels = (torch.rand(batch, *size) < 0.4).long()
    optimiser = optimiser_of(network.train(), TrainConfig())

    def step() -> None:
        optimiser.zero_grad()
        loss_of(network(images), labels, None).backward()
        _ = optimiser.step()

    return step


def predictions(network: Any, size: Sides) -> tuple[list[Run], Run]:
    """One picture: channels last, channels first, and as `backstride roads predict` does."""
    picture = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    last, first = network.eval(), copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format)

    def image() -> torch.Tensor:
        return torch.as_tensor(picture).permute(0, 3, 1, 2).float().div_(255)

    def channels_last() -> Any:
        with torch.inference_mode():
            return last(image()).softmax(1)[:, 1].numpy()

    def channels_first() -> Any:
        with torch.inference_mode():
            fed = image().contiguous()
            fed = ((fed.flip(1) * 255 if first.caffe else fed) - first.mean) / first.std
            return first.segmenter(fed).softmax(1)[:, 1].numpy()

    ours = TorchPredictor(network)
    return [channels_last, channels_first], lambda: ours(picture)


def layers(network: Any, batch: int, size: Sides) -> list[tuple[Any, Any]]:
    """The transposed convolutions and what they get in the network."""
    found: list[tuple[Any, Any]] = []
    handles = [
        layer.register_forward_pre_hook(lambda layer, args: found.append((layer, args[0].detach().clone())))
        for layer in network.segmenter.ups.values()
    ]
    with torch.no_grad():
        network.eval()(torch.rand(batch, 3, *size))
    for handle in handles:
        handle.remove()
    return found


def alone(network: Any, batch: int, size: Sides, *, backward: bool) -> Run:
    """The transposed convolutions alone."""
    given = layers(network, batch, size)

    def forward() -> None:
        with torch.inference_mode():
            for layer, maps in given:
                layer(maps)

    leaves = [(layer, maps.requires_grad_()) for layer, maps in given] if backward else []
    gradients = [torch.ones_like(layer(maps)) for layer, maps in leaves]

    def both() -> None:
        for (layer, maps), gradient in zip(leaves, gradients, strict=True):
            layer(maps).backward(gradient)

    return both if backward else forward


def turns(others: list[Run], ours: Run, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of the fastest of the others, and ours: sums of two calls, in the order theirs, ours, ours, theirs."""
    theirs = min(others, key=lambda run: timed(run) + timed(run)) if len(others) > 1 else others[0]
    _ = timed(theirs), timed(ours)
    times: tuple[list[float], list[float]] = ([], [])
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(times[0]) < LEAST:
        before, first, second, after = timed(theirs), timed(ours), timed(ours), timed(theirs)
        times[0].append(before + after)
        times[1].append(first + second)
    return times


def timed(run: Run) -> float:
    """Seconds of a call."""
    before = time.perf_counter()
    run()
    return time.perf_counter() - before


def bounds(values: list[float]) -> tuple[float, float]:
    """Between which the median lies with 95 percent: order statistics of a binomial distribution."""
    ordered = sorted(values)
    low = max(0, math.floor((len(ordered) - 1.96 * math.sqrt(len(ordered))) / 2))
    return ordered[low], ordered[-1 - low]


def row(title: str, what: str, times: tuple[list[float], list[float]]) -> str:
    """A row of the table."""
    ratios = [one / other for one, other in zip(*times, strict=True)]
    low, high = bounds(ratios)
    cells = [f"{1e3 * statistics.median(values) / 2:.1f}" for values in times]
    ratio = f"{statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})"
    return f"| {title} | {what} | {cells[0]} | {cells[1]} | {ratio} | {len(ratios)} |"


def sized(text: str) -> Sides:
    """Rows x columns."""
    rows, columns = text.split("x")
    return int(rows), int(columns)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _ = parser.add_argument("--networks", default=",".join(BUILT_IN), help="joined by commas")
    _ = parser.add_argument("--cases", default="training,prediction", help="training, prediction, or both by a comma")
    _ = parser.add_argument("--skips", type=lambda text: tuple(map(int, text.split(","))), default=(16, 8))
    _ = parser.add_argument("--batch", type=int, default=2, help="pictures of a training step")
    _ = parser.add_argument("--train", type=sized, default=(192, 320), help="rows x columns of a training step")
    _ = parser.add_argument("--predict", type=sized, default=(360, 640), help="rows x columns of a prediction")
    _ = parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    _ = parser.add_argument("--seconds", type=float, default=20.0, help="for each row")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    bs.set_num_threads(words.threads)
    print("| network | | PyTorch, ms | Backstride, ms | times as fast (95%) | turns |")
    print("|---|---|---|---|---|---|")
    for name in words.networks.split(","):
        theirs = stock(name, words.skips)
        if "training" in words.cases:
            both = [copy.deepcopy(theirs), bt.accelerate(copy.deepcopy(theirs), convolutions="training").model]
            steps = [training(network, words.batch, words.train) for network in both]
            print(row(name, "training step", turns(steps[:1], steps[1], words.seconds)), flush=True)
            parts = [alone(network, words.batch, words.train, backward=True) for network in both]
            print(row(name, "its transposed layers", turns(parts[:1], parts[1], words.seconds / 4)), flush=True)
        if "prediction" in words.cases:
            print(row(name, "prediction", turns(*predictions(theirs, words.predict), words.seconds)), flush=True)
            ours = bt.accelerate(copy.deepcopy(theirs)).model
            parts = [alone(network, 1, words.predict, backward=False) for network in (theirs, ours)]
            print(row(name, "its transposed layers", turns(parts[:1], parts[1], words.seconds / 4)), flush=True)


if __name__ == "__main__":
    main()
