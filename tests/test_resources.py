"""What a call takes: little memory; where there is none, a MemoryError; and it can be
interrupted.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backstride import recent
from backstride.engine import VARIABLE
from implementations import COMPILED

pytestmark = [
    pytest.mark.skipif(not COMPILED, reason="this installation is pure Python"),
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="memory is read and limited as Linux does it"
    ),
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
    """At most 8 MiB for each thread beside the packed weights and the output: no column buffer, no
    second image.
    """
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
    """Limits from next to nothing to enough, so that each allocation of a call is the one that
    fails once.
    """
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
    """Between images: after an eighth of the work, measured in processor time, the rest is left
    undone.
    """
    (share,) = run_python(INTERRUPT)
    assert float(share) < 0.5


STOPPED = """
import signal
import time
import numpy as np
import backstride as bs

def handler(*_):
    global heard
    heard += 1
    if heard == {most}:
        raise KeyboardInterrupt

x, kernel = np.ones((1, 160, 160, 32), np.float32), np.ones((5, 5, 32, 32), np.float32)
if "{name}" == "definition":
    run = bs.plan(kernel, algorithm="definition")
elif "{name}" == "conv":
    run = lambda x: bs.conv(x, kernel)
elif "{name}" == "gradient":
    y = np.ones((1, 156, 156, 32), np.float32)
    run = lambda x: bs.conv_kernel_gradient(x, y, kernel.shape)
    _ = bs.conv_kernel_gradient(x[:, :5, :5].copy(), y[:, :1, :1].copy(), kernel.shape)
else:
    run = lambda x: bs.conv_transpose(x, kernel)
heard = 0
if "{name}" != "gradient":
    _ = run(x[:, :5, :5].copy())
_ = signal.signal(signal.SIGPROF, handler)
_ = signal.setitimer(signal.ITIMER_PROF, 0.03, 0.03)
try:
    _ = run(x)
    found = "ended"
except KeyboardInterrupt:
    found = "stopped"
_ = signal.setitimer(signal.ITIMER_PROF, 0)
print(found, heard)
"""


@pytest.mark.parametrize("name", ["definition", "conv_transpose", "conv", "gradient"])
def test_the_plain_loops_are_interrupted_too_and_end_while_handlers_run(name: str) -> None:
    words = {VARIABLE: COMPILED[0] if name == "definition" else "direct"}
    assert run_python(STOPPED.format(name=name, most=2), **words) == ["stopped 2"]
    ended, heard = run_python(STOPPED.format(name=name, most=0), **words)[0].split()
    assert ended == "ended"
    assert int(heard) > 2


HANDLER = """
import signal
import numpy as np
import backstride as bs

bs.set_num_threads({threads})
random = np.random.default_rng(0)
x, kernel = (random.integers(-3, 4, shape).astype(np.float32) for shape in ((8, 32, 32, 128), (4, 4, 128, 128)))
small = x[:1, :4, :4].copy()
model = bs.plan(kernel, strides=2)
expected, expected_small = model(x), model(small)
assert np.array_equal(bs.conv_transpose(small, kernel, strides=2), expected_small)
results = []

def handler(*_):
    results.append(np.array_equal(plan(small), expected_small))
    results.append(np.array_equal(bs.conv_transpose(small, kernel, strides=2), expected_small))

_ = signal.signal(signal.SIGPROF, handler)
for data in (x, np.asfortranarray(x), x[:, ::-1].copy()[:, ::-1]):
    for _ in range(2):
        plan = bs.plan(kernel, strides=2)
        _ = signal.setitimer(signal.ITIMER_PROF, 0.001, 0.003)
        found = plan(data)
        _ = signal.setitimer(signal.ITIMER_PROF, 0)
        results.append(np.array_equal(found, expected))
print(all(results), len(results))
"""  # noqa: E501


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signals_handler_may_call_the_plan_that_is_being_packed_and_run(
    threads: int, target: str
) -> None:
    right, count = run_python(HANDLER.format(threads=threads), **{VARIABLE: target})[0].split()
    assert right == "True"
    assert int(count) > 6


FORK = """
import os
import signal
import threading
import numpy as np
import backstride as bs
from backstride import recent

random = np.random.default_rng(0)
x, kernel = (random.standard_normal(shape, np.float32) for shape in ((1, 4, 4, 256), (4, 4, 256, 256)))
expected = bs.plan(kernel, strides=2)(x)
wrong = 0
for attempt in range({attempts}):
    plan, started = bs.plan(kernel, strides=2), threading.Event()

    def work():
        _ = started.set()
        _ = plan(x), bs.conv_transpose(x, kernel + attempt, strides=2)

    thread = threading.Thread(target=work)
    thread.start()
    _ = started.wait()
    child = os.fork()
    if child == 0:
        _ = signal.alarm(60)  # a child that hangs ends by it
        same = np.array_equal(plan(x), expected) and np.array_equal(bs.conv_transpose(x, kernel, strides=2), expected)
        os._exit(0 if same else 1)
    wrong += os.waitpid(child, 0)[1] != 0
    thread.join()
with recent._lock:
    child = os.fork()
    if child == 0:
        _ = signal.alarm(60)
        thread = threading.Thread(target=lambda: bs.conv_transpose(x, kernel, strides=2))
        thread.start()
        thread.join()
        os._exit(0)
    wrong += os.waitpid(child, 0)[1] != 0
print(wrong)
"""  # noqa: E501


def test_a_child_that_is_forked_while_another_thread_packs_and_looks_up_computes() -> None:
    assert run_python(FORK.format(attempts=8)) == ["0"]


THREADS = """
import os
import resource
import threading
import numpy as np
import backstride as bs

bs.set_num_threads(3)
x, kernel = np.ones((2, 16, 16, 64), np.float32), np.ones((4, 4, 64, 64), np.float32)
plan = bs.plan(kernel, strides=2)
_ = plan(x)

def size():
    with open("/proc/self/statm") as file:
        return 4096 * int(file.read().split()[0])

ends = set()
for kilobytes in range({first}, {last}, {step}):
    child = os.fork()  # with no threads yet
    if child == 0:
        _ = resource.setrlimit(resource.RLIMIT_AS, (size() + kilobytes * 1024, resource.RLIM_INFINITY))
        try:
            _ = plan(x)
        except MemoryError:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    ends.add(status)
print(*sorted(ends))
"""  # noqa: E501


def test_threads_that_begin_without_memory_end_no_process() -> None:
    """Limits around that of a thread's stack and its own variables."""
    (line,) = run_python(THREADS.format(first=0, last=20000, step=128))
    assert set(map(int, line.split())) <= {0, 256}


def test_a_cache_keeps_the_newest_within_its_bounds() -> None:
    cache: recent.Cache[bytes] = recent.Cache(3, 10, len)
    for size, kept in (
        (4, [4]),
        (5, [4, 5]),
        (3, [5, 3]),
        (1, [5, 3, 1]),
        (0, [3, 1, 0]),
        (3, [1, 0, 3]),
        (11, []),
    ):
        cache.keep((size,), bytes(size))
        assert [len(value) for value in cache.values()] == kept
