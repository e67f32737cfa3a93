"""The processor in one place.

What it is called, what its vectors, caches and memory are, and what they do at most. Names and
sizes come from CPUID or HWCAP and from the operating system; the clock, the multiply-adds and the
rates of caches and memory from a measurement of some 40 ms, made once for a process when they are
first asked for. Where a source cannot be read, a default stands in its place.

Nothing that computes a result reads any of this, so results keep their bits whatever stands here.
"""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backstride import extension

_native = extension.load()
VARIABLE = "BACKSTRIDE_MACHINE"
CACHES = ("L1d", "L2", "L3")
NUMBERS = ("processors", "fma_units", "gigahertz", "peak")
NAMES = (
    *("measure", *NUMBERS, *CACHES),
    *(f"{level}.{rate}" for level in (*CACHES, "memory") for rate in ("read", "copy")),
)
CPUINFO = Path("/proc/cpuinfo")
SYSTEM = Path("/sys/devices/system/cpu")
FILES = ("level", "type", "size", "shared_cpu_list")  # of a cache
SYSCTL = "/usr/sbin/sysctl"
SECONDS = 0.03  # of measuring; with what surrounds it, less than 50 ms
PAGE, MOST = 4096, 8 << 20  # bytes that working sets are multiples of, and of the largest

_lock = threading.RLock()


def _renew_lock() -> None:
    """In a forked child, where the thread that holds the lock may not be."""
    global _lock  # noqa: PLW0603  there is one for all
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@dataclass(frozen=True, slots=True)
class Level:
    """A cache, or the memory behind all of them, as one thread sees it.

    Args:
        name: "L1d", "L2", "L3" or "memory".
        size: bytes; 0 for memory.
        shared_by: how many processors share it.
        read: GB/s (1e9 bytes a second) of one thread that reads.
        copy: GB/s of one thread that copies, read and written bytes together.
    """

    name: str
    size: int
    shared_by: int
    read: float
    copy: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What `bs.machine()` says of the processor.

    Args:
        name: what the processor calls itself.
        architecture: "x86_64", "aarch64", ... .
        instruction_sets: those that this build has kernels for and this processor runs, the best
            first; none where the compiled part was not built.
        features: further instruction sets that it offers, used or not: "avx512_bf16", "amx_tile",
            "neon", ... .
        lanes: float32 numbers in a vector of the best instruction set.
        registers: its vector registers.
        processors: how many this process may use.
        fma_units: fused multiply-adds of a vector, a cycle.
        gigahertz: the clock of one thread that multiplies.
        peak: GFLOP/s of one thread in float32, a multiply-add counted as two.
        levels: caches, the nearest first, and memory.
    """

    name: str
    architecture: str
    instruction_sets: tuple[str, ...]
    features: tuple[str, ...]
    lanes: int
    registers: int
    processors: int
    fma_units: int
    gigahertz: float
    peak: float
    levels: tuple[Level, ...]

    def __str__(self) -> str:
        rows = [
            ("processor", self.name),
            ("architecture", self.architecture),
            ("kernels", ", ".join(self.instruction_sets) or "none compiled"),
            ("features", ", ".join(self.features) or "none known"),
            ("vectors", f"{self.registers} registers of {self.lanes} float32"),
            ("processors", f"{self.processors} for this process"),
            (
                "products",
                (
                    f"{self.fma_units} a cycle at {self.gigahertz:.2f} GHz, {self.peak:.0f} "
                    "GFLOP/s a thread"
                ),
            ),
        ]
        for level in self.levels:
            size = f"{_size(level.size)} for {level.shared_by}" if level.size else "-"
            rows.append(
                (level.name, f"{size:16}read {level.read:6.1f} GB/s, copy {level.copy:6.1f} GB/s")
            )
        return "\n".join(f"{name:15}{words}" for name, words in rows)


def features() -> tuple[str, ...]:
    """Instructions beyond the kernels' own that this processor runs and this system lets run.

    Nothing is measured.

    >>> "amx_bf16" not in features() or "amx_tile" in features()
    True
    """
    return tuple(_native.processor_features()) if _native else ()


def caches() -> dict[str, int]:
    """Bytes of each cache that a thread sees, as the operating system says; nothing is measured.

    >>> caches()["L2"] >= caches()["L1d"] > 0
    True
    """
    return {level.name: level.size for level in _known_levels(_processors()) if level.size}


def machine() -> Machine:
    """Describe the processor.

    Instruction sets, vectors, caches, and what one thread reaches of each. The first call measures
    for some 40 ms, and the answer stays for the process. The engine's results never depend on it.

    The environment variable BACKSTRIDE_MACHINE overrides what was read or measured, as in
    `BACKSTRIDE_MACHINE="fma_units=1, L2=1M, memory.read=12"`: `processors`, `fma_units`,
    `gigahertz`, from which the peak follows, or `peak`; sizes of `L1d`, `L2`, `L3` in bytes, K or
    M; rates as `L2.read` and `memory.copy` in GB/s. `measure=no` takes defaults in the place of
    measurements, so that two runs say the same.

    >>> import backstride as bs
    >>> machine = bs.machine()
    >>> machine.processors >= 1, machine.levels[0].name, machine.levels[-1].name
    (True, 'L1d', 'memory')
    >>> machine.peak > machine.gigahertz
    True

    Returns:
        A `Machine`; `print` shows it as a table.

    Raises:
        ValueError: BACKSTRIDE_MACHINE makes no sense.
    """
    text = os.environ.get(VARIABLE, "")
    with _lock:
        return _described(text)


@functools.lru_cache(maxsize=16)
def _described(text: str) -> Machine:
    wanted = dict(_overrides(text))
    base = _read(measures=wanted.pop("measure", True) is True)
    numbers = {name: wanted[name] for name in NUMBERS if name in wanted}
    result = replace(base, **numbers, levels=tuple(_levels(base, wanted, text)))
    follows = "peak" not in numbers and {"fma_units", "gigahertz"} & numbers.keys()
    return (
        replace(result, peak=2 * result.lanes * result.fma_units * result.gigahertz)
        if follows
        else result
    )


def _overrides(text: str) -> Iterator[tuple[str, float | int | bool]]:
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, word = (part.strip() for part in entry.partition("="))
        if name not in NAMES:
            raise _refusal(text, f"has no {name!r}; it sets {', '.join(NAMES)}")
        value = _value(name, word)
        if value is None:
            rule = (
                "yes or no" if name == "measure" else f"a positive number, as in {_example(name)}"
            )
            raise _refusal(text, f"sets `{name}` to {word!r}, which must be {rule}")
        yield name, value


def _refusal(text: str, words: str) -> ValueError:
    return ValueError(f"`{VARIABLE}` (={text!r}) {words}")


def _value(name: str, word: str) -> float | int | bool | None:
    if name == "measure":
        return {"yes": True, "no": False}.get(word)
    factor = 1
    if name in CACHES and word[-1:].upper() in {"K", "M"}:
        word, factor = word[:-1], 1 << (10 if word[-1].upper() == "K" else 20)
    whole = name in {*CACHES, "processors", "fma_units"}
    try:
        value = int(word) * factor if whole else float(word)
    except ValueError:
        return None
    return value if 0 < value < 1e15 else None


def _example(name: str) -> str:
    if name in CACHES:
        return f"{name}=1048576 or {name}=1M"
    return f"{name}=2" if name in {"processors", "fma_units"} else f"{name}=3.5"


def _levels(base: Machine, wanted: dict[str, float | int | bool], text: str) -> Iterator[Level]:
    there = {level.name: level for level in base.levels}
    for level in _default_levels(base.processors):
        if level.name in wanted and level.name not in there:
            there[level.name] = level
        elif level.name not in there and any(
            f"{level.name}.{rate}" in wanted for rate in ("read", "copy")
        ):
            raise _refusal(
                text, f"sets a rate of `{level.name}`, which is not among {', '.join(there)} here"
            )
    previous: Level | None = None
    for name in (*CACHES, "memory"):
        if name not in there:
            continue
        level = there[name]
        level = replace(
            level,
            size=int(wanted.get(name, level.size)),
            read=float(wanted.get(f"{name}.read", level.read)),
            copy=float(wanted.get(f"{name}.copy", level.copy)),
        )
        if (
            previous
            and name in CACHES
            and level.size < previous.size
            and {name, previous.name} & wanted.keys()
        ):
            sizes = (
                f"`{name}` ({_size(level.size)}) smaller than `{previous.name}` "
                f"({_size(previous.size)})"
            )
            raise _refusal(text, f"makes {sizes}; caches grow with their distance")
        yield level
        previous = level


@functools.cache
def _read(*, measures: bool) -> Machine:
    sets: tuple[str, ...] = tuple(_native.instruction_sets()) if _native else ()
    lanes, registers = _native.vectors_of(sets[0]) if _native and sets else (4, 16)
    processors, fma_units, gigahertz = _processors(), 1 if sets[:1] == ("baseline",) else 2, 2.5
    base = Machine(
        _name(),
        platform.machine() or "unknown",
        sets,
        features(),
        lanes,
        registers,
        processors,
        fma_units,
        gigahertz,
        2 * lanes * fma_units * gigahertz,
        tuple(_known_levels(processors)),
    )
    return _measured(base) if sets and measures else base


def _measured(base: Machine) -> Machine:
    assert _native is not None
    caches = base.levels[:-1]
    sets = [
        _working_set(level.size, caches[n - 1].size if n else 0) for n, level in enumerate(caches)
    ]
    try:
        hertz, multiply_adds, rates, memory = _native.measure(
            base.instruction_sets[0], sets, SECONDS
        )
    except MemoryError:
        return base
    pairs = [
        *rates,
        memory if memory[0] else (1e9 * base.levels[-1].read, 1e9 * base.levels[-1].copy),
    ]
    both = zip(base.levels, pairs, strict=True)
    levels = tuple(
        replace(level, read=read * 1e-9, copy=copy * 1e-9) for level, (read, copy) in both
    )
    return replace(
        base,
        fma_units=max(1, round(multiply_adds / hertz)),
        gigahertz=hertz * 1e-9,
        peak=2 * base.lanes * multiply_adds * 1e-9,
        levels=levels,
    )


def _working_set(size: int, nearer: int) -> int:
    """Half of a cache.

    More than the nearer one holds and no more than four times that, where there is one.
    """
    wanted = min(size // 2, 4 * nearer) if nearer else size // 2
    return max(PAGE, min(max(wanted, 2 * nearer), MOST) // PAGE * PAGE)


def _known_levels(processors: int) -> list[Level]:
    """What the operating system says of the caches, or the defaults.

    Rates are those of the defaults.
    """
    defaults = _default_levels(processors)
    levels = {level.name: level for level in (*_sysfs_levels(), *_sysctl_levels())}
    if not {"L1d", "L2"} <= levels.keys():
        return defaults
    return [
        replace(default, size=levels[default.name].size, shared_by=levels[default.name].shared_by)
        for default in defaults[:-1]
        if default.name in levels
    ] + defaults[-1:]


def _default_levels(processors: int) -> list[Level]:
    return [
        Level("L1d", 32 << 10, 1, 100.0, 100.0),
        Level("L2", 512 << 10, 1, 50.0, 50.0),
        Level("L3", 8 << 20, processors, 20.0, 20.0),
        Level("memory", 0, processors, 10.0, 10.0),
    ]


def _sysfs_levels() -> Iterator[Level]:
    """Linux: the caches of the first processor that this process may use."""
    first = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    for folder in sorted(SYSTEM.glob(f"cpu{first}/cache/index*")):
        try:
            level, kind, size, shared = (
                (folder / name).read_text(encoding="utf-8").strip() for name in FILES
            )
            name = {("1", "Data"): "L1d", ("2", "Unified"): "L2", ("3", "Unified"): "L3"}.get(
                (level, kind)
            )
            value = _value(name, size) if name else None
            if name and value:
                yield Level(name, int(value), _count(shared), 0, 0)
        except (OSError, ValueError):
            continue


def _count(listed: str) -> int:
    """How many numbers a list has: 0-3,8 -> 5."""
    ends = [[int(end) for end in part.split("-")] for part in listed.split(",")]
    return sum(numbers[-1] - numbers[0] + 1 for numbers in ends)


def _sysctl_levels() -> Iterator[Level]:
    """macOS: the caches of its fast cores."""
    if platform.system() != "Darwin":
        return
    for name, size, shared in (
        ("L1d", ("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"), ()),
        ("L2", ("hw.perflevel0.l2cachesize", "hw.l2cachesize"), ("hw.perflevel0.cpusperl2",)),
        ("L3", ("hw.perflevel0.l3cachesize", "hw.l3cachesize"), ("hw.perflevel0.cpusperl3",)),
    ):
        if number := _first_number(size):
            yield Level(name, number, _first_number(shared) or 1, 0, 0)


def _first_number(names: tuple[str, ...]) -> int:
    return next((int(word) for name in names if (word := _sysctl(name)).isdigit() and int(word)), 0)


def _sysctl(name: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            [SYSCTL, "-n", name], capture_output=True, text=True, check=False, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _name() -> str:
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    words = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in reversed(lines))
    }
    if "model name" not in words:
        brand = _sysctl("machdep.cpu.brand_string") if platform.system() == "Darwin" else ""
        return brand or platform.processor() or platform.machine() or "unknown"
    numbers = ", ".join(
        f"{name} {words[name]}" for name in ("cpu family", "model") if name in words
    )
    return f"{words['model name']} ({numbers})" if numbers else words["model name"]


def _size(size: int) -> str:
    return f"{size / 2**20:g} MiB" if size >= 1 << 20 else f"{size / 2**10:g} KiB"
