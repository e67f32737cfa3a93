"""Which implementation runs: the list, the choice, forcing one, and an installation without the
compiled part.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import backstride as bs
from backstride import engine
from backstride.engine import IMPLEMENTATIONS, VARIABLE, select
from backstride.precision import widened

USABLE = [entry.name for entry in IMPLEMENTATIONS if entry.obstacle() is None]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )


def test_each_row_says_what_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    rows = bs.implementations()
    assert [row.name for row in rows] == [entry.name for entry in IMPLEMENTATIONS]
    assert len({row.name for row in rows}) == len(rows)
    assert [row.name for row in rows if row.runs] == [select(np.dtype(np.float32)).name]
    for row in rows:
        assert row.usable == (row.obstacle is None)
        assert row.usable or not row.runs
    assert {"numpy", "reference"} <= set(USABLE)
    assert rows[-1].name == "reference"


@pytest.mark.parametrize("name", USABLE)
def test_a_forced_implementation_is_the_one_that_runs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, name)
    assert [row.name for row in bs.implementations() if row.runs] == [name]
    ran: list[str] = []
    for entry in IMPLEMENTATIONS:
        for operation in ("repeat", "conv", "conv_kernel_gradient"):
            monkeypatch.setattr(entry, operation, spy(ran, entry.name, getattr(entry, operation)))
    x, kernel = np.ones((1, 3, 1)), np.ones((2, 1, 1))
    y = bs.conv_transpose(x, kernel)
    _ = bs.conv(y, kernel)
    _ = bs.conv_kernel_gradient(y, x, kernel.shape)
    assert ran == [name] * 3


def spy(ran: list[str], name: str, operation: Any) -> Any:
    def wrapper(*arguments: Any) -> Any:
        ran.append(name)
        return operation(*arguments)

    return wrapper


def test_without_forcing_the_first_usable_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    for dtype in map(np.dtype, ("float32", "float64", "float16", "int8", "uint64", "complex64")):
        able = [
            entry
            for entry in IMPLEMENTATIONS
            if entry.obstacle() is None and entry.takes(widened(dtype))
        ]
        assert select(dtype) is able[0]


def test_a_plan_keeps_the_implementation_that_packed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "reference")
    run = bs.plan(np.arange(6.0).reshape(3, 2, 1), strides=2)
    x = np.arange(4.0).reshape(1, 4, 1)
    expected = run(x)
    monkeypatch.setenv(VARIABLE, "numpy")
    assert np.array_equal(run(x), expected)


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "Numpy")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        _ = bs.implementations()
    assert (
        str(caught.value)
        == f"`{VARIABLE}` (='Numpy') is no implementation; usable are {', '.join(USABLE)}"
    )
    with pytest.raises(ValueError, match="is no implementation"):
        _ = bs.conv_transpose(np.ones((1, 3, 1)), np.ones((2, 1, 1)))


def switched_off() -> str:
    return "it is switched off"


def switched_on() -> None:
    return None


def only_float32(dtype: np.dtype[Any]) -> bool:
    return dtype.name == "float32"


def test_an_unusable_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = IMPLEMENTATIONS[0]
    monkeypatch.setattr(entry, "obstacle", switched_off)
    monkeypatch.setenv(VARIABLE, entry.name)
    others = ", ".join(name for name in USABLE if name != entry.name)
    with pytest.raises(RuntimeError) as caught:
        _ = bs.implementations()
    message = (
        f"`{VARIABLE}` (={entry.name!r}) cannot run here: it is switched off; usable are {others}"
    )
    assert str(caught.value) == message
    monkeypatch.delenv(VARIABLE)
    rows = bs.implementations()
    assert (rows[0].usable, rows[0].runs, rows[0].obstacle) == (False, False, "it is switched off")
    assert [row.name for row in rows if row.runs] == [others.split(", ")[0]]


def test_one_that_does_not_compute_in_the_dtype_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = IMPLEMENTATIONS[0]
    monkeypatch.setattr(entry, "obstacle", switched_on)
    monkeypatch.setattr(entry, "takes", only_float32)
    monkeypatch.setenv(VARIABLE, entry.name)
    with pytest.raises(TypeError) as caught:
        _ = bs.conv_transpose(np.ones((1, 3, 1), np.int32), np.ones((2, 1, 1), np.int32))
    nearest = next(
        e.name for e in IMPLEMENTATIONS if e.obstacle() is None and e.takes(np.dtype(np.int64))
    )
    assert str(caught.value) == (
        f"`{VARIABLE}` (={entry.name!r}) does not compute in int32; the nearest legal value is "
        f"{nearest!r}"
    )


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("float16", "float32"),
        (ml_dtypes.bfloat16, "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("complex64", "complex64"),
        ("int8", "int64"),
        ("uint64", "int64"),
    ],
)
def test_narrow_numbers_are_computed_in_wider_ones(dtype: Any, wide: str) -> None:
    assert widened(np.dtype(dtype)) == np.dtype(wide)


WITHOUT = """
import sys
sys.modules["backstride._native"] = None
import numpy as np
import backstride as bs
row = {row.name: row for row in bs.implementations()}["avx2"]
assert not row.usable and not row.runs
print(row.obstacle)
x, kernel = np.arange(4.0).reshape(1, 4, 1), np.arange(3.0).reshape(3, 1, 1)
y = bs.conv_transpose(x, kernel, strides=2)
print(y.ravel().tolist(), bs.conv(y, kernel, strides=2).shape)
print(bs.conv_kernel_gradient(y, x, (3, 1, 1), strides=2).shape)
"""


def test_a_pure_python_installation_works_and_says_so() -> None:
    done = run_python(WITHOUT)
    assert done.returncode == 0, done.stderr
    obstacle, *results = done.stdout.splitlines()
    assert obstacle == "this installation is pure Python; the compiled part was not built"
    assert results == ["[0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 4.0, 3.0, 6.0] (1, 4, 1)", "(3, 1, 1)"]


def test_forcing_the_compiled_part_without_it_is_refused() -> None:
    force = f"import os; os.environ[{VARIABLE!r}] = 'avx2'\n"
    done = run_python(force + WITHOUT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"RuntimeError: `{VARIABLE}` (='avx2') cannot run here: this installation is pure Python; "
        "the compiled part was not built; usable are numpy, reference"
    )


def test_the_list_ends_in_the_definition() -> None:
    assert isinstance(IMPLEMENTATIONS[-1], engine.Reference)
