"""Signals that ask a run to stop: heard at once, and said at its end in one exception."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
PATIENCE = 2.0  # seconds; shells and job runners send one request twice
SILENCE = "ignore:resource_tracker:UserWarning"


class Stopped(KeyboardInterrupt):
    """A run was stopped by a signal, whose number is `signal`; the text says how it goes on."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Asked(BaseException):
    """On the way out of the run.

    Lightning would end the process itself on a `KeyboardInterrupt`.
    """


class Stop:
    """Whether a signal has asked to stop: `number` is that of the first, 0 where there was none."""

    def __init__(self) -> None:
        self.number = 0
        self._first = 0.0
        # only what nobody else handles, and only in the main thread, which alone hears signals
        self._heard = [
            number for number, default in SIGNALS.items() if signal.getsignal(number) == default
        ]

    def listen(self) -> None:
        """Take over the signals, again where a library has taken them since."""
        try:
            for number in self._heard:
                _ = signal.signal(number, self._ask)
        except ValueError:
            self._heard = []

    def release(self) -> None:
        """Give the signals back."""
        for number in self._heard:
            _ = signal.signal(number, SIGNALS[number])

    def check(self) -> None:
        """Raise again what was lost where it was raised: destructors swallow exceptions."""
        if self.number:
            raise Asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        _ = frame
        if not self.number:
            self.number, self._first = number, time.monotonic()
            raise Asked
        if (
            time.monotonic() - self._first > PATIENCE
        ):  # the way out is blocked: end as a process without handlers does
            _ = signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def stoppable(message: Callable[[], str]) -> Generator[Stop]:
    """A block that a signal ends by `Stopped` with this message, whatever the signal broke inside.

    Processes that were started inside are gone then.
    """
    stop, before = Stop(), set(multiprocessing.active_children())
    try:
        stop.listen()
        yield stop
    except BaseException:
        if not stop.number:
            raise
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
            process.join()
        raise Stopped(message(), stop.number) from None
    finally:
        stop.release()


@contextmanager
def deaf() -> Generator[None]:
    """Processes that are started inside never hear the signals; this one does, afterwards.

    A terminal sends Ctrl+C, and a service manager SIGTERM, to all processes of a run at once; those
    that read pictures must not die before the one that decides. Python's process that tidies up
    after all of them does so in silence.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    sys.warnoptions.append(SILENCE)
    try:
        yield
    finally:
        sys.warnoptions.remove(SILENCE)
        _ = signal.pthread_sigmask(signal.SIG_SETMASK, before)
