"""The machine's limits, measured.

Peak of fused multiply-adds, and the rate of a copy for working sets of many sizes.

    python benchmarks/limits.py

The program that measures is limits.cpp, compiled with the system's compiler ($CXX, or c++) for this
processor. A layer's limit is the roofline of Williams, Waterman and Patterson, "Roofline", CACM
52(4), 2009: the longer of useful work at the peak, and input, output and kernel moved once at the
rate at which a copy of as many bytes runs when it is repeated, as the layer is: what fits in a
cache may stay there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from layers import Layer

SOURCE = Path(__file__).with_name("limits.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-ffp-contract=fast", "-pthread")


@dataclass(frozen=True, slots=True)
class Limits:
    """`peak` in GFLOP/s.

    `copy` and `read` as (bytes of the working set, GB/s), the smallest first.
    """

    threads: int
    peak: float
    copy: tuple[tuple[int, float], ...]
    read: tuple[tuple[int, float], ...]

    @property
    def memory(self) -> float:
        """GB/s of a copy beyond the caches, read and written bytes together."""
        return self.copy[-1][1]

    def rate(self, megabytes: float) -> float:
        """GB/s of a copy with such a working set."""
        return next((rate for size, rate in self.copy if size >= 1e6 * megabytes), self.memory)

    def milliseconds(self, layer: Layer) -> tuple[float, str]:
        """How long a layer takes at least, and what limits it: "peak" or "memory"."""
        work, moved = layer.gflop / self.peak * 1e3, layer.megabytes / self.rate(layer.megabytes)
        return max((work, "peak"), (moved, "memory"))


def measure(threads: int) -> Limits:
    """Compile and run limits.cpp.

    Raises `CalledProcessError` where there is no working compiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "limits"
        compiler = os.environ.get("CXX", "c++")
        _ = subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(program)], check=True)
        done = subprocess.run(
            [str(program), str(threads)], check=True, capture_output=True, text=True
        )
    peak, *lines = (line.split() for line in done.stdout.splitlines())
    rates = {
        kind: tuple((int(size), float(rate)) for name, size, rate in lines if name == kind)
        for kind in ("copy", "read")
    }
    return Limits(threads, float(peak[1]), rates["copy"], rates["read"])


if __name__ == "__main__":
    for count in (1, 2):
        limits = measure(count)
        print(f"{count} threads: peak {limits.peak:.0f} GFLOP/s")
        for (size, copied), (_, rate) in zip(limits.copy, limits.read, strict=True):
            print(f"  {size / 2**20:8.3f} MiB: copy {copied:6.1f} GB/s, read {rate:6.1f} GB/s")
