"""The simplest example of a disagreement as a program: it runs, and shows both sides."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backstride import conform
from backstride.cli import main


def test_a_disagreement_becomes_a_program_that_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    (result,) = conform.run(["torch"], limit=60, shift=1)
    programs = conform.scripts([result])
    assert len(programs) == len(result.disagreements) > 0
    name, text = next(
        (name, text) for name, text in programs.items() if name.endswith("differs.py")
    )
    program = tmp_path / name
    _ = program.write_text(text)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    # The rule was put off on purpose; without that the two sides agree.
    assert lines[0].startswith("torch 2.")
    theirs, ours = (line.partition(": ")[2] for line in lines[-2:])
    assert theirs == ours != ""
    assert capsys.readouterr().out == ""


def test_the_command_writes_the_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _ = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(SystemExit) as caught:
        main(["conform", "torch-gradient", "--scripts", str(tmp_path / "failing")])
    assert caught.value.code in {0, None}
    assert "PyTorch, gradients" in capsys.readouterr().out
    (program,) = (tmp_path / "failing").iterdir()
    assert program.name == "torch-gradient-1-accepts.py"
    assert "replay(" in program.read_text(encoding="utf-8")
