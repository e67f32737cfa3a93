"""Watched memory: every write is noticed, whoever makes it, and nothing else is."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride import native

PAGE = mmap.PAGESIZE
SIZES = st.integers(3 * PAGE, 40 * PAGE)


def watched(array: Any) -> Any:
    found = native.watched(array.ctypes.data, array.nbytes)
    if found is None:
        pytest.skip("this system does not tell which pages were written to")
    return found


def by_numpy(array: Any, place: int) -> None:
    array[place] += 1


def by_address(array: Any, place: int) -> None:
    _ = ctypes.memset(array.ctypes.data + place, int(array[place]) ^ 1, 1)


def by_system_call(array: Any, place: int) -> None:
    with tempfile.TemporaryFile() as file:
        _ = file.write(bytes([int(array[place]) ^ 1]))
        file.flush()
        assert os.preadv(file.fileno(), [memoryview(array)[place : place + 1]], 0) == 1


def by_thread(array: Any, place: int) -> None:
    thread = threading.Thread(target=by_numpy, args=(array, place))
    thread.start()
    thread.join()


@pytest.mark.parametrize("write", [by_numpy, by_address, by_system_call, by_thread])
@given(size=SIZES, data=st.data())
def test_every_write_is_noticed_and_none_beside_it(
    write: Callable[[Any, int], None], size: int, data: Any
) -> None:
    memory = np.zeros(size + 64, np.uint8)
    start = data.draw(st.integers(0, 64), label="start")
    array = memory[start : start + size]
    pages = watched(array)
    assert pages.stayed()
    for place in {*range(start), *range(start + size, size + 64)}:
        memory[place] = 1  # a neighbour's, on the same page
    assert pages.stayed()
    write(
        array,
        data.draw(
            st.sampled_from([0, size - 1, size // 2]) | st.integers(0, size - 1), label="place"
        ),
    )
    assert not pages.stayed()
    again = watched(array)
    assert again.stayed()
    assert not pages.stayed()  # what was written once stays written for who watched before


def test_a_second_watch_does_not_end_the_first() -> None:
    array = np.zeros(8 * PAGE, np.uint8)
    first = watched(array)
    second = watched(array)
    del second
    assert first.stayed()
    array[4 * PAGE] = 1
    assert not first.stayed()


def test_memory_that_others_share_is_not_watched() -> None:
    with mmap.mmap(-1, 8 * PAGE) as shared:
        array = np.frombuffer(shared, np.uint8)
        assert native.watched(array.ctypes.data, array.nbytes) is None
        del array


def test_memory_of_a_file_is_not_watched() -> None:
    with tempfile.TemporaryFile() as file:
        _ = file.truncate(8 * PAGE)
        with mmap.mmap(file.fileno(), 8 * PAGE, mmap.MAP_PRIVATE) as private:
            array = np.frombuffer(private, np.uint8)
            assert native.watched(array.ctypes.data, array.nbytes) is None
            del array


def test_less_than_a_page_is_not_watched() -> None:
    assert native.watched(np.zeros(PAGE - 1, np.uint8).ctypes.data, PAGE - 1) is None


def test_a_forked_child_does_not_rely_on_what_its_parent_watches() -> None:
    array = np.zeros(8 * PAGE, np.uint8)
    pages = watched(array)
    child = os.fork()
    if not child:
        before = pages.stayed()
        own = watched(array)
        good = not before and own.stayed()
        array[0] = array[4 * PAGE] = 1
        os._exit(0 if good and not own.stayed() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pages.stayed()
    array[4 * PAGE] = 1
    assert not pages.stayed()


def test_a_pure_python_installation_watches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_native", None)
    assert native.watched(0, 1 << 20) is None
