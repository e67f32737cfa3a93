"""The call and its program on the same numbers, side by side; each pair in a process of its own.

Run as `python -m backstride.port.check`: jobs come as JSON lines on standard input, results leave
on standard output. Only programs that stand in this package are run, never the user's text.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TextIO, cast

import numpy as np

from backstride import reference
from backstride.conform import runtimes
from backstride.conform.calls import Call
from backstride.conform.rows import ENVIRONMENT
from backstride.conventions import convert_kernel
from backstride.integers import Size
from backstride.layout import AnyArray, data_unview, data_view
from backstride.port.api import Port, port

SOURCES = {
    "torch": (runtimes.torch, ("torch",)),
    "tensorflow": (runtimes.tensorflow, ("tensorflow",)),
    "keras": (runtimes.keras, ("keras",)),
    "jax": (runtimes.jax, ("jax",)),
    "flax": (runtimes.flax, ("flax", "jax")),
    "equinox": (runtimes.equinox, ("equinox", "jax")),
    "onnx": (runtimes.onnxruntime, ("onnxruntime", "onnx")),
    "openvino": (runtimes.openvino, ("openvino",)),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One pair.

    `integers`: small whole numbers, so that equality is exact; `source`: run the call's framework
    too.
    """

    call: str
    to: str
    input: Size | None = None
    kernel: Size | None = None
    integers: bool = False
    source: bool = True
    names: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True)
class Difference:
    """`largest` absolute difference between `source` and `target`, whose values reach `scale`.

    None where `absent` says why it was not run.
    """

    source: str = ""
    target: str = ""
    largest: float | None = None
    scale: float = 0.0
    absent: str = ""

    def __str__(self) -> str:
        if self.largest is None:
            return f"not run: {self.absent}"
        ends = f"{self.target} and {self.source} differ by {self.largest:.2g} at most"
        return (
            f"on random data {ends}, of values up to "
            f"{self.scale:.2g}{self.absent and f': {self.absent}'}"
        )


def difference(job: Job) -> Difference:
    """Run one pair in a process of its own."""
    return next(differences([job]))


def differences(jobs: Iterable[Job]) -> Iterator[Difference]:
    """Run pairs one after the other in one process, which is started for them."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
    lines = "".join(f"{json.dumps(asdict(job))}\n" for job in jobs)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "backstride.port.check"],
        input=lines,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [Difference(**json.loads(line)) for line in done.stdout.splitlines()]
    yield from found
    if len(found) < lines.count("\n"):
        cause = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        yield Difference(absent=f"its process ended with {done.returncode}: {cause}")


def run(job: Job) -> Difference:
    """Run one pair here."""
    # JSON has lists for tuples.
    names = {
        name: tuple(cast("list[object]", it)) if isinstance(it, list) else it
        for name, it in job.names.items()
    }
    result = port(job.call, to=job.to, input=job.input, kernel=job.kernel, names=names)
    missing = result.target.missing()
    if missing is not None:
        return Difference(absent=missing)
    x, kernel, bias = _operands(result, integers=job.integers)
    name, expected = _expected(result, x, kernel, source=job.source)
    problem = result.problem
    expected = _finish(expected if bias is None else expected + bias, problem.activation)
    found = run_program(result, x, kernel, bias)
    if found.shape != expected.shape:
        return Difference(
            name,
            result.target.title,
            float("inf"),
            absent=f"sizes {expected.shape} and {found.shape}",
        )
    largest = float(np.max(np.abs(found - expected), initial=0.0))
    return Difference(
        name, result.target.title, largest, float(np.max(np.abs(expected), initial=0.0))
    )


def run_program(result: Port, x: AnyArray, kernel: AnyArray, bias: AnyArray | None) -> AnyArray:
    """The program's y, channels last, on our x (N, *input, C_small) and kernel.

    The kernel is (*k, C_big/groups, C_small).
    """
    convention = result.convention
    space: dict[str, AnyArray | None] = {
        "x": np.ascontiguousarray(data_unview(x, convention.data_format)),
        "kernel": convert_kernel(kernel, convention, groups=result.problem.groups),
        "bias": bias,
    }
    exec("\n".join(result.body.lines([])), space)  # noqa: S102  a program of ours, in which no text of the user stands
    return data_view(np.asarray(space["y"]), convention.data_format)


def _operands(result: Port, *, integers: bool) -> tuple[AnyArray, AnyArray, AnyArray | None]:
    problem, rng = result.problem, np.random.default_rng(0)
    shapes = [(1, *problem.where.input, problem.small), problem.kernel_shape, (problem.big,)]
    if integers:
        x, kernel, bias = (rng.integers(-4, 5, shape).astype(np.float32) for shape in shapes)
    else:
        x, kernel, bias = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
    return x, kernel, bias if problem.bias else None


def _expected(result: Port, x: AnyArray, kernel: AnyArray, *, source: bool) -> tuple[str, AnyArray]:
    """The call as its own framework runs it, or as our reference defines it without that."""
    problem, call = result.problem, result.call
    framework, _, transposed = call.framework.partition(", ")
    runtime, modules = SOURCES.get(framework, (None, ()))
    if (
        source
        and runtime is not None
        and all(importlib.util.find_spec(module) for module in modules)
    ):
        version, prepare = runtime()
        options = dict(call.options)
        kept = Call(
            problem.where.input,
            problem.where.kernel,
            options,
            problem.groups,
            problem.small,
            problem.big,
            1,
            bool(transposed),
        )
        return version, np.asarray(prepare(kept, x, kernel)())
    return "the definition", reference.conv_transpose(
        x, kernel, problem.where, groups=problem.groups
    )


def _finish(y: AnyArray, activation: str | None) -> AnyArray:
    match activation:
        case "relu":
            return np.maximum(y, 0)
        case "sigmoid":
            return 1 / (1 + np.exp(-y))
        case "tanh":
            return np.tanh(y)
        case _:
            return y


def main(source: TextIO, channel: TextIO) -> None:
    """Serve jobs until the input ends; what a job raises is its result."""
    for line in source:
        try:
            found = run(Job(**json.loads(line)))
        except Exception as error:  # noqa: BLE001  each framework refuses with exceptions of its own
            found = Difference(absent=f"{type(error).__name__}: {error}")
        print(json.dumps(asdict(found)), file=channel, flush=True)


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as protocol:
        _ = os.dup2(2, 1)
        main(sys.stdin, protocol)
        protocol.flush()
        # Some frameworks crash in their own teardown; everything was written.
        os._exit(0)
