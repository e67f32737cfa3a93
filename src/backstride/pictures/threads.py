"""Work that goes on beside other work, in order.

Pictures are decoded ahead, files are written behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


class _End:
    """What stands behind the last entry."""


def ahead(
    source: Iterable[Given], depth: int, is_large: Callable[[Given], bool] = lambda _: False
) -> Iterator[Given]:
    """The same, made on a thread of its own, at most `depth` entries early; one after a large one.

    >>> list(ahead(range(5), 2))
    [0, 1, 2, 3, 4]
    """
    entries, end = iter(source), _End()
    pool = ThreadPoolExecutor(1, "ahead")
    waiting: deque[Future[Given | _End]] = deque()

    def take() -> Given | _End:
        return next(entries, end)

    try:
        waiting.append(pool.submit(take))
        while not isinstance(entry := waiting.popleft().result(), _End):
            while len(waiting) < (1 if is_large(entry) else depth):
                waiting.append(pool.submit(take))
            yield entry
    finally:
        pool.shutdown(cancel_futures=True)
        close: Callable[[], None] | None = getattr(entries, "close", None)
        if close is not None:
            close()


def behind(
    function: Callable[[Given], Made], source: Iterable[Given], depth: int
) -> Generator[Made]:
    """The function of every entry, called on a thread of its own, at most `depth` entries late.

    >>> list(behind(str, range(3), 2))
    ['0', '1', '2']
    """
    pool = ThreadPoolExecutor(1, "behind")
    waiting: deque[Future[Made]] = deque()
    try:
        for entry in source:
            waiting.append(pool.submit(function, entry))
            while len(waiting) > depth or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
