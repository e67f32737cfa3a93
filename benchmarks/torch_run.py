"""Times whole PyTorch models before and after `accelerate`, and other runners on a CPU.

    python benchmarks/torch_run.py                              all models, inference and one training step
    python benchmarks/torch_run.py --models 0,BigVGAN --threads 1    some of them, by number or by a part of the name
    python benchmarks/torch_run.py --without compile,OpenVINO        without some runners
    python benchmarks/torch_run.py --parts training --results        part of it; written to this processor's page
    python benchmarks/torch_run.py --resume --results                go on where the last run was stopped
    python benchmarks/torch_run.py --resume --results --at-most 80   and stop after 80 s; exit code 3 if some are left

Three tables: inference of whole models; their transposed convolutions alone, each timed on the
input that it gets in the model and summed; and one training step (forward, backward, SGD). Median
of interleaved runs in milliseconds; the ratio is that of the fastest other runner to the fastest of
ours. Each row is measured by a process of its own (torch_rows.py). A training step that would take
very long is one of smaller data, which its row says.
"""  # noqa: E501

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import describe
from rich.console import Console
from rich.progress import track
from timing import settle, spread
from torch import nn
from torch_models import Entry
from torch_overview import OURS, PARTS, Time, geomean, plain, ratio
from torch_published import MODELS
from torch_rows import Job, Kept
from torch_runners import RUNNERS, TRAINED, Inputs, Run, prepared, training
from torch_table import keep

import backstride as bs

Say = Callable[[str], None]
SLOW = 0.3  # seconds of a run from which on the one before it does not matter
LEAST_ROUNDS, LEAST_SLOW_ROUNDS = 5, 3
UNFINISHED = 3  # exit code
RAW = Path(__file__).parents[1] / "build" / "torch_times.jsonl"


def measure(runs: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Run all of them in turn until the time is spent, after one round to warm up.

    At least 5 rounds (3 of slow ones). Each timed run of a fast one follows an untimed one of the
    same runner, so that the threads of the one before, which spin for a while, do not count against
    it.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    last = {name: seconds_of(run) for name, run in runs.items()}
    for name, run in runs.items():
        if last[name] < SLOW:
            _ = run()
    started = time.perf_counter()
    rounds = LEAST_ROUNDS
    while (
        time.perf_counter() - started < seconds * len(runs)
        or len(next(iter(times.values()))) < rounds
    ):
        for name, run in runs.items():
            _ = settle()  # threads of the runner before
            if last[name] < SLOW:
                _ = run()
            last[name] = seconds_of(run)
            times[name].append(last[name])
        rounds = (
            LEAST_SLOW_ROUNDS if min(seen[-1] for seen in times.values()) > SLOW else LEAST_ROUNDS
        )
    return times


def seconds_of(run: Run) -> float:
    """How long a call takes."""
    before = time.perf_counter()
    _ = run()
    return time.perf_counter() - before


def quiet(name: str) -> None:
    """Say nothing."""
    _ = name


def layers(
    model: nn.Module, inputs: Inputs, *, autocast: bool = False
) -> list[tuple[nn.Module, Inputs]]:
    """Each transposed convolution with the input that it gets in the model."""
    found: list[tuple[nn.Module, Inputs]] = []
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    handles = [
        module.register_forward_pre_hook(
            lambda module, args: found.append((module, (args[0].clone(),)))
        )
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        _ = model(*inputs)
    for handle in handles:
        handle.remove()
    return found


def build(entry: Entry, *, small: bool, step: bool = False) -> tuple[nn.Module, Inputs]:
    """The model in evaluation, the same weights every time.

    `step`: with the data of its training step.
    """
    made: Any = torch
    made.manual_seed(0)  # not wholly typed
    model, inputs = (entry.build_step if step and entry.build_step else entry.build)(small)
    return model.eval(), inputs


def time_inference(
    model: nn.Module, inputs: Inputs, job: Job, say: Say = quiet, *, autocast: bool = False
) -> dict[str, list[float]]:
    """The times of every runner on its own copy of a model."""
    made: dict[str, Run | None] = {}
    for name in job.runners:
        say(name)
        made[name] = called(prepared(name, copy.deepcopy(model), inputs, autocast=autocast))
    say("")
    return measure({name: run for name, run in made.items() if run is not None}, job.seconds)


def time_layers(
    model: nn.Module, inputs: Inputs, job: Job, say: Say = quiet, *, autocast: bool = False
) -> dict[str, list[float]]:
    """The same for the transposed convolutions alone: medians of the layers, summed."""
    totals: dict[str, float] = {}
    names = tuple(
        name for name in job.runners if not name.endswith("compile")
    )  # nothing is there to be joined
    alone = dataclasses.replace(job, runners=names, seconds=job.seconds / 4)
    for layer, given in layers(model, inputs, autocast=autocast):
        for name, times in time_inference(layer, given, alone, say, autocast=autocast).items():
            totals[name] = totals.get(name, 0) + statistics.median(times)
    return {name: [total] * 2 for name, total in totals.items()}


def time_training(entry: Entry, job: Job, say: Say = quiet) -> dict[str, list[float]]:
    """The times of one training step."""
    made: dict[str, Run | None] = {}
    for name in job.runners:
        say(name)
        model, inputs = build(entry, small=job.small, step=True)
        made[name] = called(training(name, model.train(), inputs, autocast=entry.autocast))
    say("")
    return measure({name: run for name, run in made.items() if run is not None}, job.seconds)


def called(run: Run | None) -> Run | None:
    """A runner after its first call, which is part of its preparation.

    Torch.compile compiles then.
    """
    if run is not None:
        _ = run()
    return run


def row(threads: int, part: str, name: str, times: dict[str, list[float]]) -> list[Time]:
    """Print one row; the ratio of the fastest other runner to ours."""
    medians = {runner: statistics.median(values) for runner, values in times.items()}
    peer, factor = ratio(medians)
    shown = "  ".join(
        f"{runner} {1e3 * medians[runner]:.2f}±{spread(times[runner]):.0f}%" for runner in medians
    )
    print(f"{name:27} x{factor:5.2f} of {peer:13} {shown}", flush=True)
    return [
        Time(threads, part, name, runner, 1e3 * medians[runner], spread(times[runner]))
        for runner in medians
    ]


def summary(times: list[Time], what: str) -> None:
    """The geometric mean and the worst, of the fastest of ours and of plain `accelerate`."""
    models = dict.fromkeys(entry.model for entry in times)
    tables = [
        {entry.runner: entry.milliseconds for entry in times if entry.model == model}
        for model in models
    ]
    stock = "the better of eager and channels last to plain accelerate"
    alone = [factor for table in tables if (factor := plain(table)) is not None]
    for words, ratios in (
        (what, [ratio(table)[1] for table in tables]),
        (f"{what}, {stock}", alone),
    ):
        if ratios:
            below = sum(factor < 1 for factor in ratios)
            print(
                f"{words}: geomean {geomean(ratios):.2f}, min {min(ratios):.2f}, below 1.0: "
                f"{below} of {len(ratios)}"
            )
    print()


def timed(job: Job, say: Say = quiet) -> dict[str, list[float]]:
    """The times of one row.

    `say` is told each runner before it is prepared, and an empty name before all are timed.
    """
    torch.set_num_threads(job.threads)
    bs.set_num_threads(job.threads)
    entry = next(entry for entry in MODELS if entry.name == job.model)
    if job.part == "training":
        return time_training(entry, job, say)
    time_part = time_inference if job.part == "inference" else time_layers
    return time_part(*build(entry, small=job.small), job, say, autocast=entry.autocast)


def arguments() -> tuple[argparse.Namespace, Kept]:
    """The words of the command line, with what they choose, and what was measured already."""
    listed = "\n".join(f"  {number:>2} {entry.name}" for number, entry in enumerate(MODELS))
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=form, epilog=f"models:\n{listed}"
    )
    _ = parser.add_argument(
        "--models", help="numbers or parts of names joined by commas; all by default"
    )
    _ = parser.add_argument(
        "--parts", default=",".join(PARTS), help="of inference, layers, training"
    )
    _ = parser.add_argument("--without", default="", help="runners to leave out, joined by commas")
    _ = parser.add_argument(
        "--threads", default=str(torch.get_num_threads()), help="of every runner, joined by commas"
    )
    _ = parser.add_argument(
        "--seconds", type=float, default=0.7, help="for each runner of each model"
    )
    _ = parser.add_argument(
        "--small", action="store_true", help="tiny versions, to see that everything runs"
    )
    _ = parser.add_argument(
        "--raw", type=Path, default=RAW, help="file of measurements, started anew"
    )
    _ = parser.add_argument(
        "--resume", action="store_true", help="keep what --raw holds and measure the rest"
    )
    _ = parser.add_argument(
        "--at-most", type=float, default=math.inf, help="seconds; nothing new begins after them"
    )
    _ = parser.add_argument(
        "--results", action="store_true", help="keep the times, write the processor's page"
    )
    _ = parser.add_argument(
        "--folder", type=Path, default=Path(__file__).parent, help="where --results writes"
    )
    words = parser.parse_args()
    left_out = {name for name in words.without.split(",") if name}
    if unknown := sorted(left_out - set(RUNNERS)):
        parser.error(
            f"`--without` (={words.without}) names no runner {unknown[0]!r}; legal are "
            f"{', '.join(RUNNERS)}"
        )
    if set(OURS) & set(RUNNERS) <= left_out or set(RUNNERS) - set(OURS) <= left_out:
        parser.error(f"`--without` (={words.without}) must leave one of ours and one other runner")
    words.parts = words.parts.split(",")
    if not set(words.parts) <= set(PARTS):
        parser.error(
            f"`--parts` (={','.join(words.parts)}) must be some of {', '.join(PARTS)}, joined by "
            "commas"
        )
    if not re.fullmatch(r"[1-9]\d{0,2}(,[1-9]\d{0,2})*", words.threads):
        parser.error(
            f"`--threads` (={words.threads}) must be numbers from 1 to 999, joined by commas"
        )
    words.threads = list(dict.fromkeys(map(int, words.threads.split(","))))
    words.chosen = list(MODELS)
    if words.models is not None:
        found = {word: named(word) for word in words.models.split(",")}
        if wrong := [word for word, entries in found.items() if not entries]:
            last = len(MODELS) - 1
            parser.error(
                f"`--models` (={words.models}) names no model {wrong[0]!r}; legal are 0 to {last} "
                "and parts of names"
            )
        words.chosen = [
            entry for entry in MODELS if any(entry in entries for entries in found.values())
        ]
    words.runners = tuple(name for name in RUNNERS if name not in left_out)
    try:
        return words, Kept(words.raw, resume=words.resume, processor=describe()["processor"])
    except ValueError as error:
        parser.error(f"`--raw` (={words.raw}): {error}")


def named(word: str) -> list[Entry]:
    """The models that a number or a part of a name means."""
    if word.isdigit():
        return list(MODELS[int(word) : int(word) + 1])
    return [entry for entry in MODELS if word and word.lower() in entry.name.lower()]


def main() -> int:
    """Print the tables."""
    words, kept = arguments()
    until = time.perf_counter() + words.at_most
    for threads in words.threads:
        print(f"threads {threads}: milliseconds, median ± half the distance of the quartiles")
        for part in words.parts:
            print(PARTS[part])
            if not table(words, kept, threads, part, until):
                print(f"stopped after {words.at_most:g} s; the same words with --resume go on")
                return UNFINISHED
    return 0


def table(words: argparse.Namespace, kept: Kept, threads: int, part: str, until: float) -> bool:
    """Measure and print one table; whether time was left for all of it."""
    found: list[Time] = []
    hidden = not sys.stderr.isatty()
    trained = tuple(name for name in TRAINED if name in words.runners or name not in RUNNERS)
    for entry in track(
        words.chosen, part, console=Console(stderr=True), transient=True, disable=hidden
    ):
        runners = trained if part == "training" else words.runners
        job = Job(part, entry.name, threads, runners, words.seconds, words.small)
        if job not in kept and time.perf_counter() > until:
            return False
        measurement = kept.row(job)
        name = entry.trained if part == "training" else entry.name
        found += row(threads, part, name, measurement["times"])
        for runner, reason in measurement["dropped"].items():
            print(f"{'':27} without {runner}: {reason}", flush=True)
        if words.results and not words.small:
            _ = keep(found, words.folder)
    summary(found, part)
    heavy = {entry.trained for entry in words.chosen if entry.decoder_heavy}
    if part == "training" and heavy:
        summary([time for time in found if time.model in heavy], "training, decoder-heavy models")
    return True


if __name__ == "__main__":
    sys.exit(main())
