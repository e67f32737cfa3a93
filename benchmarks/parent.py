"""The measuring process, from outside.

It gets jobs, and is ended and started again where a peer takes too long.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

WORKER = Path(__file__).with_name("worker.py")
START = 120.0  # seconds to import what is needed
PATIENCE, PER_BEST = (
    10.0,
    40.0,
)  # seconds for a peer to be made and called twice, and as many best calls on top
TURNS = 300.0
SPECIAL = 300.0


class Parent:
    """A worker with so many threads, on the layers of a file.

    Used in a `with` statement, after which it is gone.
    """

    def __init__(self, threads: int, runners: Iterable[str], file: Path) -> None:
        self.threads = threads
        self._file = file
        self._runners = tuple(runners)
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def cell(self, job: dict[str, Any]) -> dict[str, Any]:
        """Measure a cell, dropping whoever takes too long or breaks the process.

        The rest starts over then.
        """
        dropped: dict[str, str] = {}
        while True:
            runners = [name for name in job["runners"] if name not in dropped]
            self._send({**job, "runners": runners})
            current, allowed = "", START
            while True:
                event = self._next(allowed)
                if isinstance(event, str):
                    if not current:
                        message = f"layer {job['layer']}, {job['variant']}: the measurement {event}"
                        raise RuntimeError(message)
                    dropped[current] = event
                    break
                if event["kind"] == "cell":
                    return {**event, "dropped": {**event["dropped"], **dropped}}
                current = event["runner"]
                allowed = (
                    PATIENCE + PER_BEST * event["best"]
                    if current and event["best"] < 1e6
                    else TURNS
                )

    def special(self, name: str) -> dict[str, Any]:
        """Run one of the special cases."""
        self._send({"special": name})
        event = self._next(SPECIAL)
        if isinstance(event, str):
            message = f"{name}: the measurement {event}"
            raise RuntimeError(message)  # noqa: TRY004  the type says what happened
        return event

    def _send(self, job: dict[str, Any]) -> None:
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None
        _ = self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def _start(self) -> subprocess.Popen[str]:
        count = str(self.threads)
        quiet = {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "GLOG_minloglevel": "3",
            "NPROC": count,
            "OMP_NUM_THREADS": count,
        }
        process = subprocess.Popen(
            [sys.executable, str(WORKER), count, ";".join(self._runners), str(self._file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            text=True,
            env={**os.environ, **quiet},
        )
        self._events = queue.Queue()
        threading.Thread(target=_listen, args=(process, self._events), daemon=True).start()
        ready = self._events.get(timeout=START)
        if ready is None:
            message = (
                f"the measuring process ended with exit code {process.wait()}; BENCH_VERBOSE=1 "
                "shows what it says"
            )
            raise RuntimeError(message)
        return process

    def _next(self, seconds: float) -> dict[str, Any] | str:
        """The next event, or what went wrong; then the process is gone."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            self._end()
            return f"took more than {seconds:.0f} s"
        if event is None:
            assert self._process is not None
            code = self._process.wait()
            self._end()
            return f"ended the process with code {code}"
        return event

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            _ = self._process.wait()
            self._process = None


def _listen(process: subprocess.Popen[str], events: queue.Queue[dict[str, Any] | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        events.put(json.loads(line))
    events.put(None)
