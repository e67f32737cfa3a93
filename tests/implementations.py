"""The compiled implementations that run here, which many tests go through one by one."""

from __future__ import annotations

from backstride.engine import IMPLEMENTATIONS

COMPILED = [
    entry.name
    for entry in IMPLEMENTATIONS
    if entry.obstacle() is None and entry.name in ("avx512", "avx2", "baseline", "neon")
]
