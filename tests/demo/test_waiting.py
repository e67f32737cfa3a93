from __future__ import annotations

import os
import subprocess
import sys

import pytest

_ = pytest.importorskip("torch", reason="the demo trains with PyTorch")
PROGRAM = """
import os
from backstride.demo.waiting import load_torch
print(load_torch().__name__, os.environ.get("OMP_WAIT_POLICY"))
"""


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=environment | variables,
    )


def policy(printed: str) -> list[str]:
    return [
        line.partition("=")[2].strip(" '")
        for line in printed.splitlines()
        if "OMP_WAIT_POLICY" in line
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP prints its settings")
@pytest.mark.parametrize(
    ("given", "found"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")]
)
def test_threads_sleep_unless_told_otherwise(given: dict[str, str], found: str) -> None:
    assert policy(run(OMP_DISPLAY_ENV="true", **given).stderr) == [found]


def test_environment_is_as_before() -> None:
    assert run().stdout.split() == ["torch", "None"]
    assert run(OMP_WAIT_POLICY="active").stdout.split() == ["torch", "active"]
