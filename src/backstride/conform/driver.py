"""Starts one process for each row and gathers their results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from backstride.conform.rows import ENVIRONMENT, ROWS
from backstride.conform.table import Disagreement, Result

Progress = Callable[[str, int, int], None]


def run(
    frameworks: Sequence[str] | None = None,
    progress: Progress = lambda _row, _done, _total: None,
    *,
    limit: int | None = None,
    shift: int = 0,
) -> tuple[Result, ...]:
    """Compare the named rows, all without names, one after the other.

    >>> run(["nonesuch"])
    Traceback (most recent call last):
        ...
    ValueError: `frameworks` (=['nonesuch']) must be of torch, tensorflow, tensorflow-xla, keras, keras-jax, \
keras-torch, jax, flax, equinox, onnxruntime, onnx-onnxruntime, onnx-reference, openvino, \
torch-gradient, tensorflow-gradient, keras-gradient, keras-jax-gradient, keras-torch-gradient, jax-gradient, \
flax-gradient, equinox-gradient, litert, ncnn; unknown is 'nonesuch'

    `progress(row, done, total)` is called now and then. `limit` runs fewer calls of each. `shift`
    puts every rule that many cells off on purpose: with 1, most calls must disagree, or the
    comparison is worth nothing.

    A framework that is not installed, or whose process dies, gives a `Result` with `absent` set to
    the reason. All calls of all rows take some minutes; the rows that compile every call (JAX,
    Flax, Equinox, OpenVINO) most. Raises `ValueError` for an unknown name.
    """  # noqa: E501
    names = list(ROWS) if frameworks is None else list(frameworks)
    for name in names:
        if name not in ROWS:
            message = f"`frameworks` (={names!r}) must be of {', '.join(ROWS)}; unknown is {name!r}"
            raise ValueError(message)
    return tuple(_row(name, progress, limit, shift) for name in names)


def _row(name: str, progress: Progress, limit: int | None, shift: int) -> Result:
    total = ROWS[name].calls if limit is None else min(limit, ROWS[name].calls)
    command = [sys.executable, "-m", "backstride.conform.worker", name, str(total), str(shift)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, **ENVIRONMENT, **ROWS[name].environment, "PYTHONPATH": path}
    result = None
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(  # noqa: S603  our own interpreter and module
            command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                message = json.loads(line)
                result = _result(message["result"]) if "result" in message else result
                progress(name, message.get("done", total), total)
        if result is not None:
            return result
        return Result(name, ROWS[name].convention, absent=_cause(process.returncode, log))


def _result(fields: dict[str, Any]) -> Result:
    disagreements = tuple(Disagreement(**entry) for entry in fields.pop("disagreements"))
    return Result(**fields, disagreements=disagreements)


def _cause(code: int, log: TextIO) -> str:
    _ = log.seek(0)
    lines = log.read().strip().splitlines() or ["no message"]
    return f"its process ended with {code}: {lines[-1][:200]}"
