"""One row of the table of whole models, measured in a process of its own.

It is ended where a runner takes too long. The process says what it is about to prepare
(torch.compile runs a C++ compiler), then that it measures, then the times. A runner that takes
longer than it may, fails, or takes the process with it, is left out with the reason, and the row
starts over without it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from records import mend, write

PREPARING, MEASURING = 90.0, 300.0  # seconds


@dataclasses.dataclass(frozen=True)
class Job:
    """What is measured: a part of a model, by which runners."""

    part: str
    model: str
    threads: int
    runners: tuple[str, ...]
    seconds: float
    small: bool

    @property
    def key(self) -> str:
        """By what a measurement is found again: all but the runners and the time."""
        return f"{self.part} {self.model} {self.threads} {self.small}"


def measured(job: Job) -> dict[str, Any]:
    """The times of a row in seconds, by runner, and who was left out for what reason."""
    dropped: dict[str, str] = {}
    while True:
        left = dataclasses.replace(
            job, runners=tuple(name for name in job.runners if name not in dropped)
        )
        found = _tried(left)
        if "times" in found:
            return {"key": job.key, "times": found["times"], "dropped": dropped}
        name, reason = found["runner"], found["reason"]
        if not name:
            message = f"{job.part} of model {job.model}: the measurement {reason}"
            raise RuntimeError(message)
        dropped[name] = reason


def _tried(job: Job) -> dict[str, Any]:
    events: queue.Queue[dict[str, Any]] = queue.Queue()
    words = {"OMP_NUM_THREADS": str(job.threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(dataclasses.asdict(job))],
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
        text=True,
        env={**os.environ, **words},
    )
    listener = threading.Thread(target=_listen, args=(process, events), daemon=True)
    listener.start()
    runner = ""
    try:
        while True:
            event = events.get(timeout=PREPARING if runner else MEASURING)
            if "times" in event:
                return event
            if "failed" in event:
                return {"runner": runner, "reason": event["failed"]}
            runner = event["runner"]
    except queue.Empty:
        return {
            "runner": runner,
            "reason": f"took more than {PREPARING if runner else MEASURING:.0f} s",
        }
    finally:
        process.kill()
        _ = process.wait()
        listener.join()


def _listen(process: subprocess.Popen[str], events: queue.Queue[dict[str, Any]]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if line.startswith("{"):
                events.put(json.loads(line))
    events.put(
        {
            "failed": (
                f"ended the process with code {process.wait()}; BENCH_VERBOSE=1 shows what it says"
            )
        }
    )


class Kept:
    """Rows that were measured on a processor, in a file of lines that a later run goes on with.

    Raises ValueError where the file is no such one, or of another processor.
    """

    def __init__(self, path: Path, *, resume: bool, processor: str) -> None:
        self._path, self._processor = path, processor
        if not resume:
            path.unlink(missing_ok=True)
        mend(path)
        self._known: dict[str, dict[str, Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                row = json.loads(line)
                self._known[row["key"]], where = row, row["processor"]
            except (ValueError, KeyError, TypeError):
                message = (
                    f"it holds no measurements of this form ({line[:40]}); run without --resume"
                )
                raise ValueError(message) from None
            if where != processor:
                message = f"it was measured on {where}; run without --resume"
                raise ValueError(message)

    def __contains__(self, job: Job) -> bool:
        return job.key in self._known

    def row(self, job: Job) -> dict[str, Any]:
        """The measurement of a row, made where there is none yet."""
        if job not in self:
            self._known[job.key] = row = {**measured(job), "processor": self._processor}
            write(self._path, row)
        return self._known[job.key]


def main() -> None:
    """The measuring process: say each step as a line of JSON."""
    from torch_run import timed  # noqa: PLC0415  the parent needs no model

    def say(event: dict[str, Any]) -> None:
        print(json.dumps(event), flush=True)

    job = json.loads(sys.argv[1])
    say({"times": timed(Job(**job), lambda name: say({"runner": name}))})


if __name__ == "__main__":
    main()
