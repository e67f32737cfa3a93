"""How `make cycles` finds loops and what it says of them; what llvm-mca computes is no test."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
ASSEMBLY = """
_ZN10backstride4avx29lane_rowsIfLi6EEEvRKNS_11LaneProductIT_EE:
\tmovq\t(%rdi), %rax
.L1:
\txorl\t%ecx, %ecx
\t.p2align 4
.L2:
\tvmovups\t(%rsi,%rcx), %ymm2
\tvfmadd231ps\t%ymm1, %ymm2, %ymm0
\tvfmadd231ps\t(%rdx,%rcx), %ymm2, %ymm3
\taddq\t$32, %rcx
\tjne\t.L2
\tdecq\t%rax
\tjne\t.L1
\tret
\t.size\t_ZN10backstride4avx29lane_rowsIfLi6EEEvRKNS_11LaneProductIT_EE, .-_ZN
"""


@pytest.fixture(name="cycles")
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return importlib.import_module("cycles")


def test_the_innermost_loop_is_found_by_function_and_products(cycles: Any) -> None:
    code = ASSEMBLY.splitlines()
    wanted = ("lane_rows<float, 6>", 2)
    loop = cycles.loop_of(cycles.AVX2, code, cycles.Kernel("overlap", wanted, wanted))
    assert [line.split("\t")[1] for line in loop] == [
        "vmovups",
        "vfmadd231ps",
        "vfmadd231ps",
        "addq",
        "jne",
    ]
    assert sum(bool(cycles.LOAD.match(line)) for line in loop) == 2


@pytest.mark.parametrize("wanted", [("lane_rows<float, 6>", 3), ("lane_rows<float, 5>", 2)])
def test_a_loop_that_is_gone_ends_in_a_sentence(cycles: Any, wanted: tuple[str, int]) -> None:
    kernel = cycles.Kernel("overlap", wanted, wanted)
    with pytest.raises(
        SystemExit,
        match=f"`{wanted[0]}` has no loop of {wanted[1]} multiply-adds in avx2; KERNELS must",
    ):
        cycles.loop_of(cycles.AVX2, ASSEMBLY.splitlines(), kernel)


def test_no_llvm_mca_ends_in_a_sentence(cycles: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: str) -> None:
        return None

    monkeypatch.setattr(cycles.shutil, "which", nowhere)
    with pytest.raises(
        SystemExit,
        match=r"^`llvm-mca` 18 or newer is missing; `apt-get install llvm-19` brings it, or",
    ):
        cycles.main()


def test_an_old_llvm_mca_does_not_count(cycles: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def old(_: str) -> str:
        return "14.0.6"

    monkeypatch.setattr(cycles, "version", old)
    with pytest.raises(SystemExit, match="18 or newer"):
        cycles.analyzer()


def test_functions_are_called_what_a_compiler_calls_them(cycles: Any) -> None:
    assert cycles.mangled("depthwise_vectors<float, 4, true>") == "17depthwise_vectorsIfLi4ELb1EE"
    for kernel in cycles.KERNELS:
        for function, _ in (kernel.many, kernel.few):
            name = function.partition("<")[0]
            assert any(
                f" {name}(" in path.read_text(encoding="utf-8")
                for path in cycles.NATIVE.glob("*.inl")
            ), name


@pytest.mark.parametrize(
    ("used", "dispatched", "limit"),
    [
        ({"SPRPort00": 0.99, "SPRPort05": 0.98, "SPRPort02": 0.5}, 0.5, "p0 p5"),
        ({"Zn4FP0": 0.5, "Zn4FP1": 0.96}, 0.99, "FP1"),
        ({"V1UnitL01.0": 0.99, "V1UnitL01.1": 0.99, "V1UnitV0": 0.4}, 0.1, "L01"),
        ({"ADLPPort00": 0.6}, 0.97, "decoding"),
        ({"ADLPPort00": 0.6}, 0.5, "latency"),
    ],
)
def test_what_limits_a_loop_is_what_is_always_busy(
    cycles: Any, used: dict[str, float], dispatched: float, limit: str
) -> None:
    assert cycles.limit_of(used, dispatched) == limit


def test_the_kernels_are_compiled_as_the_build_does(cycles: Any) -> None:
    flags = cycles.flags()
    assert {"-O3", "-ffp-contract=fast", "-fPIC", "-std=c++20"} <= set(flags)
