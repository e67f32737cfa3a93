"""The benchmark runs, and everybody in it computes a layer of the same size; what it measures is no
test.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backstride as bs

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = (1, 15, 28, 65, 80, 100)
_ = pytest.importorskip("torch", reason="the benchmark needs a peer")


@pytest.fixture(name="modules")
def benchmark_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    torch: Any = importlib.import_module("torch")
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)
    bs.set_num_threads(0)


def test_the_layers_are_what_their_file_says(modules: Any) -> None:
    rows = (FOLDER / "layers.csv").read_text(encoding="utf-8").splitlines()[1:]
    layers: Any = modules("layers").layers()
    assert len(layers) == len(rows) > 60
    for layer, row in zip(layers, rows, strict=True):
        words = row.replace('"', "").split(",")
        assert any(
            float(word) == pytest.approx(layer.gflop, rel=0.01) for word in words if is_number(word)
        )
        output = bs.geometry(
            layer.input, layer.kernel, strides=layer.strides, padding=layer.crop
        ).output
        assert "x".join(map(str, output)) in words


def is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


@pytest.mark.parametrize("number", SMALL)
def test_torch_computes_as_many_numbers(number: int, modules: Any) -> None:
    (layer,) = (layer for layer in modules("layers").layers() if layer.number == number)
    problem = modules("problem").Problem(layer, modules("problem").VARIANTS["packed"])
    peers: Any = modules("peers")
    output = bs.geometry(
        layer.input, layer.kernel, strides=layer.strides, padding=layer.crop
    ).output
    assert layer.output == output
    for make in (peers.OURS["ours, channels last"], peers.PEERS["torch"]):
        runner = make(problem)
        assert runner.result(runner.call()).shape == (layer.batch, *output, layer.big)


def test_heavy_layers_get_lighter(modules: Any) -> None:
    for layer in modules("layers").layers():
        lighter = layer.lighter(5)
        assert lighter.gflop <= 10 or lighter.batch == 1
        assert lighter.gflop <= 35
        assert lighter.batch >= 1
        assert lighter.big >= 1
        assert layer.lighter(1e9) is layer


def test_a_turn_begins_when_other_threads_sleep(
    modules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing: Any = modules("timing")
    monkeypatch.setattr(timing, "SETTLED", 60.0)
    busy = threading.Thread(target=hashlib.sha256, args=(bytes(64 << 20),))
    busy.start()
    waited, before = timing.settle(), time.perf_counter()
    busy.join()
    assert time.perf_counter() - before < waited


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


SUMMARY = re.compile(r"geomean \d+\.\d\d, min \d+\.\d\d, layers below 1\.0: \d+")


def test_it_times_three_layers_and_writes_the_results(tmp_path: Path) -> None:
    raw = tmp_path / "measurements.jsonl"
    words = [
        "--layers",
        "15,28,65",
        "--peers",
        "torch; torch, channels last",
        "--seconds",
        "0.01",
        "--raw",
        str(raw),
    ]
    done = run(
        *words, "--quick", "--threads", "1", "--variants", "packed,call-relu,kernel-gradient"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["threads", "15", "28", "65", "geomean"] * 3
    assert lines[0] == "threads 1, weights packed beforehand: GFLOP/s, median ± spread"
    assert all(SUMMARY.fullmatch(line) for line in lines[4::5])
    results = run("--from", str(raw), "--results", "--folder", str(tmp_path))
    assert results.returncode == 0, results.stderr
    assert results.stdout.splitlines()[:15] == lines
    (page,) = (tmp_path / "results").glob("*.md")
    text = page.read_text(encoding="utf-8")
    assert "| 65 | PP-OCRv6-tiny det 1 |" in text
    for section in (
        "Machine",
        "Summary",
        "Each peer by itself",
        "Layers, 1 thread",
        "Gradients",
        "Goals",
        "What falls short",
    ):
        assert f"\n## {section}" in text
    assert str(Path.home()) not in text
    assert f"(results/{page.name}) | 1 | 3 |" in (tmp_path / "results.md").read_text(
        encoding="utf-8"
    )
    again = run(
        "--from", str(page.with_suffix(".jsonl")), "--results", "--folder", str(tmp_path / "again")
    )
    assert again.returncode == 0, again.stderr
    for path in (
        page,
        page.with_suffix(".jsonl"),
    ):  # the same numbers, of which quartiles alone are kept
        assert (tmp_path / "again" / "results" / path.name).read_text(
            encoding="utf-8"
        ) == path.read_text(encoding="utf-8")


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    raw = tmp_path / "measurements.jsonl"
    words = [
        "--layers",
        "15",
        "--peers",
        "torch",
        "--seconds",
        "0.01",
        "--quick",
        "--variants",
        "packed",
        "--raw",
        str(raw),
    ]
    first, second = run(*words, "--threads", "1"), run(*words, "--threads", "1,2", "--resume")
    assert second.stdout.startswith(first.stdout)
    kinds = [json.loads(line)["kind"] for line in raw.read_text(encoding="utf-8").splitlines()]
    assert kinds == ["machine", "cell", "machine", "cell"]


def processor(records: Any, name: str, ours: float) -> Any:
    found = records.Records(machine={"processor": name, "cores used": "2"})
    for number, peer in ((3, 3.0), (4, 4.0)):
        seconds = {"ours, channels last": [ours, ours, 1.5 * ours, 1.6 * ours], "torch": [peer]}
        head = {
            "kind": "cell",
            "layer": number,
            "variant": "packed",
            "threads": 1,
            "batch": 1,
            "big": 64,
        }
        found.add({**head, "seconds": seconds, "turns": list(seconds), "dropped": {}})
    return found


def test_a_processor_adds_its_page_and_its_row(modules: Any, tmp_path: Path) -> None:
    records, report, overview = modules("records"), modules("report"), modules("overview")
    for name, ours in (
        ("AMD One (cpu family 25, model 17)", 1.6),
        ("Intel(R) Two", 3.2),
        ("Other", 1.6),
    ):
        _ = report.write_page(processor(records, name, ours), tmp_path / "results")
    assert overview.refresh(tmp_path) == [tmp_path / "results.md"]
    rows = [line for line in overview.table(tmp_path).splitlines() if line.startswith("| [")]
    one, two, other = "amd-one-family-25-model-17-2-cores", "intel-two-2-cores", "other-2-cores"
    links = (
        f"[AMD One (cpu family 25, model 17), 2 cores](results/{one}.md)",
        f"[Intel(R) Two, 2 cores](results/{two}.md)",
    )
    mean = math.sqrt(3 * 4) / 2
    assert rows[:2] == [
        f"| {links[0]} | 1 | 2 | {mean:.2f} / 1.50 / 0 |",
        f"| {links[1]} | 1 | 2 | {mean / 2:.2f} / 0.75 / 1 |",
    ]
    assert rows[3:5] == [
        f"| {links[0]} | 1 | {mean:.2f} of 1.55: reached | 1.50 of 1.0: reached |",
        (
            f"| {links[1]} | 1 | {mean / 2:.2f} of 1.8: **not reached** | 0.75 of 1.0: **not "
            "reached** |"
        ),
    ]
    assert [path.stem for path in sorted((tmp_path / "results").glob("*.md"))] == [one, two, other]
    causes = tmp_path / "results" / f"{two}-causes.toml"
    _ = causes.write_text('[layers]\n3 = "known there"\n', encoding="utf-8")
    pages = [
        report.page(overview.pages(tmp_path)[name], tmp_path / "results") for name in (one, two)
    ]
    assert ["known there" in page for page in pages] == [False, True]
    assert pages[0] == (tmp_path / "results" / f"{one}.md").read_text(encoding="utf-8")


def test_the_pages_the_table_and_the_readme_say_what_is_kept(modules: Any) -> None:
    report, overview = modules("report"), modules("overview")
    known = overview.pages(FOLDER)
    assert known
    for name, records in known.items():
        if records.cells:  # or the page itself is all that was kept
            page = (FOLDER / "results" / f"{name}.md").read_text(encoding="utf-8")
            assert page == report.page(records, FOLDER / "results")
    assert (FOLDER / "results.md").read_text(encoding="utf-8") == overview.table(FOLDER)
    readme = overview.README.read_text(encoding="utf-8")
    assert (
        overview.words(FOLDER).split()
        == readme.partition(overview.MARKS[0])[2].partition(overview.MARKS[1])[0].split()
    )


def test_a_page_without_its_times_stays_as_it_is(modules: Any, tmp_path: Path) -> None:
    (kept,) = [
        path
        for path in (FOLDER / "results").glob("*.jsonl")
        if not modules("records").read(path).cells
    ]
    done = run("--from", str(kept), "--results", "--folder", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("holds no single times; its page stays as it is")
    assert not list(tmp_path.iterdir())


HEADER = "id,layer,batch,in_channels,input,out_channels,kernel,stride,crop_before,crop_after,groups"
MINE = f"{HEADER}\n5,tiny,2,8,5x5,4,4x4,2x2,1x1,1x1,1\n"


def test_other_layers_are_timed_and_stay_apart(tmp_path: Path) -> None:
    mine, raw = tmp_path / "mine.csv", tmp_path / "raw.jsonl"
    _ = mine.write_text(MINE, encoding="utf-8")
    quick = [
        "--peers",
        "torch",
        "--seconds",
        "0.01",
        "--quick",
        "--threads",
        "1",
        "--variants",
        "packed",
    ]
    words = ["--file", str(mine), *quick, "--raw", str(raw)]
    stopped = run(*words, "--at-most", "0")
    assert stopped.returncode == 3
    assert (
        stopped.stdout.splitlines()[-1] == "stopped after 0 s; the same words with --resume go on"
    )
    with raw.open("a") as file:
        _ = file.write('{"kind": "cell", "lay')
    done = run(*words, "--resume", "--results", "--folder", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "   5 tiny " in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results"]
    other = tmp_path / "other.csv"
    _ = other.write_text(MINE.replace("5,tiny", "5,wide"), encoding="utf-8")
    for file in ([], ["--file", str(other)]):
        mixed = run(*file, *quick, "--raw", str(raw), "--resume")
        assert mixed.returncode == 2
        assert mixed.stderr.splitlines()[-1].endswith(
            "holds measurements of another file of layers"
        )
    kept = raw.read_text(encoding="utf-8").replace('"processor": "', '"processor": "another ')
    _ = raw.write_text(kept, encoding="utf-8")
    elsewhere = run(*words, "--resume")
    assert elsewhere.returncode == 2
    assert "it was measured on another " in elsewhere.stderr.splitlines()[-1]
    refused = run("--file", str(mine), "--from", str(raw), "--results")
    assert refused.returncode == 2
    assert "`--results` of another `--file` needs `--folder`" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it has 0 layers; legal are 1 to 1000, below a line of the columns' names"),
        (
            MINE.replace("groups", "group").encode(),
            "it lacks the column `groups`; the columns are id,layer,batch",
        ),
        (b"\xff\xfe", "it is no CSV in UTF-8"),
        (
            MINE.replace("5x5", "5x?").encode(),
            "row 1: `input` (=5x?) must be whole numbers joined by x, as 4x4",
        ),
        (
            MINE.replace("5x5", "5").encode(),
            "row 1: `kernel` (=4x4) must have as many axes as `input` (=5)",
        ),
        (
            MINE.replace("2x2", "2x0").encode(),
            "row 1: `stride` (=2x0) must be 1 to 3 numbers of at least 1",
        ),
        (
            MINE.replace("tiny,2", "tiny,2x2").encode(),
            "row 1: `batch` (=2x2) must be one whole number",
        ),
        (
            MINE.replace("1x1,1\n", "1x1,3\n").encode(),
            "row 1: `in_channels` (=8) and `out_channels` (=4) must be divisible",
        ),
        (
            MINE.replace("1x1,1x1", "9x9,9x9").encode(),
            "row 1: the crops leave an output of -6x-6; every axis needs a cell",
        ),
        (MINE.replace("5x5", "9000x90000").encode(), "row 1: input, output and kernel take"),
        ((MINE + MINE.splitlines()[1]).encode(), "two layers have the `id` 5; each needs its own"),
        (
            f"{HEADER},output\n{MINE.splitlines()[1]},9x9\n".encode(),
            "row 1: `output` (=9x9) must be 10x10, which",
        ),
        (b"x" * (1 << 20) + b"x", "it has 1048577 bytes; at most 1048576 are read"),
    ],
)
def test_a_file_of_layers_that_is_none_is_refused(
    modules: Any, text: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.csv"
    _ = path.write_bytes(text)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        _ = modules("layers").table(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--file", "nothing.csv"),
            "`--file` (=nothing.csv) must be a CSV of layers (No such file or directory)",
        ),
        (("--file", str(FOLDER / "run.py")), "run.py): it is no CSV in UTF-8 ("),
        (("--from", str(FOLDER / "run.py")), "run.py): line 1 is no measurement: "),
        (("--layers", "2"), "`--layers` (=2) holds '2'; legal are 1, 3, 4,"),
        (("--threads", "0"), "`--threads` (=0) holds '0'; legal are 1 to 1024"),
        (
            ("--peers", "torsh"),
            "`--peers` (=torsh) holds 'torsh'; legal are torch, torch, channels last,",
        ),
        (
            ("--variants", "fast"),
            "`--variants` (=fast) holds 'fast'; legal are packed, packed-relu,",
        ),
        (
            ("--from", "nothing.jsonl"),
            "`--from` (=nothing.jsonl) must be a file that a run has written",
        ),
    ],
)
def test_wrong_words_are_refused(words: tuple[str, ...], message: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
