"""The inner loops of the hot kernels on processors that are not at hand.

LLVM's machine code analyzer, llvm-mca.

    python benchmarks/cycles.py

Compiles the kernels of each instruction set to assembly with the flags of the build, finds the
inner loops in it, has llvm-mca run each of them on a model of the processor, and writes the table
of docs/kernels.md. What is looked at is the code of the library itself: nothing in the sources
marks the loops, as a mark would change how they are compiled. A loop is found by the function that
it stands in and by its number of multiply-adds.

Assembly is kept in build/cycles as long as it is newer than the sources.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NATIVE, KEPT, PAGE = ROOT / "native", ROOT / "build" / "cycles", ROOT / "docs" / "kernels.md"
BEGIN, END = "<!-- cycles: written by make cycles -->", "<!-- cycles: end -->"
OLDEST = 18  # the first llvm-mca that has models of all these processors
ITERATIONS = 1000
FUSED = re.compile(r"^\s+(?:vf\w*m(?:add|sub)\d+ps|fml[as]\s+v\d+\.4s)")
LABEL = re.compile(r"^(\.L\w+):")
JUMP = re.compile(r"^\s+(?:j\w+|b\.?\w*|cbn?z\s+\w+,|tbn?z\s+\w+,[^,]*,)\s+(\.L\w+)\s*$")
LOAD = re.compile(r"^\s+(?:v\w+\s+\S*\([^()]*\)[^,]*,|v\w+\s+\S*\([^()]*\)\{\S+,|ldp|ldr|ld1)")


@dataclass(frozen=True, slots=True)
class Target:
    """Kernels of one instruction set.

    Where they are compiled, and what their multiply-add looks like.
    """

    name: str
    source: str
    compiler: str
    triple: str
    fused: str  # with {} for the number of its sum
    registers: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """A hot loop: its function's instance and its multiply-adds, with 32 and 16 registers."""

    words: str
    many: tuple[str, int]
    few: tuple[str, int]

    def place(self, target: Target) -> tuple[str, int]:
        return self.many if target.registers == 32 else self.few


@dataclass(frozen=True, slots=True)
class Run:
    """What llvm-mca says of a loop: cycles of an iteration, and what limits it."""

    cycles: float
    limit: str


X86, ARM = "x86_64-linux-gnu", "aarch64-linux-gnu"
HERE = f"{platform.machine()}-linux-gnu"
CXX = {
    triple: os.environ.get("CXX", "g++") if triple == HERE else f"{triple}-g++"
    for triple in (X86, ARM)
}
AVX512 = Target(
    "avx512", "target_avx512.cpp", CXX[X86], X86, "vfmadd231ps %zmm30, %zmm31, %zmm{}", 32
)
AVX2 = Target("avx2", "target_avx2.cpp", CXX[X86], X86, "vfmadd231ps %ymm14, %ymm15, %ymm{}", 16)
NEON = Target("neon", "target_baseline.cpp", CXX[ARM], ARM, "fmla v{}.4s, v30.4s, v31.4s", 32)
PROCESSORS = {
    "znver4": AVX512,
    "sapphirerapids": AVX512,
    "icelake-server": AVX512,
    "skylake-avx512": AVX512,
    "alderlake": AVX2,
    "neoverse-v1": NEON,
}
KERNELS = (
    Kernel(
        "products: full tile",
        ("panel_times_rows<float, 4>", 24),
        ("panel_times_rows<float, 2>", 12),
    ),
    Kernel(
        "products: 4 rows",
        ("few_times_panel<float, 4, 4>", 16),
        ("few_times_panel<float, 4, 2>", 8),
    ),
    Kernel(
        "products: 1 row", ("few_times_panel<float, 1, 4>", 4), ("few_times_panel<float, 1, 2>", 2)
    ),
    Kernel(
        "products: 16 columns or fewer",
        ("panel_times_rows<float, 1>", 12),
        ("panel_times_rows<float, 1>", 8),
    ),
    Kernel("overlap: 6 rows", ("lane_rows<float, 6>", 24), ("lane_rows<float, 6>", 12)),
    Kernel("overlap: 3 rows", ("lane_rows<float, 3>", 21), ("lane_rows<float, 3>", 9)),
    Kernel(
        "depthwise: cells",
        ("depthwise_vectors<float, 4, true>", 16),
        ("depthwise_vectors<float, 2, true>", 4),
    ),
    Kernel(
        "depthwise: lines, 4 of stride 2",
        ("stream_blocks<float, 2, 4, 1>", 8),
        ("stream_blocks<float, 2, 4, 1>", 8),
    ),
)


def analyzer() -> str:
    """The newest llvm-mca there is.

    Exits in a sentence where that is too old or where there is none.
    """
    names = [f"llvm-mca-{version}" for version in range(40, OLDEST - 1, -1)]
    for name in [os.environ.get("LLVM_MCA", ""), *names, "llvm-mca"]:
        if name and shutil.which(name) and int(version(name).partition(".")[0]) >= OLDEST:
            return name
    sys.exit(
        f"`llvm-mca` {OLDEST} or newer is missing; `apt-get install llvm-19` brings it, or "
        "LLVM_MCA names it"
    )


def version(program: str) -> str:
    """The first number of the form 1.2 that a program says of itself."""
    shown = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\b\d+\.\d[\d.]*", shown)
    return found[0] if found else "0"


def flags() -> list[str]:
    """Those of the build.

    What CMake adds to a release, and the options of native/CMakeLists.txt.
    """
    build = (NATIVE / "CMakeLists.txt").read_text(encoding="utf-8")
    own = re.search(r"compile_options\(backstride_kernels PRIVATE ([^)]*)\)", build)
    standard = re.search(r"CMAKE_CXX_STANDARD (\d+)", build)
    assert own
    assert standard
    return [
        f"-std=c++{standard[1]}",
        "-O3",
        "-DNDEBUG",
        *own[1].split(),
        "-fPIC",
        "-fvisibility=hidden",
    ]


def assembly(target: Target) -> list[str]:
    """The lines of a target's assembly, compiled where sources changed."""
    path = KEPT / f"{target.name}.s"
    sources = [*NATIVE.glob("*.inl"), *NATIVE.glob("*.h"), NATIVE / target.source]
    newest = max(file.stat().st_mtime for file in sources)
    if not path.exists() or path.stat().st_mtime < newest:
        KEPT.mkdir(parents=True, exist_ok=True)
        command = [target.compiler, *flags(), "-S", str(NATIVE / target.source), "-o", str(path)]
        _ = subprocess.run(command, check=True)
    return path.read_text(encoding="utf-8").splitlines()


def functions(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Mangled name and body of every function."""
    name, start = "", 0
    for number, line in enumerate(lines):
        if line.startswith("_Z") and line.endswith(":"):
            name, start = line[:-1], number
        elif line.startswith("\t.size\t") and name:
            yield name, lines[start:number]
            name = ""


def loops(body: list[str]) -> Iterator[list[str]]:
    """The instructions of each loop that has no other loop in it, its jump back included."""
    labels: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for number, line in enumerate(body):
        if label := LABEL.match(line):
            labels[label[1]] = number
        elif (jump := JUMP.match(line)) and jump[1] in labels:
            spans.append((labels[jump[1]], number))
    for first, last in spans:
        if not any(
            (first, last) != other and first <= other[0] and other[1] <= last for other in spans
        ):
            yield [line for line in body[first : last + 1] if re.match(r"\s+[a-z]", line)]


def mangled(function: str) -> str:
    """The part of a mangled name that stands for an instance.

    lane_rows<float, 6> -> 9lane_rowsIfLi6EE.
    """
    name, _, arguments = function.rstrip(">").partition("<")
    kinds = {"float": "f", "true": "Lb1E", "false": "Lb0E"}
    return (
        f"{len(name)}{name}I"
        + "".join(kinds.get(word, f"Li{word}E") for word in arguments.split(", "))
        + "E"
    )


def loop_of(target: Target, code: list[str], kernel: Kernel) -> list[str]:
    """The first loop of so many multiply-adds in the kernel's function.

    Exits in a sentence where there is none.
    """
    function, fused = kernel.place(target)
    for name, body in functions(code):
        if mangled(function) in name:
            for loop in loops(body):
                if sum(bool(FUSED.match(line)) for line in loop) == fused:
                    return loop
    sys.exit(
        f"`{function}` has no loop of {fused} multiply-adds in {target.name}; KERNELS must follow "
        "native/"
    )


def run(mca: str, processor: str, triple: str, instructions: list[str]) -> Run:
    """Have llvm-mca run a loop many times."""
    with tempfile.NamedTemporaryFile("w", suffix=".s") as file:
        _ = file.write("\n".join(instructions) + "\n")
        file.flush()
        command = [
            mca,
            f"-mtriple={triple}",
            f"-mcpu={processor}",
            f"-iterations={ITERATIONS}",
            "--json",
            file.name,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    region = report["CodeRegions"][0]
    summary, resources = region["SummaryView"], report["TargetInfo"]["Resources"]
    cycles = summary["TotalCycles"] / ITERATIONS
    used = {
        resources[entry["ResourceIndex"]]: entry["ResourceUsage"] / cycles
        for entry in region["ResourcePressureView"]["ResourcePressureInfo"]
        if entry["InstructionIndex"] == len(instructions)
    }
    return Run(
        cycles,
        limit_of(used, summary["TotaluOps"] / ITERATIONS / summary["DispatchWidth"] / cycles),
    )


def limit_of(used: dict[str, float], dispatched: float) -> str:
    """The ports that are busy at least 95 % of the time, or what else holds the loop up."""
    most = max(used.values(), default=0)
    if most >= 0.95:
        return " ".join(
            dict.fromkeys(short(name) for name, share in used.items() if share >= most - 0.03)
        )
    return "decoding" if dispatched >= 0.95 else "latency"


def short(resource: str) -> str:
    """A resource of LLVM's models in few letters.

    SPRPort05 -> p5, Zn4FP0 -> FP0, V1UnitL01.0 -> L01.
    """
    name = re.sub(r"^(SPR|ICX|SKX|ADLP|Zn4|V1)(Unit)?|\..*$", "", resource)
    return re.sub(r"^(?:P|Port)0*(?=\d)", "p", name)


def table(mca: str) -> Iterator[str]:
    """The rows of docs/kernels.md."""
    targets = {target.name: target for target in PROCESSORS.values()}
    code = {
        name: assembly(target) for name, target in targets.items() if shutil.which(target.compiler)
    }
    for name in targets.keys() - code.keys():
        print(f"no `{targets[name].compiler}`: {name} is left out", file=sys.stderr)
    here = {name: target for name, target in PROCESSORS.items() if target.name in code}
    peaks: dict[str, float] = {}
    for name, target in here.items():
        sums = target.registers * 3 // 4
        alone = [f"\t{target.fused.format(number)}" for number in range(sums)]
        peaks[name] = run(mca, name, target.triple, alone).cycles / sums
    by = sorted({f"{target.compiler} {version(target.compiler)}" for target in here.values()})
    yield f"By llvm-mca {version(mca)}, from the assembly of {' and '.join(by)}."
    yield ""
    yield (
        "| loop | loads a product | "
        + " | ".join(f"{name}, {target.name}" for name, target in here.items())
        + " |"
    )
    yield "|---|" + "---|" * (len(here) + 1)
    yield "| multiply-adds alone | | " + " | ".join(f"{peak:.2f}" for peak in peaks.values()) + " |"
    for kernel in KERNELS:
        cells: list[str] = []
        loads: dict[str, str] = {}
        for name, target in here.items():
            loop, (_, fused) = loop_of(target, code[target.name], kernel), kernel.place(target)
            done = run(mca, name, target.triple, loop)
            loads[target.name] = f"{sum(bool(LOAD.match(line)) for line in loop) / fused:.2f}"
            cells.append(
                f"{done.cycles / fused:.2f}: {100 * peaks[name] * fused / done.cycles:.0f} %, "
                f"{done.limit}"
            )
        yield f"| {kernel.words} | {', '.join(loads.values())} | " + " | ".join(cells) + " |"


def main() -> None:
    """Write the table into docs/kernels.md."""
    rows = "\n".join(table(analyzer()))
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    _ = PAGE.write_text(f"{before}{BEGIN}\n\n{rows}\n\n{END}{after}", encoding="utf-8")
    print(rows)


if __name__ == "__main__":
    main()
