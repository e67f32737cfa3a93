"""Every call to every target that runs here: the printed program's result has every bit of the
call's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backstride import reference
from backstride.port import port
from backstride.port.check import Job, differences, run_program
from backstride.port.targets import TARGETS
from port_sources import SOURCES, jobs

RUN_HERE = [name for name in TARGETS if name != "coreml"]


def marked(name: str) -> object:
    return name if name == "torch" else pytest.param(name, marks=pytest.mark.frameworks)


def verify(work: list[Job]) -> None:
    found = list(differences(work))
    wrong = [
        f"{job.call}: {result}"
        for job, result in zip(work, found, strict=False)
        if result.largest != 0.0
    ]
    assert (wrong, len(found)) == ([], len(work))


def test_there_are_more_than_400_pairs() -> None:
    pairs = {(call, to) for call, _, _ in SOURCES for to in RUN_HERE}
    assert len(pairs) >= 400


@pytest.mark.parametrize("name", [marked(name) for name in RUN_HERE])
def test_programs_compute_the_call(name: str) -> None:
    missing = TARGETS[name].missing()
    if missing is not None:
        pytest.skip(missing)
    verify(jobs(name, source=False))


@pytest.mark.frameworks
def test_calls_are_what_their_own_frameworks_compute() -> None:
    work = jobs("torch")
    found = list(differences(work))
    sources = {result.source.partition(" ")[0] for result in found}
    assert {"torch", "keras", "tensorflow", "jax", "flax", "equinox"} <= sources
    assert [
        f"{job.call}: {result}"
        for job, result in zip(work, found, strict=True)
        if result.largest != 0.0
    ] == []


def test_a_wrong_program_is_caught() -> None:
    _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    result = port("k=3 s=2 p=[(1,0)] cin=1 cout=1", to="torch", input=4)
    x, kernel = np.arange(1.0, 5).reshape(1, 4, 1), np.arange(1.0, 4).reshape(3, 1, 1)
    x, kernel = x.astype(np.float32), kernel.astype(np.float32)
    expected = reference.conv_transpose(x, kernel, result.geometry)
    assert np.array_equal(run_program(result, x, kernel, None), expected)
    # The other side of the odd cell: the right size, and wrong.
    setup = tuple(
        line.replace("padding=1, output_padding=1", "padding=0") for line in result.body.setup
    )
    lines = ("y = layer(x)", "return y[:, :, :-1]")
    wrong = replace(result, body=replace(result.body, setup=setup, up=lines))
    found = run_program(wrong, x, kernel, None)
    assert found.shape == expected.shape
    assert not np.array_equal(found, expected)
