"""The engine on PyTorch's threads: as many as PyTorch has, none of its own, and every promise as
before.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import backstride as bs
from implementations import COMPILED

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
threads: Any = importlib.import_module("backstride.torch.operator.threads")

pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="this installation is pure Python"),
    pytest.mark.skipif(
        not threads.share(),
        reason="this PyTorch does not run on an OpenMP library that can be shared",
    ),
]
PROGRAM = """
import os, signal
import numpy as np, torch
import backstride as bs, backstride.torch

def count():
    return len(os.listdir("/proc/self/task"))

def layer(size):
    random = np.random.default_rng(0)
    return random.standard_normal((2, size, size, 64), np.float32), random.standard_normal((4, 4, 32, 64), np.float32)

def run(size=24):
    return bs.conv_transpose(*layer(size), strides=2, padding=1)

torch.set_num_threads(3)
torch.randn(1 << 20).exp()
"""  # noqa: E501


def output_of(code: str) -> str:
    """What a new process prints after `PROGRAM`."""
    program = PROGRAM + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_as_many_threads_as_pytorch_has_unless_told_otherwise() -> None:
    before = torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            assert bs.get_num_threads() == number
            with ThreadPoolExecutor(1) as pool:  # a thread in which PyTorch has not computed yet
                assert pool.submit(bs.get_num_threads).result() == number
        bs.set_num_threads(2)
        assert bs.get_num_threads() == 2
        bs.set_num_threads(0)
        assert bs.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_no_threads_of_its_own() -> None:
    shared = output_of("before = count(); run(); print(count() - before)")
    assert shared.split() == ["0"]
    own = output_of("bs.set_num_threads(5); before = count(); run(64); print(count() - before)")
    assert own.split() == ["2"]  # PyTorch's library starts the missing ones


def test_a_forked_child_has_threads_of_its_own_and_the_same_bits() -> None:
    found = output_of("""
        expected = run()
        child = os.fork()
        if not child:
            before = count()
            same = run().tobytes() == expected.tobytes()
            os._exit(0 if same and count() - before == 2 else 1)
        print(os.waitpid(child, 0)[1], run().tobytes() == expected.tobytes())
    """)
    assert found.split() == ["0", "True"]


def test_a_call_is_interrupted_and_the_next_one_is_right() -> None:
    found = output_of("""
        class Stop(Exception):
            pass

        def stop(*_):
            raise Stop

        signal.signal(signal.SIGALRM, stop)
        expected = run()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            while True:
                run(200)
        except Stop:
            print("stopped")
        print(run().tobytes() == expected.tobytes())
    """)
    assert found.split() == ["stopped", "True"]
