"""What a run leaves behind: five pictures and a page."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backstride.demo import pictures
from backstride.demo.metrics import Matrix
from backstride.demo.pictures import Grid
from backstride.demo.report import Example, Findings, page
from backstride.demo.result import DemoResult
from backstride.demo.scenes import BACKGROUND, LabelMaps, Scenes
from backstride.files import check_folder, make_folder, write_beside

SHOWN = 4  # scenes on the page: the first of the held-out ones
IN_OVERVIEW = 2
ENLARGED = 4
PICTURES = ("scene.png", "coarse.png", "labels.png", "truth.png", "overview.png")
FILES = ("report.html", *PICTURES)
TITLES = ("scene", "classifier, coarse", "labels found", "truth")


@dataclass(frozen=True)
class Exhibit:
    """What there is to show, beside the result's figures.

    `scenes`: held-out ones; `coarse`: the classifier's scores on the first of them, (N, 10, h, w);
    `found`: the network's label maps. `losses`: of each batch, the first `decoder_steps` of them
    with the encoder frozen. `matrix`: the confusion matrix over all held-out scenes. `proof` and
    `surgery`: fragments of HTML.
    """

    scenes: Scenes
    coarse: NDArray[np.floating]
    found: LabelMaps
    losses: Sequence[float]
    decoder_steps: int
    matrix: Matrix
    proof: str
    surgery: str

    def write(self, result: DemoResult, out: Path) -> None:
        """Write every file; each appears whole."""
        size = self.scenes.images.shape[1:]
        stride = result.proof.stride
        grid = Grid(stride, int(result.proof.offset + 0.5) - stride // 2)
        examples = [
            Example(
                pictures.grey(self.scenes.images[at]),
                pictures.heat(self.coarse[at], grid, (size[0], size[1])),
                pictures.coloured(self.found[at]),
                pictures.coloured(self.scenes.labels[at]),
            )
            for at in range(SHOWN)
        ]
        heats = [
            pictures.heat_of(self.coarse[0], digit, grid, (size[0], size[1]))
            for digit in range(BACKGROUND)
        ]
        rows = [(one.scene, one.coarse, one.labels, one.truth) for one in examples]
        enlarged = [pictures.png(picture, ENLARGED) for picture in rows[0]]
        overview = pictures.png(pictures.sheet(rows[:IN_OVERVIEW], TITLES))
        for name, data in zip(PICTURES, (*enlarged, overview), strict=True):
            write_beside(out / name, data)
        findings = Findings(
            figures=_figures(result),
            examples=examples,
            heats=heats,
            losses=self.losses,
            frozen_steps=self.decoder_steps,
            matrix=self.matrix,
            summary=_summary(result, len(self.scenes)),
            article=result.article.values,
            proof=self.proof,
            surgery=self.surgery,
        )
        write_beside(out / "report.html", page(findings))


def _figures(result: DemoResult) -> list[tuple[str, str]]:
    proof = result.proof
    return [
        (f"{result.accuracy:.1%}", "of 1,000 held-out digits named right"),
        (f"{proof.exact} of {proof.compared}", "cells equal the classifier on their crop"),
        (f"{proof.native_difference:.1e}", "largest difference at 28 x 28"),
        (f"{result.mean_iou_decoder:.3f}", "mean IoU, decoder tuned alone"),
        (f"{result.mean_iou:.3f}", "mean IoU, all layers tuned"),
    ]


def _summary(result: DemoResult, scenes: int) -> list[str]:
    rows, columns = result.proof.cells
    story = (
        "A CNN was trained to name one digit in a 28 x 28 image: 4,000 MNIST digits, no scene. Its "
        "flattening and dense layers became convolutions, so it takes a 112 x 112 scene and gives "
        f"{rows} x {columns} answers, one every {result.proof.stride} pixels. Transposed "
        "convolutions and 1x1 skips lift these to a label a pixel."
    )
    test = (
        f"Tuned on scenes of the same 4,000 digits, it was measured on {scenes} scenes made only "
        "of the 1,000 others. A pixel is a digit's where that digit's ink is brightest and at "
        "least half of white; all else, strokes, specks and scraps of digits included, is "
        "background."
    )
    tuned = (
        "With the classifier's own layers frozen, tuning the decoder brought a mean IoU of "
        f"{result.mean_iou_decoder:.3f}; tuning all layers then brought {result.mean_iou:.3f}. The "
        "proof and the coarse maps are of the network before either."
    )
    effort = (
        f"Seed {result.seed}, threads {result.threads}{', quick' if result.quick else ''}: "
        f"{result.seconds:.0f} seconds, {result.cpu_seconds:.0f} of CPU time."
    )
    return [story, test, tuned, effort]


def check_writable(out: Path) -> None:
    """Make the folder, and make sure that files can be made in it.

    Raises `ValueError` where it is a file or what it lies in is no folder, and `OSError` where it
    cannot be written to.
    """
    check_folder("out", out)
    try:
        make_folder(out)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        message = (
            f"`out` (={str(out)!r}) cannot be written to: {os.strerror(error.errno or 0).lower()}"
        )
        raise OSError(message) from None
