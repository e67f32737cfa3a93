"""What the numbers were measured on, in words: processor, cores, versions.

No names of hosts or folders.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib import metadata

import backstride as bs

PACKAGES = (
    *(
        "backstride",
        "numpy",
        "torch",
        "onnxruntime",
        "openvino",
        "tensorflow-cpu",
        "jax",
        "ai-edge-litert",
        "ncnn",
    ),
)


def describe() -> dict[str, str]:
    """Name to words, in the order in which they are printed."""
    runs = next(row.name for row in bs.implementations() if row.runs)
    here = bs.machine()
    words = {
        "processor": here.name,
        "cores used": str(here.processors),
        "system": _system(),
        "kernels": runs,
    }
    words["Python"] = platform.python_version()
    for package in PACKAGES:
        try:
            words[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            words[package] = "not installed"
    return words


def named(words: Mapping[str, str]) -> str:
    """The name of a processor's files.

    What it calls itself, its family and model, and the cores that were used.
    """
    cores = words.get("cores used", "1")
    text = f"{words.get('processor', '')} {cores} {'core' if cores == '1' else 'cores'}".lower()
    text = re.sub(r"\((r|tm|c)\)", " ", text).replace("cpu family", "family")
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:100]


def titled(words: Mapping[str, str]) -> str:
    """The processor in the heading of its page."""
    cores = words.get("cores used", "1")
    return f"{words.get('processor', 'a processor')}, {cores} {'core' if cores == '1' else 'cores'}"


def _system() -> str:
    return f"{platform.system()} on {platform.machine()}"
