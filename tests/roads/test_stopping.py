"""A run that is asked to stop ends in one sentence, with its processes gone, and goes on
afterwards.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

import pytest

from backstride.roads import stopping
from backstride.roads.stopping import Asked, Stopped, deaf, stoppable

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GOES_ON = "backstride: stopped; what was finished is whole, and --resume goes on there\n"
WORDS = (
    "--scenes 6 --held-out-scenes 2 --size 64x96 --batch 2 --encoder mobilenetv3-minimal "
    "--accelerator cpu"
)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_block_in_one_exception(number: int) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(Stopped) as caught, stoppable(lambda: "stopped here"):
        signal.raise_signal(number)
    assert (str(caught.value), caught.value.signal) == ("stopped here", number)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert [signal.getsignal(each) for each in SIGNALS] == before


def broken() -> None:
    message = "a process that reads is gone"
    raise RuntimeError(message)


def test_what_the_signal_broke_inside_is_not_told() -> None:
    def stopped() -> None:
        with stoppable(lambda: "stopped"):
            try:
                signal.raise_signal(signal.SIGTERM)
            except Asked:
                broken()

    with pytest.raises(Stopped, match=r"^stopped$"):
        stopped()
    with pytest.raises(RuntimeError, match="is gone"), stoppable(lambda: "stopped"):
        broken()


def test_a_request_that_was_lost_is_raised_again() -> None:
    def lost() -> None:
        with stoppable(lambda: "stopped") as stop:
            stop.check()
            with suppress(Asked):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)  # a second one, at once, is the same request
            stop.check()
            pytest.fail("it goes on")

    with pytest.raises(Stopped) as caught:
        lost()
    assert caught.value.signal == signal.SIGINT


def test_a_later_second_request_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", -1.0)
    pid = os.fork()
    if not pid:
        with stoppable(lambda: "stopped"):
            try:
                signal.raise_signal(signal.SIGTERM)
            except Asked:
                signal.raise_signal(signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def test_handlers_of_others_stay() -> None:
    def own(*_: Any) -> None:
        """Hear it."""

    before = signal.signal(signal.SIGTERM, own)
    try:
        with stoppable(lambda: "stopped"):
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        _ = signal.signal(signal.SIGTERM, before)


def test_processes_of_the_block_are_deaf_and_gone_afterwards() -> None:
    children: list[BaseProcess] = []

    def begun() -> None:
        with stoppable(lambda: "stopped"):
            with deaf():
                child = multiprocessing.get_context("fork").Process(
                    target=time.sleep, args=(60,), daemon=True
                )
                child.start()
            children.append(child)
            os.kill(child.pid or 0, signal.SIGTERM)
            child.join(0.3)
            assert child.is_alive()
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Stopped):
        begun()
    assert children[0].exitcode == -signal.SIGKILL
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(SIGNALS)


def start(out: Path, *words: str) -> subprocess.Popen[str]:
    program = out.with_name(
        "program.py"
    )  # a file, since Lightning starts the second process of a run by its words
    _ = program.write_text(
        "from backstride.cli import main\nif __name__ == '__main__':\n    main()\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(program), "roads", "train", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *words], env=environment, start_new_session=True, **streams)


def after_an_epoch(process: subprocess.Popen[str]) -> None:
    out: IO[str] | None = process.stdout
    assert out is not None
    while not (line := out.readline()).startswith("epoch"):
        assert line, process.communicate()[1]


def gone(session: int) -> bool:
    """Whether no process of the session runs."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = subprocess.run(
            ["/bin/ps", "-o", "stat=", "-s", str(session)],
            capture_output=True,
            text=True,
            check=False,
        )
        if all(state.startswith("Z") for state in found.stdout.split()):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--workers 1", "--workers 1 --devices 2"], ids=["one", "two"])
@pytest.mark.parametrize("all_of_them", [True, False], ids=["all", "first"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_asked_to_stop(
    tmp_path: Path, number: int, all_of_them: bool, words: str
) -> None:
    """The signal goes to all processes, as a terminal and a service manager send it, or to the
    first alone.
    """
    _ = pytest.importorskip("lightning", reason="the extra `roads` brings it")
    given = [*WORDS.split(), *words.split()]
    process = start(tmp_path / "run", *given, "--epochs", "500")
    after_an_epoch(process)
    (os.killpg if all_of_them else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=300)
    assert errors == GOES_ON
    assert process.returncode == 128 + number
    assert gone(process.pid)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    again = start(tmp_path / "run", "--resume")
    after_an_epoch(again)
    os.killpg(again.pid, number)
    assert again.communicate(timeout=300)[1] == GOES_ON
    assert gone(again.pid)
