"""What a call takes: little memory; where there is none, a MemoryError; and it can be interrupted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backstride.engine import VARIABLE
from implementations import COMPILED

pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="this installation is pure Python"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read and limited as Linux does it"),
]


def run_python(code: str, **words: str) -> list[str]:
    """The lines that a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **words},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


MEMORY = """
import sys
import numpy as np
import backstride as bs

def peak():
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))

def now():
    with open("/proc/self/statm") as file:
        return 4096 * int(file.read().split()[1])

x_shape, kernel_shape, strides, data_format, threads = {words}
bs.set_num_threads(threads)
x, kernel = np.ones(x_shape, np.float32), np.ones(kernel_shape, np.float32)
plan = bs.plan(kernel, strides=strides, data_format=data_format)
small = x[:1, :3] if data_format == "channels_last" else x[:1, :, :3]
_ = plan(np.ascontiguousarray(small))
with open("/proc/self/clear_refs", "w") as file:
    _ = file.write("5")
before = now()
y = plan(x)
print(peak() - before - y.nbytes, 2 * kernel.nbytes)
"""
LARGE = {  # x, kernel, strides: with a column buffer of 270 MB to 540 MB
    "2-D": ((1, 128, 128, 32), (32, 32, 4, 32), (8, 8)),
    "2-D k=s": ((1, 512, 512, 8), (8, 8, 4, 8), (8, 8)),
    "1-D to one channel": ((1, 100_000, 16), (1024, 1, 16), (256,)),
    "3-D": ((1, 32, 32, 32, 8), (8, 8, 8, 8, 8), (4, 4, 4)),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", LARGE)
def test_the_workspace_is_small(kind: str, data_format: str, threads: int) -> None:
    """At most 8 MiB for each thread beside the packed weights and the output: no column buffer, no second image."""
    x, kernel, strides = LARGE[kind]
    if data_format == "channels_first":
        x, kernel = (x[0], x[-1], *x[1:-1]), (kernel[-1], kernel[-2], *kernel[:-2])
    words = repr((x, kernel, strides, data_format, threads))
    (line,) = run_python(MEMORY.replace("{words}", words), **{VARIABLE: COMPILED[0]})
    growth, packed = map(int, line.split())
    assert growth <= packed + threads * 8 * 2**20 + 2**20


ALLOCATION = """
import resource
import numpy as np
import backstride as bs

def size():
    with open("/proc/self/statm") as file:
        return 4096 * int(file.read().split()[0])

bs.set_num_threads({threads})
random = np.random.default_rng(0)
x = random.integers(-3, 4, (2, 16, 16, 128)).astype(np.float32)
kernel = random.integers(-3, 4, (8, 8, 128, 128)).astype(np.float32)

def run():
    y = bs.conv_transpose(x, kernel, strides=4)
    return [array.tobytes() for array in (y, bs.conv(y, kernel, strides=4))]

refused = 0
unlimited = resource.getrlimit(resource.RLIMIT_AS)
for megabytes in {limits}:
    resource.setrlimit(resource.RLIMIT_AS, (size() + megabytes * 2**20, unlimited[1]))
    try:
        results = run()
    except MemoryError:
        refused += 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, unlimited)
assert refused > 0
assert run() == run() == results
bs.set_num_threads(1)
assert run() == results
print(refused)
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_too_little_memory_is_a_memory_error_and_nothing_else(threads: int, target: str) -> None:
    """Limits from next to nothing to enough, so that each allocation of a call is the one that fails once."""
    limits = [*range(0, 48, 2), 4000]
    (line,) = run_python(ALLOCATION.format(threads=threads, limits=limits), **{VARIABLE: target})
    assert 3 < int(line) < len(limits)


INTERRUPT = """
import signal
import time
import numpy as np
import backstride as bs

bs.set_num_threads(1)
x, kernel = np.ones((64, 32, 32, 64), np.float32), np.ones((4, 4, 64, 64), np.float32)
plan = bs.plan(kernel, strides=2)
_ = plan(x[:1])
started = time.process_time()
_ = plan(x[:4])
whole = 16 * (time.process_time() - started)
signal.signal(signal.SIGPROF, signal.default_int_handler)
signal.setitimer(signal.ITIMER_PROF, whole / 8)
started = time.process_time()
try:
    _ = plan(x)
except KeyboardInterrupt:
    signal.setitimer(signal.ITIMER_PROF, 0)
    print((time.process_time() - started) / whole)
assert np.array_equal(plan(x[:4]), plan(x[-4:]))
"""


@pytest.mark.usefixtures("target")
def test_a_long_call_can_be_interrupted() -> None:
    """Between images: after an eighth of the work, measured in processor time, the rest is left undone."""
    (share,) = run_python(INTERRUPT)
    assert float(share) < 0.5
