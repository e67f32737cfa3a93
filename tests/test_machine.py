"""The description of the processor: plausible, overridable, and there whatever cannot be read."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backstride as bs
from backstride.machine import Level, Machine

module: Any = importlib.import_module("backstride.machine")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing kept from other tests, nor left to them."""
    monkeypatch.delenv(module.VARIABLE, raising=False)
    forget()
    yield
    forget()


def forget() -> None:
    module._read.cache_clear()
    module._described.cache_clear()


def silent(_: str) -> str:
    return ""


def overridden(monkeypatch: pytest.MonkeyPatch, text: str) -> Machine:
    monkeypatch.setenv(module.VARIABLE, text)
    return bs.machine()


def test_what_it_says_is_plausible() -> None:
    machine = bs.machine()
    assert machine.name
    assert machine.architecture
    assert (machine.lanes, machine.registers) in {(16, 32), (8, 16), (4, 16), (4, 32)}
    assert 1 <= machine.processors <= 1 << 16
    assert 1 <= machine.fma_units <= 8
    assert 0.05 < machine.gigahertz < 20
    assert machine.peak > machine.gigahertz
    names = [level.name for level in machine.levels]
    assert names in (["L1d", "L2", "memory"], ["L1d", "L2", "L3", "memory"])
    *caches, memory = machine.levels
    assert memory.size == 0
    for level in caches:
        assert 4 << 10 <= level.size <= 16 << 30
        assert level.shared_by >= 1
    for level in machine.levels:
        assert 0 < level.read < 1e5
        assert 0 < level.copy < 1e5


def test_it_is_made_once_and_cannot_be_changed() -> None:
    machine = bs.machine()
    assert bs.machine() is machine
    with pytest.raises(dataclasses.FrozenInstanceError):
        machine.lanes = 1  # type: ignore[misc]


def test_instruction_sets_are_those_of_the_engine() -> None:
    compiled = [
        row.name
        for row in bs.implementations()
        if row.usable and row.name not in {"numpy", "direct", "reference"}
    ]
    assert list(bs.machine().instruction_sets) == compiled


@pytest.mark.skipif(not module.CPUINFO.exists(), reason="the system has no /proc/cpuinfo")
def test_features_are_those_that_the_system_names() -> None:
    lines = module.CPUINFO.read_text(encoding="utf-8").splitlines()
    flags = next(
        (set(line.split(":")[1].split()) for line in lines if line.startswith("flags")), None
    )
    if flags is None or module._native is None:
        pytest.skip("the system names no flags, or there is no compiled part")
    asked = (
        *(
            "fma",
            "f16c",
            "avx2",
            "avx512f",
            "avx512dq",
            "avx512bw",
            "avx512vl",
            "avx512_vnni",
            "avx512_bf16",
        ),
        *("avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    )
    assert set(bs.machine().features) & set(asked) == flags & set(asked)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("processors=3", "processors", 3),
        ("fma_units=1", "fma_units", 1),
        ("gigahertz=1.5", "gigahertz", 1.5),
        ("peak=99", "peak", 99),
    ],
)
def test_an_override_stands_in_place_of_what_was_read(
    text: str, field: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = overridden(monkeypatch, text + ", measure=no")
    forget()
    plain = overridden(monkeypatch, "measure=no")
    assert getattr(machine, field) == value
    back = {field: getattr(plain, field), "peak": plain.peak}
    assert dataclasses.replace(machine, **back) == plain


def test_the_peak_follows_from_what_is_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = overridden(monkeypatch, "fma_units=3, gigahertz=1.5, measure=no")
    assert machine.peak == 2 * machine.lanes * 3 * 1.5
    forget()
    assert overridden(monkeypatch, "fma_units=3, peak=7, measure=no").peak == 7


def test_sizes_and_rates_are_overridden_level_by_level(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = overridden(
        monkeypatch, "L1d=64K,L2=3M,L3=1073741824,L2.read=7,memory.copy=9.5,measure=no"
    )
    levels = {level.name: level for level in machine.levels}
    assert [levels[name].size for name in module.CACHES] == [64 << 10, 3 << 20, 1 << 30]
    assert (levels["L2"].read, levels["memory"].copy) == (7, 9.5)
    assert (levels["L2"].copy, levels["memory"].read) == (50, 10)


def test_without_measurements_two_runs_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first = overridden(monkeypatch, "measure=no")
    forget()
    assert bs.machine() == first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "L2=big",
            "sets `L2` to 'big', which must be a positive number, as in L2=1048576 or L2=1M",
        ),
        ("L2", "sets `L2` to '', which must be a positive number, as in L2=1048576 or L2=1M"),
        (
            "processors=0",
            "sets `processors` to '0', which must be a positive number, as in processors=2",
        ),
        (
            "fma_units=1.5",
            "sets `fma_units` to '1.5', which must be a positive number, as in fma_units=2",
        ),
        (
            "L2.read=nan",
            "sets `L2.read` to 'nan', which must be a positive number, as in L2.read=3.5",
        ),
        ("measure=0", "sets `measure` to '0', which must be yes or no"),
        (
            "L2=1K",
            "makes `L2` (1 KiB) smaller than `L1d` (32 KiB); caches grow with their distance",
        ),
        ("L3.read=5", "sets a rate of `L3`, which is not among L1d, L2, memory here"),
        ("cores=2", f"has no 'cores'; it sets {', '.join(module.NAMES)}"),
    ],
)
def test_an_override_that_makes_no_sense_is_said_in_a_sentence(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = [
        Level("L1d", 32 << 10, 1, 1, 1),
        Level("L2", 1 << 20, 1, 1, 1),
        Level("memory", 0, 1, 1, 1),
    ]

    def known(_: int) -> list[Level]:
        return levels

    monkeypatch.setattr(module, "_known_levels", known)
    monkeypatch.setattr(module, "_native", None)
    message = f"`BACKSTRIDE_MACHINE` (={text!r}) {words}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _ = overridden(monkeypatch, text)


def test_where_nothing_can_be_read_defaults_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(module, "SYSTEM", tmp_path)
    monkeypatch.setattr(module, "_native", None)
    monkeypatch.setattr(module, "_sysctl", silent)
    machine = bs.machine()
    assert machine.name
    assert (machine.instruction_sets, machine.features, machine.lanes, machine.registers) == (
        (),
        (),
        4,
        16,
    )
    assert [(level.name, level.size) for level in machine.levels] == [
        ("L1d", 32 << 10),
        ("L2", 512 << 10),
        ("L3", 8 << 20),
        ("memory", 0),
    ]
    assert "none compiled" in str(machine)


@pytest.mark.skipif(module._native is None, reason="there is no compiled part")
def test_measurements_go_on_without_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "SYSTEM", tmp_path)
    monkeypatch.setattr(module, "_sysctl", silent)
    assert [level.size for level in bs.machine().levels] == [32 << 10, 512 << 10, 8 << 20, 0]
    assert bs.machine().gigahertz != 2.5


def test_no_memory_to_measure_in_leaves_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    class Poor:
        @staticmethod
        def instruction_sets() -> list[str]:
            return ["avx2"]

        @staticmethod
        def processor_features() -> list[str]:
            return []

        @staticmethod
        def vectors_of(_: str) -> tuple[int, int]:
            return 8, 16

        @staticmethod
        def measure(*_: object) -> None:
            raise MemoryError

    monkeypatch.setattr(module, "_native", Poor)
    machine = bs.machine()
    assert (machine.lanes, machine.fma_units, machine.gigahertz) == (8, 2, 2.5)


def caches(folder: Path, rows: dict[str, tuple[str, str, str, str]]) -> None:
    for index, words in rows.items():
        place = folder / f"cpu{min(processors())}" / "cache" / index
        place.mkdir(parents=True)
        for name, word in zip(module.FILES, words, strict=True):
            _ = (place / name).write_text(word + "\n")


def processors() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        pytest.param(
            {
                "index0": ("1", "Data", "48K", "0-1"),
                "index1": ("1", "Instruction", "32K", "0-1"),
                "index2": ("2", "Unified", "2048K", "0-1"),
                "index3": ("3", "Unified", "32M", "0-3,8-11"),
            },
            [("L1d", 48 << 10, 2), ("L2", 2 << 20, 2), ("L3", 32 << 20, 8)],
            id="a server",
        ),
        pytest.param(
            {"index0": ("1", "Data", "64K", "0"), "index1": ("2", "Unified", "1024K", "0-3")},
            [("L1d", 64 << 10, 1), ("L2", 1 << 20, 4)],
            id="two levels",
        ),
        pytest.param(
            {"index0": ("1", "Data", "", ""), "index1": ("2", "Unified", "1024K", "0-3")},
            [("L1d", 32 << 10, 1), ("L2", 512 << 10, 1), ("L3", 8 << 20, None)],
            id="a size that is not there",
        ),
    ],
)
def test_caches_are_those_of_sysfs(
    rows: dict[str, tuple[str, str, str, str]],
    sizes: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    caches(tmp_path, rows)
    monkeypatch.setattr(module, "SYSTEM", tmp_path)
    *found, _ = overridden(monkeypatch, "measure=no").levels
    assert [(level.name, level.size) for level in found] == [row[:2] for row in sizes]
    assert all(row[2] in {None, level.shared_by} for row, level in zip(sizes, found, strict=True))


def test_caches_of_macos_are_those_of_its_fast_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = {
        "hw.perflevel0.l1dcachesize": "131072",
        "hw.l1dcachesize": "65536",
        "hw.perflevel0.l2cachesize": "12582912",
        "hw.perflevel0.cpusperl2": "4",
        "machdep.cpu.brand_string": "Apple M2",
    }
    monkeypatch.setattr(module, "SYSTEM", tmp_path)
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(module.platform, "system", lambda: "Darwin")

    def sysctl(name: str) -> str:
        return known.get(name, "")

    monkeypatch.setattr(module, "_sysctl", sysctl)
    machine = overridden(monkeypatch, "measure=no")
    assert machine.name == "Apple M2"
    found = [(level.name, level.size, level.shared_by) for level in machine.levels[:-1]]
    assert found == [("L1d", 128 << 10, 1), ("L2", 12 << 20, 4)]


@pytest.mark.parametrize(
    "sizes", [(1, 2, 3), (48 << 10, 2 << 20, 480 << 20), (128 << 10, 64 << 20, 1 << 30)]
)
def test_a_measurement_is_bounded(sizes: tuple[int, ...]) -> None:
    """Its time is given, and no working set is larger than 8 MiB, whatever the caches are."""
    assert module.SECONDS <= 0.035
    for size, nearer in zip(sizes, (0, *sizes), strict=False):
        assert 4096 <= module._working_set(size, nearer) <= 8 << 20
        assert module._working_set(size, nearer) % 4096 == 0


def test_many_threads_measure_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Machine] = []
    calls: list[object] = []

    def measured(base: Machine) -> Machine:
        calls.append(base)
        return base

    monkeypatch.setattr(module, "_measured", measured)
    start = threading.Barrier(8)

    def work() -> None:
        _ = start.wait(30)
        made.append(bs.machine())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(made) == 8
    assert all(machine is made[0] for machine in made)
    assert len(calls) == (1 if made[0].instruction_sets else 0)


def test_importing_and_computing_measure_nothing() -> None:
    code = (
        "import numpy as np, backstride as bs\n"
        "import importlib; machine = importlib.import_module('backstride.machine')\n"
        "def fail(*_): raise AssertionError\n"
        "machine._read = machine._measured = fail\n"
        "x = np.ones((1, 8, 8, 24), np.float32)\n"
        "y = bs.conv_transpose(x, np.ones((3, 3, 24, 24), np.float32), strides=2)\n"
        "bs.conv(y, np.ones((3, 3, 24, 24), np.float32), strides=2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
