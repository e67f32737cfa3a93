"""The command line as a user meets it: a subprocess, its output, its exit code."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import Any

import pytest

import backstride as bs
from backstride.cli import main


def backstride(*words: str) -> subprocess.CompletedProcess[str]:
    program = "from backstride.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=False,
        env=None,
        timeout=60,
    )


def test_sizes_prints_the_plainest_calls() -> None:
    done = backstride("sizes", "--input", "7", "--output", "14")
    assert done.returncode == 0
    assert done.stderr == ""
    first = done.stdout.splitlines()[1].split()
    assert first[:4] == ["7", "14", "2", "2"]
    assert "output_padding" in done.stdout.splitlines()[0]


def test_sizes_as_json_are_the_calls_of_the_library() -> None:
    done = backstride(
        "sizes",
        "--input",
        "12",
        "--output",
        "375",
        "--strides",
        "32",
        "--padding",
        "same",
        "--json",
    )
    calls: list[dict[str, Any]] = json.loads(done.stdout)
    assert {call["kernel"] for call in calls} == set(range(1, 65))
    assert {tuple(call["output_shape"]) for call in calls} == {(375,)}


def test_sizes_says_when_nothing_is_legal() -> None:
    done = backstride("sizes", "--input", "5", "--output", "6", "--kernel", "1", "--strides", "1")
    assert (done.returncode, done.stdout) == (
        0,
        "No legal call: try other --kernel, --strides or --padding.\n",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sizes"], "`input` and `output` are both None; give at least one of them"),
        (
            ["sizes", "--input", "7x"],
            "`input` (='7x') must be a size, or sizes joined by x; for example 12 or 46x62",
        ),
        (
            ["sizes", "--input", "0"],
            "`input` (=0) must be at least 1 and below 2**63; the nearest legal value is 1",
        ),
        (
            ["sizes", "--input", "7", "--padding", "SAME"],
            "`padding` (='SAME') must be one of same, same_lower, valid, or an integer",
        ),
        (["sizes", "--inptu", "7"], "No such option: --inptu (Possible options: --input)"),
        (["sizes", "--kernel", "three"], "Invalid value for '--kernel': "),
        (["upsample"], "No such command 'upsample'."),
        (["conform", "torch", "--out", "/"], "`out` (='/') is a folder; name a file in it"),
        (["conform", "caffe"], "`frameworks` (=['caffe'])"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], message: str) -> None:
    done = backstride(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"backstride: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command", ["demo", "transpose", "segment", "sizes", "explain", "explore", "conform"]
)
def test_help_has_an_example(command: str) -> None:
    done = backstride(command, "--help")
    assert done.returncode == 0
    assert f"Example: backstride {command}" in done.stdout


def test_the_version_is_that_of_the_package() -> None:
    done = backstride("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"backstride {bs.__version__}\n", "")
    assert bs.__version__ == importlib.metadata.version("backstride")


def test_no_command_shows_the_help() -> None:
    done = backstride()
    assert "Commands" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_light_commands_load_no_framework() -> None:
    program = (
        "import sys; from backstride.cli import main\ntry: main(['sizes', '--input', '7', "
        "'--output', '14'])\nexcept SystemExit: pass\nprint([name for name in ('torch', "
        "'tensorflow', 'jax', 'matplotlib', 'mlxtend') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("command", "module", "wanted"),
    [
        ("roads labels data --out drawn", "backstride.roads.data.folders", '"backstride[roads]"'),
        (
            "roads export --checkpoint . --output r.onnx",
            "backstride.roads.prediction",
            '"backstride[roads,onnx]"',
        ),
        ("demo --out demo", "backstride.demo", '"backstride[demo]"'),
        ("transpose a:b --input 3x8x8 --output x.safetensors", "backstride.surgery", "torch"),
    ],
)
def test_a_missing_package_is_one_line_with_the_command_that_brings_it(
    command: str,
    module: str,
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def missing(*_: object) -> None:
        message = "No module named 'torch'"
        raise ModuleNotFoundError(message, name="torch.nn")

    monkeypatch.setitem(sys.modules, module, None)
    finder = type("Missing", (), {"find_spec": staticmethod(missing)})
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 2
    group = command.partition(" ")[0]
    said = f"backstride: `{group}` needs torch, which is not installed: pip install {wanted}\n"
    assert capsys.readouterr() == ("", said)


def test_ctrl_c_while_it_loads_is_one_line() -> None:
    program = (
        "import os, signal, sys, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, *rest):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from backstride.__main__ import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "backstride: stopped\n")
