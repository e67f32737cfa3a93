"""`python -m backstride.survey.vgg16`.

VGG-16's conversion and its speed-up over the sliding window, on one core. The classifier on batches
of all crops of a 512 x 512 image, 32 pixels apart, against the network on the image; one after the
other in one process.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from backstride.surgery import convolutionalize, prove
from backstride.survey.torch_entries import seed, vgg16

SHAPE, SIDE = (3, 224, 224), 512


def main() -> None:
    """Measure and print."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    seed()
    model = vgg16().eval()
    weights = sum(value.numel() * value.element_size() for value in model.parameters())
    before = _reset_peak()
    start = time.perf_counter()
    network, report = convolutionalize(model, SHAPE)
    seconds = time.perf_counter() - start
    taken = _peak() - before
    _say(
        f"conversion: {seconds:.2f} s, {taken / weights:.2f} times the weights' "
        f"{weights / 2**20:.0f} MiB at most"
    )
    image = np.random.default_rng(0).normal(size=(3, SIDE, SIDE)).astype(np.float32)
    proof = prove(model, network, report, image, timed=True)
    _say(*proof.lines())


def _reset_peak() -> int:
    """Start counting the peak anew; the bytes that are resident now."""
    _ = Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak()


def _peak() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _say(*lines: str) -> None:
    _ = sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
