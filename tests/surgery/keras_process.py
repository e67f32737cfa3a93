"""Keras models in a process of their own: its backend is chosen once, when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def measured_by(worker: Path, folder: Path) -> dict[str, Any]:
    """What a worker that runs on PyTorch prints in its last line; it writes its files into the
    folder.
    """
    done = subprocess.run(
        [sys.executable, str(worker), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
