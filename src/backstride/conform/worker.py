"""One row in a process of its own: `python -m backstride.conform.worker ROW LIMIT SHIFT`.

Frameworks do not share a process well: Keras fixes its backend at import, and a crash would take
the table along. Writes JSON lines to the standard output it was given, and sends what frameworks
print there to standard error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TextIO

from backstride.conform.calls import Call
from backstride.conform.grid import grid
from backstride.conform.rows import ROWS
from backstride.conform.table import Result, compare
from backstride.conventions import CONVENTIONS
from backstride.geometry import Geometry, Size


def work(name: str, limit: int, shift: int, channel: TextIO) -> None:
    """Compare the first `limit` calls of a row.

    Write {"done": n} now and then, and the result at the end.
    """
    row = ROWS[name]
    missing = [module for module in row.needs if importlib.util.find_spec(module) is None]
    if missing:
        result = Result(name, row.convention, absent=f"{', '.join(missing)} is not installed")
        _write(channel, {"result": asdict(result)})
        return
    version, prepare = row.runtime()
    constructor = CONVENTIONS[row.convention].constructor
    last = time.monotonic()

    def rule(*sizes: Size, **arguments: object) -> Geometry:
        return shifted(constructor(*sizes, **arguments), shift)

    def progress(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            _write(channel, {"done": done})

    calls = grid(row.grid or row.convention, limit)
    kept = [call for call in calls if not row.legal or _legal(call, constructor)]
    result = compare(
        name, row.convention, rule, prepare, kept, gradient=row.gradient, progress=progress
    )
    _write(channel, {"result": {**asdict(result), "version": version}})


def _legal(call: Call, rule: Callable[..., Geometry]) -> bool:
    try:
        _ = rule(call.input, call.kernel, **call.arguments)
    except (ValueError, TypeError):
        return False
    return True


def shifted(geometry: Geometry, cells: int) -> Geometry:
    """The geometry with `cells` more cropped off the front and fewer off the end.

    A wrong rule on purpose.
    """
    crop = tuple((before + cells, after - cells) for before, after in geometry.crop)
    return Geometry(geometry.input, geometry.kernel, geometry.strides, geometry.dilation, crop)


def _write(channel: TextIO, message: Mapping[str, object]) -> None:
    print(json.dumps(message), file=channel, flush=True)


def main() -> None:
    """Read the arguments, and keep standard output for the protocol."""
    name, limit, shift = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        _ = os.dup2(2, 1)
        work(name, limit, shift, channel)
        channel.flush()
        # Some frameworks crash in their own teardown; everything was written.
        os._exit(0)


if __name__ == "__main__":
    main()
