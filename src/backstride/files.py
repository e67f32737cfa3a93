"""Files appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_beside(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader and no crash ever sees half of it.

    Makes missing folders. Raises `ValueError` where `path` is a folder or lies below a file.
    """
    refuse_folder("path", path)
    data = content.encode() if isinstance(content, str) else content
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            _ = file.write(data)
        umask = os.umask(0)
        _ = os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        _ = Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def refuse_folder(name: str, path: Path) -> None:
    """Refuse a folder where a file is to be written; long work checks this before it starts."""
    if path.is_dir():
        message = f"`{name}` (={str(path)!r}) is a folder; name a file in it"
        raise ValueError(message)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises `ValueError` where one of them is a file."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        message = f"`path` (={str(path)!r}) must be a folder, but it, or one above it, is a file"
        raise ValueError(message) from None
