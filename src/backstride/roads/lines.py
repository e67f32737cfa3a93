"""Progress where there is no terminal to draw bars on: a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 30.0  # seconds


class Lines:
    """Called with what is counted, how many are done, and of how many.

    Says so at most every `pause` seconds.

    >>> said = []
    >>> lines = Lines(said.append, pause=0)
    >>> lines("epoch 1/20, batch", 1, 400)
    >>> lines("epoch 1/20, batch", 41, 400, "loss 0.3120")
    >>> said[0].partition(" of 400")[0], said[0].rpartition(", ")[2]
    ('epoch 1/20, batch 41', 'loss 0.3120')
    """

    def __init__(self, say: Callable[[str], object], pause: float = PAUSE) -> None:
        self._say, self._pause = say, pause
        self._label, self._first, self._told = "", (0.0, 0), 0.0

    def __call__(self, label: str, done: int, total: float | None, note: str = "") -> None:
        """Count on."""
        now = time.monotonic()
        if label != self._label:
            self._told = self._told if self._label else now
            self._label, self._first = label, (now, done)
            return
        if now - self._told < self._pause:
            return
        self._told = now
        rate = (done - self._first[1]) / max(now - self._first[0], 1e-9)
        words = [
            f"{label} {done}" if total is None else f"{label} {done} of {total}",
            f"{rate:.3g} a second",
        ]
        if total is not None and rate > 0:
            words.append(f"{_span((total - done) / rate)} to go")
        _ = self._say(", ".join([*words, note] if note else words))


def _span(seconds: float) -> str:
    """Roughly.

    >>> _span(40), _span(600), _span(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
