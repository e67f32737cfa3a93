"""Times road networks whose transposed convolutions run by PyTorch's kernels, and by Backstride's engine.

    python benchmarks/roads_run.py                                  all networks, a table in Markdown
    python benchmarks/roads_run.py --networks vgg16 --threads 1     some of them

Each network twice, with the same weights, in channels-last memory format: `accelerate` and `restore` are all that
differs. A training step is forward, loss, backward and AdamW on `--batch` pictures of `--train`; a prediction is one
picture of `--predict`. Of both, the transposed convolutions alone are timed, too, on what they get there: forward,
and in training also backward. The two take turns. Median of the turns in milliseconds, ± half the distance of the
quartiles in percent.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from timing import spread

import backstride as bs
import backstride.torch as bt
from backstride.roads.config import ModelConfig, TrainConfig
from backstride.roads.encoders import BUILT_IN
from backstride.roads.model import build
from backstride.roads.optimise import loss_of, optimiser_of

Run = Callable[[], Any]
LAST = torch.channels_last
WARM = 2


def pair(name: str, skips: tuple[int, ...]) -> tuple[Any, Any]:
    """A network with PyTorch's transposed convolutions, and one on the engine."""
    _ = torch.random.manual_seed(0)
    stock: Any = build(ModelConfig(name, skips=skips, engine=False))
    return stock, bt.accelerate(copy.deepcopy(stock)).model


def training(network: Any, batch: int, size: tuple[int, int]) -> Run:
    """A step of training."""
    images = torch.rand(batch, 3, *size)
    labels = (torch.rand(batch, *size) < 0.4).long()
    optimiser = optimiser_of(network.train(), TrainConfig())

    def step() -> None:
        optimiser.zero_grad()
        loss_of(network(images), labels, None).backward()
        _ = optimiser.step()

    return step


def prediction(network: Any, size: tuple[int, int]) -> Run:
    """One picture."""
    image = torch.rand(1, 3, *size)
    _ = network.eval()

    def predict() -> None:
        with torch.inference_mode():
            _ = network(image).softmax(1)

    return predict


def layers(network: Any, batch: int, size: tuple[int, int]) -> list[tuple[Any, Any]]:
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


def alone(network: Any, batch: int, size: tuple[int, int], *, backward: bool) -> Run:
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


def turns(runs: tuple[Run, Run], seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of each, turn by turn, after some that are not timed."""
    for run in runs * WARM:
        run()
    times: tuple[list[float], list[float]] = ([], [])
    started = time.perf_counter()
    while time.perf_counter() - started < 2 * seconds or len(times[0]) < 5:
        for run, values in zip(runs, times, strict=True):
            before = time.perf_counter()
            run()
            values.append(time.perf_counter() - before)
    return times


def row(title: str, what: str, times: tuple[list[float], list[float]]) -> str:
    """A row of the table."""
    cells = [f"{1e3 * statistics.median(values):.1f} ±{spread(values):.0f}%" for values in times]
    ratio = statistics.median(times[0]) / statistics.median(times[1])
    return f"| {title} | {what} | {cells[0]} | {cells[1]} | {ratio:.2f} |"


def sized(text: str) -> tuple[int, int]:
    """Rows x columns."""
    rows, columns = text.split("x")
    return int(rows), int(columns)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _ = parser.add_argument("--networks", default=",".join(BUILT_IN), help="joined by commas")
    _ = parser.add_argument("--skips", type=lambda text: tuple(map(int, text.split(","))), default=(16, 8))
    _ = parser.add_argument("--batch", type=int, default=2, help="pictures of a training step")
    _ = parser.add_argument("--train", type=sized, default=(192, 640), help="rows x columns of a training step")
    _ = parser.add_argument("--predict", type=sized, default=(360, 640), help="rows x columns of a prediction")
    _ = parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    _ = parser.add_argument("--seconds", type=float, default=3.0, help="for each time")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    bs.set_num_threads(words.threads)
    print("| network | | PyTorch's kernels, ms | the engine, ms | times as fast |")
    print("|---|---|---|---|---|")
    for name in words.networks.split(","):
        both = pair(name, words.skips)
        cases: list[tuple[str, Callable[[Any], Run]]] = [
            ("training step", lambda net: training(net, words.batch, words.train)),
            ("its transposed layers", lambda net: alone(net, words.batch, words.train, backward=True)),
            ("prediction", lambda net: prediction(net, words.predict)),
            ("its transposed layers", lambda net: alone(net, 1, words.predict, backward=False)),
        ]
        for what, make in cases:
            print(row(name, what, turns((make(both[0]), make(both[1])), words.seconds)), flush=True)


if __name__ == "__main__":
    main()
