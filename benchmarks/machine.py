"""What the numbers were measured on, in words: processor, cores, versions; no names of hosts or folders."""

from __future__ import annotations

import platform
from importlib import metadata

import backstride as bs

PACKAGES = (
    *("backstride", "numpy", "torch", "onnxruntime", "openvino", "tensorflow-cpu", "jax", "ai-edge-litert", "ncnn"),
)


def describe() -> dict[str, str]:
    """Name to words, in the order in which they are printed."""
    runs = next(row.name for row in bs.implementations() if row.runs)
    here = bs.machine()
    words = {"processor": here.name, "cores used": str(here.processors), "system": _system(), "kernels": runs}
    words["Python"] = platform.python_version()
    for package in PACKAGES:
        try:
            words[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            words[package] = "not installed"
    return words


def _system() -> str:
    return f"{platform.system()} on {platform.machine()}"
