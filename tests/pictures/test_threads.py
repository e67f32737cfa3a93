"""Threads keep order, depth and errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.pictures.threads import ahead, behind


@given(st.lists(st.integers()), st.integers(1, 4))
def test_nothing_is_lost_or_swapped(entries: list[int], depth: int) -> None:
    assert list(behind(lambda entry: -entry, ahead(entries, depth), depth)) == [
        -entry for entry in entries
    ]


def test_no_further_ahead_than_asked() -> None:
    made = 0

    def source() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    for depth, large, most in ((3, False, 3), (3, True, 1)):
        made = 0
        for entry in ahead(source(), depth, lambda _, large=large: large):
            assert made <= entry + most
            if entry == 20:
                break


def test_the_source_is_closed_and_runs_on_one_other_thread() -> None:
    threads: set[int] = set()
    closed: list[bool] = []

    def source() -> Iterator[int]:
        try:
            for entry in range(50):
                threads.add(threading.get_ident())
                yield entry
        finally:
            closed.append(True)

    entries: Any = ahead(source(), 2)
    assert [next(entries), next(entries)] == [0, 1]
    entries.close()
    assert closed == [True]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_errors_come_out() -> None:
    def broken() -> Iterator[int]:
        yield 1
        message = "the source broke"
        raise OSError(message)

    entries = ahead(broken(), 3)
    assert next(entries) == 1
    with pytest.raises(OSError, match="the source broke"):
        _ = next(entries)
    with pytest.raises(ZeroDivisionError):
        _ = list(behind(lambda entry: 1 // entry, [1, 0, 1], 1))
