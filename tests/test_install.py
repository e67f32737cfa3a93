"""Installing into a new environment, with and without the compiled part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import numpy as np, backstride as bs
x = np.ones((1, 2, 2, 1), np.float32)
assert bs.conv_transpose(x, np.ones((2, 2, 1, 1), np.float32), strides=2).sum() == 16
for row in bs.implementations():
    print(row.name, row.usable, row.obstacle or "")
"""


@pytest.mark.slow
@pytest.mark.parametrize("native", ["ON", "OFF"])
def test_a_new_environment(tmp_path: Path, native: str) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    _ = subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        str(ROOT / "constraints.txt"),
    ]
    define = f"--config-settings=cmake.define.BACKSTRIDE_NATIVE={native}"
    folder = f"--config-settings=build-dir={tmp_path / 'build'}"
    _ = subprocess.run([*install, define, folder, str(ROOT)], check=True)
    done = subprocess.run(
        [str(python), "-c", PROGRAM], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert "numpy True" in done.stdout
    if native == "ON":
        assert "baseline True" in done.stdout
    else:
        assert (
            "baseline False this installation is pure Python; the compiled part was not built"
            in done.stdout
        )
    _ = subprocess.run(
        [str(python.parent / "backstride"), "sizes", "--input", "7", "--output", "14"], check=True
    )
