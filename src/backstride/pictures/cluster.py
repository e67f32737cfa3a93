"""Items over the workers of a Ray cluster, each with its own network; failures are tried again.

All machines must see the inputs, the network and the output folder under the same paths. An output
is written once: whole, by the worker that finished it; a worker that takes over from one that died
leaves it as it is.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import shutil
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from backstride.files import make_folder
from backstride.pictures.items import Item
from backstride.pictures.job import Counting, Job
from backstride.pictures.manifest import Outcome, Skipped
from backstride.pictures.runner import Runner

TRIES = 2
AT_ONCE = 8  # items that a worker takes at a time
TRIED = ".tries"


def run_on_cluster(
    job: Job, waiting: list[Item], workers: int, progress: Counting | None
) -> Iterator[tuple[Item, Outcome]]:
    """Run on so many workers of the cluster that RAY_ADDRESS names, or of one started here.

    What could not be read is tried once more; so is what a worker had in hand that died. Raises
    `OSError` where a worker cannot write, `ValueError` where the network cannot be loaded or the
    cluster fails.
    """
    _ = job.load()  # what is wrong with it is said here, in one sentence, and not by each worker
    job = job.absolute()
    todo = {item.name: Item(item.source.absolute(), item.name) for item in waiting}
    own = {item.name: item for item in waiting}
    done = 0
    with _cluster(workers) as ray, tried(job.out):
        for last in (False, True):
            failed: dict[str, Item] = {}
            for outcome in _mapped(ray, job, list(todo.values()), workers) if todo else ():
                if outcome.reason and not last:
                    failed[outcome.name] = todo[outcome.name]
                    continue
                done += 1
                if progress is not None:
                    progress("files", done, len(waiting))
                yield own[outcome.name], outcome
            todo = failed


def _mapped(ray: ModuleType, job: Job, items: list[Item], workers: int) -> Iterator[Outcome]:
    rows = [{"source": str(item.source), "name": item.name} for item in items]
    workers = min(workers, len(rows))  # Ray warns of more
    groups = max(workers, -(-len(rows) // AT_ONCE))
    made = ray.data.from_items(rows, override_num_blocks=groups).map_batches(
        Work,
        batch_size=AT_ONCE,
        fn_constructor_args=(job,),
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=1 if job.device == "cuda" else 0,
    )
    for row in _rows(ray, made):
        outcome = json.loads(row["outcome"])
        if outcome["fatal"]:
            raise OSError(outcome["fatal"])
        skipped = tuple(Skipped(**entry) for entry in outcome["skipped"])
        yield Outcome(outcome["name"], outcome["frames"], skipped, outcome["reason"])


def _rows(ray: ModuleType, made: Any) -> Iterator[Mapping[str, str]]:
    try:
        yield from made.iter_rows()
    except ray.exceptions.RayError as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        message = (
            f"the Ray cluster failed: {words[-1][:200]}; what was finished stays, and the same "
            "command goes on"
        )
        raise ValueError(message) from None


class Work:
    """What a worker holds: the job, and the network, loaded once."""

    def __init__(self, job: Job) -> None:
        self._job, self._runner = job, Runner(job)

    def __call__(self, batch: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Columns of items to a column of outcomes, as JSON."""
        items = [
            Item(Path(source), name)
            for source, name in zip(batch["source"], batch["name"], strict=True)
        ]
        return {"outcome": [json.dumps(outcome) for item in items for outcome in self._one(item)]}

    def _one(self, item: Item) -> Iterator[dict[str, object]]:
        outcome, fatal = Outcome(item.name, frames=1), ""
        if not all(path.is_file() for path in self._job.places(item).values()):
            if _tries(self._job.out, item.name) > TRIES:
                outcome = Outcome(item.name, reason=f"{item.source} ended {TRIES} workers")
            else:
                try:
                    ((_, outcome),) = self._runner.run([item])
                except OSError as error:
                    fatal = (
                        f"{error.filename or self._job.out} cannot be written: "
                        f"{error.strerror or error}"
                    )
        yield {**asdict(outcome), "fatal": fatal}


def _tries(out: Path, name: str) -> int:
    """Count a try, on disk: a worker that dies takes its memory with it."""
    path = out / TRIED / hashlib.sha256(name.encode()).hexdigest()
    with path.open("ab") as file:
        _ = file.write(b".")
    return path.stat().st_size


@contextmanager
def tried(out: Path) -> Generator[None]:
    """A folder for the counts of tries, gone afterwards."""
    folder = out / TRIED
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _cluster(workers: int) -> Generator[ModuleType]:
    """Ray with its data part, connected.

    What was started here is stopped, without pages or reports to anybody.
    """
    _ = os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray, data = (importlib.import_module(name) for name in ("ray", "ray.data"))
    except ModuleNotFoundError:
        message = (
            "`workers` needs Ray, which is missing; install it with: pip install 'backstride[ray]'"
        )
        raise ImportError(message) from None
    ours = not ray.is_initialized()
    if ours:
        options: dict[str, object] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if "RAY_ADDRESS" not in os.environ:
            options |= {"num_cpus": workers, "include_dashboard": False}
        ray.init(**options)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
