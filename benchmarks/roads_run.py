"""Times road networks on stock PyTorch and as Backstride runs them.

Training steps, predictions, and layers.

    python benchmarks/roads_run.py                                            all networks, a table in Markdown
    python benchmarks/roads_run.py --networks vgg16 --cases prediction        some of them, some of the work
    python benchmarks/roads_run.py --results                                  and write docs/roads-times.md

`training step`: forward, loss, backward and AdamW on `--batch` pictures of `--train` (VGG16: half
as high and wide), channels last; `accelerate` is all that differs. `prediction`: a picture of
`--predict`, bytes to probabilities, on stock PyTorch in the faster of its two memory formats, and
by what `backstride roads predict` runs. `its transposed layers`: these layers alone, on what they
get there; in training forward and backward. A turn is four calls: PyTorch, Backstride, Backstride,
PyTorch, so neither always comes second, and what drifts falls on both. Columns: medians in
milliseconds; the median of the turns' ratios, with the bounds of its 95% confidence interval (order
statistics: no distribution is assumed); turns.
"""  # noqa: E501

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import backstride as bs
import backstride.torch as bt
from backstride.roads.config import ModelConfig, TrainConfig
from backstride.roads.network.encoders import BUILT_IN
from backstride.roads.network.model import build
from backstride.roads.prediction.torch_predictor import TorchPredictor
from backstride.roads.training.optimise import loss_of, optimiser_of

Run = Callable[[], Any]
Sides = tuple[int, int]
LEAST = 5  # turns, of four calls each
SMALLER = {"vgg16": 2}  # a side of its pictures in training, divided by this
STEP, PREDICTION, PART = "training step", "prediction", ": its transposed layers"
PAGE = Path(__file__).parents[1] / "docs" / "roads-times.md"


def stock(name: str, skips: tuple[int, ...]) -> Any:
    """A network on PyTorch's own kernels."""
    made: Any = torch
    made.manual_seed(0)  # not wholly typed
    return build(ModelConfig(name, skips=skips, engine=False))


def training(network: Any, batch: int, size: Sides) -> Run:
    """A step of training."""
    images = torch.rand(batch, 3, *size)
    labels = (torch.rand(batch, *size) < 0.4).long()
    optimiser = optimiser_of(network.train(), TrainConfig())

    def step() -> None:
        optimiser.zero_grad()
        loss: Any = loss_of(network(images), labels, None)
        loss.backward()
        _ = optimiser.step()

    return step


def predictions(network: Any, size: Sides) -> tuple[list[Run], Run]:
    """One picture: channels last, channels first, and as `backstride roads predict` does."""
    picture = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    last, first = (
        network.eval(),
        copy.deepcopy(network).eval().to(memory_format=torch.contiguous_format),
    )

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

    def keep(layer: Any, args: Any) -> None:
        found.append((layer, args[0].detach().clone()))

    handles = [layer.register_forward_pre_hook(keep) for layer in network.segmenter.ups.values()]
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
    """Seconds of the fastest of the others, and ours.

    Sums of two calls, in the order theirs, ours, ours, theirs.
    """
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
    """Between which the median lies with 95 percent.

    Order statistics of a binomial distribution.
    """
    ordered = sorted(values)
    low = max(0, math.floor((len(ordered) - 1.96 * math.sqrt(len(ordered))) / 2))
    return ordered[low], ordered[-1 - low]


class Row(NamedTuple):
    """A row of the table: milliseconds, the ratio with its bounds, and how many turns."""

    network: str
    what: str
    theirs: float
    ours: float
    ratio: float
    bounds: tuple[float, float]
    turns: int

    @property
    def cells(self) -> tuple[str, str, str]:
        """Both times and the ratio."""
        low, high = self.bounds
        return (
            f"{self.theirs:.3g}",
            f"{self.ours:.3g}",
            f"{self.ratio:.2f} ({low:.2f} to {high:.2f})",
        )


def row(network: str, what: str, times: tuple[list[float], list[float]]) -> Row:
    """A row, printed."""
    ratios = [one / other for one, other in zip(*times, strict=True)]
    theirs, ours = (1e3 * statistics.median(values) / 2 for values in times)
    made = Row(network, what, theirs, ours, statistics.median(ratios), bounds(ratios), len(ratios))
    print(f"| {network} | {what} | {' | '.join(made.cells)} | {made.turns} |", flush=True)
    return made


def measure(name: str, words: argparse.Namespace) -> Iterable[Row]:
    """The rows of a network."""
    theirs = stock(name, words.skips)
    if "training" in words.cases:
        size = tuple(side // SMALLER.get(name, 1) for side in words.train)
        both = [
            copy.deepcopy(theirs),
            bt.accelerate(copy.deepcopy(theirs), convolutions="training").model,
        ]
        steps = [training(network, words.batch, size) for network in both]
        yield row(name, STEP, turns(steps[:1], steps[1], words.seconds))
        parts = [alone(network, words.batch, size, backward=True) for network in both]
        yield row(name, f"{STEP}{PART}", turns(parts[:1], parts[1], words.seconds / 4))
    if "prediction" in words.cases:
        yield row(name, PREDICTION, turns(*predictions(theirs, words.predict), words.seconds))
        ours = bt.accelerate(copy.deepcopy(theirs)).model
        parts = [alone(network, 1, words.predict, backward=False) for network in (theirs, ours)]
        yield row(name, f"{PREDICTION}{PART}", turns(parts[:1], parts[1], words.seconds / 4))


def page(rows: Sequence[Row], words: argparse.Namespace) -> str:
    """docs/roads-times.md."""
    found = {(made.network, made.what): made for made in rows}
    kernels = next(status.name for status in bs.implementations() if status.runs)
    head = (
        f"Written by `python benchmarks/roads_run.py --results`: {words.threads} of the "
        "processor's threads, kernels "
    )
    head += (
        f"{kernels}, PyTorch {torch.__version__}; medians in milliseconds, ratios with their 95% "
        "confidence interval."
    )
    parts = [head, ""]
    titles = {
        PREDICTION: f"Prediction, one picture of {shown(words.predict)}, bytes to probabilities:",
        STEP: (
            f"A training step, {words.batch} pictures of {shown(words.train)}, with VGG16 half as "
            "high and wide:"
        ),
    }
    for what, title in titles.items():
        parts += [
            title,
            "",
            "| network | PyTorch | Backstride | times as fast | transposed layers alone |",
            "|---|---|---|---|---|",
        ]
        for (network, made), whole in found.items():
            if made == what:
                part = found[network, f"{what}{PART}"]
                parts.append(f"| `{network}` | {' | '.join(whole.cells)} | {part.cells[2]} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def shown(size: Sides) -> str:
    """As on the command line."""
    return "x".join(map(str, size))


def sized(text: str) -> Sides:
    """Rows x columns."""
    rows, columns = text.split("x")
    return int(rows), int(columns)


def main() -> None:
    """Print the table, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _ = parser.add_argument("--networks", default=",".join(BUILT_IN), help="joined by commas")
    _ = parser.add_argument(
        "--cases", default="training,prediction", help="training, prediction, or both by a comma"
    )
    _ = parser.add_argument(
        "--skips", type=lambda text: tuple(map(int, text.split(","))), default=(16, 8)
    )
    _ = parser.add_argument("--batch", type=int, default=2, help="pictures of a training step")
    _ = parser.add_argument(
        "--train", type=sized, default=(192, 320), help="rows x columns of a training step"
    )
    _ = parser.add_argument(
        "--predict", type=sized, default=(360, 640), help="rows x columns of a prediction"
    )
    _ = parser.add_argument("--threads", type=int, default=1)
    _ = parser.add_argument("--seconds", type=float, default=20.0, help="for each row")
    _ = parser.add_argument("--results", action="store_true", help=f"write docs/{PAGE.name}")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    bs.set_num_threads(words.threads)
    print("| network | | PyTorch, ms | Backstride, ms | times as fast (95%) | turns |")
    print("|---|---|---|---|---|---|")
    rows = [made for name in words.networks.split(",") for made in measure(name, words)]
    if words.results:
        _ = PAGE.write_text(page(rows, words), encoding="utf-8")
        print(f"wrote docs/{PAGE.name}")


if __name__ == "__main__":
    main()
