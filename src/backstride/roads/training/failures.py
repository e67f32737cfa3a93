"""What ends a training run from outside, in one sentence.

The disk, the pictures, the processes that read them.
"""

from __future__ import annotations

from pathlib import Path

KEPT = "what was finished is whole, and --resume goes on from there"
READER = "DataLoader worker"  # PyTorch's words


def sentence(error: Exception, out: Path) -> str | None:
    """Why the run in `out` ended; None for what is no trouble from outside.

    >>> sentence(OSError(28, "No space left on device", "run/last.safetensors"), Path("run"))[:66]
    "`out` (='run') cannot be written to: no space left on device; what"
    >>> sentence(RuntimeError("shapes differ"), Path("run"))
    """
    text = str(error)
    if READER in text:
        if not text.startswith("Caught "):
            return (
                "a process that reads pictures was ended from outside, perhaps for want of memory; "
                f"{KEPT}"
            )
        # a traceback's last line
        return f"{text.rstrip().rpartition(chr(10))[2].partition(': ')[2]}; {KEPT}"
    if not isinstance(error, OSError):
        return None
    words = (error.strerror or text).lower()
    elsewhere = error.filename is not None and not Path(str(error.filename)).is_relative_to(out)
    return (
        f"{error.filename}: {words}; {KEPT}"
        if elsewhere
        else f"`out` (={str(out)!r}) cannot be written to: {words}; {KEPT}"
    )
