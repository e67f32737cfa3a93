"""Work that goes on beside other work, in order: pictures are decoded ahead, files are written behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def ahead(source: Iterable[Given], depth: int, is_large: Callable[[Given], bool] = lambda _: False) -> Iterator[Given]:
    """The same, made on a thread of its own, at most `depth` entries early; one after a large one.

    >>> list(ahead(range(5), 2))
    [0, 1, 2, 3, 4]
    """
    entries, end = iter(source), object()
    pool = ThreadPoolExecutor(1, "ahead")
    waiting: deque[Future[Any]] = deque()
    try:
        waiting.append(pool.submit(next, entries, end))
        while (entry := waiting.popleft().result()) is not end:
            while len(waiting) < (1 if is_large(entry) else depth):
                waiting.append(pool.submit(next, entries, end))
            yield entry
    finally:
        pool.shutdown(cancel_futures=True)
        close: Callable[[], None] | None = getattr(entries, "close", None)
        if close is not None:
            close()


def behind(function: Callable[[Given], Made], source: Iterable[Given], depth: int) -> Iterator[Made]:
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
