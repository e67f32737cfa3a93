"""What the numbers were measured on, in words: processor, cores, versions; no names of hosts or folders."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import backstride as bs

PACKAGES = (
    *("backstride", "numpy", "torch", "onnxruntime", "openvino", "tensorflow-cpu", "jax", "ai-edge-litert", "ncnn"),
)


def describe() -> dict[str, str]:
    """Name to words, in the order in which they are printed."""
    runs = next(row.name for row in bs.implementations() if row.runs)
    words = {"processor": _processor(), "cores used": str(_cores()), "system": _system(), "kernels": runs}
    words["Python"] = platform.python_version()
    for package in PACKAGES:
        try:
            words[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            words[package] = "not installed"
    return words


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _system() -> str:
    return f"{platform.system()} on {platform.machine()}"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    words = {name.strip(): value.strip() for name, value in fields.items()}
    if "model name" not in words:
        return platform.processor() or platform.machine()
    numbers = ", ".join(f"{name} {words[name]}" for name in ("cpu family", "model") if name in words)
    return f"{words['model name']} ({numbers})"
