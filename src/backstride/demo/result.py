"""What a run of the demo found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from backstride.demo.article import ArticleCheck


@dataclass(frozen=True, slots=True)
class ProofFigures:
    """The proof in numbers.

    `native_difference`: largest difference between network and classifier at 28x28. `cells`: (rows,
    columns) of the coarse map of the scene. `compared`, `expected`, `exact`: how many cells were
    compared with the classifier on their crop, how many of them must be equal, how many are within
    1e-5. `largest_deviation`: of those that must be equal. `stride` and `offset` tie cell i to
    pixel `offset + i*stride`, the middle of its crop.
    """

    holds: bool
    native_difference: float
    cells: tuple[int, int]
    compared: int
    expected: int
    exact: int
    largest_deviation: float
    stride: int
    offset: float


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The figures of one run.

    All but `seconds` and `cpu_seconds` repeat with the seed and the number of threads. `accuracy`:
    of the classifier on held-out digits. `mean_iou`: over 10 digits and background, on scenes of
    held-out digits, with all layers tuned; `mean_iou_decoder`: before, when only the decoder was.
    `iou`: of each class, the background last; NaN, in plain data None, for a class that no scene
    has. `files`: what was written.
    """

    seed: int
    quick: bool
    threads: int
    article: ArticleCheck
    accuracy: float
    proof: ProofFigures
    mean_iou_decoder: float
    mean_iou: float
    iou: tuple[float, ...]
    seconds: float
    cpu_seconds: float
    files: tuple[Path, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain data for JSON."""
        proof = self.proof
        return {
            "seed": self.seed,
            "quick": self.quick,
            "threads": self.threads,
            "article": self.article.as_dict(),
            "accuracy": self.accuracy,
            "proof": {
                "holds": proof.holds,
                "native_difference": proof.native_difference,
                "cells": list(proof.cells),
                "compared": proof.compared,
                "expected": proof.expected,
                "exact": proof.exact,
                "largest_deviation": proof.largest_deviation,
                "stride": proof.stride,
                "offset": proof.offset,
            },
            "mean_iou_decoder": self.mean_iou_decoder,
            "mean_iou": self.mean_iou,
            "iou": [None if math.isnan(union) else union for union in self.iou],
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "files": [str(path) for path in self.files],
        }
