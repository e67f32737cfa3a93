"""Times whole PyTorch models before and after `accelerate`, against every other way to run them on a CPU.

    python benchmarks/torch_run.py                              all models, inference and one training step
    python benchmarks/torch_run.py --models 0,4 --threads 1     some of them
    python benchmarks/torch_run.py --without compile,OpenVINO   without some runners
    python benchmarks/torch_run.py --parts training --results   part of it; written to torch_results.md
    python benchmarks/torch_run.py --resume --results           go on where the last run was stopped

Three tables: inference of whole models; their transposed convolutions alone, each timed on the input that it gets
in the model and summed; and one training step (forward, backward, SGD). Median of interleaved runs in
milliseconds; the ratio is that of the fastest other runner to the fastest of ours. Each row is measured by a process
of its own (torch_rows.py). A training step that would take very long is one of smaller data, which its row says.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from timing import settle, spread
from torch import Tensor, nn
from torch_models import Entry
from torch_published import MODELS
from torch_rows import Job, Kept
from torch_table import OURS, PARTS, Time, geomean, keep, ratio

import backstride as bs
import backstride.torch as bt

Run = Callable[[], Any]
Say = Callable[[str], None]
Inputs = tuple[Tensor, ...]
SLOW = 0.3  # seconds of a run from which on the one before it does not matter
LEAST_ROUNDS, LEAST_SLOW_ROUNDS = 5, 3
RAW = Path(__file__).parents[1] / "build" / "torch_times.jsonl"


def measure(runs: dict[str, Run], seconds: float) -> dict[str, list[float]]:
    """Run all of them in turn until the time is spent, at least 5 rounds (3 of slow ones) after one to warm up.

    Each timed run of a fast one follows an untimed one of the same runner, so that the threads of the one before,
    which spin for a while, do not count against it.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        before = time.perf_counter()
        _ = run()
        if time.perf_counter() - before < SLOW:
            _ = run()
    started = time.perf_counter()
    rounds = LEAST_ROUNDS
    while time.perf_counter() - started < seconds * len(runs) or len(next(iter(times.values()))) < rounds:
        for name, run in runs.items():
            _ = settle()  # threads of the runner before
            if not times[name] or times[name][-1] < SLOW:
                _ = run()
            before = time.perf_counter()
            _ = run()
            times[name].append(time.perf_counter() - before)
        rounds = LEAST_SLOW_ROUNDS if min(seen[-1] for seen in times.values()) > SLOW else LEAST_ROUNDS
    return times


def quiet(name: str) -> None:
    """Say nothing."""
    _ = name


def eager(model: nn.Module, inputs: Inputs) -> Run:
    """PyTorch as it comes."""
    return inference(model, inputs)


def channels_last(model: nn.Module, inputs: Inputs) -> Run | None:
    """PyTorch with model and data in channels-last memory format, where the rank has one."""
    changed = last(model, inputs)
    return None if changed is None else inference(*changed)


def compiled(model: nn.Module, inputs: Inputs) -> Run:
    """torch.compile's Inductor."""
    return inference(torch.compile(model), inputs)


def accelerated(model: nn.Module, inputs: Inputs) -> Run:
    """Ours."""
    return inference(bt.accelerate(model).model, inputs)


def trusting(model: nn.Module, inputs: Inputs) -> Run:
    """Ours, which compares no bytes of weights: as the runtimes that hold weights fixed."""
    return inference(bt.accelerate(model, trust=True).model, inputs)


def trusting_last(model: nn.Module, inputs: Inputs) -> Run | None:
    """The same with model and data in channels-last memory format, where the rank has one."""
    changed = last(model, inputs)
    return None if changed is None else trusting(*changed)


def accelerated_compiled(model: nn.Module, inputs: Inputs) -> Run:
    """Ours inside torch.compile."""
    return inference(torch.compile(bt.accelerate(model).model), inputs)


def onnxruntime(model: nn.Module, inputs: Inputs) -> Run | None:
    """ONNX Runtime's CPU provider."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnx") is None:
        return None
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(exported(model, inputs), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return lambda: session.run(None, feed)


def openvino(model: nn.Module, inputs: Inputs) -> Run | None:
    """OpenVINO's CPU plugin in float32."""
    if importlib.util.find_spec("openvino") is None or importlib.util.find_spec("onnx") is None:
        return None
    vino: Any = importlib.import_module("openvino")
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    core = vino.Core()
    request = core.compile_model(core.read_model(exported(model, inputs)), "CPU", settings).create_infer_request()
    arrays = [tensor.numpy() for tensor in inputs]
    return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)


RUNNERS: dict[str, Callable[[nn.Module, Inputs], Run | None]] = {
    "eager": eager,
    "channels last": channels_last,
    "compile": compiled,
    "ONNX Runtime": onnxruntime,
    "OpenVINO": openvino,
    "accelerate": accelerated,
    "accelerate + trust": trusting,
    "accelerate + trust + channels last": trusting_last,
    "accelerate + compile": accelerated_compiled,
}
TRAINED = ("eager", "channels last", "compile", "accelerate", "accelerate + channels last", "accelerate + compile")


def inference(model: Any, inputs: Inputs) -> Run:
    """A call of the model without gradients."""

    def run() -> Any:
        with torch.no_grad():
            return model(*inputs)

    return run


def training(name: str, model: nn.Module, inputs: Inputs) -> Run | None:
    """One step of SGD on the mean square of the result."""
    if name.endswith("channels last"):
        changed = last(model, inputs)
        if changed is None:
            return None
        model, inputs = changed
    model = bt.accelerate(model).model if name in OURS else model
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    call: Any = torch.compile(model) if name.endswith("compile") else model

    def run() -> None:
        optimizer.zero_grad()
        call(*inputs).square().mean().backward()
        optimizer.step()

    return run


def last(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs] | None:
    """Model and inputs in channels-last memory format."""
    forms = {4: torch.channels_last, 5: torch.channels_last_3d}
    form = forms.get(inputs[0].dim())
    if form is None:
        return None
    rank = inputs[0].dim()  # others, as the latent of a style, have no such format
    changed = tuple(tensor.contiguous(memory_format=form) if tensor.dim() == rank else tensor for tensor in inputs)
    return model.to(memory_format=form), changed


def exported(model: nn.Module, inputs: Inputs) -> bytes:
    """The model as ONNX."""
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, inputs, target, dynamo=False)
    return target.getvalue()


def layers(model: nn.Module, inputs: Inputs) -> list[tuple[nn.Module, Inputs]]:
    """Each transposed convolution with the input that it gets in the model."""
    found: list[tuple[nn.Module, Inputs]] = []
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    handles = [
        module.register_forward_pre_hook(lambda module, args: found.append((module, (args[0].clone(),))))
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    with torch.no_grad():
        _ = model(*inputs)
    for handle in handles:
        handle.remove()
    return found


def build(entry: Entry, *, small: bool, step: bool = False) -> tuple[nn.Module, Inputs]:
    """The model in evaluation, the same weights every time; `step`: with the data of its training step."""
    _ = torch.manual_seed(0)
    model, inputs = (entry.build_step if step and entry.build_step else entry.build)(small)
    return model.eval(), inputs


def time_inference(
    model: nn.Module, inputs: Inputs, names: Iterable[str], seconds: float, say: Say = quiet
) -> dict[str, list[float]]:
    """The times of every runner on its own copy of a model."""
    made: dict[str, Run | None] = {}
    for name in names:
        say(name)
        made[name] = called(RUNNERS[name](copy.deepcopy(model), inputs))
    say("")
    return measure({name: run for name, run in made.items() if run is not None}, seconds)


def time_layers(
    model: nn.Module, inputs: Inputs, names: Iterable[str], seconds: float, say: Say = quiet
) -> dict[str, list[float]]:
    """The same for the transposed convolutions alone: medians of the layers, summed."""
    totals: dict[str, float] = {}
    alone = [name for name in names if not name.endswith("compile")]  # nothing is there to be joined
    for layer, given in layers(model, inputs):
        for name, times in time_inference(layer, given, alone, seconds / 4, say).items():
            totals[name] = totals.get(name, 0) + statistics.median(times)
    return {name: [total] * 2 for name, total in totals.items()}


def time_training(
    entry: Entry, names: Iterable[str], seconds: float, *, small: bool, say: Say = quiet
) -> dict[str, list[float]]:
    """The times of one training step."""
    made: dict[str, Run | None] = {}
    for name in names:
        say(name)
        model, inputs = build(entry, small=small, step=True)
        made[name] = called(training(name, model.train(), inputs))
    say("")
    return measure({name: run for name, run in made.items() if run is not None}, seconds)


def called(run: Run | None) -> Run | None:
    """A runner after its first call, which is part of its preparation: torch.compile compiles then."""
    if run is not None:
        _ = run()
    return run


def row(threads: int, part: str, name: str, times: dict[str, list[float]]) -> list[Time]:
    """Print one row; the ratio of the fastest other runner to ours."""
    medians = {runner: statistics.median(values) for runner, values in times.items()}
    peer, factor = ratio(medians)
    shown = "  ".join(f"{runner} {1e3 * medians[runner]:.2f}±{spread(times[runner]):.0f}%" for runner in medians)
    print(f"{name:27} x{factor:5.2f} of {peer:13} {shown}", flush=True)
    return [Time(threads, part, name, runner, 1e3 * medians[runner], spread(times[runner])) for runner in medians]


def summary(times: list[Time], what: str) -> None:
    """The geometric mean and the worst."""
    models = dict.fromkeys(entry.model for entry in times)
    tables = ({entry.runner: entry.milliseconds for entry in times if entry.model == model} for model in models)
    ratios = [ratio(table)[1] for table in tables]
    below = sum(factor < 1 for factor in ratios)
    print(f"{what}: geomean {geomean(ratios):.2f}, min {min(ratios):.2f}, below 1.0: {below} of {len(ratios)}\n")


def timed(job: Job, say: Say = quiet) -> dict[str, list[float]]:
    """The times of one row; `say` is told each runner before it is prepared, and an empty name before all are timed."""
    torch.set_num_threads(job.threads)
    bs.set_num_threads(job.threads)
    entry = MODELS[job.model]
    if job.part == "training":
        return time_training(entry, job.runners, job.seconds, small=job.small, say=say)
    time_part = time_inference if job.part == "inference" else time_layers
    return time_part(*build(entry, small=job.small), job.runners, job.seconds, say)


def arguments() -> tuple[argparse.Namespace, list[int], list[str], list[str]]:
    """The words of the command line; the models, parts and runners that they choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _ = parser.add_argument("--models", help="numbers joined by commas; all by default")
    _ = parser.add_argument("--parts", default=",".join(PARTS), help="of inference, layers, training")
    _ = parser.add_argument("--without", default="", help="runners to leave out, joined by commas")
    _ = parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of every runner")
    _ = parser.add_argument("--seconds", type=float, default=0.7, help="for each runner of each model")
    _ = parser.add_argument("--small", action="store_true", help="tiny versions, to see that everything runs")
    _ = parser.add_argument("--raw", type=Path, default=RAW, help="file of measurements, started anew")
    _ = parser.add_argument("--resume", action="store_true", help="keep what --raw holds and measure the rest")
    _ = parser.add_argument("--results", action="store_true", help="keep the times, write torch_results.md")
    words = parser.parse_args()
    left_out = {name for name in words.without.split(",") if name}
    if unknown := sorted(left_out - set(RUNNERS)):
        parser.error(f"`--without` (={words.without}) names no runner {unknown[0]!r}; legal are {', '.join(RUNNERS)}")
    parts = words.parts.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"`--parts` (={words.parts}) must be some of {', '.join(PARTS)}, joined by commas")
    numbers = range(len(MODELS)) if words.models is None else [int(n) for n in words.models.split(",") if n.isdigit()]
    chosen = [number for number in numbers if number < len(MODELS)]
    if not chosen or set(OURS) <= left_out:
        parser.error(f"`--models` (={words.models}) must name some of 0 to {len(MODELS) - 1}, and one of ours must run")
    return words, chosen, parts, [name for name in RUNNERS if name not in left_out]


def main() -> None:
    """Print the tables."""
    words, chosen, parts, names = arguments()
    kept = Kept(words.raw, resume=words.resume)
    print(f"threads {words.threads}: milliseconds, median ± half the distance of the quartiles")
    for part in parts:
        print(PARTS[part])
        found: list[Time] = []
        hidden = not sys.stderr.isatty()
        runners = tuple(name for name in TRAINED if name in names or name not in RUNNERS)
        for number in track(chosen, part, console=Console(stderr=True), transient=True, disable=hidden):
            entry, given = MODELS[number], runners if part == "training" else tuple(names)
            measurement = kept.row(Job(part, number, words.threads, given, words.seconds, words.small))
            name = entry.trained if part == "training" else entry.name
            found += row(words.threads, part, name, measurement["times"])
            for runner, reason in measurement["dropped"].items():
                print(f"{'':27} without {runner}: {reason}", flush=True)
            if words.results and not words.small:
                keep(found)
        summary(found, part)
        heavy = {MODELS[number].trained for number in chosen if MODELS[number].decoder_heavy}
        if part == "training" and heavy:
            summary([time for time in found if time.model in heavy], "training, decoder-heavy models")


if __name__ == "__main__":
    main()
