"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from backstride.engine import VARIABLE
from backstride.native import set_num_threads
from implementations import COMPILED

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.register_profile("slow", parent=settings.get_profile("default"), max_examples=2000)
settings.load_profile("ci" if os.environ.get("CI") else "default")

if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as in the background of a shell; commands would inherit it
    _ = signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[Any], list[Any]]:
    """Tests hold no doctests: looking for some skips a test file that cannot be imported, as if it
    were a framework.
    """
    found = yield
    return [collector for collector in found if type(collector).__name__ != "DoctestModule"]


@pytest.fixture(autouse=True)
def seeded_torch() -> None:
    """Random weights and images of a test are the same in every run."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.fixture(params=COMPILED)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each compiled implementation in turn, by its name."""
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


@pytest.fixture(autouse=True)
def default_threads() -> Iterator[None]:
    """What a test sets is forgotten after it."""
    yield
    set_num_threads(0)
